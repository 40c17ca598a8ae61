"""Werkzeug's threaded server made fit for a host program: it takes a bound socket, tells its failures, stops in time.

Knows nothing of the app it serves, but offers to tell it when a caller leaves.
"""

import errno
import logging
import selectors
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from copilotapi.loop import WATCH

log = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_PAUSE_SECONDS = 0.1
# A socket that neither takes nor brings a byte for this long is given up; so is a request whose head takes longer.
_STALL_SECONDS = 60.0
_HEAD_SECONDS = 60.0
_ANSWER = "copilotapi.answer"
# accept(2): the connection is gone before it was taken, or something is short for the moment.
_CALLER_GONE = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.EINTR, errno.EAGAIN})
_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ListenerLost(Exception):
    """No further connection can be accepted; its cause is the OSError."""


class Connection(WSGIRequestHandler):
    """One connection, and since Werkzeug closes it after the answer, one request."""

    server: "ThreadedServer"
    timeout = _STALL_SECONDS
    error_content_type = "application/json"
    error_message_format = (
        '{"error":{"message":"This is not a valid HTTP request.","type":"invalid_request_error",'
        '"param":null,"code":"bad_http"}}'
    )

    def run_wsgi(self) -> None:
        """Werkzeug 3.1 skips the answer's close() when the socket fails while it reads what the caller sent too much."""
        if not _is_url(self.path):
            self.send_error(400)
            return
        self.server.begin(self.connection)
        self.environ: WSGIEnvironment = {}
        try:
            super().run_wsgi()
        finally:
            if _ANSWER in self.environ:
                self.environ[_ANSWER].close()

    def make_environ(self) -> WSGIEnvironment:
        return {**super().make_environ(), WATCH: partial(self.server.watch, self.connection)}

    def address_string(self) -> str:
        return str(self.client_address[0])

    def version_string(self) -> str:
        return "copilotapi"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Silent: the app writes the request log."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Silent: what never reached the app may quote anything."""


class ThreadedServer(ThreadedWSGIServer):
    """Serves `app` on `listener`, which it owns from then on, with a daemon thread for each connection.

    `on_request` is called before each request, `on_error` with each failure of the server itself; both from its
    threads, and neither may raise.
    """

    def __init__(
        self,
        listener: socket.socket,
        app: WSGIApplication,
        *,
        on_request: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        host, port = listener.getsockname()[:2]
        with listener:
            super().__init__(host, port, _closable(app), Connection, fd=listener.fileno())
        self.is_accepting = True
        self._on_request = on_request
        self._on_error = on_error
        self._is_short = False
        self._changed = threading.Condition()
        self._idle: dict[Any, float] = {}
        self._busy: dict[Any, int] = {}
        self._watched: dict[Any, Callable[[], None]] = {}
        self._is_draining = False
        self._ended = threading.Event()

    def serve(self) -> None:
        """Accepts until `drain` is called. ListenerLost when accepting has become impossible."""
        try:
            self.serve_forever(_POLL_SECONDS)
        finally:
            self.is_accepting = False
            self._ended.set()

    def drain(self, timeout_seconds: float) -> int:
        """Ends a `serve` that another thread runs, waits for running requests, cuts the rest. How many were cut.

        A request that calls this itself is neither waited for nor cut.
        """
        self.is_accepting = False
        self.shutdown()
        # Werkzeug closes the listener after shutdown() has returned.
        self._ended.wait()
        with self._changed:
            self._is_draining = True
            for connection in self._idle:
                # What has arrived can still be read; then the connection ends.
                _shut(connection, socket.SHUT_RD)
        deadline = time.monotonic() + timeout_seconds
        while (left_seconds := deadline - time.monotonic()) > 0 and not self._await_end(left_seconds):
            self.service_actions()
        with self._changed:
            left = self._others()
            for connection in left:
                _shut(connection, socket.SHUT_RDWR)
        return len(left)

    def begin(self, connection: object) -> None:
        """A request has been read from the connection."""
        self._on_request()
        with self._changed:
            self._idle.pop(connection, None)
            self._busy[connection] = threading.get_ident()

    def watch(self, connection: object, on_gone: Callable[[], None] | None) -> None:
        """Calls `on_gone` once when the caller closes its side: within a poll, from the thread that serves."""
        with self._changed:
            self._watched.pop(connection, None)
            # Since draining ends the reading side itself, a new wish would be told at once.
            if on_gone is not None and not self._is_draining:
                self._watched[connection] = on_gone

    def get_request(self) -> tuple[Any, Any]:
        try:
            accepted = super().get_request()
        except OSError as exc:
            self._judge(exc)
            raise
        self._is_short = False
        return accepted

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._idle[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Called at each poll: ends heads that never end, which would keep their threads, and tells who has left."""
        oldest = time.monotonic() - _HEAD_SECONDS
        with self._changed:
            for connection, since in self._idle.items():
                if since < oldest:
                    _shut(connection, socket.SHUT_RDWR)
            left = [self._watched.pop(connection) for connection in _at_their_end(self._watched)]
        for on_gone in left:
            on_gone()

    def shutdown_request(self, request: Any) -> None:
        with self._changed:
            self._idle.pop(request, None)
            self._busy.pop(request, None)
            self._watched.pop(request, None)
            self._changed.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        self._tell(sys.exc_info()[1])

    def log(self, type: str, message: str, *args: Any) -> None:
        """Werkzeug calls it where it has caught what the app let through."""
        self._tell(sys.exc_info()[1])

    def _await_end(self, timeout_seconds: float) -> bool:
        """Whether no request of another thread is left, waiting no longer than a poll."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._others(), min(timeout_seconds, _POLL_SECONDS))

    def _others(self) -> list[Any]:
        own = threading.get_ident()
        return [*self._idle, *(connection for connection, thread in self._busy.items() if thread != own)]

    def _judge(self, error: OSError) -> None:
        """socketserver ignores an OSError of accept(), and so would spin on one that stays."""
        if error.errno in _CALLER_GONE:
            return
        if error.errno not in _SHORTAGES:
            raise ListenerLost(str(error)) from error
        if not self._is_short:
            self._is_short = True
            self._tell(error)
        time.sleep(_PAUSE_SECONDS)

    def _tell(self, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            log.error("server_failed", exc_info=error)
            self._on_error(error)


class _Answer:
    """An app's answer that is closed once, whoever asks first."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = parts
        self._is_open = True

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            getattr(self._parts, "close", lambda: None)()


def _closable(app: WSGIApplication) -> WSGIApplication:
    def serve(environ: WSGIEnvironment, start_response: StartResponse) -> _Answer:
        answer = environ[_ANSWER] = _Answer(app(environ, start_response))
        return answer

    return serve


def _is_url(target: str) -> bool:
    try:
        urlsplit(target)
    except ValueError:
        return False
    return True


def _at_their_end(connections: Collection[socket.socket]) -> list[Any]:
    if not connections:
        return []
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ)
        return [key.fileobj for key, _ in selector.select(0) if _is_at_its_end(key.fileobj)]


def _is_at_its_end(readable: Any) -> bool:
    try:
        return bool(readable.recv(1, socket.MSG_PEEK) == b"")
    except OSError:
        return True


def _shut(connection: socket.socket, how: int) -> None:
    with suppress(OSError):  # the caller has gone by itself
        connection.shutdown(how)
