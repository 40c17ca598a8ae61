"""What every answer goes through: its stream or body, its errors in the caller's protocol, its headers, its log line."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import orjson
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Rule

from copilotapi.blueprints.web_app import Answer, Incoming, add_headers, this_request
from copilotapi.errors import ApiError, CallerGone
from copilotapi.logs import FactRecord
from copilotapi.loop import CallerSocket, caller_socket
from copilotapi.metering.metrics import Metrics
from copilotapi.protocols import openai_errors
from copilotapi.protocols.conversation import JSON
from copilotapi.redaction import redact
from copilotapi.relay import Call
from copilotapi.reply import Reply
from copilotapi.upstream.client import Waiting, finish
from copilotapi.upstream.transport import TICK_SECONDS

log = logging.getLogger("copilotapi.request")

# A status that comes within 20 s is told as a status; after it, headers and heartbeats begin, one each 10 s of silence
# (contract 3, 7.7). Silence is reported each TICK_SECONDS or more often: the report nearest to those times is meant.
_GRACE_SECONDS = 20.0 - TICK_SECONDS / 2
_HEARTBEAT_SECONDS = 10.0 - TICK_SECONDS / 20
# A method may be any word; a metric's label may not.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})
_PROBES = frozenset({"/health", "/ready", "/metrics"})


def json_response(body: JSON, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, content_type="application/json")


def new_call(incoming: Incoming) -> Call:
    """A request whose body was read, for the gateway."""
    refuses_fallback = incoming.environ.get("HTTP_X_COPILOTAPI_NO_FALLBACK", "").strip() in ("1", "true")
    key_id = incoming.known_caller().key_id
    incoming.call = call = Call(
        incoming.request_id, key_id, incoming.json_body, incoming.raw_body, refuses_fallback=refuses_fallback
    )
    return call


class Dialect(Protocol):
    """How a protocol tells of errors and keeps a silent stream alive; a module of `protocols`."""

    @property
    def HEARTBEAT(self) -> bytes: ...
    def encode_error(self, error: ApiError, request_id: str) -> JSON: ...
    def encode_stream_error(self, error: ApiError, request_id: str) -> bytes: ...


class Responder:
    """Turns replies into answers, for all blueprints of one app. At most `max_streams` of them are streams at a time."""

    def __init__(self, metrics: Metrics, max_streams: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._max_streams = max_streams
        self._clock = clock
        self._open_streams = 0

    def respond(
        self,
        opening: Waiting[Reply],
        *,
        is_streamed: bool,
        call: Call,
        caller_socket: CallerSocket,
        dialect: Dialect = openai_errors,
    ) -> Response:
        """The answer to a completion. Raises what `opening` raises before anything has gone to the caller."""
        caller_socket.limit_waits()
        caller_socket.watch(call.hangup.hang_up)
        if not is_streamed:
            return _whole(opening)
        self._open_stream()
        try:
            return self._streamed(opening, call, dialect)
        except BaseException:
            self._close_stream()
            raise

    def _streamed(self, opening: Waiting[Reply], call: Call, dialect: Dialect) -> Response:
        stream = EventStream(opening, call, dialect, self._close_stream, self._clock)
        return _event_stream(stream, stream.headers_in_time())

    def _open_stream(self) -> None:
        if self._open_streams >= self._max_streams:
            message = "Too many answers are being streamed already (MAX_STREAMS). Try again in a moment."
            raise ApiError(
                message, status=429, kind="rate_limit_error", code="gateway_streams_full", retry_after_seconds=5
            )
        self._open_streams += 1
        self._metrics.open_streams.inc()

    def _close_stream(self) -> None:
        self._open_streams -= 1
        self._metrics.open_streams.dec()


def _whole(opening: Waiting[Reply]) -> Response:
    reply = finish(opening)
    try:
        body = b"".join([reply.first, *filter(None, reply.rest)])
        reply.end()
    except ApiError as exc:
        reply.fail(exc)
        raise
    finally:
        reply.close()
    return Answer(body, reply.headers, "application/json")


def _event_stream(stream: "EventStream", headers: dict[str, str]) -> Response:
    # nginx buffers answers of an upstream unless told otherwise.
    headers = {**headers, "Cache-Control": "no-cache, no-store", "X-Accel-Buffering": "no"}
    return Answer(stream, headers, "text/event-stream; charset=utf-8")


class EventStream:
    """A reply as the bytes of a stream. A failure becomes the protocol's own last event; silence becomes heartbeats."""

    __slots__ = ("_call", "_clock", "_dialect", "_is_open", "_on_close", "_opening", "_reply")

    def __init__(
        self,
        opening: Waiting[Reply],
        call: Call,
        dialect: Dialect,
        on_close: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._reply: Reply | None = None
        self._opening = self._opened(opening)
        self._call = call
        self._dialect = dialect
        self._on_close = on_close
        self._clock = clock
        self._is_open = True

    def headers_in_time(self) -> dict[str, str]:
        """The reply's headers; none when it is late: then the stream begins before it, with a heartbeat."""
        started = self._clock()
        for _ in self._opening:
            if self._clock() - started >= _GRACE_SECONDS:
                break
        return self._reply.headers if self._reply is not None else {}

    def __iter__(self) -> Iterator[bytes]:
        try:
            if self._reply is None:
                yield from self._heartbeats()
            reply = self._known_reply()
            yield reply.take_first()
            clock = self._clock
            sent = clock()
            for piece in reply.rest:
                if piece:
                    yield piece
                    sent = clock()
                elif clock() - sent >= _HEARTBEAT_SECONDS:
                    yield self._dialect.HEARTBEAT
                    sent = clock()
            reply.end()
        except CallerGone as exc:
            self._fail(exc)
        except ApiError as exc:
            self._fail(exc)
            yield self._dialect.encode_stream_error(shown(exc), self._call.request_id)
        except Exception:
            log.exception("stream_failed", extra={"request_id": self._call.request_id})
            error = _internal_error(self._call.request_id)
            self._fail(error)
            yield self._dialect.encode_stream_error(error, self._call.request_id)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._on_close()
            self._opening.close()
            if self._reply is not None:
                self._reply.close()

    def _opened(self, opening: Waiting[Reply]) -> Waiting[None]:
        self._reply = yield from opening

    def _heartbeats(self) -> Iterator[bytes]:
        """Until the reply is there."""
        yield self._dialect.HEARTBEAT
        sent = self._clock()
        for _ in self._opening:
            if self._clock() - sent >= _HEARTBEAT_SECONDS:
                yield self._dialect.HEARTBEAT
                sent = self._clock()

    def _known_reply(self) -> Reply:
        if self._reply is None:
            raise RuntimeError("an answer ended before it began")
        return self._reply

    def _fail(self, error: ApiError) -> None:
        if self._reply is not None:
            self._reply.fail(error)
        self._call.facts["outcome"] = error.code or error.kind


class ExactRule(Rule):
    """Takes the methods it names. Werkzeug would let HEAD in wherever GET is, and HEAD would do a GET's work."""

    def __init__(self, string: str, **options: Any) -> None:
        super().__init__(string, **options)
        self.methods = {*options["methods"]}


def shown(error: ApiError) -> ApiError:
    """The error as the caller may see it: whatever it quotes, no secret comes through."""
    error.message = redact(error.message)
    return error


def error_response(error: ApiError, dialect: Dialect) -> Response:
    """The one place where an error becomes an answer."""
    response = json_response(dialect.encode_error(shown(error), this_request().request_id), error.status)
    response.headers.update(error.headers)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    return response


def install(app: Flask, metrics: Metrics, dialect_of: Callable[[Request], Dialect]) -> None:
    """Error handlers, common headers and the request log; before any route is added, for it says how they match.

    `dialect_of` tells in whose words a request is to be refused; it is asked for unknown paths, too.
    """
    app.url_rule_class = ExactRule  # type: ignore[assignment]
    app.url_map.strict_slashes = False
    # A redirect would be an answer without JSON's shape, and one more spelling that reaches a route.
    app.url_map.merge_slashes = False

    def begin() -> None:
        incoming = this_request()
        incoming.started = time.monotonic()
        incoming.caller_socket = caller_socket(incoming.environ)

    def on_api_error(error: ApiError) -> Response:
        incoming = this_request()
        incoming.outcome = error.code or error.kind
        return error_response(error, dialect_of(incoming))

    def on_http_error(error: HTTPException) -> Response:
        return on_api_error(_translated(error))

    def on_failure(error: Exception) -> Response:
        incoming = this_request()
        log.exception("request_failed", extra={"request_id": incoming.request_id, "route": _route(incoming)})
        return on_api_error(_internal_error(incoming.request_id))

    def conclude(response: Response) -> Response:
        incoming = this_request()
        _tell_of_us(response, incoming.request_id)
        facts = _facts(incoming, response)
        call, started = incoming.call, incoming.started
        connection, body = incoming.caller_socket, incoming.environ["wsgi.input"]

        def end() -> None:
            connection.release()
            connection.discard(body)
            duration_ms = round((time.monotonic() - started) * 1000, 1)
            # Probes come every few seconds, for ever.
            level = logging.DEBUG if facts["route"] in _PROBES else logging.INFO
            if log.isEnabledFor(level):
                facts["duration_ms"] = duration_ms
                if call is not None:
                    facts.update(call.facts)
                log.handle(FactRecord(log.name, level, "request", facts))

        response.call_on_close(end)
        method = incoming.method if incoming.method in _METHODS else "other"
        metrics.count_request(facts["route"], method, str(response.status_code))
        return response

    app.before_request(begin)
    app.register_error_handler(ApiError, on_api_error)
    app.register_error_handler(HTTPException, on_http_error)
    app.register_error_handler(Exception, on_failure)
    app.after_request(conclude)


def _tell_of_us(response: Response, request_id: str) -> None:
    fields = [
        ("X-Request-Id", request_id),
        # Under this name Anthropic's clients look for it.
        ("Request-Id", request_id),
        # Editors take an answer below 500 without it for a corporate proxy's (copilot-wire 9.1).
        ("X-GitHub-Request-Id", request_id),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if not any(name == "Cache-Control" for name, _ in response.headers):
        fields.append(("Cache-Control", "no-store"))
    add_headers(response.headers, fields)


def _facts(incoming: Incoming, response: Response) -> dict[str, Any]:
    """What a log line tells of any request: no body, no header, no query."""
    caller = incoming.caller
    facts: dict[str, Any] = {
        "request_id": incoming.request_id,
        "method": incoming.method,
        "route": _route(incoming),
        "status": response.status_code,
        "address": incoming.remote_addr,
        "key": caller.key_id if caller else None,
    }
    if incoming.outcome is not None:
        facts["outcome"] = incoming.outcome
    return facts


def _route(incoming: Incoming) -> str:
    return incoming.url_rule.rule if incoming.url_rule else "unmatched"


def _internal_error(request_id: str) -> ApiError:
    message = f"The gateway failed to handle this request. Its operator finds the cause in the log, under {request_id}."
    return ApiError(message, status=500, kind="server_error", code="internal_error")


def _translated(error: HTTPException) -> ApiError:
    if isinstance(error, NotFound):
        message = "There is nothing at this path. Is the base URL right? For OpenAI's clients it ends in /v1."
        return ApiError(message, status=404, kind="invalid_request_error", code="not_found")
    if isinstance(error, MethodNotAllowed):
        allowed = ", ".join(sorted(error.valid_methods or ()))
        message = f"The method {request.method[:20]} is not allowed here; use {allowed}."
        headers = {"Allow": allowed}
        return ApiError(message, status=405, kind="invalid_request_error", code="method_not_allowed", headers=headers)
    status = error.code or 500
    kind = "invalid_request_error" if status < 500 else "server_error"
    return ApiError(error.description or error.name, status=status, kind=kind, code="http_error")
