"""HTTP/1.1 on a plain socket, with hold of every byte: requests in, raw bytes out, and a wait that notices a client
that leaves. It must not know what is asked or answered."""

import contextlib
import re
import socket
import struct
import time
from dataclasses import dataclass, field

_HEAD_BYTES = 65_536
_READ_BYTES = 65_536
_AHEAD_BYTES = 1_048_576
_IDLE_SECONDS = 75.0
_SEND_SECONDS = 600.0
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 256 * 1024 * 1024
_TARGET = re.compile(rb"([A-Z]+) (\S+) HTTP/1\.([01])")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAK = re.compile(rb"[\r\n\0]")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?")


class ClientGone(Exception):
    """The client has closed its connection."""


class Unreadable(Exception):
    """A request that cannot be read as HTTP/1.1, or is too large. `status` is what to answer before closing."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is without the query; header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    minor_version: int

    @property
    def keeps_alive(self) -> bool:
        connection = self.headers.get("connection", "").lower()
        return "close" not in connection if self.minor_version else "keep-alive" in connection


class Connection:
    """One client's socket. Every method raises ClientGone when the client is."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ahead = bytearray()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_request(self, body_limit_bytes: int) -> Request:
        """The next request. Raises Unreadable."""
        head = self._read_until(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        target = _TARGET.fullmatch(start)
        if target is None:
            raise Unreadable(400, "malformed request line")
        headers = _headers(lines)
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._read_body(headers, body_limit_bytes)
        path, _, query = target[2].decode("latin-1").partition("?")
        return Request(target[1].decode(), path, query, headers, body, int(target[3]))

    def send(self, data: bytes) -> None:
        try:
            self._sock.settimeout(_SEND_SECONDS)
            self._sock.sendall(data)
        except OSError as exc:
            raise ClientGone from exc

    def wait(self, seconds: float | None) -> None:
        """Waits so long, None for ever, and looks at the socket all the while. 0 only looks."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._look(left)
            if deadline is not None and time.monotonic() >= deadline:
                return

    def end(self) -> None:
        """Closes after an early answer, so that a client still sending can read it before it meets a reset."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)
            self._drain()
        self.close()

    def reset(self) -> None:
        """Ends the connection with a TCP reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def abort(self) -> None:
        """Wakes whoever reads or writes here, from another thread."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._sock.close()

    def _look(self, timeout_seconds: float | None) -> None:
        if len(self._ahead) >= _AHEAD_BYTES:
            time.sleep(0.05 if timeout_seconds is None else min(timeout_seconds, 0.05))
            return
        try:
            self._sock.settimeout(timeout_seconds)
            received = self._sock.recv(_READ_BYTES)
        except (TimeoutError, BlockingIOError):
            return
        except OSError as exc:
            raise ClientGone from exc
        if not received:
            raise ClientGone
        self._ahead += received

    def _receive(self) -> None:
        try:
            self._sock.settimeout(_IDLE_SECONDS)
            received = self._sock.recv(_READ_BYTES)
        except OSError as exc:
            raise ClientGone from exc
        if not received:
            raise ClientGone
        self._ahead += received

    def _read_until(self, mark: bytes, limit_bytes: int = _HEAD_BYTES) -> bytes:
        searched = 0
        while (at := self._ahead.find(mark, max(0, searched - len(mark)))) < 0:
            searched = len(self._ahead)
            if searched > limit_bytes:
                raise Unreadable(431, "request head too large")
            self._receive()
        found = bytes(self._ahead[:at])
        del self._ahead[: at + len(mark)]
        return found

    def _read_exactly(self, length_bytes: int) -> bytes:
        while len(self._ahead) < length_bytes:
            self._receive()
        found = bytes(self._ahead[:length_bytes])
        del self._ahead[:length_bytes]
        return found

    def _read_body(self, headers: dict[str, str], limit_bytes: int) -> bytes:
        if "transfer-encoding" in headers:
            return self._read_chunks(limit_bytes)
        length = headers.get("content-length", "0")
        if not re.fullmatch(r"\d{1,15}", length):
            raise Unreadable(400, "malformed Content-Length")
        if int(length) > limit_bytes:
            raise Unreadable(413, "failed to parse request")
        return self._read_exactly(int(length))

    def _read_chunks(self, limit_bytes: int) -> bytes:
        body = bytearray()
        while True:
            size = _CHUNK_SIZE.fullmatch(self._read_until(b"\r\n"))
            if size is None:
                raise Unreadable(400, "malformed chunk")
            length = int(size[1], 16)
            if len(body) + length > limit_bytes:
                raise Unreadable(413, "failed to parse request")
            if length == 0:
                break
            body += self._read_exactly(length)
            self._read_until(b"\r\n")
        while self._read_until(b"\r\n"):
            pass
        return bytes(body)

    def _drain(self) -> None:
        deadline = time.monotonic() + _LINGER_SECONDS
        drained = 0
        while drained < _LINGER_BYTES and (left := deadline - time.monotonic()) > 0:
            self._sock.settimeout(left)
            received = len(self._sock.recv(_READ_BYTES))
            if not received:
                return
            drained += received


def _headers(lines: list[bytes]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        raw_name, colon, raw_value = line.partition(b":")
        if not colon or not _NAME.fullmatch(raw_name) or _BREAK.search(raw_value):
            raise Unreadable(400, "malformed header")
        name, value = raw_name.decode().lower(), raw_value.strip(b" \t").decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
