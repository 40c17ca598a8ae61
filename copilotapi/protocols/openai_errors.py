"""OpenAI's error object, as every protocol of OpenAI's shows it, whole and inside a stream."""

import orjson

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import JSON
from copilotapi.sse import COMMENT_HEARTBEAT, dump

HEARTBEAT = COMMENT_HEARTBEAT


def encode_error(error: ApiError, request_id: str = "") -> JSON:
    """https://platform.openai.com/docs/guides/error-codes: message, type, param, code. The request id is in a header."""
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def encode_stream_error(error: ApiError, request_id: str = "") -> bytes:
    """The last event of a stream that failed; no [DONE] follows it. OpenAI's SDKs raise APIError on it."""
    return dump(orjson.dumps(encode_error(error)))
