"""What of a chat request no other protocol can be asked for: refused where it shapes the answer, else named."""

from collections.abc import Iterator

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON

_SHAPING = (
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "presence_penalty",
    "frequency_penalty",
    "audio",
    "functions",
    "function_call",
    "web_search_options",
)
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
        # Plain text is what every model answers, and it is the default.
        "modalities",
    }
)
_ADVICE = "Choose a model that Copilot serves on /chat/completions."
_PARTS = {"text": str, "refusal": str, "image_url": dict}


def losses(body: JSON) -> tuple[str, ...]:
    """The names of the hints that are lost when another protocol's model answers this request.

    ApiError 400 naming the `param` for what cannot be carried and cannot be left out.
    """
    for name in _SHAPING:
        if body.get(name):
            raise bad_request(f"'{name}': this model cannot be given it. {_ADVICE}", param=name)
    for index, message in enumerate(body["messages"]):
        _check_message(message, f"messages.{index}")
    _check_tools(body)
    return tuple(dict.fromkeys(_hints(body)))


def _hints(body: JSON) -> Iterator[str]:
    yield from (name for name in body if name not in (*_CARRIED, *_SHAPING) and body[name] is not None)
    if any(message.get("name") for message in body["messages"]):
        yield "messages.name"
    if any((tool.get("function") or {}).get("strict") for tool in body.get("tools") or ()):
        yield "tools.strict"


def _check_message(message: JSON, place: str) -> None:
    if message["role"] == "function" or message.get("function_call"):
        raise bad_request(f"{place}: this model knows no functions but tools.", param=place)
    content = message.get("content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        kind = part["type"]
        if kind not in _PARTS or not isinstance(part.get(kind), _PARTS[kind]):
            at = f"{place}.content.{index}"
            raise bad_request(f"{at}: this model cannot be given this part of type {kind}.", param=at)


def _check_tools(body: JSON) -> None:
    for index, tool in enumerate(body.get("tools") or ()):
        if tool.get("type", "function") != "function":
            place = f"tools.{index}"
            raise bad_request(f"{place}: this model has no tool of type {tool['type']}. {_ADVICE}", param=place)
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") != "function":
        raise bad_request(f"'tool_choice': this model cannot be given this one. {_ADVICE}", param="tool_choice")
