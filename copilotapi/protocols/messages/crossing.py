"""What of a Messages request no other protocol can be asked for: it is refused where it shapes the answer, else named."""

from collections.abc import Iterator

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.messages.offered import CHANGES, offered_tools
from copilotapi.protocols.messages.request import is_custom

_SHAPING = ("mcp_servers", "container")
_CARRIED_FIELDS = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
    }
)
_CARRIED = (
    "text",
    "image",
    "search_result",
    "tool_use",
    "tool_result",
    "tool_reference",
    "thinking",
    "redacted_thinking",
    *CHANGES,
)
_ADVICE = "Choose a model that Copilot serves on /v1/messages."


def losses(body: JSON) -> tuple[str, ...]:
    """The names of the hints that are lost when another protocol's model answers this request.

    ApiError 400 naming the `param` for what cannot be carried and cannot be left out: tools that Anthropic defines,
    documents that are not text, files.
    """
    for name in _SHAPING:
        if body.get(name):
            raise bad_request(f"{name}: this model cannot be given it. {_ADVICE}", param=name)
    for index, tool in enumerate(offered_tools(body)):
        if not is_custom(tool):
            place = f"tools.{index}"
            raise bad_request(f"{place}: this model has no tool of type {tool['type']}. {_ADVICE}", param=place)
    for index, message in enumerate(body["messages"]):
        _check_content(message["content"], f"messages.{index}.content")
    return tuple(dict.fromkeys(_hints(body)))


def _hints(body: JSON) -> Iterator[str]:
    yield from (name for name in body if name not in (*_CARRIED_FIELDS, *_SHAPING) and body[name] is not None)
    tools = offered_tools(body)
    contents = (body.get("system"), *(message["content"] for message in body["messages"]))
    blocks = (block for content in contents for _, block in _placed(content, ""))
    if any(block.get("cache_control") for block in (*tools, *blocks)):
        yield "cache_control"
    if any(tool.get("strict") for tool in tools):
        yield "tools.strict"


def _check_content(content: object, place: str) -> None:
    for at, block in _placed(content, place):
        kind = block["type"]
        source = (block.get("source") or {}).get("type") if kind in ("image", "document") else None
        is_carried = kind in _CARRIED if kind != "document" else source in ("text", "content")
        if not is_carried or source == "file":
            raise bad_request(f"{at}: this model cannot be given a {kind} block of this kind. {_ADVICE}", param=at)


def _placed(content: object, place: str) -> Iterator[tuple[str, JSON]]:
    for index, block in enumerate(content if isinstance(content, list) else ()):
        yield f"{place}.{index}", block
        if block["type"] == "tool_result":
            yield from _placed(block.get("content"), f"{place}.{index}.content")
