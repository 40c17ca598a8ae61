"""What makes a request of Responses one that cannot be understood, or one that needs a memory this gateway has not."""

from typing import Any

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.request import is_reference

_ROLES = ("user", "assistant", "system", "developer")
_NUMBERS = ("temperature", "top_p")
_FLAGS = ("stream", "store", "background", "parallel_tool_calls")
_OBJECTS = ("reasoning", "text", "metadata", "stream_options")
_CALLS = {"function_call": ("call_id", "name", "arguments"), "custom_tool_call": ("call_id", "name", "input")}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param`."""
    _check_state(body)
    _check_input(body.get("input"))
    for name in _NUMBERS:
        _check(body, name, int | float, "a number")
    for name in _FLAGS:
        _check(body, name, bool, "true or false")
    for name in _OBJECTS:
        _check(body, name, dict, "an object")
    _check(body, "instructions", str, "a string")
    _check(body, "max_output_tokens", int, "a whole number")
    if isinstance(body.get("max_output_tokens"), int) and body["max_output_tokens"] < 1:
        raise bad_request("'max_output_tokens' must be at least 1.", param="max_output_tokens")
    model = body.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise bad_request("'model' must be the name of a model.", param="model")
    include = body.get("include")
    if include is not None and not (isinstance(include, list) and all(isinstance(name, str) for name in include)):
        raise bad_request("'include' must be a list of strings.", param="include")
    reasoning = body.get("reasoning") or {}
    _check(reasoning, "effort", str, "a string", "reasoning.effort")
    _check(body.get("text") or {}, "format", dict, "an object", "text.format")
    _check_tools(body.get("tools"), "tools")
    _check(body, "tool_choice", str | dict, "a string or an object")
    if body.get("background"):
        raise bad_request("'background' is not supported: nothing is stored to be fetched later.", param="background")


def _check_state(body: JSON) -> None:
    """Nothing is stored between requests, neither here nor at Copilot (copilot-wire 6.2)."""
    previous = body.get("previous_response_id")
    if previous is not None:
        # OpenAI's own words and code: clients answer them by sending the whole history.
        message = f"Previous response with id '{str(previous)[:100]}' not found."
        raise bad_request(message, param="previous_response_id", code="previous_response_not_found")
    for name in ("conversation", "prompt"):
        if body.get(name) is not None:
            raise bad_request(f"'{name}' is not supported: nothing is stored here to refer to.", param=name)


def _check_input(given: object) -> None:
    if given is None:
        raise bad_request("The field 'input' is missing.", param="input")
    if not isinstance(given, str | list) or not given:
        raise bad_request("'input' must be a string or a list with at least one item.", param="input")
    for index, item in enumerate(given if isinstance(given, list) else ()):
        _check_item(item, f"input.{index}")


def _check_item(item: Any, param: str) -> None:
    if not isinstance(item, dict):
        raise bad_request("Each item must be an object.", param=param)
    kind = item.get("type")
    if kind is not None and not isinstance(kind, str):
        raise bad_request("'type' must be a string.", param=f"{param}.type")
    if kind == "message" or (not kind and not is_reference(item)):
        if item.get("role") not in _ROLES:
            raise bad_request(f"'role' must be one of {', '.join(_ROLES)}.", param=f"{param}.role")
        _check_parts(item, "content", param)
    for name in _CALLS.get(kind or "", ()):
        if not isinstance(item.get(name), str):
            raise bad_request(f"'{name}' must be a string.", param=f"{param}.{name}")
    _check(item, "namespace", str, "a string", f"{param}.namespace")
    _check(item, "id", str, "a string", f"{param}.id")
    if kind in _OUTPUTS:
        _check(item, "call_id", str, "a string", f"{param}.call_id", required=True)
        _check_parts(item, "output", param)
    if kind == "reasoning":
        _check_summary(item, param)
    if kind == "additional_tools":
        _check_tools(item.get("tools"), f"{param}.tools")


def _check_parts(item: JSON, name: str, param: str) -> None:
    parts = item.get(name)
    if not isinstance(parts, str | list):
        raise bad_request(f"'{name}' must be a string or a list of parts.", param=f"{param}.{name}")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise bad_request("Each part must be an object with a 'type'.", param=f"{param}.{name}.{index}")


def _check_summary(item: JSON, param: str) -> None:
    summary = item.get("summary")
    if summary is not None and not (isinstance(summary, list) and all(isinstance(part, dict) for part in summary)):
        raise bad_request("'summary' must be a list of parts.", param=f"{param}.summary")
    _check(item, "encrypted_content", str, "a string", f"{param}.encrypted_content")


def _check_tools(tools: Any, param: str) -> None:
    if tools is not None and not isinstance(tools, list):
        raise bad_request("'tools' must be a list.", param=param)
    for index, tool in enumerate(tools or ()):
        place = f"{param}.{index}"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            raise bad_request("Each tool must be an object with a 'type'.", param=place)
        if tool["type"] in ("function", "custom", "namespace"):
            _check(tool, "name", str, "a string", f"{place}.name", required=True)
        if tool["type"] == "namespace":
            _check_tools(tool.get("tools"), f"{place}.tools")


def _check(
    fields: JSON, name: str, expected: Any, description: str, param: str = "", *, required: bool = False
) -> None:
    value = fields.get(name)
    if value is None and not required:
        return
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise bad_request(f"'{name}' must be {description}.", param=param or name)
