"""Flask without what this program never uses: sessions, signals, async views, matching by host, most hooks, `g`.

Each costs every request something: docs/decisions/0006-hot-path.md.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.globals import _cv_app, _cv_request
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.datastructures import EnvironHeaders, Headers
from werkzeug.routing import MapAdapter, Rule

from copilotapi.loop import CallerSocket
from copilotapi.metering.keys import Caller
from copilotapi.protocols.conversation import JSON
from copilotapi.relay import Call

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]

# A test client that goes on looking at its request after the answer puts it into the environ (werkzeug/test.py).
_KEPT_CONTEXT = "werkzeug.debug.preserve_context"


class Incoming(Request):
    """A request, and what becomes known of it on its way."""

    request_id = ""
    started = 0.0
    caller: Caller | None = None
    caller_socket: CallerSocket
    call: Call | None = None
    outcome: str | None = None
    json_body: JSON
    raw_body: bytes

    def __init__(self, environ: Environ, populate_request: bool = True, shallow: bool = False) -> None:
        """As Werkzeug's, which makes of each text what it may have been in another encoding. The request is not put into its
        own environ: the two would wait for a garbage collection.
        """
        self.environ = environ
        self.shallow = shallow
        self.method = environ["REQUEST_METHOD"].upper()
        self.scheme = environ.get("wsgi.url_scheme", "http")
        self.server = (environ.get("SERVER_NAME", ""), int(environ.get("SERVER_PORT", 80)))
        self.root_path = _decoded(environ.get("SCRIPT_NAME", "")).rstrip("/")
        self.path = "/" + _decoded(environ.get("PATH_INFO", "")).lstrip("/")
        self.query_string = environ.get("QUERY_STRING", "").encode("latin-1")
        self.headers = EnvironHeaders(environ)
        self.remote_addr = environ.get("REMOTE_ADDR")

    def known_caller(self) -> Caller:
        """Who asks. RuntimeError on a path for which the guard wants no key."""
        if self.caller is None:
            raise RuntimeError("the guard was not told to ask for a key here")
        return self.caller


def this_request() -> Incoming:
    """Asked for once in a function: each look at Flask's `request` and `g` is four calls."""
    return cast(Incoming, _cv_request.get().request)


class WebApp(Flask):
    """Views and hooks are plain functions; of a blueprint's hooks only those after a request run, for a request that met
    one of its rules; nothing is torn down. The Host header is the guard's to judge.
    """

    request_class = Incoming

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name, static_folder=None)
        self.session_interface = _NoSessions()
        self._matched: dict[tuple[str, str], Rule] = {}
        self._context = self.app_context()

    def wsgi_app(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if _KEPT_CONTEXT in environ:
            return super().wsgi_app(environ, start_response)
        incoming = Incoming(environ)
        context = RequestContext(self, environ, incoming, _NO_SESSION)
        app_before, request_before = _cv_app.set(self._context), _cv_request.set(context)
        try:
            if context.url_adapter is not None:
                context.match_request()
            return self.full_dispatch_request()(environ, start_response)
        except Exception as exc:
            return self.handle_exception(exc)(environ, start_response)
        finally:
            _cv_request.reset(request_before)
            _cv_app.reset(app_before)

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        # Werkzeug tells WebSocket requests apart by further headers.
        if "HTTP_UPGRADE" in request.environ:
            return super().create_url_adapter(request)
        # What OPTIONS may be answered, the adapter knows.
        rule = self._matched.get((request.method, request.path))
        if rule is not None and request.method != "OPTIONS":
            request.url_rule, request.view_args = rule, {}
            return None
        return _Adapter(
            self._matched,
            self.url_map,
            server_name="",
            script_name=request.root_path,
            subdomain="",
            url_scheme=request.scheme,
            path_info=request.path,
            default_method=request.method,
            query_args=request.query_string.decode("latin-1"),
        )

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        return func

    def full_dispatch_request(self) -> Response:
        incoming = this_request()
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self._dispatched(incoming)
        except Exception as exc:
            answer = self.handle_user_exception(exc)
        return self.finalize_request(answer)

    def _dispatched(self, incoming: Incoming) -> Any:
        rule = incoming.url_rule
        if incoming.routing_exception is not None or rule is None or incoming.method == "OPTIONS":
            return self.dispatch_request()
        return self.view_functions[rule.endpoint](**(incoming.view_args or {}))

    def preprocess_request(self) -> Any:
        for hook in self.before_request_funcs.get(None, ()):
            if (answer := hook()) is not None:
                return answer
        return None

    def finalize_request(self, rv: Any, from_error_handler: bool = False) -> Response:
        response = rv if isinstance(rv, Response) else self.make_response(rv)
        rule = this_request().url_rule
        blueprint = rule.endpoint.partition(".")[0] if rule else None
        # The same list twice would run its hooks twice.
        for name in (blueprint, None) if blueprint else (None,):
            for hook in reversed(self.after_request_funcs.get(name, ())):
                response = cast(Response, hook(response))
        return response

    def do_teardown_request(self, *_: object) -> None:
        pass

    def do_teardown_appcontext(self, *_: object) -> None:
        pass


class _Adapter(MapAdapter):
    """Remembers the rule of a path without variable parts. Werkzeug's search leaves a cycle of objects behind each time,
    which only a garbage collection, and with it a pause of all streams, gets rid of.
    """

    def __init__(self, matched: dict[tuple[str, str], Rule], *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._matched = matched

    def match(self, *args: Any, **options: Any) -> Any:
        found = super().match(*args, **options)
        # Asked otherwise, it is about other methods than the request's.
        if not args and options == {"return_rule": True}:
            rule, values = found
            # A rule that was written with the path it matched cannot match another: there are as many as routes.
            if not values and rule.rule == self.path_info:
                self._matched[self.default_method, self.path_info] = rule
        return found


_NO_SESSION = NullSession()


class _NoSessions(SessionInterface):
    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return _NO_SESSION

    def is_null_session(self, obj: object) -> bool:
        return True


class Answer(Response):
    """A 200 that is told as it stands: no header is to be made of others. A whole body's length is told."""

    def __init__(self, body: bytes | Iterable[bytes], headers: Mapping[str, str], content_type: str) -> None:
        fields = [("Content-Type", content_type), *headers.items()]
        if isinstance(body, bytes):
            fields.append(("Content-Length", str(len(body))))
        self._status, self._status_code = "200 OK", 200
        self.headers = Headers()
        add_headers(self.headers, fields)
        self.response = [body] if isinstance(body, bytes) else body
        self.direct_passthrough = False
        self._on_close: list[Callable[[], Any]] = []

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self._status, list(self.headers))
        self.headers.clear()
        return _Pieces(self, environ["REQUEST_METHOD"] == "HEAD")


def add_headers(headers: Headers, fields: Iterable[tuple[str, str]]) -> None:
    """Beside those of the same names. Werkzeug looks for line breaks in each; here the server does, in all of them."""
    headers._list.extend(fields)


class _Pieces:
    """What WSGI wants of a body: the pieces, and `close` when they were taken or nobody wants them any more."""

    __slots__ = ("_pieces", "close")

    def __init__(self, answer: Answer, is_withheld: bool) -> None:
        self._pieces: Any = () if is_withheld else answer.response
        self.close = answer.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def _decoded(text: str) -> str:
    """WSGI's texts are bytes of UTF-8, each as a character (PEP 3333)."""
    return text if text.isascii() else text.encode("latin-1").decode(errors="replace")
