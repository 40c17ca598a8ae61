"""Anthropic's error object, whole and as the last event of a stream, and its heartbeat.

https://docs.claude.com/en/api/errors lists the types.
"""

import re

import orjson

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import JSON
from copilotapi.sse import dump

HEARTBEAT = dump(b'{"type": "ping"}', b"ping")
_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES: dict[str, tuple[int, str]] = {
    "invalid_request_error": (400, "invalid_request_error"),
    "billing_error": (402, "insufficient_quota"),
    "permission_error": (403, "permission_error"),
    "not_found_error": (404, "invalid_request_error"),
    "request_too_large": (413, "invalid_request_error"),
    "rate_limit_error": (429, "rate_limit_error"),
    "overloaded_error": (503, "server_error"),
    "timeout_error": (504, "server_error"),
    # Our own sign-in, never the caller's.
    "authentication_error": (503, "server_error"),
}
_TOO_LONG = "prompt is too long"
# Claude Code reads both: it compacts on the first and asks for less on the second.
_UNDERSTOOD = re.compile(r"\Aprompt is too long|exceed context limit: \d+ \+ \d+ > \d+")
# Token counts, not the digits of a model's name.
_COUNT = re.compile(r"(?<![\w.,-])(?:\d{1,3}(?:,\d{3})+|\d{3,})(?![\w-]|\.\d)")


def encode_error(error: ApiError, request_id: str) -> JSON:
    told = {"type": _type(error.status), "message": _message(error)}
    return {"type": "error", "error": told, "request_id": request_id}


def encode_stream_error(error: ApiError, request_id: str) -> bytes:
    """The last event of a stream that failed; no message_stop follows it."""
    return dump(orjson.dumps(encode_error(error, request_id)), b"error")


def told_error(told: object) -> ApiError:
    """What an error inside Copilot's stream or answer means. Anthropic's envelope and CAPI's both occur (copilot-wire 7.4)."""
    fields = told if isinstance(told, dict) else {"message": str(told)}
    message = str(fields.get("message") or "Copilot broke off with an error.")[:1000]
    kind = str(fields.get("type") or "")
    status, our_kind = _STATUSES.get(kind, (502, "server_error"))
    code = fields.get("code") or kind
    return ApiError(message, status=status, kind=our_kind, code=str(code) if code else "upstream_error")


def _type(status: int) -> str:
    return _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def _message(error: ApiError) -> str:
    """Claude Code compacts only on this wording of a prompt that is too long (copilot-wire 8.2)."""
    if error.code != "context_length_exceeded" or _UNDERSTOOD.search(error.message):
        return error.message
    counts = [int(count.replace(",", "")) for count in _COUNT.findall(error.message)][:2]
    if len(counts) < 2 or counts[0] == counts[1]:
        return f"{_TOO_LONG}: {error.message}"
    return f"{_TOO_LONG}: {max(counts)} tokens > {min(counts)} maximum"
