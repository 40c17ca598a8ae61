"""A request of Responses in the neutral vocabulary, and what Copilot wants told about it in headers."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

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
from copilotapi.protocols.responses.functions import flat_choice, flat_item, flat_tools

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class Traits:
    """What Copilot wants told in headers: who began this turn, and whether it has to look at pictures."""

    initiator: str
    has_images: bool


def traits(body: JSON) -> Traits:
    """`agent` when the last item is the assistant's or a tool's, else `user` (copilot-wire 4.3). Never forced."""
    items = input_items(body)
    last = items[-1]
    kind = last.get("type") or "message"
    is_agent = kind == "reasoning" or kind.endswith(("_call", "_output")) or last.get("role") == "assistant"
    return Traits("agent" if is_agent else "user", any(map(_has_image, items)))


def input_items(body: JSON) -> list[JSON]:
    """The input as items; a string is the user's message."""
    given = body["input"]
    if isinstance(given, list):
        return given
    return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]


def is_reference(item: JSON) -> bool:
    """It stands for an item of an earlier answer; `type` may be left out."""
    return item.get("type") == "item_reference" or item.keys() == {"id"}


def decode_requests(body: JSON) -> list[Conversation]:
    """Responses has one choice."""
    return [decode_request(body)]


def decode_request(body: JSON) -> Conversation:
    """The request in the neutral vocabulary. Takes what `check_request` let pass.

    Tools that are no functions become functions, as `functions` does it; hosted tools are left out. Items of one turn of
    the assistant's become one message.
    """
    items = [flat_item(item) for item in input_items(body)]
    instructions = body.get("instructions")
    first = [Message("system", (Text(instructions),))] if instructions else []
    return Conversation(
        model=body.get("model") or "",
        messages=(*first, *_joined(message for item in items for message in _decoded_item(item))),
        tools=tuple(_decoded_tools(body, items)),
        tool_choice=_decoded_choice(body.get("tool_choice")),
        max_tokens=body.get("max_output_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        reasoning_effort=(body.get("reasoning") or {}).get("effort"),
        response_format=_decoded_format((body.get("text") or {}).get("format")),
        parallel_tool_calls=body.get("parallel_tool_calls"),
    )


def summary_text(item: JSON) -> str:
    """The parts of a reasoning item's summary as one text, as the stream tells them too."""
    parts = (part for part in _listed(item.get("summary")) if isinstance(part, dict))
    return "\n\n".join(str(part.get("text", "")) for part in parts)


def _has_image(item: JSON) -> bool:
    output = item.get("output")
    if isinstance(output, dict):
        return output.get("type") == "computer_screenshot"
    parts = [*_listed(item.get("content")), *_listed(output)]
    return any(isinstance(part, dict) and part.get("type") == "input_image" for part in parts)


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _joined(messages: Iterable[Message]) -> Iterator[Message]:
    """Reasoning, text and calls of the assistant come as items of their own; in a row they are one turn."""
    waiting: tuple[Part, ...] = ()
    for message in messages:
        if message.role == "assistant":
            waiting += message.parts
            continue
        if waiting:
            yield Message("assistant", waiting)
            waiting = ()
        yield message
    if waiting:
        yield Message("assistant", waiting)


def _decoded_item(item: JSON) -> Iterator[Message]:
    """No message for what has no meaning outside Responses, such as a search that Copilot made."""
    kind = item.get("type") or ("item_reference" if is_reference(item) else "message")
    call_id = item.get("call_id") or item.get("id")
    if kind == "message":
        yield Message(_ROLES[item["role"]], tuple(_decoded_parts(item["content"])))
    elif kind == "reasoning":
        yield Message("assistant", (Reasoning(summary_text(item), item.get("encrypted_content")),))
    elif kind == "function_call":
        yield Message("assistant", (ToolUse(item["call_id"], item["name"], item["arguments"]),))
    elif kind.endswith("_call_output") and isinstance(call_id, str):
        parts = tuple(_decoded_parts(item.get("output")))
        yield Message("tool", (ToolResult(call_id, parts, is_error=item.get("status") == "incomplete"),))
    elif kind.endswith("_call") and isinstance(item.get("call_id"), str):
        action = orjson.dumps(item.get("action") or item.get("operation") or {}).decode()
        yield Message("assistant", (ToolUse(item["call_id"], kind.removesuffix("_call"), action),))


def _decoded_parts(content: Any) -> Iterator[Text | Image]:
    if isinstance(content, str):
        yield Text(content)
    for part in _listed([content] if isinstance(content, dict) else content):
        told = part if isinstance(part, dict) else {}
        text = told.get("text", told.get("refusal"))
        if isinstance(told.get("image_url"), str):
            yield Image(told["image_url"], str(told.get("detail") or "auto"))
        elif isinstance(text, str):
            yield Text(text)


def _decoded_tools(body: JSON, items: list[JSON]) -> Iterator[Tool]:
    given = list(body.get("tools") or ())
    for item in items:
        if item.get("type") == "additional_tools":
            given += item.get("tools") or ()
    allowed = _allowed(body.get("tool_choice"))
    for tool in flat_tools(given):
        if allowed is None or tool["name"] in allowed:
            schema = tool.get("parameters")
            yield Tool(tool["name"], str(tool.get("description") or ""), schema if isinstance(schema, dict) else {})


def _allowed(choice: Any) -> set[str] | None:
    """The tools that may be called where the choice names several; None for no such limit."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return None
    tools = _listed(flat_choice(choice).get("tools"))
    return {str(tool.get("name")) for tool in tools if isinstance(tool, dict)}


def _decoded_choice(choice: Any) -> str | None:
    """The name of the tool, or "auto", "none", "required"; None when it is about a hosted tool."""
    if isinstance(choice, str):
        return choice
    flat = flat_choice(choice)
    if not isinstance(flat, dict):
        return None
    if flat.get("type") == "allowed_tools":
        mode = flat.get("mode")
        return mode if isinstance(mode, str) else "auto"
    return str(flat["name"]) if flat.get("type") == "function" else None


def _decoded_format(told: Any) -> JSON | None:
    """`response_format` as chat writes it, which is the vocabulary's form; plain text is None."""
    if not isinstance(told, dict) or told.get("type") in (None, "text"):
        return None
    if told["type"] != "json_schema":
        return told
    inner = {name: value for name, value in told.items() if name != "type"}
    return {"type": "json_schema", "json_schema": inner}
