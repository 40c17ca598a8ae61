"""A conversation as a Messages request, for a caller of another protocol whose model answers here."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import orjson

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import (
    JSON,
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.protocols.messages.effort import encode_effort
from copilotapi.protocols.messages.thinking import encode_thinking, is_replayable

_DEFAULT_MAX_TOKENS = 8_192
_MAX_TEMPERATURE = 1.0
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[^,;]*)*?;base64,(.*)", re.DOTALL)
# https://docs.claude.com/en/api/messages: what an id of a tool use may be made of.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_TOOL_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def encode_request(conversation: Conversation) -> JSON:
    """The body that asks for this conversation, streamed.

    ApiError 400 naming the `param` for what Claude cannot be given here: an image by address, JSON without a schema.
    """
    optional = {
        "temperature": _temperature(conversation),
        "top_p": conversation.top_p,
        "stop_sequences": list(conversation.stop) or None,
        "system": _system(conversation.messages) or None,
        "tools": [_encoded_tool(tool) for tool in conversation.tools] or None,
        "tool_choice": _tool_choice(conversation) if conversation.tools else None,
    }
    body: JSON = {
        "model": conversation.model,
        "max_tokens": conversation.max_tokens or _DEFAULT_MAX_TOKENS,
        "messages": list(_encoded_messages(conversation.messages)),
        "stream": True,
        **{name: value for name, value in optional.items() if value is not None},
        # https://docs.claude.com/en/docs/build-with-claude/extended-thinking: no other temperature beside thinking.
        **encode_effort(conversation.reasoning_effort, may_think=conversation.temperature in (None, 1)),
    }
    if schema := _schema(conversation.response_format):
        body["output_config"] = {**body.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}
    return body


def encode_tool_use(call: ToolUse) -> JSON:
    """Its input is an object here: text that is none, as free-form tools are given, goes into one."""
    return {
        "type": "tool_use",
        "id": _NOT_IN_IDS.sub("_", call.id),
        "name": call.name,
        "input": _input(call.input_json),
    }


def _input(input_json: str) -> JSON:
    try:
        parsed = orjson.loads(input_json) if input_json.strip() else {}
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {"input": input_json}


def _encoded_messages(messages: Iterable[Message]) -> Iterator[JSON]:
    """Neighbours of one role are one message: the results of parallel calls have to stand in one."""
    spoken = (message for message in messages if message.role != "system")
    for role, neighbours in groupby(spoken, lambda message: "assistant" if message.role == "assistant" else "user"):
        content = [block for message in neighbours for part in message.parts for block in _encoded_part(part)]
        if content:
            yield {"role": role, "content": content}


def _system(messages: Iterable[Message]) -> list[JSON]:
    parts = (part for message in messages if message.role == "system" for part in message.parts)
    return [{"type": "text", "text": part.text} for part in parts if isinstance(part, Text)]


def _encoded_part(part: Part) -> Iterator[JSON]:
    match part:
        case Text(text):
            yield {"type": "text", "text": text}
        case Image(url):
            yield _encoded_image(url)
        case ToolUse():
            yield encode_tool_use(part)
        case ToolResult(tool_use_id, parts, is_error):
            result: JSON = {"type": "tool_result", "tool_use_id": _NOT_IN_IDS.sub("_", tool_use_id)}
            if parts:
                result["content"] = [block for inner in parts for block in _encoded_part(inner)]
            yield {**result, "is_error": True} if is_error else result
        case Reasoning():
            block = encode_thinking(part)
            if is_replayable(block):
                yield block


def _encoded_image(url: str) -> JSON:
    found = _DATA_URL.fullmatch(url)
    if found is None:
        message = "Copilot fetches no images for this model: give the image itself, as a data: URL with base64."
        raise bad_request(message, param="messages", code="unsupported_image_url")
    media_type = "image/jpeg" if found[1] == "image/jpg" else found[1]
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": found[2]}}


def _encoded_tool(tool: Tool) -> JSON:
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "input_schema": {"type": "object", **tool.input_schema}}


def _tool_choice(conversation: Conversation) -> JSON | None:
    asked, is_parallel = conversation.tool_choice, conversation.parallel_tool_calls
    if asked is None and is_parallel is None:
        return None
    kind = _TOOL_CHOICES.get(asked or "auto", "tool")
    choice: JSON = {"type": kind, "name": asked} if kind == "tool" else {"type": kind}
    # Where nothing may be called there is nothing to do in parallel, and the field is refused.
    return choice if is_parallel is None or kind == "none" else {**choice, "disable_parallel_tool_use": not is_parallel}


def _temperature(conversation: Conversation) -> float | None:
    """OpenAI's scale ends at 2, this one at 1."""
    asked = conversation.temperature
    return None if asked is None else min(asked, _MAX_TEMPERATURE)


def _schema(response_format: JSON | None) -> JSON | None:
    kind = (response_format or {}).get("type", "text")
    if response_format is None or kind == "text":
        return None
    described = response_format.get("json_schema")
    if kind != "json_schema" or not isinstance(described, dict) or not isinstance(described.get("schema"), dict):
        message = "This model can be held to a JSON schema only: give a 'json_schema' with its 'schema'."
        raise bad_request(message, param="response_format")
    schema: JSON = described["schema"]
    return schema
