"""A Redis of its own for the gateway that keeps its counts there."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.ground import Ground, plain_environment
from bench.install import Absent, program
from bench.processes import ProcessTree

SOCKET_NAME = "redis.sock"
_START_SECONDS = 10.0


@contextmanager
def redis(ground: Ground) -> Iterator[ProcessTree]:
    """Listens on a socket in the scratch folder for the time of the block. Raises Absent."""
    socket_path = ground.scratch / SOCKET_NAME
    argv = (program("redis-server"), "--port", "0", "--unixsocket", str(socket_path), "--save", "")
    log = ground.scratch / "redis.log"
    processes = ProcessTree(argv, folder=ground.scratch, environment=plain_environment(), log=log)
    try:
        _await(socket_path)
        yield processes
    finally:
        processes.stop()


def _await(socket_path: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not socket_path.exists():
        if time.monotonic() > deadline:
            raise Absent("redis-server did not start")
        time.sleep(0.02)
