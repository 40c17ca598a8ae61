"""Tools that are held back, loaded and changed in the middle of a conversation: who is offered them, and how it is told."""

from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import Text, ToolResult
from copilotapi.protocols.messages import check_request, decode_request, for_upstream, losses
from copilotapi.protocols.messages.offered import offered_tools

HELLO = {"role": "user", "content": "Hello"}
READ: dict[str, Any] = {"name": "Read", "input_schema": {"type": "object"}}
FETCH: dict[str, Any] = {"name": "WebFetch", "input_schema": {"type": "object"}}
DEFERRED = {**FETCH, "defer_loading": True}
SEARCHED = {"type": "tool_use", "id": "toolu_1", "name": "ToolSearch", "input": {}}
FOUND = {"type": "tool_reference", "tool_name": "WebFetch"}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "toolu_1", "content": [FOUND]}
LOADED = [HELLO, {"role": "assistant", "content": [SEARCHED]}, {"role": "user", "content": [RESULT]}]
TOLD = "The tool WebFetch can be called from now on."


def asked(*messages: Any, tools: Any = (READ, DEFERRED), **fields: Any) -> dict[str, Any]:
    body = {"model": "m", "max_tokens": 50, "messages": list(messages or [HELLO]), "tools": list(tools), **fields}
    check_request(body)
    return body


def changed(kind: str, tool: dict[str, Any]) -> dict[str, Any]:
    return {"role": "system", "content": [{"type": f"tool_{kind}", "tool": tool}]}


def defined(tool: dict[str, Any]) -> dict[str, Any]:
    return changed("addition", {"type": "tool_definition", "definition": tool})


def referred(kind: str, name: str) -> dict[str, Any]:
    return changed(kind, {"type": "tool_reference", "name": name})


CALLED = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "WebFetch", "input": {}}]}


@pytest.mark.parametrize(
    ("messages", "names"),
    [
        ([HELLO], ["Read"]),
        (LOADED, ["Read", "WebFetch"]),
        ([HELLO, CALLED, HELLO], ["Read", "WebFetch"]),
        ([HELLO, referred("addition", "WebFetch")], ["Read", "WebFetch"]),
        ([HELLO, referred("removal", "Read"), referred("addition", "WebFetch")], ["WebFetch"]),
        ([*LOADED, referred("removal", "WebFetch")], ["Read"]),
        ([HELLO, referred("removal", "Read"), referred("addition", "Read")], ["Read"]),
        ([HELLO, defined({**READ, "name": "Grep"})], ["Read", "Grep"]),
        ([HELLO, defined({**READ, "name": "Grep"}), referred("removal", "Grep")], ["Read"]),
        ([HELLO, defined({**READ, "description": "new"})], ["Read"]),
        ([HELLO, referred("addition", "unheard of")], ["Read"]),
    ],
)
def test_a_tool_is_offered_from_where_it_is_referred_to_until_it_is_withdrawn(
    messages: list[Any], names: list[str]
) -> None:
    assert [tool["name"] for tool in offered_tools(asked(*messages))] == names


def test_the_tool_that_must_be_called_is_offered() -> None:
    body = asked(tool_choice={"type": "tool", "name": "WebFetch"})
    assert offered_tools(body) == [READ, DEFERRED]


def test_the_later_definition_of_a_tool_counts() -> None:
    assert offered_tools(asked(HELLO, defined({**READ, "description": "new"}))) == [{**READ, "description": "new"}]


def test_tools_are_never_held_back_all_at_once() -> None:
    assert offered_tools(asked(tools=[DEFERRED])) == [DEFERRED]


def test_beside_anthropics_own_search_no_tool_is_held_back_and_that_is_told() -> None:
    search = {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"}
    body, dropped = for_upstream(asked(tools=[search, READ, DEFERRED]), "claude-opus-4.6", {})
    assert (body["tools"], dropped) == ([search, READ, FETCH], ("tools.defer_loading",))


def test_copilot_gets_the_offered_tools_and_the_references_in_words() -> None:
    body, dropped = for_upstream(asked(*LOADED), "claude-opus-4.6", {})
    assert (body["tools"], dropped) == ([READ, FETCH], ())
    assert body["messages"][-1]["content"] == [{**RESULT, "content": [{"type": "text", "text": TOLD}]}]
    assert for_upstream(asked(), "claude-opus-4.6", {})[0]["tools"] == [READ]


def test_another_protocol_gets_them_as_well() -> None:
    body = asked(*LOADED)
    assert losses(body) == ()
    conversation = decode_request(body)
    assert [tool.name for tool in conversation.tools] == ["Read", "WebFetch"]
    assert conversation.messages[-1].parts == (ToolResult("toolu_1", (Text(TOLD),)),)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        (7, "tool"),
        ({"type": "tool_definition", "definition": 7}, "tool.definition"),
        ({"type": "tool_definition", "definition": {"input_schema": {}}}, "tool.definition.name"),
        ({"type": "tool_definition", "definition": {"name": "f"}}, "tool.definition.input_schema"),
    ],
)
def test_a_change_that_cannot_be_understood_is_refused_by_its_place(tool: Any, param: str) -> None:
    with pytest.raises(ApiError) as caught:
        asked(HELLO, changed("addition", tool))
    assert (caught.value.status, caught.value.param) == (400, f"messages.1.content.0.{param}")


def test_a_tool_of_anthropics_that_is_defined_later_is_refused_where_nothing_can_be_done_with_it() -> None:
    with pytest.raises(ApiError) as caught:
        losses(asked(HELLO, defined({"type": "bash_20250124", "name": "bash"})))
    assert caught.value.status == 400
