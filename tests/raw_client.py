"""A client that speaks raw bytes, so that it can send what no HTTP library would."""

import json
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

_TIMEOUT_SECONDS = 30.0


class RawReply(NamedTuple):
    """`headers` have lower-case names. `body` is without its framing."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RawClient:
    """One connection. Raises ConnectionError when the server ends it instead of answering."""

    def __init__(self, port: int, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout_seconds)
        self._received = b""

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reply(self) -> RawReply:
        """The next answer, whole."""
        head, self._received = self._until(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if status == 100:
            return RawReply(status, headers, b"")
        return RawReply(status, headers, self._body(headers))

    def is_closed(self) -> bool:
        """Waits until the server closes the connection; False when it sends something instead."""
        try:
            return not self._received and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            return self._chunks()
        length = int(headers.get("content-length", "0"))
        while len(self._received) < length:
            self._more()
        body, self._received = self._received[:length], self._received[length:]
        return body

    def _chunks(self) -> bytes:
        body = b""
        while True:
            size, self._received = self._until(b"\r\n")
            while len(self._received) < int(size, 16) + 2:
                self._more()
            chunk, self._received = self._received[: int(size, 16)], self._received[int(size, 16) + 2 :]
            if not chunk:
                return body
            body += chunk

    def _until(self, end: bytes) -> tuple[bytes, bytes]:
        while end not in self._received:
            self._more()
        found, _, rest = self._received.partition(end)
        return found, rest

    def _more(self) -> None:
        received = self.socket.recv(65_536)
        if not received:
            raise ConnectionError("the server closed the connection")
        self._received += received


def head(method: str = "POST", target: str = "/v1/chat/completions", **headers: str) -> bytes:
    """A request head. `headers` are named with underscores; Host is localhost unless given, left out when empty."""
    given = {"Host": "localhost", **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items() if value)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(*chunks: bytes) -> bytes:
    """A whole chunked body."""
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
