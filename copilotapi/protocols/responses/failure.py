"""An answer that failed: as Copilot tells it in a stream or a whole answer, and as the caller is told."""

import orjson

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.openai_errors import encode_error
from copilotapi.protocols.responses.envelope import envelope
from copilotapi.sse import dump

# Copilot's stream begins with 200 and fails later; the status counts where nothing was sent yet.
_MEANINGS = {
    "rate_limit_exceeded": (429, "rate_limit_error"),
    "context_length_exceeded": (400, "invalid_request_error"),
    "invalid_prompt": (400, "invalid_request_error"),
    "cyber_policy": (400, "invalid_request_error"),
    "bio_policy": (400, "invalid_request_error"),
}
_FAILED = ("response.failed", "response.cancelled", "error")


def failure_in(event: JSON) -> ApiError | None:
    """What went wrong, if this event of a stream says that something did."""
    if event.get("type") in _FAILED or event.get("error"):
        response = event.get("response")
        told = response.get("error") if isinstance(response, dict) else event.get("error") or event
        return told_error(told)
    return None


def told_error(told: object) -> ApiError:
    """502, or what the code stands for. `told` is OpenAI's error object, nested or flat, or nothing."""
    fields = told if isinstance(told, dict) else {"message": told}
    message = fields.get("message")
    code = fields.get("code")
    code = code if isinstance(code, str) and code else "upstream_error"
    status, kind = _MEANINGS.get(code, (502, "server_error"))
    message = message if isinstance(message, str) and message else "Copilot broke off with an error."
    return ApiError(message[:1000], status=status, kind=kind, code=code)


def encode_stream_error(
    error: ApiError,
    request_id: str = "",
    *,
    answer_id: str = "resp_failed",
    model: str = "",
    created: int = 0,
    sequence_number: int = 0,
) -> bytes:
    """The last events of a stream that failed: `error`, then `response.failed`, as OpenAI sends them.

    OpenAI's SDKs raise on the nested `error`; its documentation has the flat fields; agents wait for a terminal event.
    """
    inner = encode_error(error)["error"]
    flat = {"code": error.code, "message": error.message, "param": error.param}
    told = {"type": "error", "sequence_number": sequence_number, **flat, "error": inner}
    response = {
        **envelope(answer_id=answer_id, model=model, created=created, status="failed", output=[]),
        "error": {"code": error.code or error.kind, "message": error.message},
    }
    failed = {"type": "response.failed", "sequence_number": sequence_number + 1, "response": response}
    return dump(orjson.dumps(told), b"error") + dump(orjson.dumps(failed), b"response.failed")
