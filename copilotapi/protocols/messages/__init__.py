"""Anthropic's Messages: what a request asks, and the repair of what Copilot refuses and adds."""

from collections.abc import Mapping
from typing import Literal

from copilotapi.protocols.messages.answer import answer_text, fold, repair_answer
from copilotapi.protocols.messages.ask import encode_request
from copilotapi.protocols.messages.betas import beta_header
from copilotapi.protocols.messages.check import check_prompt, check_request
from copilotapi.protocols.messages.crossing import losses
from copilotapi.protocols.messages.decode import decode_stream
from copilotapi.protocols.messages.encode import encode_response, encode_stream
from copilotapi.protocols.messages.errors import HEARTBEAT, encode_error, encode_stream_error
from copilotapi.protocols.messages.limits import limit_headers
from copilotapi.protocols.messages.outgoing import for_upstream, remedy
from copilotapi.protocols.messages.output_limit import within_output_limit
from copilotapi.protocols.messages.request import decode_request, decode_requests, traits
from copilotapi.protocols.messages.stream import new_tally, repair_stream, written_text
from copilotapi.protocols.messages.usage import encode_usage, wants_usage

ENDPOINT = "/v1/messages"
HOST: Literal["api", "proxy"] = "api"
ID_PREFIX = "msg_"
ALWAYS_STREAMS = False
FIELD_NAMES: Mapping[str, str] = {"stop": "stop_sequences", "response_format": "output_config.format"}

__all__ = [
    "ALWAYS_STREAMS",
    "ENDPOINT",
    "FIELD_NAMES",
    "HEARTBEAT",
    "HOST",
    "ID_PREFIX",
    "answer_text",
    "beta_header",
    "check_prompt",
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
    "limit_headers",
    "losses",
    "new_tally",
    "remedy",
    "repair_answer",
    "repair_stream",
    "traits",
    "wants_usage",
    "within_output_limit",
    "written_text",
]
