"""What an error answer of Copilot means for the caller (copilot-wire 8). Pure: status, headers, body in; ApiError out."""

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from copilotapi.errors import UpstreamRefused
from copilotapi.redaction import REDACTED, redact

_MAX_TOLD_CHARS = 1000
_MAX_RETRY_AFTER_SECONDS = 30 * 86_400.0
_CONTEXT_CODES = ("model_max_prompt_tokens_exceeded", "context_length_exceeded", "prompt_too_long")
_QUOTA_CODES = ("quota_exceeded", "free_quota_exceeded", "overage_limit_reached", "billing_not_configured")
_ACCOUNT_WIDE_LIMITS = ("user_global", "user_weekly", "quota", "integration_", "extension_blocked")
# Headers of an answer that help whoever reads it (copilot-wire 4.2); nothing else of it is passed on.
_PASSED_HEADERS = ("x-ratelimit-", "x-quota-snapshot-")
# Told without a code by older back ends (copilot-wire 8.2).
_TOO_LONG = re.compile(
    r"prompt token count of \d+ exceeds the limit|too large for model context window|prompt is too long: \d+ tokens"
)
_SPENT = re.compile(r"\bquota exceeded\b", re.IGNORECASE)
_MARKUP = re.compile(r"\A\s*<|<\s*(?:!doctype|html|body|head)", re.IGNORECASE)


class Told(NamedTuple):
    """The envelope of an error, however it was wrapped. `code` and `param` are "" when absent."""

    message: str
    code: str
    param: str


class _Meaning(NamedTuple):
    status: int
    kind: str
    code: str | None


def refusal(status: int, headers: Mapping[str, str], body: bytes, secrets: tuple[str, ...] = ()) -> UpstreamRefused:
    """The error to raise for a non-2xx answer. `secrets` never come through, whatever Copilot echoes."""
    told = read_envelope(body) if status >= 400 else Told("", "", "")
    told = Told(*(without(secrets, field) for field in told))
    meaning = _meaning(status, told)
    message = told.message or f"Copilot answered {status} without saying why."
    return UpstreamRefused(
        redact(message),
        status=meaning.status,
        kind=meaning.kind,
        code=meaning.code,
        param=told.param or ("model" if meaning.code == "model_not_found" else None),
        upstream_status=status,
        upstream_code=told.code,
        retry_after_seconds=retry_after_seconds(headers),
        headers=passed_headers(headers, secrets),
    )


def without(secrets: tuple[str, ...], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


def read_envelope(body: bytes) -> Told:
    """JSON with or without `error` around it, or plain text: all occur, whatever Content-Type says (copilot-wire 8.1)."""
    try:
        parsed: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body.decode("utf-8", "replace")
        return Told("" if _MARKUP.search(text) else _one_line(text), "", "")
    inner = (parsed.get("error") or parsed) if isinstance(parsed, dict) else parsed
    if not isinstance(inner, dict):
        return Told(_one_line(inner) if isinstance(inner, str) else "", "", "")
    return Told(_one_line(_text(inner, "message")), _text(inner, "code"), _text(inner, "param"))


def is_account_wide(refused: UpstreamRefused) -> bool:
    """A limit of the account itself: another model would meet it as well."""
    return refused.upstream_status == 402 or refused.upstream_code.startswith(_ACCOUNT_WIDE_LIMITS)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After as seconds, from a number or an HTTP date; None when it is absent or makes no sense."""
    told = headers.get("Retry-After")
    if told is None:
        return None
    try:
        seconds = float(told)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(told).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS) if seconds == seconds else None


def passed_headers(headers: Mapping[str, str], secrets: tuple[str, ...] = ()) -> dict[str, str]:
    passed = ((name, value) for name, value in headers.items() if name.lower().startswith(_PASSED_HEADERS))
    return {name: without(secrets, value) for name, value in passed}


def _meaning(status: int, told: Told) -> _Meaning:
    # A code may have a suffix after a colon (copilot-wire 8.2).
    code = told.code.partition(":")[0]
    if code.startswith(_CONTEXT_CODES) or (not code and _TOO_LONG.search(told.message)):
        return _Meaning(400, "invalid_request_error", "context_length_exceeded")
    if code == "model_not_supported":
        return _Meaning(404, "invalid_request_error", "model_not_found")
    if status == 402 or code.startswith(_QUOTA_CODES) or (status == 429 and _is_spent(told)):
        # Not OpenAI's 429: its SDKs would retry, and a spent quota is not to be probed.
        return _Meaning(402, "insufficient_quota", "insufficient_quota")
    if status == 429 or code == "rate_limited":
        return _Meaning(429, "rate_limit_error", code or "rate_limit_exceeded")
    if status == 401:
        return _Meaning(503, "server_error", "copilot_sign_in_required")
    if status == 403:
        return _Meaning(403, "permission_error", code or "copilot_forbidden")
    if status == 408:
        return _Meaning(504, "server_error", "upstream_timeout")
    if status in (421, 499):
        return _Meaning(502, "server_error", code or "upstream_error")
    if status == 422:
        return _Meaning(400, "invalid_request_error", "content_filter")
    if status == 466:
        return _Meaning(502, "server_error", "copilot_client_version_refused")
    if 400 <= status < 500:
        return _Meaning(status, "invalid_request_error", code or None)
    if status in (503, 504):
        return _Meaning(status, "server_error", code or "upstream_unavailable")
    return _Meaning(502, "server_error", code or "upstream_error")


def _is_spent(told: Told) -> bool:
    return not told.code and _SPENT.search(told.message) is not None


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _one_line(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text[: 4 * _MAX_TOLD_CHARS])
    return " ".join(printable.split())[:_MAX_TOLD_CHARS]
