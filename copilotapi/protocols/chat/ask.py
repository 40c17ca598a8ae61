"""A conversation as a chat request, for a caller of another protocol whose model answers here."""

from collections.abc import Iterable, Iterator

from copilotapi.protocols.chat.reasoning import encode_state
from copilotapi.protocols.conversation import (
    JSON,
    Conversation,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)

_IMAGE_FOLLOWS = "The image follows in the next message of the user."
_FAILED = "Error: "
_SEPARATORS = {"system": "\n\n"}
# Anthropic's strongest; OpenAI's is called otherwise.
_EFFORTS = {"max": "xhigh"}


def encode_request(conversation: Conversation) -> JSON:
    """The body that asks for this conversation, streamed."""
    effort = conversation.reasoning_effort
    optional = {
        "tools": [_encoded_tool(tool) for tool in conversation.tools] or None,
        # Refused where there are no tools.
        "tool_choice": _tool_choice(conversation.tool_choice) if conversation.tools else None,
        "max_tokens": conversation.max_tokens,
        "temperature": conversation.temperature,
        "top_p": conversation.top_p,
        "stop": list(conversation.stop) or None,
        "reasoning_effort": _EFFORTS.get(effort, effort) if effort else None,
        "response_format": conversation.response_format,
        "parallel_tool_calls": conversation.parallel_tool_calls if conversation.tools else None,
    }
    return {
        "model": conversation.model,
        "messages": list(_encoded_messages(conversation.messages)),
        "stream": True,
        "stream_options": {"include_usage": True},
        **{name: value for name, value in optional.items() if value is not None},
    }


def _encoded_messages(messages: Iterable[Message]) -> Iterator[JSON]:
    """A tool's result is text here, and nothing may stand between the results of parallel calls: their images follow the
    last one, as a message of the user's (https://platform.openai.com/docs/api-reference/chat/create).
    """
    images: list[Image] = []
    for message in messages:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        for result in results:
            yield _encoded_result(result)
            images += [part for part in result.parts if isinstance(part, Image)]
        if not results or len(results) < len(message.parts):
            yield from _shown(images)
            images = []
            yield from _encoded_message(message)
    yield from _shown(images)


def _encoded_message(message: Message) -> Iterator[JSON]:
    """Nothing for a message that holds but reasoning of another endpoint."""
    shown = [part for part in message.parts if isinstance(part, Text | Image)]
    calls = [part for part in message.parts if isinstance(part, ToolUse)]
    state = encode_state([part for part in message.parts if isinstance(part, Reasoning)])
    if not (shown or calls or state):
        return
    encoded: JSON = {"role": message.role, "content": _content(message.role, shown), **state}
    if calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input_json}}
            for call in calls
        ]
    elif not shown:
        encoded["content"] = ""
    yield encoded


def _encoded_result(result: ToolResult) -> JSON:
    """Chat has no word for a failed tool but the text itself."""
    texts = [part.text for part in result.parts if isinstance(part, Text)]
    text = "\n".join(texts) or (_IMAGE_FOLLOWS if len(texts) < len(result.parts) else "")
    if result.is_error and not text.lower().startswith("error"):
        text = f"{_FAILED}{text}"
    return {"role": "tool", "tool_call_id": result.tool_use_id, "content": text}


def _shown(images: list[Image]) -> Iterator[JSON]:
    if images:
        yield {"role": "user", "content": [_encoded_part(image) for image in images]}


def _content(role: str, parts: list[Text | Image]) -> str | list[JSON] | None:
    """A string as long as one can tell it; only the user's texts stay apart."""
    if len(parts) == 1 or (role != "user" and all(isinstance(part, Text) for part in parts)):
        texts = [part.text for part in parts if isinstance(part, Text)]
        if texts:
            return _SEPARATORS.get(role, "").join(texts)
    return [_encoded_part(part) for part in parts] or None


def _encoded_part(part: Text | Image) -> JSON:
    match part:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(url, detail):
            return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


def _encoded_tool(tool: Tool) -> JSON:
    """OpenAI refuses an object schema without properties."""
    schema = tool.input_schema
    if schema.get("type") == "object" and "properties" not in schema:
        schema = {**schema, "properties": {}}
    described = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **described, "parameters": schema}}


def _tool_choice(asked: str | None) -> str | JSON | None:
    if asked is None or asked in ("auto", "none", "required"):
        return asked
    return {"type": "function", "function": {"name": asked}}
