"""What a chat request must be before anyone is asked: wrong types and missing fields, named. The rest is Copilot's to judge."""

from collections.abc import Iterator, Mapping
from typing import Any

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON, Role

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
# An assistant may say nothing and call tools; the older functions may return nothing.
_MAY_SAY_NOTHING = ("assistant", "function")
# https://platform.openai.com/docs/api-reference/chat/create: n is at most 128.
_MAX_CHOICES = 128
_COUNTS = ("max_tokens", "max_completion_tokens", "n")
_TYPES: Mapping[str, tuple[Any, str]] = {
    **dict.fromkeys(("temperature", "top_p", "presence_penalty", "frequency_penalty"), (int | float, "a number")),
    **dict.fromkeys(("stream", "parallel_tool_calls", "logprobs", "store"), (bool, "true or false")),
    **dict.fromkeys((*_COUNTS, "seed", "top_logprobs"), (int, "a whole number")),
    **dict.fromkeys(("reasoning_effort", "user", "service_tier"), (str, "a string")),
    **dict.fromkeys(("stream_options", "response_format", "logit_bias", "metadata", "prediction"), (dict, "an object")),
    **dict.fromkeys(("tools", "functions"), (list, "a list")),
    "tool_choice": (str | dict, "a string or an object"),
    "stop": (str | list, "a string or a list of strings"),
}


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param`."""
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
    for name in body:
        if name in _TYPES:
            _check(body, name, *_TYPES[name])
    _check_values(body)
    for index, tool in enumerate(body.get("tools") or ()):
        _check_tool(tool, f"tools.{index}")


def _check_values(body: JSON) -> None:
    for name in _COUNTS:
        if body.get(name) is not None and body[name] < 1:
            raise bad_request(f"'{name}' must be at least 1.", param=name)
    if (body.get("n") or 1) > _MAX_CHOICES:
        raise bad_request(f"'n' must be at most {_MAX_CHOICES}.", param="n")
    if not all(isinstance(word, str) for word in body.get("stop") or ()):
        raise bad_request("'stop' must be a string or a list of strings.", param="stop")
    _check(body.get("stream_options") or {}, "include_usage", bool, "true or false", "stream_options")


def _check_message(message: object, param: str) -> None:
    if not isinstance(message, dict):
        raise bad_request("Each message must be an object.", param=param)
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise bad_request(f"'role' must be one of {', '.join(ROLES)}.", param=f"{param}.role")
    if message.get("content") is None and role not in _MAY_SAY_NOTHING:
        raise bad_request(f"A message of the role '{role}' needs 'content'.", param=f"{param}.content")
    _check(message, "content", str | list, "a string or a list of parts", param)
    for part, place in _numbered(message.get("content"), f"{param}.content"):
        _check_part(part, place)
    if role == "tool":
        _require(message, "tool_call_id", str, "the id of the call it answers", param)
    _check(message, "tool_calls", list, "a list of objects", param)
    for call, place in _numbered(message.get("tool_calls"), f"{param}.tool_calls"):
        _check_call(call, place)


def _check_part(part: object, param: str) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise bad_request("Each part must be an object with a 'type'.", param=param)
    if part["type"] == "text":
        _require(part, "text", str, "a string", param)
    if part["type"] == "image_url":
        _require(part, "image_url", dict, "an object", param)
        _require(part["image_url"], "url", str, "a string", f"{param}.image_url")


def _check_call(call: object, param: str) -> None:
    if not isinstance(call, dict):
        raise bad_request("'tool_calls' must be a list of objects.", param=param)
    if call.get("type", "function") == "function":
        _require(call, "id", str, "a string", param)
        _require(call, "function", dict, "an object", param)
        _require(call["function"], "name", str, "a string", f"{param}.function")
        _check(call["function"], "arguments", str, "JSON in a string", f"{param}.function")


def _check_tool(tool: object, param: str) -> None:
    if not isinstance(tool, dict):
        raise bad_request("Each tool must be an object.", param=param)
    if tool.get("type", "function") == "function":
        _require(tool, "function", dict, "an object", param)
        _require(tool["function"], "name", str, "a string", f"{param}.function")
        _check(tool["function"], "parameters", dict, "a JSON schema", f"{param}.function")


def _numbered(values: object, param: str) -> Iterator[tuple[object, str]]:
    for index, value in enumerate(values if isinstance(values, list) else ()):
        yield value, f"{param}.{index}"


def _require(fields: JSON, name: str, expected: Any, description: str, param: str) -> None:
    if fields.get(name) is None:
        raise bad_request(f"The field '{name}' is missing: {description}.", param=f"{param}.{name}")
    _check(fields, name, expected, description, param)


def _check(fields: JSON, name: str, expected: Any, description: str, param: str = "") -> None:
    value = fields.get(name)
    if value is not None and (not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool)):
        raise bad_request(f"'{name}' must be {description}.", param=f"{param}.{name}".lstrip("."))
