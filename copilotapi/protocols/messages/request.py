"""What a Messages request says: to Copilot's headers, and in the neutral vocabulary. Takes what was checked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import orjson

from copilotapi.protocols.conversation import (
    JSON,
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.protocols.messages.effort import asked_effort
from copilotapi.protocols.messages.offered import offered_tools, reference_text
from copilotapi.protocols.messages.repairs import without_billing_lines
from copilotapi.protocols.messages.thinking import KINDS, decode_thinking

# The vocabulary's schema is OpenAI's, which has a name.
FORMAT_NAME = "response"
_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_OPENING, _CLOSING = "<system-reminder>", "</system-reminder>"


@dataclass(frozen=True, slots=True)
class Traits:
    """What Copilot wants told in headers: who began this turn, and whether it has to look at pictures."""

    initiator: str
    has_images: bool


def traits(body: JSON) -> Traits:
    """`agent` when the last message is the assistant's or nothing but tool results, else `user` (copilot-wire 4.3).

    What Claude Code adds to tool results of its own accord (2.1, 2026-11) is nobody's request.
    """
    spoken = [message for message in body["messages"] if message["role"] != "system"]
    is_agent = bool(spoken) and (spoken[-1]["role"] == "assistant" or _is_tool_results(spoken[-1]["content"]))
    return Traits("agent" if is_agent else "user", any(_has_image(message["content"]) for message in body["messages"]))


def decode_request(body: JSON) -> Conversation:
    """The request in the neutral vocabulary. What has no place there is left out: `crossing` tells which of it matters."""
    choice = body.get("tool_choice") or {}
    is_parallel = choice.get("disable_parallel_tool_use")
    return Conversation(
        model=body.get("model") or "",
        messages=(*_system(body), *(part for message in body["messages"] for part in _decoded_messages(message))),
        tools=tuple(_decoded_tool(tool) for tool in offered_tools(body) if is_custom(tool)),
        tool_choice=_TOOL_CHOICES.get(choice.get("type", ""), choice.get("name")),
        max_tokens=body.get("max_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=tuple(body.get("stop_sequences") or ()),
        reasoning_effort=asked_effort(body),
        response_format=_response_format(body),
        parallel_tool_calls=None if is_parallel is None else not is_parallel,
    )


def decode_requests(body: JSON) -> list[Conversation]:
    """One: this protocol has no choices."""
    return [decode_request(body)]


def is_custom(tool: JSON) -> bool:
    """A tool of the caller's own, not one that Anthropic defines."""
    return tool.get("type") in (None, "custom")


def _system(body: JSON) -> Iterator[Message]:
    texts = [without_billing_lines(text) for text in _texts(body.get("system"))]
    if parts := tuple(Text(text) for text in texts if text):
        yield Message("system", parts)


def _decoded_messages(message: JSON) -> Iterator[Message]:
    """One message, or several where tool results stand in it: each of these is a message of its own."""
    role: Role = message["role"]
    others: list[Part] = []
    for part in _decoded_content(message["content"]):
        if isinstance(part, ToolResult):
            if others:
                yield Message(role, tuple(others))
                others = []
            yield Message("tool", (part,))
        else:
            others.append(part)
    if others:
        yield Message(role, tuple(others))


def _decoded_content(content: str | list[JSON]) -> Iterable[Part]:
    if isinstance(content, str):
        return [Text(content)] if content else []
    return [part for block in content for part in _decoded_block(block)]


def _decoded_block(block: JSON) -> Iterator[Part]:
    match block["type"]:
        case "text":
            if block["text"]:
                yield Text(block["text"])
        case "image":
            if url := _url(block["source"]):
                yield Image(url)
        case "document":
            yield from (Text(text) for text in _document_texts(block["source"]))
        case "search_result":
            yield from (Text(text) for text in _texts(block.get("content")))
        case "tool_reference":
            yield Text(reference_text(block))
        case "tool_use":
            yield ToolUse(block["id"], block["name"], orjson.dumps(block["input"]).decode())
        case "tool_result":
            parts = [part for part in _decoded_content(block.get("content") or "") if isinstance(part, Text | Image)]
            yield ToolResult(block["tool_use_id"], tuple(parts), is_error=block.get("is_error") is True)
        case kind if kind in KINDS:
            yield from _reasoning(decode_thinking(block))


def _reasoning(reasoning: Reasoning) -> Iterator[Reasoning]:
    if reasoning.text or reasoning.opaque:
        yield reasoning


def _url(source: JSON) -> str:
    match source:
        case {"type": "base64", "data": str(data)}:
            return f"data:{source.get('media_type', 'image/png')};base64,{data}"
        case {"type": "url", "url": str(url)}:
            return url
    return ""


def _document_texts(source: JSON) -> list[str]:
    match source:
        case {"type": "text", "data": str(text)}:
            return [text]
        case {"type": "content", "content": content}:
            return _texts(content)
    return []


def _texts(content: object) -> list[str]:
    """The texts of a string or of the text blocks of a list."""
    if isinstance(content, str):
        return [content]
    blocks = content if isinstance(content, list) else []
    texts = (block.get("text") for block in blocks if isinstance(block, dict))
    return [text for text in texts if isinstance(text, str)]


def _decoded_tool(tool: JSON) -> Tool:
    return Tool(tool["name"], tool.get("description") or "", tool["input_schema"])


def _response_format(body: JSON) -> JSON | None:
    """As OpenAI's chat says it: that is how the vocabulary carries a schema."""
    configured = (body.get("output_config") or {}).get("format") or body.get("output_format")
    if not isinstance(configured, dict) or configured.get("type") != "json_schema":
        return None
    schema = {"name": FORMAT_NAME, "schema": configured.get("schema") or {}, "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _is_tool_results(content: str | list[JSON]) -> bool:
    if not isinstance(content, list) or not any(block["type"] == "tool_result" for block in content):
        return False
    return all(
        block["type"] == "tool_result" or (block["type"] == "text" and _is_added(block["text"].strip()))
        for block in content
    )


def _is_added(text: str) -> bool:
    is_reminder = text.startswith(_OPENING) and text.endswith(_CLOSING) and text.count(_CLOSING) == 1
    return is_reminder or text == "Tool loaded."


def _has_image(content: object) -> bool:
    """Also inside tool results."""
    blocks = content if isinstance(content, list) else ()
    return any(
        block["type"] == "image" or (block["type"] == "tool_result" and _has_image(block.get("content")))
        for block in blocks
    )
