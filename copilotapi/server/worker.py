"""The worker: takes up connections, answers their requests, and ends without losing one."""

import contextlib
import errno
import functools
import socket
import time
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gunicorn.http.errors import NoMoreData
from gunicorn.http.wsgi import base_environ
from gunicorn.util import unquote_to_wsgi_str
from gunicorn.workers.ggevent import GeventWorker, StreamServer

from copilotapi import loop
from copilotapi.loop import CALLER, CallerConnection
from copilotapi.server.answer import Answer
from copilotapi.server.requests import PlainRequest, Requests

# Longer than nginx keeps a silent connection (1 s in deploy/nginx.conf), and than a new one takes to ask.
_SILENT_SECONDS = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CALLER_LEFT = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)


class Worker(GeventWorker):  # type: ignore[misc]
    """At its end it does not wait for callers who keep a connection and ask nothing: gunicorn 27 waits for each of them
    until `keepalive` or `graceful_timeout` is over. TLS and HTTP/2 are for the proxy in front of it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.server_class = functools.partial(_Server, self)
        self._sweeper = loop.Sweeper()
        self._silent_since: dict[CallerConnection, float] = {}
        self._base_environ: dict[str, Any] = {}

    def init_process(self) -> None:
        # Its settings are looked up through __getattr__ some twenty times a request (gunicorn/config.py); an attribute
        # of the same name is found first.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self._base_environ = {**base_environ(self.cfg), "wsgi.multithread": True, "SCRIPT_NAME": ""}
        super().init_process()

    def handle(self, listener: Any, client: socket.socket, addr: tuple[str, int]) -> None:
        """Serves one connection to its end."""
        client.settimeout(None)
        caller = CallerConnection(client, self._sweeper)
        requests = Requests(self.cfg, caller, addr)
        self._silent_since[caller] = time.monotonic()
        try:
            self._serve(requests, self._connection_environ(listener, caller, addr), caller)
        except (StopIteration, TimeoutError, NoMoreData):
            pass
        except OSError as exc:
            if exc.errno not in _CALLER_LEFT:
                self.log.exception("Socket error processing request.")
        except BaseException as exc:
            self.handle_error(requests.mesg, client, addr, exc)
        finally:
            self._silent_since.pop(caller, None)
            caller.close()

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        loop.start_aside(self._let_go_of_idle_callers)

    def _serve(self, requests: Iterator[Any], connection: dict[str, Any], caller: CallerConnection) -> None:
        """To the end of the connection: returns where the last answer ends it, else raises what ended it, StopIteration when
        no further request came.
        """
        while True:
            request = next(requests)
            self._silent_since.pop(caller, None)
            answer = Answer(request.method, request.version, caller, closes=not self.alive or request.should_close())
            try:
                self._answer(_environ(connection, request, caller), answer)
            except (OSError, StopIteration):
                raise
            except (loop.Killed, SystemExit):
                return
            except Exception:
                if answer.has_begun:
                    self.log.exception("Error handling request")
                    caller.shut_down()
                    raise StopIteration from None
                raise
            finally:
                self._silent_since[caller] = time.monotonic()
            if answer.closes:
                return

    def _answer(self, environ: dict[str, Any], answer: Answer) -> None:
        pieces: Iterable[bytes] = self.wsgi(environ, answer.start_response)
        # A stream may be held for long; what it was asked with is known by now.
        del environ
        try:
            for piece in pieces:
                answer.write(piece)
            answer.end()
        finally:
            close: Callable[[], None] | None = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _connection_environ(self, server: Any, caller: CallerConnection, addr: tuple[str, int]) -> dict[str, Any]:
        """What is the same for all requests of a connection. SCRIPT_NAME is nobody's to set here."""
        name = server.getsockname()
        return {
            **self._base_environ,
            "SERVER_NAME": name[0],
            "SERVER_PORT": str(name[1]),
            "REMOTE_ADDR": addr[0],
            "REMOTE_PORT": str(addr[1]),
            "gunicorn.socket": caller.socket,
            CALLER: caller,
        }

    def _let_go_of_idle_callers(self) -> None:
        """Again and again: streams end one by one.

        Not before two seconds of silence: a request that is on its way meanwhile is answered.
        """
        while True:
            latest = time.monotonic() - _SILENT_SECONDS
            for caller in [caller for caller, since in self._silent_since.items() if since <= latest]:
                with contextlib.suppress(OSError):
                    if caller.asks_nothing():
                        loop.end_reading(caller.socket)
            time.sleep(0.2)


def _environ(connection: dict[str, Any], request: Any, caller: CallerConnection) -> dict[str, Any]:
    """As gunicorn/http/wsgi.py makes it for a TCP socket."""
    environ = connection.copy()
    environ["wsgi.input"] = request.body
    environ["wsgi.url_scheme"] = request.scheme
    environ["REQUEST_METHOD"] = request.method
    environ["QUERY_STRING"] = request.query
    environ["RAW_URI"] = request.uri
    if isinstance(request, PlainRequest):
        environ["SERVER_PROTOCOL"] = "HTTP/1.1"
        environ["PATH_INFO"] = request.path_info
        environ.update(request.fields)
        request.fields = {}
        return environ
    environ["SERVER_PROTOCOL"] = f"HTTP/{request.version[0]}.{request.version[1]}"
    environ["PATH_INFO"] = unquote_to_wsgi_str(request.path)
    for name, value in request.headers:
        if name == "CONTENT-TYPE":
            environ["CONTENT_TYPE"] = value
        elif name == "CONTENT-LENGTH":
            environ["CONTENT_LENGTH"] = value
        else:
            key = "HTTP_" + name.replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    if request._expected_100_continue:
        caller.send(_CONTINUE)
    return environ


class _Server(StreamServer):  # type: ignore[misc]
    """gunicorn's own, except that before it closes it takes up whom the kernel has let in: they would be reset.

    The other arguments are those that gunicorn has for a server with a WSGI of its own.
    """

    def __init__(self, worker: Worker, listener: socket.socket, *, spawn: Any, **_: Any) -> None:
        # gunicorn asks the listener for its name once for each connection, and fails when it is closed by then.
        name = listener.getsockname()
        named = types.SimpleNamespace(getsockname=lambda: name)
        super().__init__(listener, handle=functools.partial(worker.handle, named), spawn=spawn)
        if worker.cfg.workers > 1:
            self.max_accept = 1

    def close(self) -> None:
        with contextlib.suppress(OSError):
            while not self.closed and not self.full() and (accepted := self.do_read()):
                self.do_handle(*accepted)
        super().close()
