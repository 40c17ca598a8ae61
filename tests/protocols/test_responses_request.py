"""What a Responses request says, in the vocabulary and back."""

from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from functools import reduce
from operator import getitem
from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.protocols.responses import (
    check_request,
    decode_request,
    decode_requests,
    encode_request,
    for_upstream,
    losses,
    traits,
    wants_usage,
)
from copilotapi.protocols.responses.request import Traits

PIXEL = "data:image/png;base64,AAAA"
HELLO: dict[str, Any] = {"type": "message", "role": "user", "content": "Hello"}
CALL = {"type": "function_call", "call_id": "call_1", "name": "get_time", "arguments": '{"zone":"UTC"}'}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "noon"}
IMAGE = {"type": "input_image", "image_url": PIXEL}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": 7}, "input"),
        ({"input": ["Hello"]}, "input.0"),
        ({"input": [HELLO, None]}, "input.1"),
        ({"input": [{"type": 7}]}, "input.0.type"),
        ({"input": [{}]}, "input.0.role"),
        ({"input": [{"content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": ["user"], "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": {"type": "input_text"}}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": ["x"]}]}, "input.0.content.0"),
        ({"input": [{"role": "user", "content": [{"text": "x"}]}]}, "input.0.content.0"),
        ({"input": [{**HELLO, "id": 7}]}, "input.0.id"),
        ({"input": [{**CALL, "call_id": None}]}, "input.0.call_id"),
        ({"input": [{**CALL, "name": 7}]}, "input.0.name"),
        ({"input": [{**CALL, "arguments": {}}]}, "input.0.arguments"),
        ({"input": [{**CALL, "namespace": 7}]}, "input.0.namespace"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "f"}]}, "input.0.input"),
        ({"input": [{**OUTPUT, "call_id": 7}]}, "input.0.call_id"),
        ({"input": [{**OUTPUT, "output": {}}]}, "input.0.output"),
        ({"input": [{**OUTPUT, "output": [7]}]}, "input.0.output.0"),
        ({"input": [{"type": "custom_tool_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"input": [{"type": "reasoning", "summary": "x"}]}, "input.0.summary"),
        ({"input": [{"type": "reasoning", "summary": ["x"]}]}, "input.0.summary"),
        ({"input": [{"type": "reasoning", "encrypted_content": 7}]}, "input.0.encrypted_content"),
        ({"input": [{"type": "additional_tools", "tools": 7}]}, "input.0.tools"),
        ({"model": 4}, "model"),
        ({"model": "  "}, "model"),
        ({"instructions": ["x"]}, "instructions"),
        ({"stream": "true"}, "stream"),
        ({"store": 1}, "store"),
        ({"background": "no"}, "background"),
        ({"background": True}, "background"),
        ({"parallel_tool_calls": 0}, "parallel_tool_calls"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": [1]}, "top_p"),
        ({"max_output_tokens": 1.5}, "max_output_tokens"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"reasoning": "high"}, "reasoning"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"text": "json"}, "text"),
        ({"text": {"format": "json"}}, "text.format"),
        ({"metadata": []}, "metadata"),
        ({"stream_options": []}, "stream_options"),
        ({"include": "x"}, "include"),
        ({"include": [7]}, "include"),
        ({"tools": {}}, "tools"),
        ({"tools": ["x"]}, "tools.0"),
        ({"tools": [{"name": "f"}]}, "tools.0"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [{"type": "custom", "name": 7}]}, "tools.0.name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools.0.tools.0.name"),
        ({"tool_choice": 7}, "tool_choice"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
    ],
)
def test_a_field_that_cannot_be_understood_is_a_400_that_names_it(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_request({"input": "Hello", **body})
    assert (caught.value.status, caught.value.kind, caught.value.param) == (400, "invalid_request_error", param)


def test_an_input_that_is_missing_is_named() -> None:
    with pytest.raises(ApiError) as caught:
        check_request({})
    assert caught.value.param == "input"


def test_an_earlier_answer_is_refused_in_the_words_that_make_clients_send_the_history() -> None:
    with pytest.raises(ApiError) as caught:
        check_request({"input": "Hello", "previous_response_id": "resp_1"})
    assert (caught.value.status, caught.value.code) == (400, "previous_response_not_found")
    assert caught.value.param == "previous_response_id"
    assert caught.value.message == "Previous response with id 'resp_1' not found."


NULLS = ("model", "instructions", "stream", "store", "background", "reasoning", "text", "include", "tools", "prompt")


@pytest.mark.parametrize(
    "body",
    [
        {},
        dict.fromkeys(NULLS),
        {"input": [{"role": role, "content": "x"} for role in ("user", "assistant", "system", "developer")]},
        {"input": [{"type": "message", "role": "user", "content": [{"type": "a_part_of_tomorrow", "text": 7}]}]},
        {"input": [{"type": "an_item_of_tomorrow", "x": 1}]},
        {"input": [{"type": "a_call_of_tomorrow_call"}, {"type": "x_call_output", "output": {"a": 1}}]},
        {"input": [{"type": "x_call_output", "call_id": "c", "output": [7, {"type": "input_image"}]}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}, {"id": "msg_2"}]},
        {"input": [{"type": "reasoning"}, {"type": "reasoning", "summary": None, "encrypted_content": None}]},
        {"input": [{"type": "reasoning", "summary": [{}]}]},
        {"input": [HELLO, {**CALL, "id": None, "namespace": None, "status": None}, OUTPUT]},
        {"input": [{"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]}]},
        {"tools": [{"type": "a_tool_of_tomorrow"}, {"type": "namespace", "name": "n"}]},
        {"tools": [{"type": "function", "name": "f", "parameters": "x", "description": 7}]},
        {"tools": [{"type": "custom", "name": "f", "format": {"type": "grammar"}}], "tool_choice": {"type": "custom"}},
        {"tool_choice": {"type": "allowed_tools", "tools": 7, "mode": 7}},
        {"tool_choice": {"type": "allowed_tools", "tools": [7]}},
        {"tool_choice": {"type": "web_search"}},
        {"tool_choice": {}},
        {"text": {"format": {}}, "reasoning": {"effort": None}},
        {"a_field_of_tomorrow": {"x": 1}, "stream": True, "store": True},
    ],
)
def test_what_is_understood_or_unknown_passes(body: dict[str, Any]) -> None:
    body = {"input": "Hello", **body}
    check_request(body)
    encode_request(decode_request(body))
    traits(body)
    assert wants_usage(body)


@pytest.mark.parametrize(
    ("last", "initiator"),
    [
        (HELLO, "user"),
        ({"role": "user", "content": "x"}, "user"),
        ({"role": "developer", "content": "x"}, "user"),
        ({"type": "item_reference", "id": "x"}, "user"),
        ({"role": "assistant", "content": "x"}, "agent"),
        (OUTPUT, "agent"),
        ({"type": "custom_tool_call_output", "call_id": "c", "output": "x"}, "agent"),
        (CALL, "agent"),
        ({"type": "reasoning", "summary": []}, "agent"),
    ],
)
def test_the_last_item_alone_says_who_began(last: dict[str, Any], initiator: str) -> None:
    assert traits({"input": [CALL, OUTPUT, last]}) == Traits(initiator, has_images=False)


def test_a_string_is_the_users() -> None:
    assert traits({"input": "input_image"}) == Traits("user", has_images=False)


@pytest.mark.parametrize(
    "item",
    [
        {"role": "user", "content": [{"type": "input_text", "text": "see"}, IMAGE]},
        {**OUTPUT, "output": [IMAGE]},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": PIXEL}},
    ],
)
def test_an_image_anywhere_in_the_history_counts(item: dict[str, Any]) -> None:
    assert traits({"input": [item, HELLO]}).has_images


def test_a_whole_request_is_decoded() -> None:
    body = {
        "model": "gpt-5-codex",
        "instructions": "Be brief.",
        "input": [
            {"role": "developer", "content": [{"type": "input_text", "text": "Use tools."}]},
            {"role": "user", "content": [{"type": "input_text", "text": "What?"}, {**IMAGE, "detail": "low"}]},
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}],
                "encrypted_content": "opaque=",
            },
            {"role": "assistant", "content": [{"type": "output_text", "text": "Let me see."}]},
            CALL,
            {**CALL, "call_id": "call_2"},
            OUTPUT,
            {**OUTPUT, "call_id": "call_2", "output": [{"type": "input_text", "text": "see"}, IMAGE]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        ],
        "tools": [{"type": "function", "name": "get_time", "description": "Tells it.", "parameters": {"a": 1}}],
        "tool_choice": {"type": "function", "name": "get_time"},
        "max_output_tokens": 60,
        "temperature": 0,
        "top_p": 0.5,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}, "verbosity": "low"},
        "parallel_tool_calls": False,
    }
    check_request(body)
    expected = Conversation(
        model="gpt-5-codex",
        messages=(
            Message("system", (Text("Be brief."),)),
            Message("system", (Text("Use tools."),)),
            Message("user", (Text("What?"), Image(PIXEL, "low"))),
            Message(
                "assistant",
                (
                    Reasoning("a\n\nb", "opaque="),
                    Text("Let me see."),
                    ToolUse("call_1", "get_time", '{"zone":"UTC"}'),
                    ToolUse("call_2", "get_time", '{"zone":"UTC"}'),
                ),
            ),
            Message("tool", (ToolResult("call_1", (Text("noon"),)),)),
            Message("tool", (ToolResult("call_2", (Text("see"), Image(PIXEL))),)),
            Message("assistant", (Text("No."),)),
        ),
        tools=(Tool("get_time", "Tells it.", {"a": 1}),),
        tool_choice="get_time",
        max_tokens=60,
        temperature=0,
        top_p=0.5,
        reasoning_effort="low",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
        parallel_tool_calls=False,
    )
    assert decode_request(body) == expected
    assert decode_requests(body) == [expected]


def test_codexs_tools_are_functions_to_everyone_else() -> None:
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: x"}
    nested = [
        {"type": "function", "name": "read", "description": "Reads.", "parameters": SCHEMA},
        {"type": "custom", "name": "sql"},
    ]
    body = {
        "input": [
            {**CALL, "name": "read", "namespace": "mcp"},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": 'a "b"\n'},
            {"type": "custom_tool_call_output", "call_id": "call_2", "output": "done"},
        ],
        "tools": [
            {"type": "namespace", "name": "mcp", "description": "Files.", "tools": nested},
            {"type": "custom", "name": "patch", "description": "Patches.", "format": grammar},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "custom", "name": "patch"},
    }
    check_request(body)
    conversation = decode_request(body)
    assert conversation.tools[0] == Tool("mcp--ns--read", "Reads.", SCHEMA)
    assert [tool.name for tool in conversation.tools] == ["mcp--ns--read", "mcp--ns--sql--freeform", "patch--freeform"]
    assert conversation.tools[2].input_schema["required"] == ["input"]
    assert conversation.tools[2].description == "Patches.\n\nThe input must follow this lark grammar:\nstart: x"
    assert conversation.tool_choice == "patch--freeform"
    assert conversation.messages == (
        Message(
            "assistant",
            (
                ToolUse("call_1", "mcp--ns--read", '{"zone":"UTC"}'),
                ToolUse("call_2", "patch--freeform", '{"input":"a \\"b\\"\\n"}'),
            ),
        ),
        Message("tool", (ToolResult("call_2", (Text("done"),)),)),
    )


def test_other_calls_of_the_history_are_kept_and_searches_by_copilot_are_not() -> None:
    action = {"type": "exec", "command": ["ls"]}
    body = {
        "input": [
            {"type": "local_shell_call", "id": "x", "call_id": "c", "action": action, "status": "completed"},
            {"type": "local_shell_call_output", "id": "c", "output": "a.py"},
            {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        ]
    }
    use, result = decode_request(body).messages
    assert use.parts == (ToolUse("c", "local_shell", '{"type":"exec","command":["ls"]}'),)
    assert result.parts == (ToolResult("c", (Text("a.py"),)),)


def test_only_the_tools_that_are_allowed_are_given() -> None:
    tools = [{"type": "function", "name": name} for name in "abc"]
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "b"}]}
    conversation = decode_request({"input": "x", "tools": tools, "tool_choice": allowed})
    assert ([tool.name for tool in conversation.tools], conversation.tool_choice) == (["b"], "required")


def test_tools_that_an_item_adds_are_given_too() -> None:
    added = {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "b"}]}
    body = {"input": [HELLO, added], "tools": [{"type": "function", "name": "a"}]}
    assert [tool.name for tool in decode_request(body).tools] == ["a", "b"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "n", "schema": SCHEMA},
            {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        ),
    ],
)
def test_a_format_is_told_as_chat_tells_it(told: dict[str, Any], expected: Any) -> None:
    assert decode_request({"input": "x", "text": {"format": told}}).response_format == expected


EVERYTHING: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": [IMAGE, {"type": "input_text", "text": "x"}, {"type": "input_file"}]},
        {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "x"},
        {**CALL, "namespace": "n"},
        {**OUTPUT, "output": [IMAGE, {"type": "input_text", "text": "x"}]},
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": "x"},
        {"type": "computer_call_output", "call_id": "c", "output": {"type": "computer_screenshot", "image_url": "x"}},
        {"type": "additional_tools", "tools": [{"type": "function", "name": "f"}]},
        {"type": "item_reference", "id": "x"},
    ],
    "tools": [
        {"type": "function", "name": "f", "description": "d", "parameters": {}},
        {"type": "custom", "name": "p", "format": {"type": "grammar", "syntax": "lark", "definition": "x"}},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g"}]},
        {"type": "web_search"},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}, "verbosity": "low"},
    "include": ["x"],
    "store": True,
}


@pytest.mark.parametrize("junk", [None, 7, True, "", "x", [], {}, [7], [{}], {"type": "x"}, {"type": 7}], ids=repr)
def test_no_field_of_another_kind_does_worse_than_a_400(junk: Any) -> None:
    passed = 0
    for path in paths(EVERYTHING):
        body = replaced(EVERYTHING, path, junk)
        with suppress(ApiError):
            check_request(body)
            passed += 1
            encode_request(decode_request(body))
            traits(body)
            for_upstream(body, "m", {"tools": "refused"})
            losses(body)
    assert passed > 0


def paths(value: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Those of all members below a JSON value."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from paths(member, *path, name)


def replaced(value: Any, path: tuple[str | int, ...], other: Any) -> Any:
    copy = deepcopy(value)
    parent = reduce(getitem, path[:-1], copy)
    parent[path[-1]] = other
    return copy


def conversation(*parts: Part, **fields: Any) -> Conversation:
    return Conversation(model="m", messages=(Message("user", (Text("x"),)), Message("assistant", parts)), **fields)


CONVERSATIONS = {
    "a question": Conversation(model="m", messages=(Message("user", (Text("x"),)),)),
    "nothing but a picture": Conversation(model="m", messages=(Message("user", (Image(PIXEL, "high"),)),)),
    "system prompts": Conversation(
        model="m", messages=(Message("system", (Text("a"), Text("b"))), Message("user", (Text("x"), Image(PIXEL))))
    ),
    "several turns": Conversation(
        model="m",
        messages=(
            Message("user", (Text("a"),)),
            Message("assistant", (Text("b"), Text("c"))),
            Message("user", (Text("d"),)),
        ),
    ),
    "reasoning and calls": conversation(
        Reasoning("hm", "opaque="), Text("y"), ToolUse("call_1", "f", "{}"), ToolUse("call_2", "f", "{}")
    ),
    "hidden reasoning": conversation(Reasoning("", "opaque="), Reasoning("b", "two"), Text("y")),
    "results": Conversation(
        model="m",
        messages=(
            Message("assistant", (ToolUse("call_1", "f", "{}"), ToolUse("call_2", "f", "{}"))),
            Message("tool", (ToolResult("call_1", (Text("a"),)),)),
            Message("tool", (ToolResult("call_2", (Text("b"),), is_error=True),)),
            Message("user", (Text("go on"),)),
        ),
    ),
    "parameters": conversation(
        Text("y"),
        tools=(Tool("f", "Does.", SCHEMA), Tool("mcp--ns--g", "", SCHEMA)),
        tool_choice="f",
        max_tokens=5,
        temperature=0.5,
        top_p=1.0,
        reasoning_effort="high",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
        parallel_tool_calls=False,
    ),
    "a json object": conversation(Text("y"), response_format={"type": "json_object"}),
    "must call": conversation(Text("y"), tools=(Tool("f", "", SCHEMA),), tool_choice="required"),
}


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_what_is_encoded_is_decoded_again(name: str) -> None:
    body = encode_request(CONVERSATIONS[name])
    check_request(body)
    assert decode_request(body) == CONVERSATIONS[name]


def test_nothing_is_stored_and_reasoning_is_given_back() -> None:
    body = encode_request(CONVERSATIONS["a question"])
    assert (body["stream"], body["store"], body["include"]) == (True, False, ["reasoning.encrypted_content"])
    assert body.keys() == {"model", "input", "stream", "store", "include"}


def test_results_are_text_and_their_images_follow_the_last_of_a_row() -> None:
    results = (
        ToolResult("call_1", (Image(PIXEL, "low"),)),
        ToolResult("call_2", (Text("a"), Image(PIXEL), Text("b"))),
    )
    body = encode_request(Conversation(model="m", messages=(Message("user", (*results, Text("Well?"))),)))
    first, second, images, question = body["input"]
    assert (first["call_id"], first["output"]) == ("call_1", "The image follows in the next message.")
    assert (second["call_id"], second["output"]) == ("call_2", "a\nb")
    assert [part["image_url"] for part in images["content"]] == [PIXEL, PIXEL]
    assert (images["role"], images["content"][0]["detail"]) == ("user", "low")
    assert question["content"] == [{"type": "input_text", "text": "Well?"}]


def test_images_of_the_last_result_are_not_lost() -> None:
    result = Message("tool", (ToolResult("call_1", (Image(PIXEL),)),))
    assert [item["type"] for item in encode_request(Conversation(model="m", messages=(result,)))["input"]] == [
        "function_call_output",
        "message",
    ]


def test_reasoning_that_cannot_be_verified_is_left_out() -> None:
    assert [item["role"] for item in encode_request(conversation(Reasoning("hm"), Text("y")))["input"]] == [
        "user",
        "assistant",
    ]


def test_the_assistants_pictures_are_shown_by_the_user() -> None:
    items = encode_request(conversation(Text("y"), Image(PIXEL)))["input"]
    assert [item["role"] for item in items] == ["user", "assistant", "user"]
    assert items[1]["content"] == [{"type": "output_text", "text": "y", "annotations": []}]


def test_call_ids_that_openai_would_refuse_are_shortened_alike() -> None:
    long_id = "toolu_" * 20
    messages = (
        Message("assistant", (ToolUse(long_id, "f", "{}"),)),
        Message("tool", (ToolResult(long_id, (Text("x"),)),)),
    )
    call, output = encode_request(Conversation(model="m", messages=messages))["input"]
    assert call["call_id"] == output["call_id"]
    assert len(call["call_id"]) <= 64


def test_a_tool_without_a_schema_takes_an_object() -> None:
    [tool] = encode_request(conversation(Text("y"), tools=(Tool("f", "", {}),)))["tools"]
    assert (tool["parameters"], tool["strict"]) == ({"type": "object", "properties": {}}, False)


def test_a_choice_without_tools_is_not_made() -> None:
    assert "tool_choice" not in encode_request(conversation(Text("y"), tool_choice="auto"))


def test_stop_words_have_no_field_here() -> None:
    with pytest.raises(ApiError) as caught:
        encode_request(conversation(Text("y"), stop=("end",)))
    assert (caught.value.status, caught.value.param) == (400, "stop")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "input.0.content.0"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input.0.content.0.type"),
        ({"input": [HELLO, {**OUTPUT, "output": [{"type": "input_file"}]}]}, "input.1.output.0.type"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input.0"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice"),
        ({"tools": [{"type": "web_search"}, {"type": "mcp"}]}, "tools.1"),
        ({"tools": [{"type": "web_search\r\nX: y"}]}, "tools.0"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
    ],
)
def test_what_no_other_protocol_can_be_asked_for_is_a_400_that_names_it(body: dict[str, Any], param: str) -> None:
    body = {"input": "x", **body}
    check_request(body)
    with pytest.raises(ApiError) as caught:
        losses(body)
    assert (caught.value.status, caught.value.param) == (400, param)


def test_hints_that_are_lost_are_named_once() -> None:
    body = {
        "input": [HELLO, {"id": "msg_1"}, {**OUTPUT, "output": [IMAGE, {"type": "input_text", "text": "x"}]}],
        "store": True,
        "service_tier": "auto",
        "truncation": "auto",
        "metadata": {},
        "text": {"verbosity": "low"},
        "prompt_cache_key": "k",
        "tools": [{"type": "web_search"}, {"type": "web_search_2025_08_26"}, {"type": "tool_search"}],
    }
    check_request(body)
    expected = {"prompt_cache_key", "service_tier", "store", "truncation", "text.verbosity", "item_reference"}
    assert set(losses(body)) == {*expected, "web_search", "tool_search"}
    assert len(losses(body)) == 8
    assert losses({"input": "x", "store": False, "include": ["reasoning.encrypted_content"]}) == ()
