"""The server's side of TLS as bytes: what it would send is cut, held back, spoilt or joined as a test wants."""

import socket
import ssl
from collections.abc import Callable

from tests.raw_server import RawServer

_READ_BYTES = 65_536


class FarEnd:
    """One session over `connection`. What a call makes is not sent: it is in the answer, or waits for `due`."""

    def __init__(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        self.connection = connection
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._session = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake_hands(self, send: Callable[[bytes], None] | None = None) -> bytes:
        """To its end, each flight by `send`. What is left: of TLS 1.3, the session's tickets."""
        while True:
            try:
                self._session.do_handshake()
            except ssl.SSLWantReadError:
                (send or self.connection.sendall)(self.due())
                self._take_up()
            else:
                if self._session.version() == "TLSv1.3":
                    return self.due()
                (send or self.connection.sendall)(self.due())
                return b""

    def due(self) -> bytes:
        return self._outgoing.read()

    def read(self) -> bytes:
        """What the near end says; b"" at its end."""
        while True:
            try:
                return self._session.read(_READ_BYTES)
            except ssl.SSLWantReadError:
                self._take_up()

    def read_request(self) -> bytes:
        """A head; b"" when the near end closed instead."""
        received = b""
        while b"\r\n\r\n" not in received:
            block = self.read()
            if not block:
                return b""
            received += block
        return received

    def record(self, data: bytes) -> bytes:
        """Records of `data`, one for each 16 KB."""
        self._session.write(data)
        return self.due()

    def end(self) -> bytes:
        """The notice that nothing more will come."""
        try:
            self._session.unwrap()
        except ssl.SSLWantReadError:
            pass
        return self.due()

    def alert(self) -> bytes:
        """A fatal one: as if the near end had sent what is no record."""
        self._incoming.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        try:
            self._session.read(1)
        except ssl.SSLError:
            pass
        return self.due()

    def _take_up(self) -> None:
        arrived = self.connection.recv(_READ_BYTES)
        if arrived:
            self._incoming.write(arrived)
        else:
            self._incoming.write_eof()


def far_ends(context: ssl.SSLContext, script: Callable[[FarEnd, int], None]) -> RawServer:
    """A server that speaks TLS: `script(far_end, number)` runs for each connection, once hands are shaken."""

    def run(connection: socket.socket, number: int) -> None:
        far_end = FarEnd(connection, context)
        connection.sendall(far_end.shake_hands())
        script(far_end, number)

    return RawServer(run)
