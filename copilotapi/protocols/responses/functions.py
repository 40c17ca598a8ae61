"""Codex's `namespace` tools and OpenAI's free-form `custom` ones as plain functions, and their calls back again.

For models and protocols that know functions only (copilot-wire 6.2; clients.md, Codex CLI).
"""

from collections.abc import Iterable, Iterator
from typing import Any

from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.names import ToolName, flat_name, freeform_json, freeform_text, tool_name

_FREEFORM_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}


def flat_tools(tools: Iterable[JSON]) -> Iterator[JSON]:
    """Function tools only; hosted tools are left out."""
    for tool in tools:
        if tool.get("type") == "namespace":
            for inner in tool.get("tools") or ():
                yield from _flat_tool(inner, str(tool.get("name", "")))
        else:
            yield from _flat_tool(tool, None)


def flat_item(item: JSON) -> JSON:
    """An input item whose call, if it is one, is a plain function's."""
    match item.get("type"):
        case "custom_tool_call":
            name = flat_name(ToolName(_text(item, "name"), item.get("namespace"), is_freeform=True))
            arguments = freeform_json(_text(item, "input"))
            kept = _without(item, "input", "namespace")
            return {**kept, "type": "function_call", "name": name, "arguments": arguments}
        case "custom_tool_call_output":
            return {**item, "type": "function_call_output"}
        case "function_call" if item.get("namespace"):
            name = flat_name(ToolName(_text(item, "name"), item["namespace"]))
            return {**_without(item, "namespace"), "name": name}
    return item


def flat_choice(choice: Any) -> Any:
    """A `tool_choice` with tools by the names of their functions; one without tools as it is."""
    if not isinstance(choice, dict):
        return choice
    if isinstance(choice.get("tools"), list):
        return {**choice, "tools": [flat_choice(tool) for tool in choice["tools"]]}
    if choice.get("type") not in ("function", "custom"):
        return choice
    is_freeform = choice["type"] == "custom"
    name = flat_name(ToolName(_text(choice, "name"), choice.get("namespace"), is_freeform))
    return {"type": "function", "name": name}


def restored_item(item: JSON) -> JSON:
    """An output item as the caller's tools call for: the very object that came where its name has no mark."""
    if item.get("type") != "function_call":
        return item
    name = _text(item, "name")
    tool = tool_name(name)
    if tool.name == name:
        return item
    restored = {**item, "name": tool.name, **({"namespace": tool.namespace} if tool.namespace else {})}
    if not tool.is_freeform:
        return restored
    arguments = _text(item, "arguments")
    text = freeform_text(arguments) if arguments else ""
    return {**_without(restored, "arguments"), "type": "custom_tool_call", "input": text}


class CallRestorer:
    """Events of a stream with the calls restored. Free text is told at once: its JSON cannot be read in pieces."""

    def __init__(self) -> None:
        self._freeform: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """No free-form call was met yet, so that deltas need not be looked at."""
        return not self._freeform

    def restored(self, event: JSON) -> list[JSON]:
        """None, one or two events for one. Those that are new bear no `sequence_number`."""
        index = event.get("output_index")
        item = event.get("item")
        if isinstance(item, dict):
            event["item"] = restored_item(item)
            if event["item"].get("type") == "custom_tool_call" != item.get("type") and isinstance(index, int):
                self._freeform.add(index)
        response = event.get("response")
        if isinstance(response, dict) and isinstance(response.get("output"), list):
            response["output"] = [restored_item(item) for item in response["output"] if isinstance(item, dict)]
        if not isinstance(index, int) or index not in self._freeform:
            return [event]
        match event.get("type"):
            case "response.function_call_arguments.delta":
                return []
            case "response.function_call_arguments.done":
                return _told_at_once(event)
        return [event]


def _told_at_once(done: JSON) -> list[JSON]:
    place: JSON = {name: done[name] for name in ("item_id", "output_index") if name in done}
    text = freeform_text(_text(done, "arguments"))
    return [
        {"type": "response.custom_tool_call_input.delta", **place, "delta": text},
        {"type": "response.custom_tool_call_input.done", **place, "input": text},
    ]


def _flat_tool(tool: JSON, namespace: str | None) -> Iterator[JSON]:
    name = _text(tool, "name")
    match tool.get("type"):
        case "function" if namespace is None:
            yield tool
        case "function":
            yield {**tool, "name": flat_name(ToolName(name, namespace))}
        case "custom":
            yield {
                "type": "function",
                "name": flat_name(ToolName(name, namespace, is_freeform=True)),
                "description": _described(tool),
                "parameters": _FREEFORM_SCHEMA,
                "strict": False,
            }


def _described(tool: JSON) -> str:
    """A grammar cannot be enforced on a function's argument, but it can be read by the model."""
    told = _text(tool, "description")
    rule = tool.get("format")
    if not isinstance(rule, dict) or rule.get("type") != "grammar":
        return told
    return f"{told}\n\nThe input must follow this {_text(rule, 'syntax')} grammar:\n{_text(rule, 'definition')}".strip()


def _text(fields: JSON, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _without(fields: JSON, *names: str) -> JSON:
    return {name: value for name, value in fields.items() if name not in names}
