"""TLS over a connected socket, with OpenSSL working in memory: one read of the socket takes up all records that have come.
The standard library's SSLSocket reads the socket twice for each record, and gives out one record at a time.
"""

import socket
import ssl
import time
from contextlib import suppress
from typing import cast

from copilotapi.loop import MAX_READ_BYTES, Arrivals, is_cooperative, send_all

# What OpenSSL decrypts at most at a time is a record of 16 KB.
_RECORD_BYTES = 16_384
# One for all on gevent's loop, where nobody else runs between a read into it and its copy. A fresh one for each read would
# be cut down to what came.
_BUFFER = memoryview(bytearray(_RECORD_BYTES))
# A large body is encrypted in parts, so that it is not held twice.
_WRITE_BYTES = 262_144


class TlsStream:
    """One side of a TLS connection. The socket stays the caller's to close."""

    def __init__(self, sock: socket.socket, arrivals: Arrivals, context: ssl.SSLContext, host: str) -> None:
        self._sock = sock
        self._arrivals = arrivals
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._buffer = _BUFFER if is_cooperative() else memoryview(bytearray(_RECORD_BYTES))
        self._is_drained = True
        self._is_ended = False
        self._failure: OSError | None = None

    def shake_hands(self, timeout_seconds: float) -> None:
        """TimeoutError, ssl.SSLError (SSLCertVerificationError among them), OSError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                self.session.do_handshake()
            except ssl.SSLWantReadError:
                self._send_what_is_due(_left(deadline))
                self._take_up(self._arrivals.recv(MAX_READ_BYTES, _left(deadline)))
            except ssl.SSLError:
                # What was wrong goes to the far end in an alert.
                with suppress(OSError):
                    self._send_what_is_due(_left(deadline))
                raise
            else:
                self._send_what_is_due(_left(deadline))
                return

    def recv(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """As Arrivals.recv, of at most `max_bytes` of records and what was left of those before: it may be more. b"" at the
        end, whether the far end told of it or not.
        """
        received = None if self._is_drained else self._decrypted()
        if received is None:
            self._take_up(self._arrivals.recv(max_bytes, timeout_seconds))
            received = self._decrypted()
        if received is None:
            # A part of a record, or what the far end says about the session.
            deadline = time.monotonic() + timeout_seconds
            while (received := self._decrypted()) is None:
                self._take_up(self._arrivals.recv(max_bytes, _left(deadline)))
        return received

    def poll(self, max_bytes: int) -> bytes | None:
        """As Arrivals.poll: what the far end says about the session only is nothing that has come."""
        arrived = self._arrivals.poll(max_bytes)
        if arrived is not None:
            self._take_up(arrived)
        return self._decrypted()

    def send(self, data: bytes) -> None:
        """All of it, within the socket's own timeout for each part."""
        for start in range(0, len(data), _WRITE_BYTES):
            self.session.write(data[start : start + _WRITE_BYTES])
            send_all(self._sock, self._outgoing.read())

    def _take_up(self, arrived: bytes) -> None:
        self._is_drained = False
        if arrived:
            self._incoming.write(arrived)
        else:
            self._incoming.write_eof()

    def _decrypted(self) -> bytes | None:
        """None while no record is complete. What came before an end or a failure is given out before it."""
        records: list[bytes] = []
        try:
            while not self._is_ended:
                size = cast(int, self.session.read(_RECORD_BYTES, self._buffer))
                records.append(bytes(self._buffer[:size]))
                self._is_ended = not size
                # Most often all has been taken; then asking once more would only raise.
                if not (self._incoming.pending or self.session.pending()):
                    self._is_drained = not (self._is_ended or self._incoming.eof)
                    break
        except ssl.SSLWantReadError:
            self._is_drained = True
        except ssl.SSLEOFError:
            # Many servers close without saying so. Whether something is missing shows in what came.
            self._is_ended = True
        except ssl.SSLError as exc:
            self._is_ended, self._failure = True, exc
        if self._outgoing.pending:
            try:
                self._send_what_is_due(None)
            except OSError as exc:
                if not self._is_ended:
                    self._is_drained, self._is_ended, self._failure = False, True, exc
        if len(records) == 1:
            return records[0]
        if self._failure is not None and not records:
            raise self._failure
        return b"".join(records) if records or self._is_ended else None

    def _send_what_is_due(self, timeout_seconds: float | None) -> None:
        """A handshake, an alert, the answer to a change of keys: a few bytes."""
        if self._outgoing.pending:
            if timeout_seconds is not None:
                self._sock.settimeout(timeout_seconds)
            self._sock.sendall(self._outgoing.read())


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
