"""One call to Copilot: bearer, headers, a slot, the retries that are allowed, the status checked. Then the open answer.

A call is a generator that yields None whenever it has waited a while, so that whoever drives it can keep its own
caller's connection alive; its return value is the answer. Knows no protocol: bytes in, bytes out.
"""

import logging
import random
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import orjson
import requests

from copilotapi.errors import ApiError, CallerGone, UpstreamFailed, UpstreamRefused
from copilotapi.upstream.credentials import CopilotToken, Credentials
from copilotapi.upstream.headers import Identification
from copilotapi.upstream.refusals import passed_headers, refusal, without
from copilotapi.upstream.slots import Slots
from copilotapi.upstream.transport import TICK_SECONDS, AdapterExchange, AnswerHead, Clocks, Exchange, Transport

log = logging.getLogger(__name__)

T = TypeVar("T")
Waiting = Generator[None, None, T]
Host = Literal["api", "proxy"]

_SLOT_WAIT_SECONDS = 30.0
# Less is no wait.
_NOTICED_SECONDS = 0.001
_MAX_ERROR_BYTES = 65_536
_MAX_ANSWER_BYTES = 32 * 1024 * 1024
# A list, not an answer that is being thought about; a request may be waiting for it.
_CATALOGUE_CLOCKS = Clocks(connect_seconds=5, first_byte_seconds=10, idle_seconds=10, total_seconds=15)
_RETRIED_STATUSES = (502, 503, 504)
# What an editor's own client says it wants of each host (copilot-wire 4.2 and 9.1).
_INTENTS: dict[Host, str] = {"api": "conversation-panel", "proxy": "copilot-ghost"}
_RETRY_PAUSE_SECONDS = (0.25, 0.75)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What goes to Copilot, but for the bearer and the identification. `path` follows the base URL of `host`.

    Without `clocks` the client's own run.
    """

    path: str
    request_id: str
    host: Host = "api"
    method: Literal["GET", "POST"] = "POST"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    clocks: Clocks | None = None


class Hangup:
    """Tells a call that its caller is gone. `hang_up` may come from any thread, at any time, and never blocks."""

    def __init__(self) -> None:
        self.is_set = False
        self._exchange: Exchange | None = None

    def hang_up(self) -> None:
        self.is_set = True
        if (exchange := self._exchange) is not None:
            exchange.abort()

    def follow(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.check(exchange)

    def check(self, exchange: Exchange | None = None) -> None:
        if self.is_set:
            if exchange is not None:
                exchange.close()
            raise CallerGone


class Answer:
    """Copilot's answer, its status known to be 2xx. Whoever receives one closes it."""

    def __init__(self, response: AnswerHead, exchange: Exchange, secrets: tuple[str, ...] = ()) -> None:
        self.headers = response.headers
        self.passed_headers = passed_headers(response.headers, secrets)
        # The next bytes as they came; b"" at the end; None after ten seconds of silence. UpstreamFailed, CallerGone.
        self.read: Callable[[], bytes | None] = exchange.read
        self._exchange = exchange
        self._secrets = secrets

    def read_whole(self) -> Waiting[bytes]:
        """The whole body, at most 32 MiB of it."""
        body = bytearray()
        while (received := self.read()) != b"":
            if received is None:
                yield
                continue
            body += received
            if len(body) > _MAX_ANSWER_BYTES:
                raise UpstreamFailed("Copilot's answer is too long.", code="upstream_bad_response")
        return bytes(body)

    def clear_of_secrets(self, error: ApiError) -> None:
        """Takes out of an error made from this answer what was sent to get it: Copilot may echo it."""
        error.message = without(self._secrets, error.message)
        error.code = without(self._secrets, error.code) if error.code else error.code

    def read_json(self) -> Waiting[Any]:
        """The whole body as JSON, and the answer closed. UpstreamFailed when it is none."""
        try:
            return orjson.loads((yield from self.read_whole()))
        except orjson.JSONDecodeError as exc:
            raise UpstreamFailed("Copilot's answer is not JSON.", code="upstream_bad_response") from exc
        finally:
            self.close()

    def finish(self) -> None:
        """As `close`, after a stream's own end: what little follows it is taken, and its connection can serve again."""
        self._exchange.finish()

    def close(self) -> None:
        self._exchange.close()


class CopilotClient:
    """`session` carries the adapters; mount another one to test. `upstream_concurrency` calls wait for a head at once."""

    def __init__(
        self,
        credentials: Credentials,
        identification: Identification,
        session: requests.Session,
        clocks: Clocks,
        upstream_concurrency: int,
        *,
        on_retry: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._credentials = credentials
        self._identification = identification
        self._session = session
        self._clocks = clocks
        self._slots = Slots(upstream_concurrency)
        self._on_retry = on_retry

    def has_completion_host(self) -> bool:
        """Whether the account was told where inline completions go."""
        return self._credentials.current().proxy_url is not None

    def send(self, outgoing: Outgoing, hangup: Hangup, attempts: Literal[1, 2] = 2) -> Waiting[Answer]:
        """Copilot's answer, its status 200, after at most `attempts` calls: each may cost the account a request.

        Raises UpstreamRefused, UpstreamFailed, SignInFailed, CallerGone.
        """
        copilot_token = self._credentials.current()
        try:
            return (yield from self._once(copilot_token, outgoing, hangup))
        except UpstreamRefused as exc:
            if attempts < 2 or exc.upstream_status not in (401, *_RETRIED_STATUSES):
                raise
            fields = {"request_id": outgoing.request_id, "upstream_status": exc.upstream_status}
            log.info("upstream_retry", extra=fields)
            first_status = exc.upstream_status
        copilot_token = self._before_retry(first_status, copilot_token)
        try:
            return (yield from self._once(copilot_token, outgoing, hangup))
        except UpstreamRefused as exc:
            if first_status == exc.upstream_status == 401:
                raise self._credentials.rejected_again() from exc
            raise

    def list_models(self) -> list[dict[str, Any]]:
        """The `data` of GET /models. ApiError when there is none to be had."""
        outgoing = Outgoing("/models", "catalogue", method="GET", clocks=_CATALOGUE_CLOCKS)
        answer = finish(self.send(outgoing, Hangup()))
        try:
            listed = orjson.loads(finish(answer.read_whole()))["data"]
        except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
            raise UpstreamFailed("Copilot's model list could not be read.", code="upstream_bad_response") from exc
        finally:
            answer.close()
        if not isinstance(listed, list):
            raise UpstreamFailed("Copilot's model list could not be read.", code="upstream_bad_response")
        return listed

    def _before_retry(self, status: int, copilot_token: CopilotToken) -> CopilotToken:
        """A 401 is about our token, never about the caller: another token. Anything else: the same one after a pause."""
        if status == 401:
            self._on_retry("token")
            return self._credentials.replace(copilot_token)
        self._on_retry("status")
        time.sleep(random.uniform(*_RETRY_PAUSE_SECONDS))
        return copilot_token

    def _once(self, copilot_token: CopilotToken, outgoing: Outgoing, hangup: Hangup) -> Waiting[Answer]:
        url = _base_url(copilot_token, outgoing.host) + outgoing.path
        headers = self._identification.to_copilot(copilot_token.secret, outgoing.request_id, _INTENTS[outgoing.host])
        headers.update(outgoing.headers)
        yield from self._slot(hangup)
        try:
            exchange = self._start(outgoing, url, headers)
            try:
                hangup.follow(exchange)
                while (response := exchange.wait_head(TICK_SECONDS)) is None:
                    yield
            except BaseException:
                exchange.close()
                raise
        finally:
            self._slots.release()
        answer = Answer(response, exchange, (copilot_token.secret,))
        try:
            yield from self._check(response, answer, copilot_token)
        except BaseException:
            answer.close()
            raise
        return answer

    def _start(self, outgoing: Outgoing, url: str, headers: Mapping[str, str]) -> Exchange:
        """By whatever adapter is mounted for this URL: ours, but for tests and callers who mount their own."""
        adapter, clocks = self._session.get_adapter(url), outgoing.clocks or self._clocks
        if isinstance(adapter, Transport):
            return adapter.start(outgoing.method, url, headers, outgoing.body, clocks)
        return AdapterExchange(adapter, outgoing.method, url, headers, outgoing.body, clocks)

    def _slot(self, hangup: Hangup) -> Waiting[None]:
        """Waits for one of the slots, at most 30 s: UPSTREAM_CONCURRENCY keeps us a quiet client (contract 3)."""
        started = time.monotonic()
        give_up = started + _SLOT_WAIT_SECONDS
        while not self._slots.acquire(min(TICK_SECONDS, max(give_up - time.monotonic(), 0.01))):
            hangup.check()
            if time.monotonic() >= give_up:
                message = "Too many calls to Copilot are waiting already. Try again in a moment."
                raise ApiError(
                    message, status=429, kind="rate_limit_error", code="gateway_queue_full", retry_after_seconds=5
                )
            yield
        if time.monotonic() - started > _NOTICED_SECONDS:
            # That the caller left meanwhile may be known to the system and not yet to us: the loop looks in this time.
            time.sleep(_NOTICED_SECONDS)
        if hangup.is_set:
            self._slots.release()
            raise CallerGone

    def _check(self, response: AnswerHead, answer: Answer, copilot_token: CopilotToken) -> Waiting[None]:
        status = response.status_code
        is_readable = response.headers.get("Content-Encoding", "identity").lower() == "identity"
        if status != 200:
            told = (yield from _error_body(answer)) if is_readable else b""
            raise refusal(status, response.headers, told, (copilot_token.secret,))
        if not is_readable:
            message = "Copilot's answer is compressed although that was not asked for."
            raise UpstreamFailed(message, code="upstream_bad_response")


def _base_url(copilot_token: CopilotToken, host: Host) -> str:
    if host == "api":
        return copilot_token.api_url
    if copilot_token.proxy_url is None:
        raise UpstreamFailed("This account has no host for inline completions.", code="no_completion_host")
    return copilot_token.proxy_url


def finish(waiting: Waiting[T]) -> T:
    """Drives a call to its end for a caller who has no connection to keep alive."""
    while True:
        try:
            next(waiting)
        except StopIteration as end:
            result: T = end.value
            return result


def _error_body(answer: Answer) -> Waiting[bytes]:
    """As much of an error's text as came: that it was cut is less than the error itself."""
    body = bytearray()
    try:
        while (received := answer.read()) != b"" and len(body) < _MAX_ERROR_BYTES:
            if received is None:
                yield
                continue
            body += received
    except UpstreamFailed:
        pass
    return bytes(body[:_MAX_ERROR_BYTES])
