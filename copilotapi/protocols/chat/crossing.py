"""What of a chat request no other protocol can be asked for: refused where it shapes the answer, else named."""

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON

_SHAPING = ("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty", "audio", "functions")
_CARRIED = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "stop",
        "reasoning_effort",
        "response_format",
        "parallel_tool_calls",
        "stream",
        "stream_options",
        "n",
    }
)
_ADVICE = "Choose a model that Copilot serves on /chat/completions."
_PARTS = ("text", "image_url")


def losses(body: JSON) -> tuple[str, ...]:
    """The names of the hints that are lost when another protocol's model answers this request.

    ApiError 400 naming the `param` for what cannot be carried and cannot be left out.
    """
    for name in _SHAPING:
        if body.get(name):
            raise bad_request(f"'{name}': this model cannot be given it. {_ADVICE}", param=name)
    for at, message in enumerate(body["messages"]):
        content = message.get("content")
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if part["type"] not in _PARTS:
                place = f"messages.{at}.content.{index}"
                raise bad_request(f"{place}: this model cannot be given a part of type {part['type']}.", param=place)
    return tuple(name for name in body if name not in (*_CARRIED, *_SHAPING) and body[name] is not None)
