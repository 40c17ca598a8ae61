"""A chat request: checked by hand where the gateway itself relies on it, forwarded with all it does not know."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import (
    JSON,
    Conversation,
    Image,
    Message,
    Part,
    Role,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# Refused or meaningless at Copilot (copilot-wire 5.5); none of them shapes the text of an answer.
_DROPPED_FIELDS = ("store", "metadata", "service_tier")
_LIMIT_TWINS = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_UNSUPPORTED = re.compile(r"[Uu]nsupported parameter: '(\w+)'")
_NUMBERS = ("temperature", "top_p", "presence_penalty", "frequency_penalty")
# https://platform.openai.com/docs/api-reference/chat/create: n is at most 128.
_MAX_CHOICES = 128
_COUNTS = ("max_tokens", "max_completion_tokens", "n")


@dataclass(frozen=True, slots=True)
class Traits:
    """What Copilot wants told in headers: who began this turn, and whether it has to look at pictures."""

    initiator: str
    has_images: bool


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param` for a field whose type the gateway or any chat model must refuse."""
    messages = body.get("messages")
    if messages is None:
        raise bad_request("The field 'messages' is missing.", param="messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("'messages' must be a list with at least one message.", param="messages")
    for index, message in enumerate(messages):
        _check_message(message, f"messages.{index}")
    model = body.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise bad_request("'model' must be the name of a model.", param="model")
    for name in _NUMBERS:
        _check(body, name, int | float, "a number")
    for name in _COUNTS:
        _check(body, name, int, "a whole number")
        if isinstance(body.get(name), int) and body[name] < 1:
            raise bad_request(f"'{name}' must be at least 1.", param=name)
    if (body.get("n") or 1) > _MAX_CHOICES:
        raise bad_request(f"'n' must be at most {_MAX_CHOICES}.", param="n")
    _check(body, "stream", bool, "true or false")
    _check(body, "stream_options", dict, "an object")
    _check(body, "tools", list, "a list")
    for index, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool, dict) or not isinstance(tool.get("function", {}), dict):
            raise bad_request("Each tool must be an object.", param=f"tools.{index}")
    _check(body, "stop", str | list, "a string or a list of strings")
    if not all(isinstance(word, str) for word in body.get("stop") or ()):
        raise bad_request("'stop' must be a string or a list of strings.", param="stop")


def wants_usage(body: JSON) -> bool:
    """Whether a stream is to tell usage."""
    return bool((body.get("stream_options") or {}).get("include_usage"))


def traits(body: JSON) -> Traits:
    """`agent` when the last message is the assistant's or a tool's, else `user` (copilot-wire 4.3). Never forced."""
    last_role = body["messages"][-1].get("role")
    initiator = "agent" if _ROLES.get(last_role) in ("assistant", "tool") else "user"
    return Traits(initiator, any(_has_image(message) for message in body["messages"]))


def for_upstream(body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]:
    """The body to send, and the names of the fields left out. Usage is always asked for (contract 7.6).

    `renames` are what `remedy` has taught about this model.
    """
    dropped = tuple(name for name in _DROPPED_FIELDS if body.get(name) is not None)
    upstream_body = {renames.get(name, name): value for name, value in body.items() if name not in _DROPPED_FIELDS}
    upstream_body["model"] = model
    if body.get("stream"):
        upstream_body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
    elif "stream_options" in upstream_body:
        del upstream_body["stream_options"]
    return upstream_body, dropped


def remedy(code: str, message: str) -> Mapping[str, str]:
    """Field renames that a refusal asks for: newer OpenAI models take `max_completion_tokens` only (copilot-wire 5.1).

    The code alone (`invalid_request_body`) does not say which field it was about, so the names are looked for.
    """
    if code not in ("invalid_request_body", "unsupported_parameter", "invalid_value"):
        return {}
    refused = _UNSUPPORTED.search(message)
    if refused is None or refused[1] not in _LIMIT_TWINS:
        return {}
    return {refused[1]: _LIMIT_TWINS[refused[1]]}


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


def encode_request(conversation: Conversation) -> JSON:
    """The body that asks for this conversation, streamed."""
    body: JSON = {
        "model": conversation.model,
        "messages": [encoded for message in conversation.messages for encoded in _encoded_messages(message)],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if conversation.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.input_schema},
            }
            for tool in conversation.tools
        ]
    if conversation.tool_choice in ("auto", "none", "required"):
        body["tool_choice"] = conversation.tool_choice
    elif conversation.tool_choice:
        body["tool_choice"] = {"type": "function", "function": {"name": conversation.tool_choice}}
    optional = {
        "max_tokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "stop": list(conversation.stop) or None,
        "reasoning_effort": conversation.reasoning_effort,
        "response_format": conversation.response_format,
        "parallel_tool_calls": conversation.parallel_tool_calls,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def _encoded_messages(message: Message) -> Iterable[JSON]:
    """One message, or one for each tool result in it."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    for result in results:
        yield {"role": "tool", "tool_call_id": result.tool_use_id, "content": _encoded_parts(result.parts)}
    others = tuple(part for part in message.parts if isinstance(part, Text | Image))
    calls = [part for part in message.parts if isinstance(part, ToolUse)]
    if others or calls or not results:
        encoded: JSON = {"role": message.role, "content": _encoded_parts(others) if others else None}
        if calls:
            encoded["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input_json}}
                for call in calls
            ]
        yield encoded


def _encoded_parts(parts: Iterable[Text | Image]) -> str | list[JSON]:
    encoded: list[JSON] = []
    for part in parts:
        match part:
            case Text(text):
                encoded.append({"type": "text", "text": text})
            case Image(url, detail):
                encoded.append({"type": "image_url", "image_url": {"url": url, "detail": detail}})
    if all(part["type"] == "text" for part in encoded):
        return "".join(part["text"] for part in encoded)
    return encoded


def _check_message(message: object, param: str) -> None:
    if not isinstance(message, dict):
        raise bad_request("Each message must be an object.", param=param)
    if not isinstance(message.get("role"), str) or message["role"] not in _ROLES:
        raise bad_request(f"'role' must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise bad_request("'content' must be a string or a list of parts.", param=f"{param}.content")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise bad_request("Each part must be an object with a 'type'.", param=f"{param}.content.{index}")
    tool_calls = message.get("tool_calls")
    if tool_calls is not None and not (
        isinstance(tool_calls, list) and all(isinstance(call, dict) for call in tool_calls)
    ):
        raise bad_request("'tool_calls' must be a list of objects.", param=f"{param}.tool_calls")


def _check(body: JSON, name: str, expected: Any, description: str) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise bad_request(f"'{name}' must be {description}.", param=name)


def _has_image(message: JSON) -> bool:
    content = message.get("content")
    return isinstance(content, list) and any(part.get("type") == "image_url" for part in content)


def _decoded_message(message: JSON) -> Message:
    role = _ROLES[message["role"]]
    parts: list[Part] = list(_decoded_parts(message.get("content")))
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
            yield Text(str(part.get("text", "")))


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
