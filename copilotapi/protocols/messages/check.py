"""What of a Messages request has to be right before the gateway can go on. What it does not know, it lets pass."""

from typing import Any

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON

_ROLES = ("user", "assistant", "system")
_NUMBERS = ("temperature", "top_p")
# stream_options is OpenAI's, and read of any body.
_OBJECTS = ("metadata", "output_config", "output_format", "cache_control", "context_management", "stream_options")
_TOOL_CHOICES = ("auto", "any", "tool", "none")
_THINKING = ("enabled", "adaptive", "between_tools", "disabled")
# Block type -> its fields that are read here, and what they must be.
_FIELDS: dict[str, dict[str, Any]] = {
    "text": {"text": str},
    "image": {"source": dict},
    "document": {"source": dict},
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str},
    "redacted_thinking": {"data": str},
    "tool_addition": {"tool": dict},
    "tool_removal": {"tool": dict},
}
_NAMES = {str: "a string", dict: "an object", list: "a list", bool: "true or false"}


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param` for a field whose type the gateway or any Claude model must refuse."""
    check_prompt(body)
    if body.get("max_tokens") is None:
        raise bad_request("max_tokens: the field is missing.", param="max_tokens")
    _check_count(body, "max_tokens")


def check_prompt(body: JSON) -> None:
    """As `check_request`, for counting tokens: there max_tokens may be missing."""
    model = body.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise bad_request("model: must be the name of a model.", param="model")
    _check_messages(body)
    _check_system(body.get("system"))
    for name in _NUMBERS:
        value = body.get(name)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            raise bad_request(f"{name}: must be a number.", param=name)
    _check_count(body, "top_k", least=0)
    for name in _OBJECTS:
        _check(body, name, dict, name)
    _check(body, "stream", bool, "stream")
    _check(body, "stop_sequences", list, "stop_sequences")
    if not all(isinstance(word, str) for word in body.get("stop_sequences") or ()):
        raise bad_request("stop_sequences: must be a list of strings.", param="stop_sequences")
    _check_tools(body)
    _check_tool_choice(body)
    _check_thinking(body)


def _check_messages(body: JSON) -> None:
    messages = body.get("messages")
    if messages is None:
        raise bad_request("messages: the field is missing.", param="messages")
    if not isinstance(messages, list) or not messages:
        raise bad_request("messages: must be a list with at least one message.", param="messages")
    for index, message in enumerate(messages):
        place = f"messages.{index}"
        if not isinstance(message, dict):
            raise bad_request(f"{place}: must be an object.", param=place)
        if message.get("role") not in _ROLES:
            raise bad_request(f"{place}.role: must be one of user, assistant.", param=f"{place}.role")
        _check_content(message.get("content"), f"{place}.content")


def _check_content(content: object, place: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise bad_request(f"{place}: must be a string or a list of blocks.", param=place)
    for index, block in enumerate(content):
        _check_block(block, f"{place}.{index}")


def _check_block(block: object, place: str) -> None:
    if not isinstance(block, dict) or not isinstance(block.get("type"), str):
        raise bad_request(f"{place}: must be an object with a 'type'.", param=place)
    for name, expected in _FIELDS.get(block["type"], {}).items():
        if not isinstance(block.get(name), expected):
            raise bad_request(f"{place}.{name}: must be {_NAMES[expected]}.", param=f"{place}.{name}")
    if block["type"] == "tool_result" and block.get("content") is not None:
        _check_content(block["content"], f"{place}.content")
    if block["type"] == "tool_addition" and block["tool"].get("definition") is not None:
        _check_tool(block["tool"]["definition"], f"{place}.tool.definition")


def _check_system(system: object) -> None:
    if system is None or isinstance(system, str):
        return
    if not isinstance(system, list):
        raise bad_request("system: must be a string or a list of text blocks.", param="system")
    for index, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text" or not isinstance(block.get("text"), str):
            raise bad_request(f"system.{index}: must be a text block.", param=f"system.{index}")


def _check_tools(body: JSON) -> None:
    _check(body, "tools", list, "tools")
    for index, tool in enumerate(body.get("tools") or ()):
        _check_tool(tool, f"tools.{index}")


def _check_tool(tool: object, place: str) -> None:
    if not isinstance(tool, dict):
        raise bad_request(f"{place}: must be an object.", param=place)
    _check(tool, "type", str, f"{place}.type")
    _check(tool, "name", str, f"{place}.name")
    if tool.get("type") in (None, "custom"):
        if not tool.get("name"):
            raise bad_request(f"{place}.name: must be a string, not empty.", param=f"{place}.name")
        if not isinstance(tool.get("input_schema"), dict):
            raise bad_request(f"{place}.input_schema: must be an object.", param=f"{place}.input_schema")
        _check(tool, "description", str, f"{place}.description")


def _check_tool_choice(body: JSON) -> None:
    _check(body, "tool_choice", dict, "tool_choice")
    choice = body.get("tool_choice")
    if choice is None:
        return
    if choice.get("type") not in _TOOL_CHOICES:
        raise bad_request(f"tool_choice.type: must be one of {', '.join(_TOOL_CHOICES)}.", param="tool_choice.type")
    if choice["type"] == "tool" and not isinstance(choice.get("name"), str):
        raise bad_request("tool_choice.name: must be a string.", param="tool_choice.name")
    _check(choice, "disable_parallel_tool_use", bool, "tool_choice.disable_parallel_tool_use")


def _check_thinking(body: JSON) -> None:
    _check(body, "thinking", dict, "thinking")
    thinking = body.get("thinking")
    if thinking is None:
        return
    if thinking.get("type") not in _THINKING:
        raise bad_request(f"thinking.type: must be one of {', '.join(_THINKING)}.", param="thinking.type")
    if thinking["type"] == "enabled":
        if thinking.get("budget_tokens") is None:
            raise bad_request("thinking.budget_tokens: the field is missing.", param="thinking.budget_tokens")
        _check_count(thinking, "budget_tokens", place="thinking.budget_tokens")


def _check_count(fields: JSON, name: str, *, least: int = 1, place: str = "") -> None:
    value, place = fields.get(name), place or name
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise bad_request(f"{place}: must be a whole number of at least {least}.", param=place)


def _check(fields: JSON, name: str, expected: Any, place: str) -> None:
    value = fields.get(name)
    if value is not None and not isinstance(value, expected):
        raise bad_request(f"{place}: must be {_NAMES[expected]}.", param=place)
