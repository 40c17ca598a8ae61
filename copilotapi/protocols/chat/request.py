"""A chat request: checked by hand where the gateway itself relies on it, forwarded with all it does not know."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from copilotapi.protocols.chat.check import ROLES
from copilotapi.protocols.chat.reasoning import decode_reasoning
from copilotapi.protocols.conversation import (
    JSON,
    Conversation,
    Image,
    Message,
    Part,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)

# Refused or meaningless at Copilot (copilot-wire 5.5); none of them shapes the text of an answer.
_DROPPED_FIELDS = ("store", "metadata", "service_tier")
_LIMIT_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_EFFORT = "reasoning_effort"
_UNSUPPORTED = re.compile(r"[Uu]nsupported parameter: '(\w+)'")


@dataclass(frozen=True, slots=True)
class Traits:
    """What Copilot wants told in headers: who began this turn, and whether it has to look at pictures."""

    initiator: str
    has_images: bool


def wants_usage(body: JSON) -> bool:
    """Whether a stream is to tell usage."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def traits(body: JSON) -> Traits:
    """`agent` when the last message is the assistant's or a tool's, else `user` (copilot-wire 4.3). Never forced."""
    last_role = body["messages"][-1].get("role")
    initiator = "agent" if ROLES.get(last_role) in ("assistant", "tool") else "user"
    return Traits(initiator, any(_has_image(message) for message in body["messages"]))


def for_upstream(body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]:
    """The body to send, and the names of the fields left out. Usage is always asked for (contract 7.6).

    `renames` are what `remedy` has taught about this model.
    """
    left_out = {*_DROPPED_FIELDS, *(name for name, new in renames.items() if not new)}
    dropped = tuple(name for name in body if name in left_out and body[name] is not None)
    upstream_body = {renames.get(name, name): value for name, value in body.items() if name not in left_out}
    upstream_body["model"] = model
    if body.get("stream"):
        upstream_body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    elif "stream_options" in upstream_body:
        del upstream_body["stream_options"]
    return upstream_body, dropped


def remedy(code: str, message: str) -> Mapping[str, str]:
    """What a refusal asks for: a field to its new name, "" to leave it out (copilot-wire 5.1, 8.2).

    Newer OpenAI models take `max_completion_tokens` only; models that do not reason take no effort. The code alone
    (`invalid_request_body`) does not say which field it was about, so the names are looked for.
    """
    if code == "invalid_reasoning_effort":
        return {_EFFORT: ""}
    if code not in ("invalid_request_body", "unsupported_parameter", "invalid_value"):
        return {}
    refused = _UNSUPPORTED.search(message)
    if refused is None:
        return {}
    if refused[1] == _EFFORT:
        return {_EFFORT: ""}
    return {refused[1]: _LIMIT_TWINS[refused[1]]} if refused[1] in _LIMIT_TWINS else {}


def decode_request(body: JSON) -> Conversation:
    """The request in the neutral vocabulary. Takes what `check_request` let pass."""
    stop = body.get("stop") or ()
    return Conversation(
        model=body.get("model") or "",
        messages=tuple(_decoded_message(message) for message in body["messages"]),
        tools=tuple(_decoded_tool(tool) for tool in body.get("tools") or ()),
        tool_choice=_tool_choice(body.get("tool_choice")),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        reasoning_effort=body.get("reasoning_effort"),
        response_format=body.get("response_format"),
        parallel_tool_calls=body.get("parallel_tool_calls"),
    )


def decode_requests(body: JSON) -> list[Conversation]:
    """As many times the same as choices are asked for."""
    return [decode_request(body)] * (body.get("n") or 1)


def _has_image(message: JSON) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)


def _decoded_message(message: JSON) -> Message:
    role = ROLES[message["role"]]
    parts: list[Part] = [*decode_reasoning(message), *_decoded_parts(message.get("content"))]
    if role == "tool":
        visible = tuple(part for part in parts if isinstance(part, Text | Image))
        return Message(role, (ToolResult(str(message.get("tool_call_id", "")), visible),))
    for call in message.get("tool_calls") or ():
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        parts.append(
            ToolUse(str(call.get("id", "")), str(function.get("name", "")), str(function.get("arguments", "")))
        )
    return Message(role, tuple(parts))


def _decoded_parts(content: str | list[JSON] | None) -> Iterable[Text | Image]:
    if isinstance(content, str):
        yield Text(content)
        return
    for part in content or ():
        image = part.get("image_url")
        if part["type"] == "image_url" and isinstance(image, dict):
            yield Image(str(image.get("url", "")), str(image.get("detail", "auto")))
        else:
            yield Text(str(part.get("text") or part.get("refusal") or ""))


def _decoded_tool(tool: JSON) -> Tool:
    function = tool.get("function") or {}
    schema = function.get("parameters")
    return Tool(
        name=str(function.get("name", "")),
        description=str(function.get("description", "")),
        input_schema=schema if isinstance(schema, dict) else {},
    )


def _tool_choice(choice: object) -> str | None:
    if isinstance(choice, dict):
        function = choice.get("function")
        return str(function.get("name", "")) if isinstance(function, dict) else orjson.dumps(choice).decode()
    return choice if isinstance(choice, str) else None
