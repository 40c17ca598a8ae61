"""CopilotProxy: the same app as gunicorn's, on a background thread of a host program that stays as it is.

Reads no environment, configures no logging, patches nothing.
"""

import logging
import math
import re
import secrets
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias, TypeVar, overload

from pydantic import SecretStr

from copilotapi.app import create_app
from copilotapi.handlers import CompletionHandler
from copilotapi.settings import Settings, SettingsError
from copilotapi.threaded_server import ListenerLost, ThreadedServer

log = logging.getLogger(__name__)

_BACKLOG = 128
_DEFAULTS = {"port": 0, "rate_limit_per_minute": 60}
# An address that listens everywhere is called through loopback.
_CALLABLE_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}

Event: TypeAlias = Literal["listening", "error"]
Callback = TypeVar("Callback", bound=Callable[[Any], object])


class CopilotProxy:
    """A gateway that a program starts and stops by itself, as often as it likes.

    Without a `handler` Copilot answers, with the GitHub token of `settings`. An argument left out (or None) is what
    `settings` sets, else its default: host 127.0.0.1, a free port, 60 requests a minute (0: no limit), max_tokens 256
    within a limit of 8192. `auth_token` is a key that callers must send; `require_auth` without any key refuses
    everyone. Without `settings` nothing is shared through Redis.

    SettingsError, a ValueError, when the arguments cannot be used: also for a host that other machines reach without
    an `auth_token`.
    """

    def __init__(
        self,
        handler: CompletionHandler | None = None,
        *,
        host: str | None = None,
        port: int | None = None,
        auth_token: str | None = None,
        require_auth: bool | None = None,
        max_tokens: int | None = None,
        max_tokens_limit: int | None = None,
        rate_limit_per_minute: int | None = None,
        settings: Settings | None = None,
        stop_timeout_seconds: float = 10.0,
    ) -> None:
        if not 0 <= stop_timeout_seconds < math.inf:
            raise ValueError("stop_timeout_seconds must be a number of seconds, 0 or more")
        given = {
            "host": host,
            "port": port,
            "require_auth": require_auth,
            "max_tokens": max_tokens,
            "max_tokens_limit": max_tokens_limit,
            "rate_limit_per_minute": rate_limit_per_minute,
        }
        self._settings = _settings(given, auth_token, settings)
        self._app = create_app(self._settings, handler=handler)
        self._stop_timeout_seconds = stop_timeout_seconds
        self._life = threading.RLock()
        self._server: ThreadedServer | None = None
        self._request_count = 0
        self._counting = threading.Lock()
        self._callbacks: dict[str, tuple[Callable[[Any], object], ...]] = {"listening": (), "error": ()}

    @property
    def url(self) -> str:
        """Where it is reached, without a slash at the end. RuntimeError unless it has been started."""
        host = _CALLABLE_HOSTS.get(self._settings.host, self._settings.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def port(self) -> int:
        """The port it listens on, also when 0 was asked for. RuntimeError unless it has been started."""
        server = self._server
        if server is None:
            raise RuntimeError("the proxy is not running")
        return server.port

    @property
    def is_running(self) -> bool:
        """Whether it takes new requests: false from the moment a stop begins."""
        server = self._server
        return server is not None and server.is_accepting

    @property
    def request_count(self) -> int:
        """How many requests have come, refused ones too, since this object was made."""
        return self._request_count

    @overload
    def on(self, event: Event, callback: Callback) -> Callback: ...
    @overload
    def on(self, event: Event) -> Callable[[Callback], Callback]: ...
    def on(self, event: Event, callback: Callback | None = None) -> Callback | Callable[[Callback], Callback]:
        """Calls `callback` with the URL at each `listening`, with the exception at each `error`; also a decorator.

        `error`: the port could not be taken, or the server itself failed later; a request's failure is its answer.
        Callbacks run on the thread where it happens; what they raise is logged. ValueError for another event.
        """
        if event not in self._callbacks:
            raise ValueError(f"there is no such event; use one of {', '.join(self._callbacks)}")

        def subscribe(callback: Callback) -> Callback:
            with self._life:
                self._callbacks[event] += (callback,)
            return callback

        return subscribe if callback is None else subscribe(callback)

    def start(self) -> None:
        """Listens, then returns. OSError when the port cannot be taken, RuntimeError when it is running already."""
        try:
            url = self._start()
        except OSError as exc:
            self._emit("error", exc)
            raise
        self._emit("listening", url)

    def stop(self) -> None:
        """Takes no more requests, waits for those that run, and cuts them at the deadline.

        Without effect when it is not running; a second call meanwhile waits for the first.
        """
        server = self._server
        if server is not None:
            self._stop(server)

    def __enter__(self) -> "CopilotProxy":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def _start(self) -> str:
        with self._life:
            if self._server is not None:
                raise RuntimeError("the proxy is running already")
            listener = _listener(self._settings.host, self._settings.port)
            server = ThreadedServer(
                listener, self._app, on_request=self._count, on_error=lambda error: self._emit("error", error)
            )
            threading.Thread(target=self._serve, args=(server,), name="copilotapi-proxy", daemon=True).start()
            self._server = server
            self._app.extensions["copilotapi.refresher"].start()
            return self.url

    def _serve(self, server: ThreadedServer) -> None:
        try:
            server.serve()
        except ListenerLost as exc:
            log.error("listener_lost", exc_info=exc)
            self._stop(server)
            self._emit("error", exc)

    def _stop(self, server: ThreadedServer) -> None:
        with self._life:
            if self._server is not server:
                return
            cut_count = server.drain(self._stop_timeout_seconds)
            self._app.extensions["copilotapi.refresher"].stop()
            self._server = None
        if cut_count:
            log.warning("requests_cut", extra={"count": cut_count, "after_seconds": self._stop_timeout_seconds})

    def _count(self) -> None:
        with self._counting:
            self._request_count += 1

    def _emit(self, event: Event, value: object) -> None:
        for callback in self._callbacks[event]:
            try:
                callback(value)
            except Exception:  # a stranger's code, which must not end our thread
                log.exception("callback_failed", extra={"event_name": event})


def _settings(given: dict[str, Any], auth_token: str | None, base: Settings | None) -> Settings:
    inherited = {"redis_url": "memory://"} if base is None else _set_values(base)
    values = {**_DEFAULTS, **inherited, **{name: value for name, value in given.items() if value is not None}}
    values["web_concurrency"] = 1
    if auth_token is not None:
        values["api_keys"] = tuple(dict.fromkeys((*values.get("api_keys", ()), SecretStr(auth_token))))
    limit = values.get("max_tokens_limit", Settings.model_fields["max_tokens_limit"].default)
    default = values.get("max_tokens", Settings.model_fields["max_tokens"].default)
    if isinstance(limit, int) and isinstance(default, int):
        values["max_tokens"] = min(default, limit)
    try:
        return _checked(values)
    except SettingsError as exc:
        problems = tuple(_by_arguments(problem, given) for problem in exc.problems)
        raise SettingsError(problems) from None  # the same error in this caller's words


def _by_arguments(problem: str, names: Iterable[str]) -> str:
    problem = re.sub(r"API_KEYS( \(item \d+\))?", "auth_token", problem)
    names_of_settings = "|".join(names).upper()
    return re.sub(rf"\b({names_of_settings})\b", lambda found: found[0].lower(), problem)


def _checked(values: dict[str, Any]) -> Settings:
    if not values.get("require_auth") or values.get("api_keys") or values.get("admin_key"):
        return Settings(**values)
    # Judged without the key that nobody holds: it would pass for one that opens a host to other machines.
    Settings(**{**values, "require_auth": False})
    return Settings(**values, api_keys=(secrets.token_urlsafe(32),))


def _set_values(settings: Settings) -> dict[str, Any]:
    """What was set on purpose, by the names that Settings is called with."""
    fields = Settings.model_fields
    return {str(fields[name].validation_alias or name): getattr(settings, name) for name in settings.model_fields_set}


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as exc:
        raise OSError(exc.errno, f"cannot listen on {host} port {port}: {exc.strerror}") from exc
