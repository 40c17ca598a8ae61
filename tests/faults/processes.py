"""Which worker serves whom, as the kernel knows it (proc(5)), and the wait for what tells of no event by itself."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from tests.gateway_process import GatewayProcess

_ESTABLISHED = "01"


def worker_serving(gateway: GatewayProcess, caller_port: int) -> int:
    """The worker that holds the connection of the caller at `caller_port`."""
    return _holder(gateway, local_port=gateway.port, remote_port=caller_port)


def worker_connected_to(gateway: GatewayProcess, port: int) -> int:
    """The one worker with a connection to `port`."""
    return _holder(gateway, local_port=None, remote_port=port)


def descriptor_count(pid: int) -> int:
    return len(_links(pid))


def socket_count(pid: int) -> int:
    return sum(link.startswith("socket:") for link in _links(pid))


def connections_to(pid: int, port: int) -> int:
    """How many connections to `port` this process holds."""
    return len({f"socket:[{inode}]" for inode in _inodes(None, port)}.intersection(_links(pid)))


def unread_bytes(local_port: int, remote_port: int) -> int:
    """What has come for the one end of a TCP connection and was not read yet."""
    rows = _tcp_rows(local_port, remote_port)
    return sum(int(row[4].partition(":")[2], 16) for row in rows)


def eventually(is_true: Callable[[], bool], limit_seconds: float = 5.0, pause_seconds: float = 0.02) -> bool:
    """Looks again and again: for /proc, a log file, a process that ends."""
    deadline = time.monotonic() + limit_seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)
    return True


def _holder(gateway: GatewayProcess, local_port: int | None, remote_port: int) -> int:
    found: list[int] = []

    def is_found() -> bool:
        sockets = {f"socket:[{inode}]" for inode in _inodes(local_port, remote_port)}
        found[:] = [pid for pid in gateway.worker_pids() if sockets.intersection(_links(pid))]
        return len(found) == 1

    assert eventually(is_found), f"one worker was to be found, not {found}"
    return found[0]


def _inodes(local_port: int | None, remote_port: int) -> list[str]:
    """Of established TCP sockets."""
    return [row[9] for row in _tcp_rows(local_port, remote_port) if row[3] == _ESTABLISHED]


def _tcp_rows(local_port: int | None, remote_port: int) -> list[list[str]]:
    """The columns of /proc/net/tcp are sl, local, remote, state, tx_queue:rx_queue, …, the tenth the inode."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [row for row in rows if _port(row[2]) == remote_port and local_port in (None, _port(row[1]))]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _links(pid: int) -> list[str]:
    links = []
    with contextlib.suppress(FileNotFoundError):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(link))
    return links
