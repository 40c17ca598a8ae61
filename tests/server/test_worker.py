"""How the worker takes up connections and lets them go, seen by raw bytes."""

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.processes import eventually, unread_bytes
from tests.raw_client import chunked, head
from tests.server.served import GUNICORNS, OURS, Served

_KEPT_SECONDS = 1


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    with Served(OURS, folder, "--keep-alive", str(_KEPT_SECONDS), "--access-logfile", "-") as served:
        yield served


@pytest.mark.parametrize("cut", [1, 16, 40, 95], ids=["first byte", "request line", "a name", "the end"])
def test_a_head_may_come_in_two_pieces(served: Served, cut: int) -> None:
    request = head(Content_Length="2", X_Filled="y" * 20) + b"hi"
    with served.caller() as caller:
        caller.send(request[:cut])
        assert eventually(lambda: unread_bytes(served.port, caller.socket.getsockname()[1]) == 0)
        caller.send(request[cut:])
        assert caller.reply().json["body"] == "hi"


def test_a_head_longer_than_one_read_is_taken_up(served: Served) -> None:
    fields = {f"X_{number}": "y" * 8000 for number in range(4)}
    with served.caller() as caller:
        caller.send(head(Content_Length="2", **fields) + b"hi")
        assert caller.reply().json["body"] == "hi"


def test_a_caller_who_asks_nothing_more_is_let_go(served: Served) -> None:
    post, get = head(Content_Length="2") + b"hi", head("GET")
    waits = [(b"", b""), (b"", post[:30]), (post, b""), (get, b""), (post, post[:30]), (get, get[:9])]
    with ExitStack() as callers:
        kept = []
        for asked, then in waits:
            caller = callers.enter_context(served.caller())
            caller.send(asked)
            if asked:
                assert caller.reply().status == 200
            kept.append((caller, time.monotonic()))
            caller.send(then)
        for (caller, since), wait in zip(kept, waits, strict=True):
            assert caller.is_closed(), wait
            assert _KEPT_SECONDS * 0.9 < time.monotonic() - since < 4 * _KEPT_SECONDS, wait
    assert "Traceback" not in served.log


def post(target: str = "/", body: bytes = b"hi", **headers: str) -> bytes:
    return head("POST", target, Content_Length=str(len(body)), **headers) + body


def test_requests_that_come_at_once_are_answered_in_turn(served: Served) -> None:
    with served.caller() as caller:
        caller.send(post("/1") + post("/2", b"two") + head("GET", "/3") + post("/4")[:-1])
        for path, body in [("/1", "hi"), ("/2", "two"), ("/3", "")]:
            answer = caller.reply().json
            assert (answer["environ"]["PATH_INFO"], answer["body"]) == (path, body)
        caller.send(b"!" + post("/5"))
        assert caller.reply().json["body"] == "h!"
        assert caller.reply().json["environ"]["PATH_INFO"] == "/5"


@pytest.mark.parametrize("came", [0, 10], ids=["none of it came", "a part of it came"])
def test_a_body_that_was_not_read_is_no_request(served: Served, came: int) -> None:
    smuggled = post("/smuggled")
    with served.caller() as caller:
        caller.send(post("/1?unread=1&piece=one", smuggled)[: came - len(smuggled) or None])
        assert caller.reply().body == b"one"
        caller.send(smuggled[came:] + post("/2"))
        assert caller.reply().json["environ"]["PATH_INFO"] == "/2"


def test_a_body_of_megabytes_is_read_whole(served: Served) -> None:
    body = bytes(range(65, 91)) * 100_000
    with served.caller() as caller:
        caller.send(post(body=body))
        assert caller.reply().json["body"] == body.decode()


def test_whoever_asks_whether_to_go_on_is_told_to(served: Served) -> None:
    request = post(Expect="100-continue")
    with served.caller() as caller:
        caller.send(request[:-2])
        assert caller.reply().status == 100
        caller.send(request[-2:] + post("/2"))
        assert caller.reply().json["body"] == "hi"
        assert caller.reply().json["environ"]["PATH_INFO"] == "/2"


def test_an_application_that_fails_before_its_first_byte_is_a_500(served: Served) -> None:
    with served.caller() as caller:
        caller.send(post("/?raises=0"))
        assert caller.reply().status == 500
        assert caller.is_closed()


def test_an_application_that_fails_after_its_first_byte_cuts_its_answer(served: Served) -> None:
    with served.caller() as caller:
        caller.send(post("/?piece=one&piece=two&raises=1"))
        with pytest.raises(ConnectionError):
            caller.reply()


@pytest.mark.parametrize(
    "asked",
    [
        b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi",
        post(Connection="close"),
        head("GET", Connection="close"),
        b"nonsense\r\n\r\n",
        post(Transfer_Encoding="chunked"),
        head(Content_Length="2", content_length="3") + b"hi",
    ],
)
def test_a_connection_that_is_not_to_be_kept_is_closed(served: Served, asked: bytes) -> None:
    with served.caller() as caller:
        caller.send(asked + post("/2"))
        reply = caller.reply()
        assert reply.status in (200, 400)
        assert reply.headers["connection"] == "close"
        assert caller.is_closed()


def test_nothing_is_left_of_connections_however_they_end(served: Served) -> None:
    whole = post("/?piece=one&piece=two")
    ways = [b"", whole[:30], whole[:-1], whole, whole * 3, b"nonsense\r\n\r\n", post(Expect="x")]
    ways += [post("/?raises=0"), post("/?piece=one&raises=1"), post("/?unread=1&piece=one", b"x" * 300_000)]
    ways += [head("HEAD", "/?piece=one"), head("GET", Connection="close"), head("GET", "/?piece=" + "x" * 3000)]
    before = _held(served)
    for way in ways:
        for is_reset in (True, False):
            with served.caller() as caller:
                caller.send(way)
                if is_reset:
                    caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def is_at_rest() -> bool:
        return all(count <= before[kind] for kind, count in _held(served).items())

    assert eventually(is_at_rest), (before, _held(served))


def _held(served: Served) -> dict[str, int]:
    with served.caller() as caller:
        caller.send(head("GET", "/held"))
        held: dict[str, int] = caller.reply().json
    return held


@pytest.fixture(scope="module")
def gunicorns(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("gunicorns")
    with Served(GUNICORNS, folder) as served:
        yield served


_STREAM = "/?piece=one&piece=two"


@pytest.mark.parametrize(
    "said",
    [
        post(),
        post() * 3,
        post(_STREAM) + head("GET", _STREAM) + post(),
        head("HEAD", _STREAM) + head("HEAD") + post(),
        post(_STREAM, Connection="close") + post(),
        b"POST /?piece=one HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi" + post(),
        b"POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi" + post(),
        post("/?status=204+No&piece=one") + post("/?status=304+No&piece=one") + post(),
        post("/?piece=four&header=Content-Length:+2") + post(),
        post("/?piece=one&header=Connection:+close") + post(),
        post("/?unread=1&piece=one", post("/smuggled")) + post(),
        post("/?raises=0") + post(),
        post("/?piece=one&raises=1") + post(),
        post("/?piece=one&header=X:+a%0d%0aY:+b") + post(),
        post(body=b"")[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head("POST", Transfer_Encoding="chunked") + chunked(b"one", b"two") + post(),
        head("POST", Transfer_Encoding="chunked") + b"zz\r\n",
        post(Expect="100-continue") + post(),
        post(Expect="200-ok") + post(),
        post() + b"\r\n" + post() + b"\r\n\r\n" + post(),
        post("http://elsewhere/a?b=c") + post("//a") + post("/a#b") + post("/%2f%00%ff"),
        head("OPTIONS", "*") + head("CONNECT", "a:80") + post(),
        b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        post("/" + "a" * 5000),
        post(X_A="a" * 9000),
        post(Host="a", host="b"),
        post(X_Folded="a\r\n b"),
    ],
)
def test_a_connection_is_told_what_gunicorns_own_worker_tells(served: Served, gunicorns: Served, said: bytes) -> None:
    assert _told(served, said) == _told(gunicorns, said)


def _told(served: Served, said: bytes) -> list[bytes]:
    """All lines that come for all that is said; some stand in another order in one head."""
    with served.caller() as caller:
        caller.send(said)
        caller.socket.shutdown(socket.SHUT_WR)
        told = b"".join(iter(lambda: caller.socket.recv(65_536), b""))
    lines = told.replace(str(served.port).encode(), b"PORT").split(b"\r\n")
    return sorted(line for line in lines if not line.startswith(b"Date: "))
