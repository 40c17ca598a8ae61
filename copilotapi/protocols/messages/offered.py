"""Which tools the model is offered now: deferred ones only once they are referred to, later changes done.

Worked out here, because Copilot refuses the fields and no other protocol has any:
https://docs.claude.com/en/docs/agents-and-tools/tool-use/tool-search-tool; Claude Code 2.1 defers most of its tools.
"""

from collections.abc import Iterable, Iterator

from copilotapi.protocols.conversation import JSON

CHANGES = ("tool_addition", "tool_removal")
_SEARCH = "tool_search_tool"


def offered_tools(body: JSON) -> list[JSON]:
    """The request's tools and those defined in its messages, in order, less those that are held back.

    With Anthropic's own search for tools none is held back, and never all of them.
    """
    defined = dict(_defined(body))
    listed = [tool for tool in body.get("tools") or () if tool.get("name") not in defined]
    tools = [*listed, *defined.values()]
    told = dict(_told(body))
    holds_back = not is_searched(tools)
    offered = [
        tool for tool in tools if told.get(tool.get("name"), not (holds_back and tool.get("defer_loading") is True))
    ]
    return offered or tools


def is_searched(tools: Iterable[JSON]) -> bool:
    """Whether Anthropic itself is to search among the tools."""
    return any(str(tool.get("type")).startswith(_SEARCH) for tool in tools)


def reference_text(block: JSON) -> str:
    """What a reference to a tool says where only text can stand."""
    return f"The tool {block.get('tool_name') or ''} can be called from now on."


def _told(body: JSON) -> Iterator[tuple[str, bool]]:
    """Names and whether they are offered from there on; the last word on each counts."""
    if (body.get("tool_choice") or {}).get("type") == "tool":
        yield body["tool_choice"]["name"], True
    for block in _blocks(body):
        match block:
            case {"type": "tool_reference", "tool_name": str(name)} | {"type": "tool_use", "name": str(name)}:
                yield name, True
            case {"type": "tool_addition", "tool": {"definition": {"name": str(name)}} | {"name": str(name)}}:
                yield name, True
            case {"type": "tool_removal", "tool": {"name": str(name)}}:
                yield name, False


def _defined(body: JSON) -> Iterator[tuple[str, JSON]]:
    for block in _blocks(body):
        match block:
            case {"type": "tool_addition", "tool": {"definition": {"name": str(name)} as definition}}:
                yield name, definition


def _blocks(body: JSON) -> Iterator[JSON]:
    """Every block, and after a tool's result what is in it."""
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            yield block
            if block["type"] == "tool_result" and isinstance(block.get("content"), list):
                yield from block["content"]
