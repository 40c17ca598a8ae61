"""What goes back for one request, as WSGI's start_response and write want it: the head goes out together with the first
piece, in one send.
"""

import re
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from gunicorn import SERVER
from gunicorn.http.errors import InvalidResponseHeader

from copilotapi.loop import CallerConnection

# RFC 9110, 7.6.1 and gunicorn's own list (gunicorn/util.py): what concerns the connection is the server's to say.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding"}
    | {"upgrade", "server", "date"}
)
_STATUS = re.compile(r"[1-9][0-9]{2}(?: [ \t\x21-\x7e\x80-\xff]*)?")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_LAST_CHUNK = b"0\r\n\r\n"
# Pieces of a stream are small, and of few sizes.
_REMEMBERED_SIZES = 4096

StartResponse = Callable[..., Callable[[bytes], None]]


class Answer:
    """Of one request. Any reader of its head and framing is an HTTP/1.1 or 1.0 client: gunicorn let no other in."""

    __slots__ = (
        *("_caller", "_has_body", "_headers", "_is_chunked", "_is_head", "_length", "_send_now"),
        *("_status", "_version", "closes", "has_begun"),
    )

    def __init__(self, method: str, version: tuple[int, int], caller: CallerConnection, *, closes: bool) -> None:
        self.has_begun = False
        self.closes = closes
        self._is_head = method == "HEAD"
        self._version = version
        self._caller = caller
        self._send_now = caller.send_now
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._length: int | None = None
        self._is_chunked = False
        self._has_body = True

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """PEP 3333. ValueError for a status or a length that is none."""
        if exc_info is not None and self.has_begun:
            raise exc_info[1].with_traceback(exc_info[2])
        if exc_info is None and self._status:
            raise AssertionError("the response was started twice")
        if not _STATUS.fullmatch(status):
            raise ValueError("not a status")
        self._status = status
        self._headers, self._length = [], None
        for name, value in headers:
            lower = _lower(name)
            if lower == "content-length":
                self._length = int(value)
            if lower not in _HOP_BY_HOP:
                self._headers.append((name, value))
        self._consider_framing(int(status[:3]))
        return self.write

    def write(self, piece: bytes) -> None:
        if self._is_chunked:
            if not piece:
                return
            size = len(piece)
            data = b"".join((_CHUNK_HEADS[size] if size < _REMEMBERED_SIZES else b"%X\r\n" % size, piece, b"\r\n"))
            if self.has_begun:
                send_now = self._send_now
                try:
                    sent = send_now(data)
                except BlockingIOError:
                    sent = 0
                if sent < len(data):
                    self._caller.send(data[sent:])
                return
        else:
            data = self._within_length(piece) if self._has_body else b""
        self._send(data)

    def end(self) -> None:
        """After the last piece."""
        self._send(_LAST_CHUNK if self._is_chunked else b"")

    def _consider_framing(self, code: int) -> None:
        # RFC 9110, 6.4.1: these have no body, whatever the application gives.
        self._has_body = not (self._is_head or code < 200 or code in (204, 304))
        if code < 200 or code == 204:
            self._headers = [(name, value) for name, value in self._headers if _lower(name) != "content-length"]
            self._length = None
        self._is_chunked = self._has_body and self._length is None and self._version >= (1, 1)
        if self._has_body and self._length is None and not self._is_chunked:
            self.closes = True

    def _within_length(self, piece: bytes) -> bytes:
        """Never more than was announced: it would be taken for another answer."""
        if self._length is None:
            return piece
        taken = piece[: self._length]
        self._length -= len(taken)
        return taken

    def _send(self, data: bytes) -> None:
        if not self.has_begun:
            data = self._made_head() + data
            self.has_begun = True
        if data:
            self._caller.send(data)

    def _made_head(self) -> bytes:
        lines = [
            f"HTTP/{self._version[0]}.{self._version[1]} {self._status}",
            f"Server: {SERVER}",
            _date_header(),
            "Connection: close" if self.closes else "Connection: keep-alive",
            *[f"{name}: {value}" for name, value in self._headers],
        ]
        if self._is_chunked:
            lines.append("Transfer-Encoding: chunked")
        # The quick look refuses some that are well, such as a tab.
        if not " ".join(lines).isprintable() and any(map(_CONTROL.search, lines)):
            raise InvalidResponseHeader("a header of the answer")
        lines.append("\r\n")
        self._headers = []
        return "\r\n".join(lines).encode("latin-1")


class _ChunkHeads(dict[int, bytes]):
    """The line before a chunk, by its size."""

    def __missing__(self, size: int) -> bytes:
        made = self[size] = b"%X\r\n" % size
        return made


class _LowerNames(dict[str, str]):
    """Header names in lower case: the program's own, and those of Copilot that pass."""

    def __missing__(self, name: str) -> str:
        lower = name.lower()
        if len(self) < _REMEMBERED_SIZES:
            self[name] = lower
        return lower


class _DateClock:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._header = ""

    def __call__(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._header = second, f"Date: {formatdate(second, usegmt=True)}"
        return self._header


_CHUNK_HEADS = _ChunkHeads()
_lower = _LowerNames().__getitem__
_date_header = _DateClock()
