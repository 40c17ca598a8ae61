"""OpenAI Chat Completions: what a request asks, and the repair of Copilot's defects on the way back."""

from collections.abc import Mapping
from typing import Literal

from copilotapi.protocols.chat.answer import answer_text, fold, repair_answer
from copilotapi.protocols.chat.ask import encode_request
from copilotapi.protocols.chat.check import check_request
from copilotapi.protocols.chat.crossing import losses
from copilotapi.protocols.chat.decode import decode_stream
from copilotapi.protocols.chat.encode import encode_response, encode_stream
from copilotapi.protocols.chat.request import (
    decode_request,
    decode_requests,
    for_upstream,
    remedy,
    traits,
    wants_usage,
)
from copilotapi.protocols.chat.stream import new_tally, repair_stream, written_text
from copilotapi.protocols.chat.usage import encode_usage

ENDPOINT = "/chat/completions"
HOST: Literal["api", "proxy"] = "api"
ID_PREFIX = "chatcmpl-"
ALWAYS_STREAMS = False
FIELD_NAMES: Mapping[str, str] = {}

__all__ = [
    "ALWAYS_STREAMS",
    "ENDPOINT",
    "FIELD_NAMES",
    "HOST",
    "ID_PREFIX",
    "answer_text",
    "check_request",
    "decode_request",
    "decode_requests",
    "decode_stream",
    "encode_request",
    "encode_response",
    "encode_stream",
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
