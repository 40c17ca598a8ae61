"""Every error an operation can answer with: status, code, an example in the caller's protocol, and which family has which.

Explained for operators in docs/operations.md, which a test compares.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from copilotapi.errors import ApiError
from copilotapi.openapi.shapes import TEXT, any_of, const, headers, optional, record, ref
from copilotapi.protocols import messages, openai_errors
from copilotapi.protocols.conversation import JSON

REQUEST_ID = "0f8c1c5e8d3f4a6e9b7d2c1a0e4f5b6d"
_INVALID, _LIMIT, _DENIED, _SERVER = "invalid_request_error", "rate_limit_error", "permission_error", "server_error"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One row: `label` names the example where a code is shared or absent."""

    status: int
    named: str | None
    kind: str
    message: str
    param: str | None = None
    label: str = ""


_GUARD = (
    Refusal(
        400, "http_error", _INVALID, "The browser (or proxy) sent a request that this server could not understand."
    ),
    Refusal(403, "origin_not_allowed", _DENIED, "Requests from this web origin are not allowed."),
    Refusal(421, "misdirected_request", _INVALID, "This gateway does not serve the host name asked for."),
    Refusal(500, "internal_error", _SERVER, f"The gateway failed to handle this request. {REQUEST_ID}"),
)
_QUOTA = (Refusal(429, "rate_limit_exceeded", _LIMIT, "Too many requests from this address. Wait a moment."),)
_KEY = (Refusal(401, "invalid_api_key", _INVALID, "The API key is not known here."),)
_ADMIN = (Refusal(403, "admin_key_required", _DENIED, "This path needs the admin key."),)
_FIELD = (Refusal(400, None, _INVALID, "'temperature' must be a number.", "temperature", "wrong_field"),)
_BODY = (
    *_FIELD,
    Refusal(408, "request_timeout", _INVALID, "The body did not arrive in time."),
    Refusal(413, "request_too_large", _INVALID, "The body is larger than the 10485760 bytes this gateway takes."),
    Refusal(415, "unsupported_media_type", _INVALID, "Send the body as JSON."),
    Refusal(415, "unsupported_content_encoding", _INVALID, "Send the body uncompressed."),
)
_SIGN_IN = (
    Refusal(503, "copilot_sign_in_required", _SERVER, "No GitHub token is set."),
    Refusal(503, "copilot_access_refused", _SERVER, "GitHub refuses Copilot to this account."),
    Refusal(503, "copilot_token_unavailable", _SERVER, "GitHub did not answer."),
)
_UPSTREAM = (
    Refusal(402, "insufficient_quota", "insufficient_quota", "You have exceeded your premium request allowance."),
    Refusal(403, "copilot_forbidden", _DENIED, "Copilot forbids this call."),
    Refusal(429, "rate_limit_exceeded", _LIMIT, "Copilot's own limit: wait as Retry-After says."),
    Refusal(429, "gateway_queue_full", _LIMIT, "Too many requests are waiting for Copilot already."),
    Refusal(502, "copilot_client_version_refused", _SERVER, "Copilot does not serve this client version."),
    Refusal(502, "upstream_unreachable", _SERVER, "No connection to Copilot."),
    Refusal(502, "upstream_tls_failed", _SERVER, "Copilot's certificate was not accepted."),
    Refusal(502, "upstream_disconnected", _SERVER, "Copilot ended before its answer was complete."),
    Refusal(502, "upstream_bad_response", _SERVER, "Copilot's answer could not be read."),
    Refusal(502, "upstream_error", _SERVER, "Copilot answered 500 without saying why."),
    Refusal(503, "upstream_unavailable", _SERVER, "Copilot is out of order."),
    Refusal(504, "upstream_unavailable", _SERVER, "Copilot is out of order."),
    Refusal(504, "upstream_timeout", _SERVER, "Copilot sent nothing for 90 seconds (IDLE_TIMEOUT)."),
)
_MODEL = (Refusal(404, "model_not_found", _INVALID, "The model 'gpt-9' does not exist.", "model"),)
_COMPLETION = (
    Refusal(400, "context_length_exceeded", _INVALID, "The prompt of 200000 tokens exceeds the limit of 128000."),
    Refusal(400, "content_filter", _INVALID, "Copilot's filter refused the prompt."),
    Refusal(400, "unsupported_image_url", _INVALID, "This model takes no image by its address.", "messages"),
    Refusal(429, "gateway_streams_full", _LIMIT, "Too many answers are being streamed already (MAX_STREAMS)."),
    Refusal(502, "local_server_error", _SERVER, "The local model's server refused."),
    Refusal(504, "handler_timeout", _SERVER, "The completion handler took longer than 1800 seconds."),
)
_STATELESS = (
    Refusal(
        400,
        "previous_response_not_found",
        _INVALID,
        "Previous response with id 'resp_1' not found.",
        "previous_response_id",
    ),
)
_ENGINE = (Refusal(502, "no_completion_host", _SERVER, "This account has no host for inline completions."),)
_NO_EMBEDDINGS = (
    Refusal(404, "not_found", _INVALID, "Embeddings are not answered while a completion handler is set."),
)
_WRONG_METHOD = (
    Refusal(405, "method_not_allowed", _INVALID, "The method GET is not allowed here; use OPTIONS, POST."),
)
_SOCKET = (Refusal(426, "websocket_not_supported", _INVALID, "This gateway does not speak WebSocket."),)

_OPEN = (*_GUARD, *_QUOTA)
_KEYED = (*_OPEN, *_KEY)
_ASKED = (*_KEYED, *_SIGN_IN, *_UPSTREAM)
_ANSWERED = (*_ASKED, *_BODY, *_MODEL, *_COMPLETION)

OPENAI, ANTHROPIC, EITHER = "OpenAIError", "AnthropicError", "EitherError"


@dataclass(frozen=True, slots=True)
class Family:
    """Which errors an operation can answer with, and in which envelope."""

    schema: str
    refusals: tuple[Refusal, ...]

    @property
    def passes_on(self) -> bool:
        """Whether Copilot's own statuses below 500 may come through."""
        return _UPSTREAM[0] in self.refusals


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "Probe": Family(OPENAI, _GUARD),
        "Open": Family(OPENAI, _OPEN),
        "Keyed": Family(OPENAI, _KEYED),
        "Usage": Family(OPENAI, (*_KEYED, *_FIELD)),
        "Measured": Family(OPENAI, (*_KEYED, *_ADMIN)),
        "Refresh": Family(OPENAI, (*_KEYED, *_ADMIN, *_SIGN_IN)),
        "Listed": Family(EITHER, _ASKED),
        "Shown": Family(EITHER, (*_ASKED, *_MODEL)),
        "Editor": Family(OPENAI, _ASKED),
        "EditorShown": Family(OPENAI, (*_ASKED, *_MODEL)),
        "Chat": Family(OPENAI, _ANSWERED),
        "Responses": Family(OPENAI, (*_ANSWERED, *_STATELESS)),
        "Completions": Family(OPENAI, (*_ANSWERED, *_ENGINE)),
        "Embeddings": Family(OPENAI, (*_ASKED, *_BODY, *_MODEL, *_NO_EMBEDDINGS)),
        "Messages": Family(ANTHROPIC, _ANSWERED),
        "Counted": Family(ANTHROPIC, (*_ASKED, *_BODY, *_MODEL)),
        "Socket": Family(OPENAI, (*_KEYED, *_WRONG_METHOD, *_SOCKET)),
    }
)

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "OpenAIError": record(
            {
                "error": record(
                    {
                        "message": TEXT,
                        "type": TEXT,
                        "param": {**optional(TEXT), "description": "The field at fault."},
                        "code": {**optional(TEXT), "description": "See docs/operations.md; others are Copilot's own."},
                    },
                    needs=("message", "type", "param", "code"),
                )
            },
            needs=("error",),
        ),
        "AnthropicError": record(
            {
                "type": const("error"),
                "error": record({"type": TEXT, "message": TEXT}, needs=("type", "message")),
                "request_id": TEXT,
            },
            needs=("type", "error", "request_id"),
        ),
        "EitherError": any_of(
            ref("OpenAIError"),
            ref("AnthropicError"),
            description="Anthropic's envelope for requests with the header anthropic-version, else OpenAI's.",
        ),
    }
)


def component(family: str, status: str) -> str:
    """The name of the response component."""
    return f"{family}{status}"


def statuses(family: str) -> list[str]:
    told = sorted({refusal.status for refusal in FAMILIES[family].refusals})
    return [*map(str, told), *(["4XX"] if FAMILIES[family].passes_on else [])]


def responses() -> JSON:
    """The response components of all families, by name."""
    return {component(name, status): _response(name, status) for name in FAMILIES for status in statuses(name)}


def codes(family: str, status: str) -> list[str]:
    """The codes, without those that have none."""
    refusals = FAMILIES[family].refusals
    return list(dict.fromkeys(row.named for row in refusals if str(row.status) == status and row.named))


def _response(name: str, status: str) -> JSON:
    family = FAMILIES[name]
    content: JSON = {"schema": ref(family.schema)}
    if status == "4XX":
        description = "A refusal of Copilot's own, passed on with its status, code and message."
        rows: Iterator[Refusal] = iter((Refusal(409, "conflict", _INVALID, "Copilot's own words."),))
    else:
        listed = ", ".join(f"`{named}`" for named in codes(name, status))
        description = f"`error.code`: {listed}." if listed else "`error.code` is null; `error.param` names the field."
        rows = (row for row in family.refusals if str(row.status) == status)
    encode = _ENCODERS[family.schema]
    content["examples"] = {row.label or str(row.named): {"value": encode(row)} for row in rows}
    return {"description": description, "headers": _error_headers(status), "content": {"application/json": content}}


def _error_headers(status: str) -> JSON:
    match status:
        case "401":
            return headers("WWW-Authenticate", "X-Should-Retry")
        case "405":
            return headers("Allow")
        case "429":
            return headers("Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")
        case "503":
            return headers("Retry-After")
    return headers()


def _openai(row: Refusal) -> JSON:
    return openai_errors.encode_error(_error(row))


def _anthropic(row: Refusal) -> JSON:
    return messages.encode_error(_error(row), REQUEST_ID)


def _error(row: Refusal) -> ApiError:
    return ApiError(row.message, status=row.status, kind=row.kind, code=row.named, param=row.param)


_ENCODERS: Mapping[str, Callable[[Refusal], JSON]] = MappingProxyType(
    {OPENAI: _openai, ANTHROPIC: _anthropic, EITHER: _openai}
)
