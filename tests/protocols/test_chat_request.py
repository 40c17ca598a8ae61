"""What a chat request says, and what of it goes to Copilot."""

from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.chat.check import check_request
from copilotapi.protocols.chat.request import Traits, decode_request, for_upstream, remedy, traits
from copilotapi.protocols.conversation import Conversation, Image, Message, Text, Tool, ToolResult, ToolUse

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
PIXEL = "data:image/png;base64,AAAA"
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": ["Hello"]}, "messages.0"),
        ({"messages": [*HELLO, None]}, "messages.1"),
        ({"messages": [{"content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": {"type": "text"}}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}, {}]}]}, "messages.0.content.1"),
        ({"messages": [{"role": "user", "content": [{"type": None}]}]}, "messages.0.content.0"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "messages.0.tool_calls"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages.0.content.0.text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages.0.content.0.image_url",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": 5}}]}]},
            "messages.0.content.0.image_url.url",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
        ({"messages": [{"role": "assistant", "tool_calls": ["x"]}]}, "messages.0.tool_calls.0"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.id"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "messages.0.tool_calls.0.function"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {}}]}]},
            "messages.0.tool_calls.0.function.name",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}]},
            "messages.0.tool_calls.0.function.arguments",
        ),
        ({"model": 4}, "model"),
        ({"model": ""}, "model"),
        ({"model": "  "}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": [1]}, "top_p"),
        ({"presence_penalty": {}}, "presence_penalty"),
        ({"frequency_penalty": "0"}, "frequency_penalty"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"max_completion_tokens": "9"}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": "x"}]}, "tools.0.function"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"seed": "x"}, "seed"),
        ({"user": 5}, "user"),
        ({"response_format": "json"}, "response_format"),
        ({"logit_bias": []}, "logit_bias"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"metadata": 5}, "metadata"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"stop": 7}, "stop"),
        ({"stop": {}}, "stop"),
    ],
)
def test_a_field_that_cannot_be_understood_is_a_400_that_names_it(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_request({"messages": HELLO, **body} if "messages" not in body and body else body)
    assert (caught.value.status, caught.value.kind, caught.value.param) == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"model": "gpt-4.1", "stream": True, "stream_options": {"include_usage": True}, "n": 2, "stop": ["a", "b"]},
        {"temperature": 1, "top_p": 0.5, "max_tokens": 1, "max_completion_tokens": 1, "stop": "end"},
        dict.fromkeys(("model", "stream", "temperature", "max_tokens", "n", "tools", "stop", "stream_options")),
        {"messages": [{"role": role, "content": "x"} for role in ("system", "developer", "user", "assistant")]},
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [{"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "a_part_of_tomorrow", "x": 1}]}]},
        {"tools": [{"type": "function", "function": {"name": "f"}}, {"type": "a_tool_of_tomorrow"}]},
        {"a_field_of_tomorrow": {"x": 1}},
    ],
)
def test_what_is_understood_or_unknown_passes(body: dict[str, Any]) -> None:
    body = {"messages": HELLO, **body}
    check_request(body)
    decode_request(body)
    traits(body)


@pytest.mark.parametrize(
    ("roles", "initiator"),
    [
        (["user"], "user"),
        (["system"], "user"),
        (["user", "assistant", "user"], "user"),
        (["user", "assistant", "tool", "user"], "user"),
        (["user", "assistant"], "agent"),
        (["user", "assistant", "tool"], "agent"),
        (["user", "assistant", "function"], "agent"),
        (["user", "developer"], "user"),
    ],
)
def test_the_last_message_alone_says_who_began(roles: list[str], initiator: str) -> None:
    body = {"messages": [{"role": role, "content": "x"} for role in roles]}
    assert traits(body) == Traits(initiator, has_images=False)


def test_an_image_anywhere_in_the_history_counts() -> None:
    image = {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {}}]}
    assert traits({"messages": [image, *HELLO]}).has_images
    assert not traits({"messages": [{"role": "user", "content": "image_url"}]}).has_images


def test_the_body_goes_on_as_it_came_but_for_the_model() -> None:
    body = {"model": "alias", "messages": HELLO, "user": "me", "a_field_of_tomorrow": [1], "temperature": None}
    assert for_upstream(body, "gpt-4.1", {}) == ({**body, "model": "gpt-4.1"}, ())
    assert body["model"] == "alias"


def test_what_copilot_refuses_is_left_out_and_named() -> None:
    body = {"messages": HELLO, "store": True, "metadata": {}, "service_tier": None}
    assert for_upstream(body, "gpt-4.1", {}) == ({"messages": HELLO, "model": "gpt-4.1"}, ("store", "metadata"))


@pytest.mark.parametrize("options", [{}, {"stream_options": None}, {"stream_options": {"include_usage": False}}])
def test_a_stream_is_always_asked_for_its_usage(options: dict[str, Any]) -> None:
    upstream_body, _ = for_upstream({"messages": HELLO, "stream": True, **options}, "gpt-4.1", {})
    assert upstream_body["stream_options"] == {"include_usage": True}


def test_other_stream_options_stay() -> None:
    body = {"messages": HELLO, "stream": True, "stream_options": {"include_obfuscation": False}}
    upstream_body, _ = for_upstream(body, "gpt-4.1", {})
    assert upstream_body["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_stream_options_of_a_whole_answer_stay_here() -> None:
    body = {"messages": HELLO, "stream": False, "stream_options": {"include_usage": True}}
    assert for_upstream(body, "m", {})[0] == {"messages": HELLO, "stream": False, "model": "m"}


def test_a_field_is_sent_under_the_name_a_model_wants() -> None:
    body = {"messages": HELLO, "max_tokens": 50}
    renamed, dropped = for_upstream(body, "gpt-5.4", {"max_tokens": "max_completion_tokens"})
    assert renamed == {"messages": HELLO, "model": "gpt-5.4", "max_completion_tokens": 50}
    assert dropped == ()


@pytest.mark.parametrize(
    ("code", "message", "renames"),
    [
        (
            "invalid_request_body",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            {"max_tokens": "max_completion_tokens"},
        ),
        (
            "unsupported_parameter",
            "unsupported parameter: 'max_completion_tokens'",
            {"max_completion_tokens": "max_tokens"},
        ),
        ("invalid_request_body", "Unsupported parameter: 'temperature'", {}),
        ("invalid_request_body", "invalid request body", {}),
        ("quota_exceeded", "Unsupported parameter: 'max_tokens'", {}),
        ("", "Unsupported parameter: 'max_tokens'", {}),
    ],
)
def test_only_the_refused_name_of_the_limit_has_a_remedy(code: str, message: str, renames: dict[str, str]) -> None:
    assert remedy(code, message) == renames


def test_a_whole_request_is_decoded() -> None:
    body = {
        "model": "gpt-4.1",
        "messages": [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}},
                ],
            },
            {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "noon"},
        ],
        "tools": [
            {"type": "function", "function": {"name": "get_time", "description": "Tells it.", "parameters": {"a": 1}}}
        ],
        "tool_choice": {"type": "function", "function": {"name": "get_time"}},
        "max_tokens": 50,
        "max_completion_tokens": 60,
        "temperature": 0,
        "top_p": 0.5,
        "stop": "end",
        "reasoning_effort": "low",
        "response_format": {"type": "json_object"},
        "parallel_tool_calls": False,
    }
    assert decode_request(body) == Conversation(
        model="gpt-4.1",
        messages=(
            Message("system", (Text("Be brief."),)),
            Message("user", (Text("What is it?"), Image(PIXEL, "low"))),
            Message("assistant", (Text("Let me see."), ToolUse("call_1", "get_time", '{"zone": "UTC"}'))),
            Message("tool", (ToolResult("call_1", (Text("noon"),)),)),
        ),
        tools=(Tool("get_time", "Tells it.", {"a": 1}),),
        tool_choice="get_time",
        max_tokens=60,
        temperature=0,
        top_p=0.5,
        stop=("end",),
        reasoning_effort="low",
        response_format={"type": "json_object"},
        parallel_tool_calls=False,
    )


def test_odd_parts_are_decoded_without_failing() -> None:
    calls: list[dict[str, Any]] = [{}, {"id": 7, "function": "f"}, {"function": {"name": None, "arguments": {"a": 1}}}]
    parts: list[dict[str, Any]] = [{"type": "image_url", "image_url": "x"}, {"type": "text"}, {"type": "refusal"}]
    body = {
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "user", "content": parts},
            {"role": "tool"},
        ],
        "tools": [{}, {"function": {"parameters": "x"}}],
        "tool_choice": {"type": "allowed_tools"},
        "stop": [],
    }
    conversation = decode_request(body)
    assert [len(message.parts) for message in conversation.messages] == [3, 3, 1]
    assert conversation.stop == ()
