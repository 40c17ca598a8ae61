"""A server that speaks raw bytes, so that it can lie: what a real HTTP server would refuse to send."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress


class RawServer:
    """Runs `script(connection, number)` in a thread of its own for each connection; `number` counts from 0."""

    def __init__(self, script: Callable[[socket.socket, int], None]) -> None:
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "RawServer":
        return self

    def __exit__(self, *exc: object) -> None:
        # close() alone leaves a thread in accept() with the port still open (Linux).
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            number, self.accepted = self.accepted, self.accepted + 1
            threading.Thread(target=self._run, args=(connection, number), daemon=True).start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError):
            self._script(connection, number)


def read_request(connection: socket.socket) -> bytes:
    """One request, head and body by Content-Length; b"" when the client closed instead."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(65536)
        if not block:
            return b""
        received += block
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def answering(*answers: bytes, close: bool = True) -> Callable[[socket.socket, int], None]:
    """A script that reads a request and sends the next of `answers` (the last again and again)."""

    def script(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            connection.sendall(answers[min(number, len(answers) - 1)])
            if close:
                connection.close()
                return

    return script
