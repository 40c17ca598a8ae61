"""A conversation of another protocol as a chat request, and reasoning as chat carries it."""

from dataclasses import replace

import pytest

from copilotapi.protocols.chat import decode_request, encode_request, for_upstream, remedy
from copilotapi.protocols.chat.reasoning import decode_reasoning, encode_reasoning, encode_state
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

HELLO = Conversation("gpt-4.1", (Message("user", (Text("Hello"),)),))
USER = {"role": "user", "content": "Hello"}
PIXEL = Image("data:image/png;base64,AAAA")


def asked(*messages: Message) -> list[dict[str, object]]:
    encoded: list[dict[str, object]] = encode_request(replace(HELLO, messages=messages))["messages"]
    return encoded


def test_an_object_schema_has_properties_even_if_they_are_none() -> None:
    tools = (Tool("ls", "", {"type": "object"}), Tool("pwd", "", {}))
    encoded = encode_request(replace(HELLO, tools=tools))["tools"]
    assert [tool["function"] for tool in encoded] == [
        {"name": "ls", "parameters": {"type": "object", "properties": {}}},
        {"name": "pwd", "parameters": {}},
    ]


def test_a_choice_among_no_tools_is_not_sent() -> None:
    body = encode_request(replace(HELLO, tool_choice="auto", parallel_tool_calls=True))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


def test_the_strongest_effort_has_another_name() -> None:
    assert encode_request(replace(HELLO, reasoning_effort="max"))["reasoning_effort"] == "xhigh"


@pytest.mark.parametrize(
    ("parts", "is_error", "content"),
    [
        ((Text("a"), Text("b")), False, "a\nb"),
        ((Text("no file"),), True, "Error: no file"),
        ((Text("ERROR 5"),), True, "ERROR 5"),
        ((), True, "Error: "),
        ((), False, ""),
    ],
)
def test_a_result_is_text(parts: tuple[Text, ...], is_error: bool, content: str) -> None:
    result = asked(Message("tool", (ToolResult("a", parts, is_error),)))
    assert result == [{"role": "tool", "tool_call_id": "a", "content": content}]


def test_images_of_results_come_after_all_results_and_before_what_is_said_next() -> None:
    encoded = asked(
        Message("tool", (ToolResult("a", (PIXEL,)),)), Message("tool", (ToolResult("b", ()),)), *HELLO.messages
    )
    assert [message["role"] for message in encoded] == ["tool", "tool", "user", "user"]
    assert encoded[0]["content"] == "The image follows in the next message of the user."
    assert encoded[2]["content"] == [{"type": "image_url", "image_url": {"url": PIXEL.url, "detail": "auto"}}]


def test_a_turn_that_is_mere_reasoning_of_nobodys_is_not_sent() -> None:
    assert asked(*HELLO.messages, Message("assistant", (Reasoning("Hm."),))) == [USER]


def test_reasoning_goes_back_with_its_state_only() -> None:
    turn = (Text("Yes."), ToolUse("a", "f", "{}"))
    [unsigned] = asked(Message("assistant", (Reasoning("Hm."), *turn)))
    [signed] = asked(Message("assistant", (Reasoning("Hm.", "s"), *turn)))
    assert "reasoning_text" not in unsigned
    assert (signed["reasoning_text"], signed["reasoning_opaque"]) == ("Hm.", "s")


SEVERAL = [Reasoning("One.", "s1"), Reasoning("", "s2"), Reasoning("Thrée."), Reasoning("Four.", "s4")]


@pytest.mark.parametrize("reasonings", [[], [Reasoning("Hm.")], [Reasoning("", "s")], SEVERAL], ids=len)
def test_reasoning_comes_back_as_it_was(reasonings: list[Reasoning]) -> None:
    assert decode_reasoning(encode_reasoning(reasonings)) == reasonings


def test_the_states_of_several_reasonings_are_void_when_their_text_was_changed() -> None:
    told = encode_reasoning(SEVERAL)
    assert decode_reasoning({**told, "reasoning_text": "Other."}) == [Reasoning("Other.")]
    assert decode_reasoning({"reasoning_text": "x", "reasoning_opaque": "packed-reasoning:{"}) == [Reasoning("x")]


def test_copilot_is_not_given_several_states() -> None:
    assert encode_state(SEVERAL) == {}


def test_reasoning_that_a_client_brings_back_is_part_of_the_conversation() -> None:
    message = {"role": "assistant", "content": "Yes.", "reasoning_text": "Hm.", "reasoning_opaque": "s"}
    [decoded] = decode_request({"messages": [message]}).messages
    assert decoded.parts == (Reasoning("Hm.", "s"), Text("Yes."))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("invalid_reasoning_effort", 'reasoning effort "max" is not supported by model "gpt-5"'),
        ("invalid_request_body", "Unsupported parameter: 'reasoning_effort' is not supported with this model."),
    ],
)
def test_an_effort_that_a_model_refuses_is_left_out_and_named(code: str, message: str) -> None:
    body = {"messages": [USER], "reasoning_effort": "low"}
    sent, dropped = for_upstream(body, "gpt-4.1", remedy(code, message))
    assert "reasoning_effort" not in sent
    assert dropped == ("reasoning_effort",)
