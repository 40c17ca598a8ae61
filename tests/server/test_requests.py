"""What is taken up in one pass is what gunicorn's own parser would have made of the same bytes; all else is left to it."""

import random
import socket
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import ParseException
from gunicorn.http.message import Request
from gunicorn.http.unreader import IterUnreader
from gunicorn.http.wsgi import create

from copilotapi.server.requests import PlainRequest, Requests, _reads_plain, plain_request
from copilotapi.server.worker import _environ

ADDRESS = ("127.0.0.1", 40_000)
_PLAIN = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"


class Read(NamedTuple):
    """A request as an application and a connection see it."""

    environ: dict[str, Any]
    body: bytes
    closes: bool


class Caller:
    """In the place of a connection: what of a body did not come with the head."""

    socket = None

    def __init__(self, rest: bytes) -> None:
        self._rest = rest

    def recv(self, max_bytes: int) -> bytes:
        taken, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return taken


def configured(**settings: Any) -> Config:
    cfg = Config()
    for name, value in {"forwarded_allow_ips": "", "forwarder_headers": "", **settings}.items():
        cfg.set(name, value)
    return cfg


@pytest.fixture(scope="module")
def cfg() -> Config:
    """As gunicorn.conf.py sets it."""
    return configured()


def by_us(cfg: Config, received: bytes, rest: bytes = b"") -> Read | None:
    """None where it is left to gunicorn."""
    caller: Any = Caller(rest)
    request = plain_request(cfg, received, caller)
    if request is None:
        return None
    environ = {name: value for name, value in _environ({}, request, caller).items() if not name.startswith("wsgi.i")}
    closes = request.should_close()
    return Read(environ, b"".join(iter(lambda: request.body.read(7), b"")), closes)


def by_gunicorn(cfg: Config, received: bytes, rest: bytes = b"") -> Read | None:
    """None where it is refused, or not complete."""
    try:
        request = Request(cfg, IterUnreader(iter([received, rest] if rest else [received])), ADDRESS)
    except (ParseException, StopIteration):
        return None
    made: dict[str, Any] = create(request, None, ADDRESS, ("127.0.0.1", 80), cfg)[1]
    ours = {"SCRIPT_NAME", "SERVER_NAME", "SERVER_PORT", "SERVER_SOFTWARE", "REMOTE_ADDR", "REMOTE_PORT"}
    environ = {
        name: value
        for name, value in made.items()
        if name not in ours and (not name.startswith(("wsgi.", "gunicorn.")) or name == "wsgi.url_scheme")
    }
    return Read(environ, request.body.read(), request.should_close())


@pytest.mark.parametrize(
    "received",
    [
        _PLAIN + b"\r\nhi",
        b"\n" + _PLAIN.replace(b"\r\n", b"\n") + b"\nhi",
        _PLAIN + b"Connection: close\r\n\r\nhi",
        _PLAIN + b"Connection: Keep-Alive\r\n\r\nhi",
        _PLAIN.replace(b"Host: a", b"Host:") + b"\r\nhi",
        _PLAIN.replace(b"Host: a\r\n", b"") + b"\r\nhi",
        _PLAIN.replace(b"Content-Length: 2", b"cOnTent-lEngth:\t002 \t") + b"\r\nhi",
        _PLAIN.replace(b"Content-Length: 2", b"Content-Length: 0") + b"\r\n",
        _PLAIN.replace(b"/v1/x", b"/%2F/a%00b%ff/../?q=%20&x#"[:-1]) + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"/a;b=c?d?e=/f") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b'/:80/[x]\\^`{|}"<>') + b"\r\nhi",
        _PLAIN + b"X-Latin: \xe4\xff\x80\xa0\r\nX-Empty:\r\nX-Tab: a\tb\r\n!#$%&'*+.^`|~9: token\r\n\r\nhi",
        _PLAIN + b"Proxy: x\r\nHttp-Host: b\r\nContent-Typ: c\r\nContent-Type: d; e=f\r\n\r\nhi",
    ],
)
def test_a_plain_request_is_what_gunicorn_reads(cfg: Config, received: bytes) -> None:
    read = by_us(cfg, received)
    assert read is not None
    assert read == by_gunicorn(cfg, received)


@pytest.mark.parametrize("came", range(3))
def test_a_body_may_come_later(cfg: Config, came: int) -> None:
    head = _PLAIN.replace(b": 2", b": 20") + b"\r\n"
    body = b"twenty bytes of body"
    read = by_us(cfg, head + body[:came], body[came:])
    assert read is not None
    assert read == by_gunicorn(cfg, head + body[:came], body[came:])


@pytest.mark.parametrize(
    "received",
    [
        _PLAIN,
        b"",
        b"P",
        b"\r\n" + _PLAIN + b"\r\nhi",
        _PLAIN + b"\r\nhiPOST / HTTP/1.1\r\n",
        _PLAIN + b"Host: b\r\n\r\nhi",
        _PLAIN + b"content-length: 2\r\n\r\nhi",
        _PLAIN + b"X-A: 1\r\nx-a: 2\r\n\r\nhi",
        _PLAIN + b"X-A: 1\r\n folded\r\n\r\nhi",
        _PLAIN + b"X_A: 1\r\n\r\nhi",
        _PLAIN + b"Content_Length: 9\r\n\r\nhi",
        _PLAIN + b"Script_Name: /v1\r\n\r\nhi",
        _PLAIN + b"Expect: 100-continue\r\n\r\nhi",
        _PLAIN + b"Expect: other\r\n\r\nhi",
        _PLAIN + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        _PLAIN + b"TE: trailers\r\n\r\nhi",
        _PLAIN + b"Trailer: x\r\n\r\nhi",
        _PLAIN + b"Connection: Upgrade\r\n\r\nhi",
        _PLAIN + b"Upgrade: h2c\r\n\r\nhi",
        _PLAIN + b"Connection: close, x\r\n\r\nhi",
        _PLAIN + b"X : 1\r\n\r\nhi",
        _PLAIN + b"X: a\x00b\r\n\r\nhi",
        _PLAIN + b"X: a\x7fb\r\n\r\nhi",
        _PLAIN + b"X\xe4: 1\r\n\r\nhi",
        _PLAIN.replace(b": 2", b": +2") + b"\r\nhi",
        _PLAIN.replace(b": 2", b": 2_0") + b"\r\nhi",
        _PLAIN.replace(b": 2", b": \xb2") + b"\r\nhi",
        _PLAIN.replace(b": 2", b": 2, 2") + b"\r\nhi",
        _PLAIN.replace(b": 2", b": -2") + b"\r\nhi",
        _PLAIN.replace(b": 2", b":") + b"\r\nhi",
        _PLAIN.replace(b": 2", b": " + b"9" * 16) + b"\r\nhi",
        _PLAIN.replace(b"Content-Length: 2\r\n", b"") + b"\r\n",
        _PLAIN.replace(b"/1.1", b"/1.0") + b"\r\nhi",
        _PLAIN.replace(b"/1.1", b"/1.2") + b"\r\nhi",
        _PLAIN.replace(b"POST", b"PUT") + b"\r\nhi",
        _PLAIN.replace(b"POST", b"post") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"http://a/v1/x") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"//a/v1/x") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"/v1/x#y") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"*") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"a:80") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"/\xe4") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"/a b") + b"\r\nhi",
        _PLAIN.replace(b"/v1/x", b"/" + b"a" * 4100) + b"\r\nhi",
        _PLAIN + b"X: " + b"a" * 8190 + b"\r\n\r\nhi",
        _PLAIN + b"".join(b"X-%d: 1\r\n" % number for number in range(100)) + b"\r\nhi",
    ],
)
def test_what_is_more_than_plain_is_gunicorns_to_judge(cfg: Config, received: bytes) -> None:
    assert by_us(cfg, received) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"forwarded_allow_ips": "127.0.0.1"},
        {"forwarder_headers": "SCRIPT_NAME"},
        {"http_parser": "python"},
        {"strip_header_spaces": True},
        {"permit_obsolete_folding": True},
        {"proxy_protocol": "v1"},
        {"limit_request_line": 0},
        {"limit_request_line": 20_000},
        {"limit_request_fields": 100_000},
        {"limit_request_field_size": 0},
        {"permit_unconventional_http_method": True},
        {"permit_unconventional_http_version": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_no_request_is_plain_where_gunicorn_was_told_to_read_heads_otherwise(settings: dict[str, Any]) -> None:
    assert not _reads_plain(configured(**settings))
    assert _reads_plain(configured())


_TARGETS = (
    b"/",
    b"/v1/chat/completions",
    b"/a%2Fb",
    b"//a",
    b"/a//b",
    b"/?",
    b"/x?y=z",
    b"/%",
    b"/a#b",
    b"http://h/p",
    b"*",
)
_NAMES = (
    b"Host",
    b"X-A",
    b"x-a",
    b"Content-Type",
    b"Content-Length",
    b"Connection",
    b"Accept",
    b"X_A",
    b"Expect",
    b"Cookie",
)
_VALUES = (
    b"",
    b"a",
    b"2",
    b"02",
    b"close",
    b"Keep-Alive",
    b"a, b",
    b"\xe4",
    b"a\tb",
    b"100-continue",
    b"chunked",
    b"x" * 900,
)
_NOISE = b"\r\n\t :,;/?#%&=_-\x00\x7f\x80\xff0123456789AZaz"


def heads(count: int) -> Iterator[bytes]:
    """Nearly right ones: what an attacker starts from, and what a plain reader is tempted by."""
    dice = random.Random(20261128)
    for _ in range(count):
        method = dice.choice((b"POST",) * 12 + (b"GET", b"post", b"POSTS"))
        version = dice.choice((b"HTTP/1.1",) * 12 + (b"HTTP/1.0", b"HTTP/2.0"))
        fields = [(dice.choice(_NAMES), dice.choice(_VALUES)) for _ in range(dice.randrange(4))]
        fields.append((b"Content-Length", dice.choice((b"2", b"2", b"2", b"0", b"5"))))
        dice.shuffle(fields)
        lines = [
            b" ".join((method, dice.choice(_TARGETS), version)),
            *(b": ".join(field) for field in fields),
            b"",
            b"hi",
        ]
        head = bytearray(b"\r\n".join(lines))
        for _ in range(dice.choice((0, 0, 0, 1, 2))):
            at = dice.randrange(len(head))
            match dice.randrange(3):
                case 0:
                    head[at] = dice.choice(_NOISE)
                case 1:
                    del head[at]
                case _:
                    head.insert(at, dice.choice(_NOISE))
        yield bytes(head)


def test_of_thousands_of_heads_none_is_read_otherwise_than_gunicorn_reads_it(cfg: Config) -> None:
    taken = 0
    for head in heads(12_000):
        # Where a body is shorter than it should be, its rest is there.
        read = by_us(cfg, head, b"more")
        if read is not None:
            taken += 1
            assert read == by_gunicorn(cfg, head, b"more"), head
    assert taken > 1000


def test_a_body_that_ends_early_leaves_no_connection_to_go_on_with(cfg: Config) -> None:
    caller: Any = Caller(b"")
    request = plain_request(cfg, _PLAIN + b"\r\nh", caller)
    assert isinstance(request, PlainRequest)
    assert not request.should_close()
    assert request.body.read() == b"h"
    assert request.body.read() == b""
    assert request.should_close()


def test_a_body_that_is_interrupted_leaves_no_connection_to_go_on_with(cfg: Config) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.01)
        caller: Any = ours
        request = plain_request(cfg, _PLAIN + b"\r\n", caller)
        assert request is not None
        with pytest.raises(TimeoutError):
            request.body.read()
        assert request.should_close()


class InPieces(Caller):
    """In the place of a connection: what comes at each of its reads."""

    def __init__(self, *pieces: bytes) -> None:
        super().__init__(b"")
        self._pieces = list(pieces)
        self.socket: Any = self

    def next_bytes(self, max_bytes: int, timeout_seconds: float) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def recv(self, max_bytes: int) -> bytes:
        return self.next_bytes(max_bytes, 0)

    def gettimeout(self) -> None:
        return None

    def settimeout(self, seconds: float | None) -> None:
        pass


def test_a_connection_is_gunicorns_for_as_long_as_it_has_to_be(cfg: Config) -> None:
    get = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    chunked = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    plain = _PLAIN + b"\r\nhi"
    connection: Any = InPieces(get, plain, chunked, plain, get + plain, plain, plain)
    requests = Requests(cfg, connection, ADDRESS)
    kinds = []
    for request in requests:
        kinds.append((request.method, isinstance(request, PlainRequest)))
        request.body.read(2)
    assert kinds == [
        ("GET", False),
        ("POST", True),
        ("POST", False),
        ("POST", True),
        ("GET", False),
        # It came together with the one before it.
        ("POST", False),
        ("POST", True),
        ("POST", True),
    ]
