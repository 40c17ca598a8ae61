"""What goes over the wire for an answer: the very bytes of gunicorn's own writer, in fewer sends, and nothing after them
that a client could take for another answer.
"""

import itertools
import logging
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import InvalidResponseHeader
from gunicorn.http.wsgi import Response

from copilotapi.server.answer import Answer

Headers = list[tuple[str, str]]


class Sent(NamedTuple):
    status_line: str
    headers: Headers
    body: bytes
    closes: bool


class Caller:
    """Takes all, or as much at once as `takes` says."""

    def __init__(self, takes: Iterable[int] = ()) -> None:
        self.sends: list[bytes] = []
        self._takes = iter(takes)

    def send_now(self, data: bytes) -> int:
        taken = next(self._takes, len(data))
        if not taken:
            raise BlockingIOError
        self.sends.append(data[:taken])
        return min(taken, len(data))

    def send(self, data: bytes) -> None:
        self.sends.append(data)

    sendall = send


def by_us(
    method: str, version: tuple[int, int], closes: bool, status: str, headers: Headers, pieces: Iterable[bytes]
) -> Sent:
    caller: Any = Caller()
    answer = Answer(method, version, caller, closes=closes)
    answer.start_response(status, headers)
    for piece in pieces:
        answer.write(piece)
    answer.end()
    return _sent(b"".join(caller.sends), answer.closes)


def by_gunicorn(
    method: str, version: tuple[int, int], closes: bool, status: str, headers: Headers, pieces: Iterable[bytes]
) -> Sent:
    caller = Caller()
    request = SimpleNamespace(method=method, version=version, headers=[], should_close=lambda: closes)
    response = Response(request, caller, Config())
    response.start_response(status, headers)
    for piece in pieces:
        response.write(piece)
    response.close()
    return _sent(b"".join(caller.sends), response.should_close())


def _sent(wire: bytes, closes: bool) -> Sent:
    head, _, body = wire.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    assert [name for name, _ in headers].count("date") == 1
    return Sent(status_line, sorted(header for header in headers if header[0] != "date"), body, closes)


def test_each_answer_is_the_one_that_gunicorn_would_send(caplog: pytest.LogCaptureFixture) -> None:
    # It warns of bodies where none belongs.
    caplog.set_level(logging.ERROR)
    count = 0
    for asked in itertools.product(
        ("POST", "GET", "HEAD"),
        ((1, 1), (1, 0)),
        (False, True),
        ("200 OK", "404 Not Found", "204 No Content", "304 Not Modified", "205 Reset Content", "299", "500 \xe4"),
        (
            [],
            [("Content-Length", "4")],
            [("content-length", "0"), ("X-A", "b\tc"), ("X-A", "\xa0\xff"), ("x-empty", "")],
            [
                ("Connection", "close"),
                ("Transfer-Encoding", "gzip"),
                ("Keep-Alive", "1"),
                ("Server", "x"),
                ("Date", "y"),
            ],
        ),
        ([], [b""], [b"four"], [b"", b"one", b"", b"two", b""], [b"x" * 5000, b"y" * 10]),
    ):
        assert by_us(*asked) == by_gunicorn(*asked), asked
        count += 1
    assert count == 1680


def test_the_head_goes_out_with_the_first_piece_and_each_other_at_once() -> None:
    caller: Any = Caller()
    answer = Answer("POST", (1, 1), caller, closes=False)
    answer.start_response("200 OK", [])
    assert caller.sends == []
    answer.write(b"one")
    answer.write(b"two")
    answer.end()
    head, *others = caller.sends
    assert head.endswith(b"\r\n\r\n3\r\none\r\n")
    assert others == [b"3\r\ntwo\r\n", b"0\r\n\r\n"]


@pytest.mark.parametrize("takes", [[0], [1], [5], [0, 3]])
def test_what_a_slow_caller_does_not_take_at_once_follows(takes: list[int]) -> None:
    caller: Any = Caller(takes)
    answer = Answer("POST", (1, 1), caller, closes=False)
    answer.start_response("200 OK", [])
    for piece in (b"one", b"three", b"seven"):
        answer.write(piece)
    answer.end()
    assert b"".join(caller.sends).endswith(b"\r\n\r\n3\r\none\r\n5\r\nthree\r\n5\r\nseven\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "header",
    [("X-A", "b\r\nX-C: d"), ("X-A", "b\nc"), ("X-A", "b\rc"), ("X-A\r\nX-C", "d"), ("X-A", "b\x00"), ("X-A", "\x7f")],
)
def test_a_header_never_begins_another_line(header: tuple[str, str]) -> None:
    caller: Any = Caller()
    answer = Answer("POST", (1, 1), caller, closes=False)
    answer.start_response("200 OK", [header])
    with pytest.raises(InvalidResponseHeader):
        answer.write(b"one")
    assert caller.sends == []
    assert not answer.has_begun


@pytest.mark.parametrize("status", ["", "OK", "20 OK", "2000 OK", "099 No", "200 OK\r\nX: y", "200\r\n", "200  \x00"])
def test_a_status_is_three_digits_and_words(status: str) -> None:
    caller: Any = Caller()
    with pytest.raises(ValueError, match="not a status"):
        Answer("POST", (1, 1), caller, closes=False).start_response(status, [])


def test_an_answer_is_started_once_or_again_before_its_first_byte_for_an_error() -> None:
    caller: Any = Caller()
    answer = Answer("POST", (1, 1), caller, closes=False)
    answer.start_response("200 OK", [("Content-Length", "9"), ("X-A", "b")])
    with pytest.raises(AssertionError):
        answer.start_response("200 OK", [])
    error = RuntimeError("as asked")
    answer.start_response("500 No", [("Content-Length", "2")], (RuntimeError, error, None))
    answer.write(b"no")
    sent = _sent(b"".join(caller.sends), answer.closes)
    assert (sent.status_line, sent.body) == ("HTTP/1.1 500 No", b"no")
    assert ("x-a", "b") not in sent.headers
    with pytest.raises(RuntimeError, match="as asked"):
        answer.start_response("500 No", [], (RuntimeError, error, None))
