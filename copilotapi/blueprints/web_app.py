"""Flask without what this program never uses: sessions, signals, async views, matching by host, most hooks.

Each costs every request something: docs/decisions/0006-hot-path.md.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias, cast

from flask import Flask, Request, Response, request
from flask.sessions import NullSession, SessionInterface, SessionMixin
from werkzeug.routing import MapAdapter, Rule

from copilotapi.loop import CallerSocket
from copilotapi.metering.keys import Caller
from copilotapi.protocols.conversation import JSON
from copilotapi.relay import Call

Environ: TypeAlias = dict[str, Any]
StartResponse: TypeAlias = Callable[..., Any]


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

    def known_caller(self) -> Caller:
        """Who asks. RuntimeError on a path for which the guard wants no key."""
        if self.caller is None:
            raise RuntimeError("the guard was not told to ask for a key here")
        return self.caller


def this_request() -> Incoming:
    """Asked for once in a function: each look at Flask's `request` and `g` is four calls."""
    found: Incoming = request._get_current_object()  # type: ignore[attr-defined]
    return found


class WebApp(Flask):
    """Views and hooks are plain functions; of a blueprint's hooks only those after a request run, for a request that met
    one of its rules; nothing is torn down. The Host header is the guard's to judge.
    """

    request_class = Incoming

    def __init__(self, import_name: str) -> None:
        super().__init__(import_name, static_folder=None)
        self.session_interface = _NoSessions()
        self._matched: dict[tuple[str, str], Rule] = {}

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        if request is None:
            return None
        # Werkzeug tells WebSocket requests apart by further headers.
        if "HTTP_UPGRADE" in request.environ:
            return super().create_url_adapter(request)
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
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as exc:
            answer = self.handle_user_exception(exc)
        return self.finalize_request(answer)

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
        # Asked otherwise, it is about other methods than the request's.
        if args or options != {"return_rule": True}:
            return super().match(*args, **options)
        known = (self.default_method, self.path_info)
        if (rule := self._matched.get(known)) is not None:
            return rule, {}
        rule, values = super().match(*args, **options)
        # A rule that was written with the path it matched cannot match another: there are as many as routes.
        if not values and rule.rule == self.path_info:
            self._matched[known] = rule
        return rule, values


class _NoSessions(SessionInterface):
    def __init__(self) -> None:
        self._none = NullSession()

    def open_session(self, app: Flask, request: Request) -> SessionMixin:
        return self._none

    def is_null_session(self, obj: object) -> bool:
        return True


class Answer(Response):
    """A response that is told as it stands: its length is known or it has none, and no header is to be made of others."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, list(self.headers))
        return _Pieces(self, environ["REQUEST_METHOD"] == "HEAD")


class _Pieces:
    """What WSGI wants of a body: the pieces, and `close` when they were taken or nobody wants them any more."""

    def __init__(self, answer: Answer, is_withheld: bool) -> None:
        self._pieces: Any = () if is_withheld else answer.response
        self.close = answer.close

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)
