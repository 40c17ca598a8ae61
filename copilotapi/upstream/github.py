"""Calls to GitHub itself: the token exchange and the account. Says what an answer means, keeps nothing."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TypeGuard

import orjson
import requests

from copilotapi.errors import UpstreamFailed
from copilotapi.redaction import REDACTED, redact
from copilotapi.upstream.headers import Identification
from copilotapi.upstream.transport import AnswerHead, Clocks, Transport

_SHORTEST_TOKEN = 8
_MAX_ANSWER_BYTES = 1_048_576
_MAX_TOKEN_CHARS = 16_384
# The whole exchange, header drip included (contract 7.2).
EXCHANGE_CLOCKS = Clocks(connect_seconds=5, first_byte_seconds=10, idle_seconds=10, total_seconds=10)
_MAX_PAUSE_SECONDS = 3600.0
_MAX_LIFE_SECONDS = 3600.0
_MIN_LIFE_SECONDS = 30.0


class ExchangeRefused(Exception):
    """No token. `temporary`: worth another try by itself; else something has to change at GitHub or in the settings.

    `pause_seconds` is GitHub's own wish for a pause, where it told one.
    """

    def __init__(
        self, message: str, *, code: str, temporary: bool, status: int = 0, pause_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.temporary = temporary
        self.status = status
        self.pause_seconds = pause_seconds


@dataclass(frozen=True, slots=True)
class ExchangedToken:
    """`life_seconds` counts from the moment of the answer. `endpoints` and `sku` are as GitHub named them."""

    copilot_token: str
    life_seconds: float
    endpoints: Mapping[str, Any]
    sku: str


class GitHub:
    """`api_url` is the REST host without a trailing slash."""

    def __init__(self, transport: Transport, api_url: str, identification: Identification) -> None:
        self._transport = transport
        self._api_url = api_url
        self._identification = identification

    def exchange(self, github_token: str) -> ExchangedToken:
        """GET /copilot_internal/v2/token (copilot-wire 2). ExchangeRefused for every other outcome than a token."""
        response, answer = self._get("/copilot_internal/v2/token", github_token)
        if response.status_code != 200:
            _refuse(response, answer)
        copilot_token = answer.get("token")
        if copilot_token is None and "error_details" in answer:
            _refuse_access(answer, 403)
        if not _is_header_text(copilot_token):
            raise _unreadable("it holds no usable token")
        return ExchangedToken(
            copilot_token=copilot_token,
            life_seconds=_life_seconds(answer, response.headers),
            endpoints=_object(answer.get("endpoints")),
            sku=str(answer.get("sku", "")),
        )

    def user(self, github_token: str) -> dict[str, Any]:
        """GET /copilot_internal/user (copilot-wire 3.1): plan, quotas, endpoints. ExchangeRefused when it is refused."""
        response, answer = self._get("/copilot_internal/user", github_token)
        if response.status_code != 200:
            _refuse(response, answer)
        return answer

    def accepts_directly(self, github_token: str, api_url: str) -> bool:
        """Whether Copilot takes the GitHub token itself as a bearer (copilot-wire 2.6)."""
        headers = self._identification.to_copilot(github_token, "direct-mode-probe")
        response, _ = self._fetch(f"{api_url}/models", headers, github_token)
        return response.status_code == 200

    def _get(self, path: str, github_token: str) -> tuple[AnswerHead, dict[str, Any]]:
        return self._fetch(self._api_url + path, self._identification.to_github(github_token), github_token)

    def _fetch(self, url: str, headers: dict[str, str], github_token: str) -> tuple[AnswerHead, dict[str, Any]]:
        """The answer and what it says: never the token it was asked with, whatever GitHub echoes."""
        request = requests.PreparedRequest()
        request.prepare(method="GET", url=url, headers=headers)
        try:
            response, body = fetch(self._transport, request)
        except UpstreamFailed as exc:
            raise ExchangeRefused(exc.message, code="copilot_token_unavailable", temporary=True) from exc
        # A token of few letters is none of GitHub's, and may well be a word of its answer.
        is_told_apart = len(github_token) >= _SHORTEST_TOKEN
        return response, _parsed(
            response, body.replace(github_token.encode(), REDACTED.encode()) if is_told_apart else body
        )


def fetch(transport: Transport, request: requests.PreparedRequest) -> tuple[AnswerHead, bytes]:
    """Asks GitHub within EXCHANGE_CLOCKS: the answer's head and its whole body. UpstreamFailed, told of GitHub."""
    try:
        exchange = transport.begin(request, EXCHANGE_CLOCKS)
        try:
            response = None
            while response is None:
                response = exchange.wait_head(EXCHANGE_CLOCKS.total_seconds)
            body = bytearray()
            while received := exchange.read1():
                body += received
                if len(body) > _MAX_ANSWER_BYTES:
                    raise UpstreamFailed("Copilot's answer is too long.", code="upstream_bad_response")
        finally:
            exchange.close()
    except UpstreamFailed as exc:
        message = f"GitHub gave no answer: {exc.message.replace('Copilot', 'GitHub')}"
        raise UpstreamFailed(message, code=exc.code or "", status=exc.status) from exc
    return response, bytes(body)


def _parsed(response: AnswerHead, body: bytes) -> dict[str, Any]:
    """The JSON object of an answer; {} for an error whose body is no JSON."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unreadable("it is compressed although that was not asked for")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        if response.status_code == 200:
            raise _unreadable("it is not JSON") from exc
        return {}
    return _object(parsed)


def _refuse(response: AnswerHead, answer: dict[str, Any]) -> NoReturn:
    """copilot-wire 2.5, as code."""
    status = response.status_code
    told = str(answer.get("message", ""))
    if status == 429 or (status == 403 and told.startswith("API rate limit exceeded")):
        message = "GitHub limits the requests of this account for the moment."
        pause_seconds = _pause_seconds(response.headers.get("Retry-After"))
        raise ExchangeRefused(
            message, code="copilot_token_unavailable", temporary=True, status=status, pause_seconds=pause_seconds
        )
    if status == 401:
        message = "GitHub does not accept the GitHub token. Run `copilotapi login`, or set GITHUB_COPILOT_TOKEN anew."
        raise ExchangeRefused(message, code="copilot_sign_in_required", temporary=False, status=status)
    if status == 403:
        _refuse_access(answer, status)
    if status == 404:
        message = "GitHub knows no Copilot for this account, or the token's application was not granted it."
        raise ExchangeRefused(message, code="copilot_access_refused", temporary=False, status=status)
    if 300 <= status < 400:
        message = "GitHub answered with a redirect, which is not followed. Check GITHUB_API_URL."
        raise ExchangeRefused(message, code="copilot_token_unavailable", temporary=True, status=status)
    message = f"GitHub answered {status} instead of a Copilot token."
    raise ExchangeRefused(message, code="copilot_token_unavailable", temporary=True, status=status)


def _refuse_access(answer: dict[str, Any], status: int) -> NoReturn:
    details = _object(answer.get("error_details"))
    told = redact(" ".join(str(details.get("message") or answer.get("message") or "").split()))[:300]
    page = str(details.get("url") or "")
    # Some addresses wait for an editor's name to be put in (copilot-wire 2.5).
    where = f" See {page}" if page.startswith("https://") and page.isprintable() and "{" not in page[:300] else ""
    message = "GitHub refuses Copilot to this account" + (f": {told}" if told else ".") + where[:300]
    raise ExchangeRefused(message, code="copilot_access_refused", temporary=False, status=status)


def _unreadable(why: str) -> ExchangeRefused:
    return ExchangeRefused(
        f"GitHub's token answer could not be used: {why}.", code="copilot_token_unavailable", temporary=True
    )


def _life_seconds(answer: dict[str, Any], headers: Mapping[str, str]) -> float:
    """refresh_in + 60 as VS Code computes it (copilot-wire 2.4); else expires_at against the answer's own Date."""
    refresh_in = answer.get("refresh_in")
    if isinstance(refresh_in, int) and not isinstance(refresh_in, bool) and 0 < refresh_in <= 86_400:
        return refresh_in + 60.0
    expires_at = answer.get("expires_at")
    if not isinstance(expires_at, (int, float)) or isinstance(expires_at, bool):
        return _MIN_LIFE_SECONDS
    answered_at = _unix_seconds(headers.get("Date")) or time.time()
    return min(max(expires_at - answered_at, _MIN_LIFE_SECONDS), _MAX_LIFE_SECONDS)


def _unix_seconds(http_date: str | None) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(http_date or "").timestamp()
    except ValueError:
        return None


def _pause_seconds(retry_after: str | None) -> float | None:
    """Seconds or an HTTP date (RFC 9110 10.2.3), bounded by an hour; None when it is neither."""
    if retry_after is None:
        return None
    try:
        wanted = float(retry_after)
    except ValueError:
        until = _unix_seconds(retry_after)
        if until is None:
            return None
        wanted = until - time.time()
    return min(max(wanted, 1.0), _MAX_PAUSE_SECONDS) if wanted == wanted else None


def _is_header_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_TOKEN_CHARS and value.isascii() and value.isprintable()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
