"""The server under an embedded gateway, with apps of a few lines."""

import errno
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import pytest

from copilotapi import threaded_server
from copilotapi.loop import WATCH
from copilotapi.threaded_server import ListenerLost, ThreadedServer

SECONDS = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Serving:
    """A server on a thread of its own, and what it told."""

    def __init__(self, app: WSGIApplication) -> None:
        self.errors: list[Exception] = []
        self.request_count = 0
        self.failed = threading.Event()
        self.lost: ListenerLost | None = None
        listener = socket.create_server(("127.0.0.1", 0))
        self.server = ThreadedServer(listener, app, on_request=self._count, on_error=self._note)
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _count(self) -> None:
        self.request_count += 1

    def _note(self, error: Exception) -> None:
        self.errors.append(error)
        self.failed.set()

    def _serve(self) -> None:
        try:
            self.server.serve()
        except ListenerLost as exc:
            self.lost = exc

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.server.port), SECONDS)

    def http(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.server.port, timeout=SECONDS)

    def stop(self) -> None:
        self.server.drain(SECONDS)
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


Serve = Callable[[WSGIApplication], Serving]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[Serving] = []

    def start(app: WSGIApplication) -> Serving:
        running.append(Serving(app))
        return running[-1]

    yield start
    for serving in running:
        serving.stop()


def hello(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


class Endless:
    """An answer that goes on until it is closed, or for so many pieces."""

    def __init__(self, pieces: int = sys.maxsize) -> None:
        self.pieces = pieces
        self.closed = threading.Event()
        self.close_count = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> "Endless":
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        return self

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(self.pieces):
            yield b"data: on and on\n\n" * 1000

    def close(self) -> None:
        self.close_count += 1
        self.closed.set()


class Gate:
    """An app that answers when it is let."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let = threading.Event()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.entered.set()
        assert self.let.wait(SECONDS)
        return hello(environ, start_response)


def received(connection: socket.socket) -> bytes:
    """All until the end, which may be a reset."""
    everything = b""
    try:
        while block := connection.recv(65536):
            everything += block
    except ConnectionResetError:
        pass
    return everything


def reset_on_close(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def test_a_piece_arrives_when_it_is_written(serve: Serve) -> None:
    first_is_read = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", "text/event-stream")])
        yield b"first\n"
        assert first_is_read.wait(SECONDS)
        yield b"second\n"

    connection = serve(app).http()
    connection.request("GET", "/")
    response = connection.getresponse()
    assert (response.version, response.headers["Transfer-Encoding"]) == (11, "chunked")
    assert response.readline() == b"first\n"
    first_is_read.set()
    assert response.read() == b"second\n"
    connection.close()


@pytest.mark.parametrize("by_reset", [False, True])
def test_an_answer_is_closed_when_its_caller_leaves_amid_it(serve: Serve, by_reset: bool) -> None:
    app = Endless()
    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert connection.recv(100)
        if by_reset:
            reset_on_close(connection)
    assert app.closed.wait(SECONDS)
    serving.stop()
    assert (app.close_count, serving.errors) == (1, [])


def test_an_answer_is_closed_when_its_caller_breaks_off_what_nobody_reads(serve: Serve) -> None:
    app = Endless(pieces=1)
    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST + b"GET")
        answer = b""
        while not answer.endswith(b"0\r\n\r\n"):
            answer += connection.recv(65536)
        reset_on_close(connection)
    assert app.closed.wait(SECONDS)
    serving.stop()
    assert (app.close_count, serving.errors) == (1, [])


@pytest.mark.parametrize("rest", [b"", b"GET"])
def test_an_app_that_asks_is_told_of_a_caller_that_leaves_amid_silence(serve: Serve, rest: bytes) -> None:
    watching, gone = threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[WATCH](gone.set)
        watching.set()
        assert gone.wait(SECONDS)
        return hello(environ, start_response)

    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST + rest)
        assert watching.wait(SECONDS)
        assert not gone.wait(0.3)
        if rest:
            reset_on_close(connection)
    assert gone.wait(SECONDS)


def test_an_app_that_takes_its_wish_back_is_not_told(serve: Serve) -> None:
    told: list[str] = []
    ended = threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[WATCH](lambda: told.append("gone"))
        environ[WATCH](None)
        assert not ended.wait(0.3)
        ended.set()
        return hello(environ, start_response)

    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
    assert ended.wait(SECONDS)
    assert told == []


def test_draining_waits_for_a_running_request(serve: Serve) -> None:
    app = Gate()
    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert app.entered.wait(SECONDS)
        cut: list[int] = []
        draining = threading.Thread(target=lambda: cut.append(serving.server.drain(SECONDS)))
        draining.start()
        draining.join(0.3)
        assert draining.is_alive()
        with pytest.raises(ConnectionRefusedError):
            serving.connect()
        app.let.set()
        assert received(connection).endswith(b"hello")
        draining.join(SECONDS)
    assert cut == [0]


def test_a_request_that_meets_the_draining_is_not_taken_for_one_whose_caller_left(serve: Serve) -> None:
    entered, gone = threading.Event(), threading.Event()

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ[WATCH](gone.set)
        entered.set()
        assert not gone.wait(0.3)
        return hello(environ, start_response)

    serving = serve(app)
    with serving.connect() as begun, serving.connect() as served:
        begun.sendall(REQUEST[:-2])
        served.sendall(REQUEST)
        assert entered.wait(SECONDS)
        assert serving.server.drain(SECONDS) == 0
        assert received(begun).endswith(b"hello")
        assert received(served).endswith(b"hello")


def test_draining_cuts_what_still_runs_at_the_deadline(serve: Serve) -> None:
    app = Gate()
    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert app.entered.wait(SECONDS)
        assert serving.server.drain(0.05) == 1
        assert received(connection) == b""
    app.let.set()


def test_draining_does_not_wait_for_a_connection_without_a_request(serve: Serve) -> None:
    serving = serve(hello)
    with serving.connect() as silent, serving.connect() as served:
        served.sendall(REQUEST)
        assert received(served).endswith(b"hello")
        drained = threading.Thread(target=serving.server.drain, args=(60.0,))
        drained.start()
        drained.join(SECONDS)
        assert not drained.is_alive()
        assert received(silent) == b""


def test_a_head_that_takes_too_long_is_given_up(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threaded_server, "_HEAD_SECONDS", 0.2)
    app = Gate()
    serving = serve(app)
    with serving.connect() as slow, serving.connect() as served:
        served.sendall(REQUEST)
        assert app.entered.wait(SECONDS)
        slow.sendall(REQUEST[:-2])
        assert received(slow) == b""
        app.let.set()
        assert received(served).endswith(b"hello")


def test_a_request_that_drains_is_answered(serve: Serve) -> None:
    cut: list[int] = []

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        cut.append(serving.server.drain(60.0))
        return hello(environ, start_response)

    serving = serve(app)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert received(connection).endswith(b"hello")
    assert cut == [0]


def test_a_body_nobody_reads_does_not_reset_the_answer(serve: Serve) -> None:
    connection = serve(hello).http()
    connection.request("POST", "/", b"x" * 3_000_000)
    assert connection.getresponse().read() == b"hello"
    connection.close()


@pytest.mark.parametrize(
    "bad", [b"nonsense\r\n\r\n", b"GET http://[::1 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
def test_what_is_no_request_is_told_in_json_and_is_no_error_of_ours(
    serve: Serve, bad: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    serving = serve(hello)
    with serving.connect() as connection:
        connection.sendall(bad)
        assert received(connection).endswith(b'"code":"bad_http"}}')
    assert (serving.errors, serving.request_count) == ([], 0)
    assert capfd.readouterr() == ("", "")


def test_no_version_is_told(serve: Serve) -> None:
    connection = serve(hello).http()
    connection.request("GET", "/")
    assert connection.getresponse().headers["Server"] == "copilotapi"
    connection.close()


def test_what_the_app_lets_through_is_told_and_not_printed(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise LookupError("nothing there")

    serving = serve(app)
    connection = serving.http()
    connection.request("GET", "/")
    assert connection.getresponse().status == 500
    connection.close()
    assert serving.failed.wait(SECONDS)
    assert [str(error) for error in serving.errors] == ["nothing there"]
    assert capfd.readouterr() == ("", "")


def test_a_shortage_of_sockets_is_told_once_and_survived(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    accept = socketserver.TCPServer.get_request
    shortages = [errno.EMFILE, errno.ENFILE]

    def get_request(server: socketserver.TCPServer) -> Any:
        if shortages:
            raise OSError(shortages.pop(), "too many")
        return accept(server)

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    serving = serve(hello)
    with serving.connect() as connection:
        connection.sendall(REQUEST)
        assert received(connection).endswith(b"hello")
    assert [str(error) for error in serving.errors] == ["[Errno 23] too many"]


def test_a_lost_listener_ends_serving(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def get_request(server: socketserver.TCPServer) -> Any:
        raise OSError(errno.EBADF, "no such socket")

    monkeypatch.setattr(socketserver.TCPServer, "get_request", get_request)
    serving = serve(hello)
    with suppress(ConnectionResetError):
        serving.connect().close()
    serving.thread.join(SECONDS)
    assert str(serving.lost) == "[Errno 9] no such socket"
    assert not serving.server.is_accepting
