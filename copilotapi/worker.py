"""gunicorn's gevent worker, for answers that are mostly small or come in many small pieces: the head goes out together
with the first piece, in one send, and what gunicorn looks up for each request is looked up once. Loaded by gunicorn.
"""

import contextlib
import functools
import re
import socket
import time
import types
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any

from gunicorn.http.errors import InvalidResponseHeader
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import Response, base_environ
from gunicorn.util import unquote_to_wsgi_str
from gunicorn.workers.ggevent import GeventWorker, StreamServer

from copilotapi import loop

# RFC 9110, 7.6.1 and gunicorn's own list (gunicorn/util.py): what concerns the connection is the server's to say.
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding"}
    | {"upgrade", "server", "date"}
)
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Longer than nginx keeps a silent connection (1 s in deploy/nginx.conf), and than a new one takes to ask.
_SILENT_SECONDS = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Worker(GeventWorker):  # type: ignore[misc]
    """At its end it does not wait for callers who keep a connection and ask nothing: gunicorn 27 waits for each of them
    until `keepalive` or `graceful_timeout` is over.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silent_since: dict[socket.socket, float] = {}
        self.server_class = functools.partial(_Server, self)
        self._clock = _DateClock()
        self._base_environ: dict[str, Any] = {}

    def init_process(self) -> None:
        # Its settings are looked up through __getattr__ some twenty times a request (gunicorn/config.py); an attribute
        # of the same name is found first.
        self.cfg.__dict__.update({name: setting.get() for name, setting in self.cfg.settings.items()})
        self._base_environ = {**base_environ(self.cfg), "wsgi.multithread": True, "SCRIPT_NAME": ""}
        super().init_process()

    def handle(self, listener: Any, client: socket.socket, addr: tuple[str, int]) -> None:
        self._silent_since[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._silent_since.pop(client, None)

    def handle_request(self, listener_name: Any, req: Any, sock: socket.socket, addr: tuple[str, int]) -> bool:
        """Answers one request. StopIteration when the connection ends with it."""
        self._silent_since.pop(sock, None)
        response = _Answer(req, sock, self.cfg, self._clock)
        if not self.alive:
            response.force_close()
        try:
            self._answer(self._environ(listener_name, req, sock, addr), response)
        except (OSError, StopIteration):
            raise
        except Exception:
            if not response.headers_sent:
                raise
            self.log.exception("Error handling request")
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            raise StopIteration from None
        except (loop.Killed, SystemExit):
            return False
        finally:
            self._silent_since[sock] = time.monotonic()
        if response.should_close():
            raise StopIteration
        return True

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        loop.start_aside(self._let_go_of_idle_callers)

    def _answer(self, environ: dict[str, Any], response: "_Answer") -> None:
        pieces: Iterable[bytes] = self.wsgi(environ, response.start_response)
        try:
            for piece in pieces:
                response.write(piece)
            response.close()
        finally:
            close: Callable[[], None] | None = getattr(pieces, "close", None)
            if close is not None:
                close()

    def _environ(self, server: Any, req: Any, sock: socket.socket, addr: tuple[str, int]) -> dict[str, Any]:
        """As gunicorn/http/wsgi.py makes it for a TCP socket; SCRIPT_NAME is nobody's to set here."""
        environ = {
            **self._base_environ,
            "wsgi.input": req.body,
            "wsgi.url_scheme": req.scheme,
            "gunicorn.socket": sock,
            "REQUEST_METHOD": req.method,
            "QUERY_STRING": req.query,
            "RAW_URI": req.uri,
            "PATH_INFO": unquote_to_wsgi_str(req.path),
            "SERVER_PROTOCOL": f"HTTP/{req.version[0]}.{req.version[1]}",
            "SERVER_NAME": server[0],
            "SERVER_PORT": str(server[1]),
            "REMOTE_ADDR": addr[0],
            "REMOTE_PORT": str(addr[1]),
        }
        for name, value in req.headers:
            if name == "CONTENT-TYPE":
                environ["CONTENT_TYPE"] = value
            elif name == "CONTENT-LENGTH":
                environ["CONTENT_LENGTH"] = value
            else:
                key = "HTTP_" + name.replace("-", "_")
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        if req._expected_100_continue:
            sock.send(_CONTINUE)
        return environ

    def _let_go_of_idle_callers(self) -> None:
        """Again and again: streams end one by one.

        Not before two seconds of silence: a request that is on its way meanwhile is answered.
        """
        while True:
            latest = time.monotonic() - _SILENT_SECONDS
            for client in [client for client, since in self._silent_since.items() if since <= latest]:
                with contextlib.suppress(OSError):
                    if _asks_nothing(client):
                        loop.end_reading(client)
            time.sleep(0.2)


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


class _Answer(Response):  # type: ignore[misc]
    """gunicorn's response, except that its head waits for the first piece of the body, and pieces are sent directly:
    gevent's sendall asks for the socket's buffer size first, each time.
    """

    def __init__(self, req: Any, sock: socket.socket, cfg: Any, clock: "_DateClock") -> None:
        super().__init__(req, sock, cfg)
        self.headers_sent = False
        self._clock = clock
        self._held = b""
        self._streams = False

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        for name, value in headers:
            lower = name.lower()
            if lower == "content-length":
                self.response_length = int(value)
            elif lower in _HOP_BY_HOP:
                continue
            self.headers.append((name, value))

    def send_headers(self) -> None:
        if self.headers_sent:
            return
        lines = [
            f"HTTP/{self.req.version[0]}.{self.req.version[1]} {self.status}",
            f"Server: {self.version}",
            self._clock.header(),
            "Connection: close" if self.should_close() else "Connection: keep-alive",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        if self.chunked:
            lines.append("Transfer-Encoding: chunked")
        if any(map(_CONTROL.search, lines)):
            raise InvalidResponseHeader("a header of the answer")
        self._held = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        self.headers_sent = True

    def write(self, arg: bytes) -> None:
        # What gunicorn has to consider at the first piece does not change with the others of a stream.
        if self._streams and arg:
            data = b"%X\r\n%b\r\n" % (len(arg), arg)
            sent = self.sock.send(data)
            if sent < len(data):
                self.sock.sendall(memoryview(data)[sent:])
            return
        super().write(arg)
        self._streams = self.chunked and not self._omits_body

    def close(self) -> None:
        self.send_headers()
        self._send(_LAST_CHUNK if self.chunked else b"")

    def _emit_body(self, data: bytes) -> None:
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        sent = self.sock.send(data) if data else 0
        if sent < len(data):
            self.sock.sendall(memoryview(data)[sent:])


class _Request(Request):  # type: ignore[misc]
    """gunicorn makes an address of the caller's text for each request, to look for it in a list that is empty here."""

    def _peer_is_trusted_proxy(self) -> bool:
        return bool(self.cfg.forwarded_allow_ips) and bool(super()._peer_is_trusted_proxy())


# gunicorn has no other place to say so (gunicorn/http/parser.py).
RequestParser.mesg_class = _Request


class _DateClock:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._header = ""

    def header(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._header = second, f"Date: {formatdate(second, usegmt=True)}"
        return self._header


def _asks_nothing(client: socket.socket) -> bool:
    """False when a request has arrived that was not taken up yet: that one is still answered."""
    client.settimeout(0)
    try:
        client.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        client.settimeout(None)
    return False
