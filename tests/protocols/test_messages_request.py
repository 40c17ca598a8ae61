"""What a Messages request says, and what of it cannot be understood."""

from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import (
    Conversation,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.protocols.messages import beta_header, check_prompt, decode_requests, losses
from copilotapi.protocols.messages.check import check_request
from copilotapi.protocols.messages.request import Traits, decode_request, traits

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_time", "input": {"zone": "UTC"}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}
TEXT = {"type": "text", "text": "x"}
# What Claude Code 2.1 adds to the results of tools.
LOADED = {"type": "text", "text": "Tool loaded."}
REMINDER = {
    "type": "text",
    "text": "<system-reminder>\n<total_tokens>9 tokens left</total_tokens>\n</system-reminder>\n",
}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-4.5", "max_tokens": 50, "messages": HELLO, **fields}


def said(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": 4}, "model"),
        ({"model": " "}, "model"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages.0"),
        ({"messages": [*HELLO, None]}, "messages.1"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages.0.content"),
        (said("x"), "messages.0.content.0"),
        (said(TEXT, {}), "messages.0.content.1"),
        (said({"type": None}), "messages.0.content.0"),
        (said({"type": "text"}), "messages.0.content.0.text"),
        (said({"type": "text", "text": None}), "messages.0.content.0.text"),
        (said({"type": "image", "source": "x"}), "messages.0.content.0.source"),
        (said({"type": "document"}), "messages.0.content.0.source"),
        (said({**CALL, "id": None}, role="assistant"), "messages.0.content.0.id"),
        (said({**CALL, "name": 7}, role="assistant"), "messages.0.content.0.name"),
        (said({**CALL, "input": "{}"}, role="assistant"), "messages.0.content.0.input"),
        (said({"type": "tool_result"}), "messages.0.content.0.tool_use_id"),
        (said({**RESULT, "content": 7}), "messages.0.content.0.content"),
        (said({**RESULT, "content": [TEXT, 7]}), "messages.0.content.0.content.1"),
        (said({**RESULT, "content": [{"type": "image"}]}), "messages.0.content.0.content.0.source"),
        (said({"type": "thinking"}, role="assistant"), "messages.0.content.0.thinking"),
        (said({"type": "redacted_thinking"}, role="assistant"), "messages.0.content.0.data"),
        ({"system": 7}, "system"),
        ({"system": {"type": "text"}}, "system"),
        ({"system": ["x"]}, "system.0"),
        ({"system": [TEXT, PIXEL]}, "system.1"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": [1]}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 0.5}, "top_k"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stop_sequences": "end"}, "stop_sequences"),
        ({"stop_sequences": [7]}, "stop_sequences"),
        ({"metadata": "x"}, "metadata"),
        ({"output_config": []}, "output_config"),
        ({"stream_options": "x"}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": 7}]}, "tools.0.type"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema"),
        ({"tools": [{"type": "custom", "name": "f", "input_schema": []}]}, "tools.0.input_schema"),
        ({"tools": [{"name": "f", "input_schema": {}, "description": 7}]}, "tools.0.description"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tool_choice": {"type": "required"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": "no"}},
            "tool_choice.disable_parallel_tool_use",
        ),
        ({"thinking": True}, "thinking"),
        ({"thinking": {}}, "thinking.type"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": "all"}}, "thinking.budget_tokens"),
    ],
)
def test_a_field_that_cannot_be_understood_is_a_400_that_names_it(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_request(asked(**fields))
    assert (caught.value.status, caught.value.kind, caught.value.param) == (400, "invalid_request_error", param)
    # The protocol's error object has no place for it.
    assert caught.value.message.startswith(f"{param}: ")


ODD_BUT_RIGHT: list[dict[str, Any]] = [
    {},
    {"model": None},
    dict.fromkeys(("temperature", "top_p", "top_k", "system", "tools", "tool_choice", "thinking", "stop_sequences")),
    {"messages": [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]},
    {"messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": []}]},
    said({"type": "a_block_of_tomorrow", "content": ["x", 7], "source": 7}),
    said({"type": "web_search_tool_result", "tool_use_id": "x", "content": {"type": "an_error"}}),
    said({"type": "search_result", "content": "x"}, {"type": "search_result", "content": [7, {"text": 7}, TEXT]}),
    said({**RESULT, "content": None}, {"type": "tool_result", "tool_use_id": "a", "is_error": True}),
    said({**RESULT, "content": [{"type": "tool_reference", "tool_name": "f", "content": 7}]}),
    said({"type": "image", "source": {"type": "file", "file_id": "x"}}, {"type": "image", "source": {}}),
    said({"type": "document", "source": {"type": "content", "content": [7]}}),
    {"tools": [{"type": "bash_20250124", "name": "bash"}, {"type": "a_tool_of_tomorrow"}]},
    {"output_config": {"effort": 7, "format": "x"}, "output_format": {}},
    {"thinking": {"type": "adaptive", "display": "omitted"}},
    {"a_field_of_tomorrow": {"x": 1}},
]


@pytest.mark.parametrize("fields", ODD_BUT_RIGHT)
def test_what_is_understood_or_unknown_passes(fields: dict[str, Any]) -> None:
    body = asked(**fields)
    check_request(body)
    decode_request(body)
    traits(body)


def test_tokens_are_counted_without_a_limit() -> None:
    body = {"messages": HELLO}
    check_prompt(body)
    with pytest.raises(ApiError):
        check_request(body)


@pytest.mark.parametrize(
    ("messages", "initiator"),
    [
        (HELLO, "user"),
        ([*HELLO, {"role": "assistant", "content": "x"}], "agent"),
        ([*HELLO, {"role": "assistant", "content": [CALL]}, {"role": "user", "content": [RESULT]}], "agent"),
        ([{"role": "user", "content": [RESULT, RESULT]}], "agent"),
        ([{"role": "user", "content": [RESULT, TEXT]}], "user"),
        ([{"role": "user", "content": [RESULT, LOADED, REMINDER]}], "agent"),
        ([{"role": "user", "content": [RESULT, REMINDER, TEXT]}], "user"),
        ([{"role": "user", "content": [RESULT, {**TEXT, "text": f"{REMINDER['text']} x {REMINDER['text']}"}]}], "user"),
        ([{"role": "user", "content": [REMINDER]}], "user"),
        ([{"role": "user", "content": [RESULT]}, *HELLO], "user"),
        ([{"role": "user", "content": [RESULT]}, {"role": "system", "content": "x"}], "agent"),
        ([{"role": "user", "content": []}], "user"),
        ([{"role": "system", "content": "x"}], "user"),
    ],
)
def test_the_last_message_alone_says_who_began(messages: list[dict[str, Any]], initiator: str) -> None:
    assert traits({"messages": messages}) == Traits(initiator, has_images=False)


@pytest.mark.parametrize("blocks", [[PIXEL], [TEXT, PIXEL], [{**RESULT, "content": [TEXT, PIXEL]}]])
def test_an_image_anywhere_in_the_history_counts(blocks: list[dict[str, Any]]) -> None:
    assert traits({"messages": [{"role": "user", "content": blocks}, *HELLO]}).has_images
    assert not traits({"messages": HELLO}).has_images


def test_a_whole_request_is_decoded() -> None:
    body = asked(
        system=[{"type": "text", "text": "x-anthropic-billing-header: cch=1\n"}, {"type": "text", "text": "Be brief."}],
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "What is it?"}, PIXEL]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm", "signature": "Eq"}, TEXT, CALL]},
            {"role": "user", "content": [RESULT, {**RESULT, "content": [PIXEL], "is_error": True}, TEXT]},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "Em"}]},
            {"role": "system", "content": "Now."},
        ],
        tools=[
            {"name": "get_time", "description": "Tells it.", "input_schema": {"type": "object"}},
            {"type": "bash_20250124", "name": "bash"},
        ],
        tool_choice={"type": "tool", "name": "get_time", "disable_parallel_tool_use": True},
        temperature=0.5,
        top_p=0.9,
        stop_sequences=["end"],
        thinking={"type": "adaptive"},
        output_config={"effort": "high", "format": {"type": "json_schema", "schema": {"a": 1}}},
    )
    check_request(body)
    image = Image("data:image/png;base64,AAAA")
    conversation = Conversation(
        model="claude-sonnet-4.5",
        messages=(
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("What is it?"), image)),
            Message("assistant", (Reasoning("Hm", "Eq"), Text("x"), ToolUse("toolu_1", "get_time", '{"zone":"UTC"}'))),
            Message("tool", (ToolResult("toolu_1", (Text("noon"),)),)),
            Message("tool", (ToolResult("toolu_1", (image,), is_error=True),)),
            Message("user", (Text("x"),)),
            Message("assistant", (Reasoning("", "redacted_thinking:Em"),)),
            Message("system", (Text("Now."),)),
        ),
        tools=(Tool("get_time", "Tells it.", {"type": "object"}),),
        tool_choice="get_time",
        max_tokens=50,
        temperature=0.5,
        top_p=0.9,
        stop=("end",),
        reasoning_effort="high",
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "response", "schema": {"a": 1}, "strict": True},
        },
        parallel_tool_calls=False,
    )
    assert decode_requests(body) == [conversation]


@pytest.mark.parametrize(
    ("choice", "meant"),
    [({"type": "auto"}, "auto"), ({"type": "any"}, "required"), ({"type": "none"}, "none"), (None, None)],
)
def test_a_choice_of_tools_has_the_vocabularys_name(choice: dict[str, Any] | None, meant: str | None) -> None:
    assert decode_request(asked(tool_choice=choice)).tool_choice == meant


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, None),
        ({"thinking": {"type": "disabled"}}, None),
        ({"thinking": {"type": "adaptive"}}, None),
        ({"thinking": {"type": "enabled", "budget_tokens": 2048}}, "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 8192}}, "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}}, "high"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31999}, "output_config": {"effort": "low"}}, "low"),
    ],
)
def test_an_effort_is_read_from_its_name_or_from_a_budget(fields: dict[str, Any], effort: str | None) -> None:
    assert decode_request(asked(**fields)).reasoning_effort == effort


def test_texts_of_documents_and_addresses_of_images_are_read() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "document", "source": {"type": "text", "data": "a"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "b"}]}},
        {"type": "search_result", "content": [{"type": "text", "text": "c"}]},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/x.png"}},
    ]
    [message] = decode_request(asked(**said(*blocks))).messages
    assert message.parts == (Text("a"), Text("b"), Text("c"), Image("https://example.com/x.png"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools.0"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools.0"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"container": "x"}, "container"),
        (said({"type": "document", "source": {"type": "base64", "data": "AAAA"}}), "messages.0.content.0"),
        (said(TEXT, {"type": "image", "source": {"type": "file"}}), "messages.0.content.1"),
        (said({"type": "container_upload"}), "messages.0.content.0"),
        (said({**RESULT, "content": [{"type": "container_upload"}]}), "messages.0.content.0.content.0"),
    ],
)
def test_what_no_other_protocol_can_say_and_shapes_the_answer_is_refused(fields: dict[str, Any], param: str) -> None:
    check_request(asked(**fields))
    with pytest.raises(ApiError) as caught:
        losses(asked(**fields))
    assert (caught.value.status, caught.value.param) == (400, param)


def test_hints_that_are_lost_on_the_way_are_named() -> None:
    blocks = [TEXT, PIXEL, {"type": "document", "source": {"type": "text", "data": "x"}}, RESULT]
    assert losses(asked(**said(*blocks), top_k=5, metadata={}, mcp_servers=[])) == ("top_k", "metadata")
    assert losses(asked(tools=[{"name": "f", "input_schema": {}}])) == ()


@pytest.mark.parametrize(
    ("values", "kept", "dropped"),
    [
        ("", "", ()),
        (" , ", "", ()),
        ("interleaved-thinking-2025-05-14", "interleaved-thinking-2025-05-14", ()),
        ("claude-code-20250219,context-1m-2025-08-07", "", ("claude-code-20250219", "context-1m-2025-08-07")),
        (
            "claude-code-20250219, context-management-2025-06-27 ,compact-2026-01-12,context-management-2025-06-27",
            "context-management-2025-06-27,compact-2026-01-12",
            ("claude-code-20250219",),
        ),
    ],
)
def test_only_betas_that_copilot_knows_are_sent(values: str, kept: str, dropped: tuple[str, ...]) -> None:
    assert beta_header(values) == (kept, dropped)
