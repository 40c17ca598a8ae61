"""OpenAI Responses: what a request asks, the repair of Copilot's defects on the way back, and answers of our own."""

from collections.abc import Mapping
from typing import Literal

from copilotapi.protocols.openai_errors import HEARTBEAT, encode_error
from copilotapi.protocols.responses.answer import answer_text, fold, repair_answer
from copilotapi.protocols.responses.check import check_request
from copilotapi.protocols.responses.crossing import losses
from copilotapi.protocols.responses.decode import decode_stream
from copilotapi.protocols.responses.encode import encode_response, encode_stream
from copilotapi.protocols.responses.encode_request import encode_request
from copilotapi.protocols.responses.failure import encode_stream_error
from copilotapi.protocols.responses.forward import for_upstream, remedy
from copilotapi.protocols.responses.request import decode_request, decode_requests, traits
from copilotapi.protocols.responses.stream import new_tally, repair_stream, written_text
from copilotapi.protocols.responses.usage import encode_usage, wants_usage

ENDPOINT = "/responses"
HOST: Literal["api", "proxy"] = "api"
ID_PREFIX = "resp_"
ALWAYS_STREAMS = False
FIELD_NAMES: Mapping[str, str] = {"messages": "input", "response_format": "text.format"}

__all__ = [
    "ALWAYS_STREAMS",
    "ENDPOINT",
    "FIELD_NAMES",
    "HEARTBEAT",
    "HOST",
    "ID_PREFIX",
    "answer_text",
    "check_request",
    "decode_request",
    "decode_requests",
    "decode_stream",
    "encode_error",
    "encode_request",
    "encode_response",
    "encode_stream",
    "encode_stream_error",
    "encode_usage",
    "fold",
    "for_upstream",
    "losses",
    "new_tally",
    "remedy",
    "repair_answer",
    "repair_stream",
    "traits",
    "wants_usage",
    "written_text",
]
