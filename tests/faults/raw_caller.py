"""A caller of the gateway on a bare socket: it reads as little as it likes and leaves as rudely as it likes."""

import contextlib
import json
import socket
import struct

from tests.gateway_process import GatewayProcess

_WAIT_SECONDS = 10.0


class RawCaller:
    """Sends one chat at once. `more` are fields of its body."""

    def __init__(self, gateway: GatewayProcess, text: str = "Hello", *, stream: bool = True, **more: object) -> None:
        self.socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=_WAIT_SECONDS)
        self.received = b""
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], "stream": stream, **more}
        self.socket.sendall(post(json.dumps(body).encode()))

    def __enter__(self) -> "RawCaller":
        return self

    def __exit__(self, *exc: object) -> None:
        self.leave()

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def read_until(self, marker: bytes) -> bytes:
        """Everything received so far, once `marker` is in it; AssertionError when the connection ends before."""
        while marker not in self.received:
            received = self.socket.recv(65536)
            assert received, f"the connection ended without {marker!r}: {self.received!r}"
            self.received += received
        return self.received

    def read_to_the_end(self) -> bytes:
        """Everything until the connection ends, however it does."""
        with contextlib.suppress(ConnectionError):
            while received := self.socket.recv(65536):
                self.received += received
        return self.received

    def leave(self) -> None:
        """With a FIN, also when there is something left to read."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def reset(self) -> None:
        """With an RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def post(body: bytes, path: str = "/v1/chat/completions") -> bytes:
    """The bytes of a request with a JSON body."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
