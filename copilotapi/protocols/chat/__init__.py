"""OpenAI Chat Completions: what a request asks, and the repair of Copilot's defects on the way back."""

from copilotapi.protocols.chat.answer import answer_text, repair_answer
from copilotapi.protocols.chat.request import check_request, decode_request, for_upstream, remedy, traits
from copilotapi.protocols.chat.stream import new_tally, repair_stream, written_text
from copilotapi.protocols.chat.usage import encode_usage
from copilotapi.protocols.openai_errors import encode_error, encode_stream_error

ENDPOINT = "/chat/completions"

__all__ = [
    "ENDPOINT",
    "answer_text",
    "check_request",
    "decode_request",
    "encode_error",
    "encode_stream_error",
    "encode_usage",
    "for_upstream",
    "new_tally",
    "remedy",
    "repair_answer",
    "repair_stream",
    "traits",
    "written_text",
]
