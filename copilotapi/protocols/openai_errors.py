"""OpenAI's error object, as every protocol of OpenAI's shows it, whole and inside a stream."""

import orjson

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import JSON
from copilotapi.sse import dump


def encode_error(error: ApiError) -> JSON:
    """https://platform.openai.com/docs/guides/error-codes: message, type, param, code."""
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def encode_stream_error(error: ApiError) -> bytes:
    """The last event of a stream that failed; no [DONE] follows it. OpenAI's SDKs raise APIError on it."""
    return dump(orjson.dumps(encode_error(error)))
