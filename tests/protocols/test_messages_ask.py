"""A conversation of another protocol as a Messages request, and back."""

from dataclasses import replace
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
from copilotapi.protocols.messages import check_request, decode_request, encode_request, for_upstream

HELLO = Conversation("claude-sonnet-4.6", (Message("user", (Text("Hello"),)),), max_tokens=50)
PIXEL = Image("data:image/png;base64,AAAA")
F = Tool("f", "Does it.", {"type": "object", "properties": {"a": {"type": "integer"}}})
SCHEMA = {"name": "response", "schema": {"type": "object"}, "strict": True}

CONVERSATIONS: dict[str, Conversation] = {
    "text": HELLO,
    "system": replace(HELLO, messages=(Message("system", (Text("A"), Text("B"))), *HELLO.messages)),
    "image": replace(HELLO, messages=(Message("user", (Text("See"), PIXEL, Text("this"))),)),
    "turns": replace(HELLO, messages=(*HELLO.messages, Message("assistant", (Text("Hi"),)), *HELLO.messages)),
    "tools": replace(HELLO, tools=(F, Tool("g", "", {"type": "object"})), tool_choice="auto"),
    "a forced tool": replace(HELLO, tools=(F,), tool_choice="f", parallel_tool_calls=False),
    "any tool": replace(HELLO, tools=(F,), tool_choice="required", parallel_tool_calls=True),
    "no tool": replace(HELLO, tools=(F,), tool_choice="none"),
    "sampling": replace(HELLO, temperature=0.5, top_p=0.9, stop=("a", "b")),
    "effort": replace(HELLO, reasoning_effort="high"),
    "effort beside a temperature": replace(HELLO, reasoning_effort="low", temperature=0.2),
    "a schema": replace(HELLO, response_format={"type": "json_schema", "json_schema": SCHEMA}),
    "a schema and an effort": replace(
        HELLO, reasoning_effort="low", response_format={"type": "json_schema", "json_schema": SCHEMA}
    ),
    "a loop of tools": replace(
        HELLO,
        messages=(
            *HELLO.messages,
            Message(
                "assistant",
                (
                    Reasoning("Hm", "Eq"),
                    Reasoning("", "redacted_thinking:Em"),
                    Text("Looking."),
                    ToolUse("toolu_a", "f", '{"a":1}'),
                    ToolUse("toolu_b", "f", "{}"),
                ),
            ),
            Message("tool", (ToolResult("toolu_a", (Text("one"), PIXEL)),)),
            Message("tool", (ToolResult("toolu_b", (), is_error=True),)),
            Message("user", (Text("Go on"),)),
        ),
        tools=(F,),
    ),
}


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_what_is_encoded_is_decoded_to_the_same_conversation(conversation: Conversation) -> None:
    body = encode_request(conversation)
    check_request(body)
    assert decode_request(body) == conversation


@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_what_is_encoded_goes_out_with_nothing_lost(conversation: Conversation) -> None:
    body = encode_request(conversation)
    outgoing, dropped = for_upstream(body, conversation.model, {})
    assert dropped == ()
    assert decode_request(outgoing) == conversation


def test_results_of_parallel_calls_and_what_is_said_after_them_are_one_message() -> None:
    body = encode_request(CONVERSATIONS["a loop of tools"])
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_a",
            "content": [
                {"type": "text", "text": "one"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
            ],
        },
        {"type": "tool_result", "tool_use_id": "toolu_b", "is_error": True},
        {"type": "text", "text": "Go on"},
    ]


def test_a_stream_is_asked_for_and_a_limit_always_set() -> None:
    body = encode_request(replace(HELLO, max_tokens=None))
    assert (body["stream"], body["max_tokens"]) == (True, 8192)


@pytest.mark.parametrize("reasoning", [Reasoning("Hm"), Reasoning("", "Eq"), Reasoning("Hm", "gAAAAABo")])
def test_reasoning_that_claude_did_not_sign_stays_here(reasoning: Reasoning) -> None:
    messages = (*HELLO.messages, Message("assistant", (reasoning, Text("x"))), *HELLO.messages)
    body = encode_request(replace(HELLO, messages=messages))
    assert body["messages"][1]["content"] == [{"type": "text", "text": "x"}]


def test_system_messages_anywhere_are_one_system_text() -> None:
    messages = (*HELLO.messages, Message("system", (Text("B"),)))
    body = encode_request(replace(HELLO, messages=(Message("system", (Text("A"),)), *messages)))
    assert [block["text"] for block in body["system"]] == ["A", "B"]
    assert len(body["messages"]) == 1


@pytest.mark.parametrize(
    ("input_json", "given"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ('{"a": ', {"input": '{"a": '}),
        ("[1]", {"input": "[1]"}),
        ("*** Begin Patch", {"input": "*** Begin Patch"}),
    ],
)
def test_the_input_of_a_call_becomes_an_object(input_json: str, given: dict[str, Any]) -> None:
    message = Message("assistant", (ToolUse("c", "f", input_json),))
    assert encode_request(replace(HELLO, messages=(message,)))["messages"][0]["content"][0]["input"] == given


def test_ids_of_other_protocols_are_written_in_claudes_letters_on_both_sides() -> None:
    messages = (
        Message("assistant", (ToolUse("call:1|fc.2", "f", "{}"),)),
        Message("tool", (ToolResult("call:1|fc.2", ()),)),
    )
    call, result = encode_request(replace(HELLO, messages=messages))["messages"]
    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"] == "call_1_fc_2"


@pytest.mark.parametrize("url", ["https://example.com/x.png", "data:image/png,AAAA", "", "file:///x"])
def test_an_image_by_address_is_refused(url: str) -> None:
    with pytest.raises(ApiError) as caught:
        encode_request(replace(HELLO, messages=(Message("user", (Image(url),)),)))
    assert (caught.value.status, caught.value.param) == (400, "messages")


def test_a_name_of_jpeg_that_only_others_know_is_mended() -> None:
    body = encode_request(replace(HELLO, messages=(Message("user", (Image("data:image/jpg;x=y;base64,/9j/"),)),)))
    source = {"type": "base64", "media_type": "image/jpeg", "data": "/9j/"}
    assert body["messages"][0]["content"][0]["source"] == source


@pytest.mark.parametrize(
    "response_format", [{"type": "json_object"}, {"type": "json_schema"}, {"type": "json_schema", "json_schema": {}}]
)
def test_json_without_a_schema_is_refused(response_format: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as caught:
        encode_request(replace(HELLO, response_format=response_format))
    assert (caught.value.status, caught.value.param) == (400, "response_format")


@pytest.mark.parametrize("response_format", [None, {"type": "text"}])
def test_plain_text_needs_no_format(response_format: dict[str, Any] | None) -> None:
    assert "output_config" not in encode_request(replace(HELLO, response_format=response_format))


@pytest.mark.parametrize(
    ("effort", "fields"),
    [
        (None, {}),
        ("none", {}),
        ("minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
    ],
)
def test_an_effort_asks_for_adaptive_thinking(effort: str | None, fields: dict[str, Any]) -> None:
    body = encode_request(replace(HELLO, reasoning_effort=effort))
    assert {name: body[name] for name in ("thinking", "output_config") if name in body} == fields


def test_beside_a_temperature_there_is_an_effort_but_no_thinking() -> None:
    body = encode_request(replace(HELLO, reasoning_effort="low", temperature=0.2))
    assert "thinking" not in body
    assert "thinking" in encode_request(replace(HELLO, reasoning_effort="low", temperature=1))


def test_a_temperature_beyond_this_scale_is_its_end() -> None:
    assert encode_request(replace(HELLO, temperature=1.7))["temperature"] == 1


def test_without_tools_there_is_no_choice_of_them() -> None:
    assert "tool_choice" not in encode_request(replace(HELLO, tool_choice="auto", parallel_tool_calls=True))
    alone = encode_request(replace(HELLO, tools=(F,), parallel_tool_calls=False))
    assert alone["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    none = encode_request(replace(HELLO, tools=(F,), tool_choice="none", parallel_tool_calls=False))
    assert none["tool_choice"] == {"type": "none"}


def test_a_schema_without_a_type_is_one_of_an_object() -> None:
    [tool] = encode_request(replace(HELLO, tools=(Tool("f", "", {}),)))["tools"]
    assert tool == {"name": "f", "input_schema": {"type": "object"}}
