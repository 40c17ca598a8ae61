"""The request that asks Copilot's /responses for a conversation (copilot-wire 6.2)."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from copilotapi.errors import bad_request
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
from copilotapi.protocols.responses.foreign import is_foreign
from copilotapi.protocols.responses.names import item_id, short_id

ENCRYPTED_REASONING = "reasoning.encrypted_content"
_IMAGE_FOLLOWS = "The image follows in the next message."
_ROLES: dict[Role, str] = {"system": "developer", "tool": "user"}


def encode_request(conversation: Conversation) -> JSON:
    """The body, streamed. ApiError 400 for `stop`, which Responses has no field for.

    Reasoning goes only with its encrypted state: without it, and with another maker's, Copilot refuses the item.
    """
    if conversation.stop:
        message = f"'stop' is not supported by the model '{conversation.model}': Copilot serves it on /responses only."
        raise bad_request(message, param="stop")
    body: JSON = {
        "model": conversation.model,
        "input": list(encode_items(conversation.messages)),
        "stream": True,
        "store": False,
        "include": [ENCRYPTED_REASONING],
    }
    if conversation.tools:
        body["tools"] = [_encoded_tool(tool) for tool in conversation.tools]
    if conversation.tool_choice in ("auto", "none", "required") and conversation.tools:
        body["tool_choice"] = conversation.tool_choice
    elif conversation.tool_choice and conversation.tools:
        body["tool_choice"] = {"type": "function", "name": conversation.tool_choice}
    if conversation.reasoning_effort is not None:
        body["reasoning"] = {"effort": conversation.reasoning_effort, "summary": "auto"}
    if conversation.response_format is not None:
        body["text"] = {"format": _encoded_format(conversation.response_format)}
    optional = {
        "max_output_tokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "parallel_tool_calls": conversation.parallel_tool_calls,
    }
    return body | {name: value for name, value in optional.items() if value is not None}


def encode_items(messages: Iterable[Message]) -> Iterator[JSON]:
    """Results of tools are text; their images follow the last result of a row, as a message of the user's."""
    images: list[Image] = []
    for number, message in enumerate(messages):
        for part_number, (kind, group) in enumerate(groupby(message.parts, _kind)):
            parts = list(group)
            if kind is not ToolResult and images:
                yield _message("user", images)
                images = []
            if kind is Text:
                yield from _messages(message.role, parts, f"{number}.{part_number}")
            for part in parts:
                yield from _encoded_part(part)
                if isinstance(part, ToolResult):
                    images += [inner for inner in part.parts if isinstance(inner, Image)]
    if images:
        yield _message("user", images)


def result_text(texts: list[str], *, has_images: bool) -> str:
    """What a tool's result says, for a field that takes text only."""
    return "\n".join(text for text in texts if text) or (_IMAGE_FOLLOWS if has_images else "")


def _kind(part: Part) -> type:
    return Text if isinstance(part, Text | Image) else type(part)


def _messages(role: Role, parts: list[Part], seed: str) -> Iterator[JSON]:
    """Only the assistant's own text is output; what it shows besides is the user's to show."""
    if role != "assistant":
        yield _message(_ROLES.get(role, role), parts)
        return
    if texts := [part for part in parts if isinstance(part, Text)]:
        content = [{"type": "output_text", "text": part.text, "annotations": []} for part in texts]
        yield {
            "type": "message",
            "role": "assistant",
            "id": item_id("message", seed),
            "status": "completed",
            "content": content,
        }
    if images := [part for part in parts if isinstance(part, Image)]:
        yield _message("user", images)


def _message(role: str, parts: Iterable[Part]) -> JSON:
    content: list[JSON] = []
    for part in parts:
        match part:
            case Text(text):
                content.append({"type": "input_text", "text": text})
            case Image(url, detail):
                content.append({"type": "input_image", "image_url": url, "detail": detail})
    return {"type": "message", "role": role, "content": content}


def _encoded_part(part: Part) -> Iterator[JSON]:
    match part:
        case Reasoning(text, opaque) if opaque and not is_foreign(opaque):
            summary = [{"type": "summary_text", "text": text}] if text else []
            identity = item_id("reasoning", opaque)
            yield {"type": "reasoning", "id": identity, "summary": summary, "encrypted_content": opaque}
        case ToolUse(call_id, name, input_json):
            named = {"call_id": short_id("call", call_id), "name": name, "arguments": input_json}
            yield {"type": "function_call", **named}
        case ToolResult(call_id, parts, is_error):
            texts = [inner.text for inner in parts if isinstance(inner, Text)]
            output = result_text(texts, has_images=len(texts) < len(parts))
            told = {"call_id": short_id("call", call_id), "output": output}
            # Responses has no word for a failed tool; `incomplete` is the nearest of its three statuses.
            yield {"type": "function_call_output", **told, **({"status": "incomplete"} if is_error else {})}


def _encoded_tool(tool: Tool) -> JSON:
    schema = tool.input_schema or {"type": "object", "properties": {}}
    described = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", **described, "strict": False}


def _encoded_format(response_format: JSON) -> JSON:
    inner = response_format.get("json_schema")
    if response_format.get("type") == "json_schema" and isinstance(inner, dict):
        return {"type": "json_schema", **inner}
    return response_format
