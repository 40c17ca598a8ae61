"""Text completions: OpenAI's legacy protocol and Copilot's inline one, which is the same with a suffix."""

from collections.abc import Mapping
from typing import Literal

from copilotapi.protocols.completions.encode import encode_response, encode_stream, encode_usage
from copilotapi.protocols.completions.request import (
    TokenLimits,
    check_request,
    decode_request,
    decode_requests,
    encode_request,
    for_upstream,
    losses,
    remedy,
    traits,
    wants_usage,
    with_limits,
)
from copilotapi.protocols.completions.stream import (
    answer_text,
    decode_stream,
    fold,
    new_tally,
    repair_answer,
    repair_stream,
    written_text,
)

# Filled in with the engine: copilot-wire 9.1.
ENDPOINT = "/v1/engines/{model}/completions"
HOST: Literal["api", "proxy"] = "proxy"
ID_PREFIX = "cmpl-"
ALWAYS_STREAMS = True
FIELD_NAMES: Mapping[str, str] = {"messages": "prompt"}

__all__ = [
    "ALWAYS_STREAMS",
    "ENDPOINT",
    "FIELD_NAMES",
    "HOST",
    "ID_PREFIX",
    "TokenLimits",
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
    "with_limits",
    "written_text",
]
