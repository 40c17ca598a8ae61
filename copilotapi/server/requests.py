"""The requests of one connection, in turn. One that is like nearly all others, a POST that came whole with a plain head, is
taken up in one pass; every other is gunicorn's to read and to judge.
"""

import contextlib
import functools
import io
from collections.abc import Mapping
from typing import Any

import gunicorn_h1c  # type: ignore[import-untyped]
from gunicorn.http.message import (
    MAX_HEADERS,
    MAX_REQUEST_LINE,
    RFC9112_TARGET_INVALID,
    Request,
    _check_fast_parser,
)
from gunicorn.http.parser import RequestParser
from gunicorn.util import split_request_uri, unquote_to_wsgi_str

from copilotapi.loop import CallerConnection, limit_total

_READ_BYTES = 16_384
_REMEMBERED = 512
# What gunicorn considers beyond a field's syntax (gunicorn/http/message.py); with an underscore it may stand for another.
_CONSIDERED = frozenset({"EXPECT", "TRANSFER-ENCODING", "TRAILER", "TE", "UPGRADE", "SCRIPT_NAME"})
_ENVIRON_NAMES = {"CONTENT-TYPE": "CONTENT_TYPE", "CONTENT-LENGTH": "CONTENT_LENGTH"}
# A length of more digits is not meant.
_MOST_DIGITS = 15
_CLOSES = {"close": True, "keep-alive": False}


class Requests(RequestParser):  # type: ignore[misc]
    """Raises StopIteration when the connection is to end, and what gunicorn raises for a request that it refuses."""

    def __init__(self, cfg: Any, caller: CallerConnection, addr: Any) -> None:
        super().__init__(cfg, caller.socket, addr)
        self.mesg: Any = None
        self._caller = caller
        self._reads_plain = _reads_plain(cfg)

    def __next__(self) -> Any:
        if not self._may_be_plain():
            return self._taken_up_by_gunicorn()
        received = self._caller.next_bytes(_READ_BYTES, self.cfg.keepalive)
        if not received:
            raise StopIteration
        self.mesg = plain = plain_request(self.cfg, received, self._caller)
        if plain is not None:
            self.req_count += 1
            return plain
        self.unreader.unread(received)
        return self._taken_up_by_gunicorn()

    def _may_be_plain(self) -> bool:
        """Whether the connection goes on, and nothing of the last request, or behind it, was left unread."""
        last = self.mesg
        if not self._reads_plain or (last is not None and last.should_close()):
            return False
        is_read = self._is_read() if last is not None else True
        return is_read and not self.unreader.buf.tell()

    def _is_read(self) -> bool:
        if isinstance(self.mesg, PlainRequest):
            return self.mesg.body.left == 0
        with contextlib.suppress(TimeoutError), limit_total(self.cfg.keepalive):
            return bool(self.finish_body())
        return False

    def _taken_up_by_gunicorn(self) -> Any:
        """Its worker, too, waits no longer than `keepalive` for a whole head."""
        with contextlib.suppress(TimeoutError), limit_total(self.cfg.keepalive):
            return super().__next__()
        raise StopIteration

    @property
    def mesg_class(self) -> type[Request]:
        return _Request


class _Request(Request):  # type: ignore[misc]
    """gunicorn makes an address of the caller's text for each request, to look for it in a list that is empty here."""

    def _peer_is_trusted_proxy(self) -> bool:
        return bool(self.cfg.forwarded_allow_ips) and bool(super()._peer_is_trusted_proxy())


class PlainRequest:
    """As gunicorn's Request, with its fields by WSGI's names."""

    version = (1, 1)
    scheme = "http"
    # gunicorn's access log, where one is wanted, tells some of a request that failed.
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, target: "_Target", fields: dict[str, str], body: "PlainBody", closes: bool) -> None:
        self.method = "POST"
        self.uri, self.path_info, self.query = target
        self.fields = fields
        self.body = body
        self._closes = closes

    def should_close(self) -> bool:
        return self._closes or self.body.failed


_Target = tuple[str, str, str]


def plain_request(cfg: Any, received: bytes, caller: CallerConnection) -> PlainRequest | None:
    """None when it is not plain, not complete, or not right."""
    try:
        head = gunicorn_h1c.parse_request(
            received,
            limit_request_line=cfg.limit_request_line,
            limit_request_fields=cfg.limit_request_fields,
            limit_request_field_size=cfg.limit_request_field_size,
        )
    except (gunicorn_h1c.ParseError, gunicorn_h1c.IncompleteError):
        return None
    target = _target(head["path"])
    # An empty line before the request may be skipped, once (RFC 9112, 2.2), and counts for its limits.
    if head["method"] != b"POST" or head["minor_version"] != 1 or target is None or received.startswith(b"\r"):
        return None
    fields: dict[str, str] = {}
    for name, value in head["headers"]:
        key = _ENVIRON_KEYS[name]
        # Twice the same may have to be joined, or refused.
        if not key or key in fields:
            return None
        fields[key] = value.decode("latin-1")
    closes = _CLOSES.get(fields.get("HTTP_CONNECTION", "keep-alive").lower())
    told = fields.get("CONTENT_LENGTH", "")
    came = len(received) - head["consumed"]
    if closes is None or not (told.isdecimal() and len(told) <= _MOST_DIGITS) or came > int(told):
        return None
    return PlainRequest(target, fields, PlainBody(caller, received[head["consumed"] :], int(told)), closes)


class PlainBody(io.RawIOBase):
    """A body of a known length, of which `received` came with the head. `left` bytes of it were not read yet."""

    def __init__(self, caller: CallerConnection, received: bytes, length: int) -> None:
        self.left = length
        self.failed = False
        self._caller = caller
        self._received = received

    @property
    def has_come(self) -> bool:
        """Whether reading the rest waits for nobody."""
        return len(self._received) == self.left

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes, b"" at the end and when the caller ended before it. OSError, TimeoutError."""
        wanted = self.left if size is None or size < 0 else min(size, self.left)
        if self._received:
            taken, self._received = self._received[:wanted], self._received[wanted:]
        else:
            try:
                taken = self._caller.recv(wanted) if wanted else b""
            except BaseException:
                # Where the next request begins is not known then.
                self.failed = True
                raise
            self.failed = self.failed or bool(wanted and not taken)
        self.left -= len(taken)
        return taken

    def readinto(self, buffer: Any) -> int:
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)


class _EnvironKeys(dict[bytes, str]):
    """WSGI's name of a field, "" for one that gunicorn has to consider."""

    def __missing__(self, raw_name: bytes) -> str:
        name = raw_name.decode("latin-1").upper()
        key = _ENVIRON_NAMES.get(name, "HTTP_" + name.replace("-", "_"))
        if not name or "_" in name or name in _CONSIDERED:
            key = ""
        if len(self) < _REMEMBERED:
            self[raw_name] = key
        return key


_ENVIRON_KEYS: Mapping[bytes, str] = _EnvironKeys()


@functools.lru_cache(maxsize=_REMEMBERED)
def _target(raw: bytes) -> _Target | None:
    """RAW_URI, PATH_INFO, QUERY_STRING; None for what is more than a path and a query."""
    uri = raw.decode("latin-1")
    if not uri.startswith("/") or uri.startswith("//") or "#" in uri or RFC9112_TARGET_INVALID.search(uri):
        return None
    try:
        parts = split_request_uri(uri)
    except ValueError:
        return None
    return uri, unquote_to_wsgi_str(parts.path), parts.query


def _reads_plain(cfg: Any) -> bool:
    """Whether gunicorn was told nothing that makes a plain head more than it seems."""
    return bool(
        _check_fast_parser(cfg)
        and not cfg.forwarded_allow_ips
        and not cfg.forwarder_headers
        and cfg.proxy_protocol == "off"
        # Beyond these, gunicorn takes others.
        and 0 < cfg.limit_request_line <= MAX_REQUEST_LINE
        and 0 < cfg.limit_request_fields <= MAX_HEADERS
        and cfg.limit_request_field_size > 0
        and not cfg.permit_unconventional_http_method
        and not cfg.permit_unconventional_http_version
    )
