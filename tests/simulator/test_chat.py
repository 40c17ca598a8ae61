"""POST /chat/completions, whole and streamed, in each dialect."""

import json
from typing import Any

import pytest

from tests.simulator.client import Client, spoken, tool

GREP = tool("grep", query={"type": "string"}, limit={"type": "integer", "minimum": 3})
LIST = tool("list_files")
USAGE = {"include_usage": True}
STYLES = ["gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-pro"]


def joined_calls(events: list[Any]) -> list[tuple[str, str]]:
    """(name, arguments) of each streamed tool call: an id opens one, the rest belongs to the last opened."""
    calls: list[tuple[str, str]] = []
    for choice in (choice for event in events[:-1] for choice in event["choices"]):
        for part in choice["delta"].get("tool_calls", []):
            function = part["function"]
            if part.get("id"):
                calls.append((function["name"], function["arguments"]))
            else:
                name, arguments = calls.pop()
                calls.append((name, arguments + function["arguments"]))
    return calls


def finishes(events: list[Any]) -> list[str]:
    choices = [choice for event in events[:-1] for choice in event["choices"]]
    return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


def after_tool(result: str) -> list[dict[str, Any]]:
    call = {"id": "call_1", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
    return [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": result},
    ]


@pytest.mark.parametrize("model", STYLES)
def test_the_same_text_is_told_whole_and_streamed(client: Client, model: str) -> None:
    whole = client.chat("Grüße 42", model).json()
    events = client.stream("Grüße 42", model).events()
    assert "Grüße 42" in whole["choices"][0]["message"]["content"]
    assert spoken(events) == whole["choices"][0]["message"]["content"]
    assert events[-1] == "[DONE]"
    assert finishes(events) == ["stop"]
    assert len(events) > 10


def test_a_gpt_stream_opens_with_filter_results_and_closes_with_usage(client: Client) -> None:
    first, role, *_, finish, usage, done = client.stream(stream_options=USAGE).events()
    assert (first["choices"], first["id"], first["model"], first["created"]) == ([], "", "", 0)
    assert first["prompt_filter_results"]
    assert role["choices"][0]["delta"]["role"] == "assistant"
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + usage["usage"]["completion_tokens"]
    assert done == "[DONE]"


def test_a_gpt_stream_tells_no_usage_unless_asked(client: Client) -> None:
    assert not any(event.get("usage") for event in client.stream().events()[:-1])


@pytest.mark.parametrize("model", STYLES[1:])
def test_claude_and_gemini_put_usage_beside_the_finish_without_being_asked(client: Client, model: str) -> None:
    *_, finish, _ = client.stream("hello", model).events()
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert finish["usage"]["completion_tokens"] > 0


def test_a_gpt_answer_has_openais_envelope_and_azures_filters(client: Client) -> None:
    answer = client.chat().json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["index"] == 0
    assert answer["choices"][0]["content_filter_results"]["hate"]["filtered"] is False
    assert answer["prompt_filter_results"]


@pytest.mark.parametrize("model", STYLES[1:])
def test_claude_and_gemini_answers_lack_object_and_index(client: Client, model: str) -> None:
    for answer in (client.chat("hello", model).json(), client.stream("hello", model).events()[0]):
        assert "object" not in answer
        assert "index" not in answer["choices"][0]


@pytest.mark.parametrize("model", STYLES)
def test_a_user_message_with_tools_makes_the_first_tool_called(client: Client, model: str) -> None:
    events = client.stream("go", model, tools=[GREP, LIST]).events()
    ((name, arguments),) = joined_calls(events)
    assert name == "grep"
    assert json.loads(arguments) == {"query": "simulated query", "limit": 3}
    assert finishes(events) == ["tool_calls"]


@pytest.mark.parametrize("model", STYLES)
def test_both_calls_two_tools_in_parallel(client: Client, model: str) -> None:
    events = client.stream("use both", model, tools=[GREP, LIST]).events()
    assert [name for name, _ in joined_calls(events)] == ["grep", "list_files"]
    events = client.stream("use both", model, tools=[GREP, LIST], parallel_tool_calls=False).events()
    assert [name for name, _ in joined_calls(events)] == ["grep"]


def test_a_gpt_call_comes_in_fragments_with_its_own_index(client: Client) -> None:
    events = client.stream("use both", tools=[GREP, LIST]).events()
    parts = [part for event in events[:-1] for one in event["choices"] for part in one["delta"].get("tool_calls", [])]
    assert [part["index"] for part in parts if "id" in part] == [0, 1]
    assert len([part for part in parts if part["index"] == 0]) > 2


def test_claude_splits_a_whole_turn_over_choices(client: Client) -> None:
    choices = client.chat("use both", "claude-sonnet-4.5", tools=[GREP, LIST]).json()["choices"]
    spoken_first, *called = choices
    assert spoken_first["message"]["content"]
    assert "tool_calls" not in spoken_first["message"]
    assert [one["message"]["tool_calls"][0]["function"]["name"] for one in called] == ["grep", "list_files"]
    assert {one["finish_reason"] for one in choices} == {"tool_calls"}


def test_claude_streams_every_call_as_number_0(client: Client) -> None:
    events = client.stream("use both", "claude-sonnet-4.5", tools=[GREP, LIST]).events()
    parts = [part for event in events[:-1] for one in event["choices"] for part in one["delta"].get("tool_calls", [])]
    assert {part["index"] for part in parts} == {0}
    assert len([part for part in parts if part.get("id")]) == 2


def test_gemini_keeps_calls_in_one_choice(client: Client) -> None:
    (choice,) = client.chat("use both", "gemini-2.5-pro", tools=[GREP, LIST]).json()["choices"]
    assert len(choice["message"]["tool_calls"]) == 2


@pytest.mark.parametrize("model", STYLES)
def test_a_tool_result_is_quoted(client: Client, model: str) -> None:
    answer = client.chat(model=model, messages=after_tool("17 files"), tools=[GREP]).json()
    assert "17 files" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_tool_choice_is_honoured(client: Client) -> None:
    none = client.chat("go", tools=[GREP, LIST], tool_choice="none").json()
    assert "tool_calls" not in none["choices"][0]["message"]
    chosen = {"type": "function", "function": {"name": "list_files"}}
    named = client.chat("go", tools=[GREP, LIST], tool_choice=chosen).json()
    assert named["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "list_files"


def test_a_call_that_is_demanded_is_made_even_after_a_tool_result(client: Client) -> None:
    for choice in ("required", {"type": "function", "function": {"name": "grep"}}):
        answer = client.chat(messages=after_tool("17 files"), tools=[GREP], tool_choice=choice).json()
        assert answer["choices"][0]["finish_reason"] == "tool_calls"


def test_a_tool_result_without_its_call_is_refused(client: Client) -> None:
    got = client.chat(messages=[{"role": "tool", "tool_call_id": "x", "content": "y"}])
    assert (got.status, got.code) == (400, "invalid_request_body")


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"tools": [tool("no spaces please")]},
        {"max_tokens": "many"},
        {"max_tokens": 0},
    ],
)
def test_a_malformed_body_is_refused(client: Client, wrong: dict[str, Any]) -> None:
    got = client.chat(**wrong)
    assert (got.status, got.code) == (400, "invalid_request_body")


@pytest.mark.parametrize("model", STYLES)
def test_max_tokens_ends_an_answer_for_its_length(client: Client, model: str) -> None:
    answer = client.chat("hello", model, max_tokens=3).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    assert finishes(client.stream("hello", model, max_tokens=3).events()) == ["length"]


def test_gpt_5_4_wants_max_completion_tokens(client: Client) -> None:
    got = client.chat(model="gpt-5.4", max_tokens=3)
    assert (got.status, got.code) == (400, "invalid_request_body")
    assert got.json()["error"]["message"] == (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    )
    answer = client.chat(model="gpt-5.4", max_completion_tokens=3).json()
    assert answer["choices"][0]["finish_reason"] == "length"


def test_an_effort_the_model_does_not_list_is_refused(client: Client) -> None:
    assert client.chat(model="gpt-5-mini", reasoning_effort="xhigh").code == "invalid_reasoning_effort"
    assert client.chat(model="gpt-5-mini", reasoning_effort="low").status == 200


@pytest.mark.parametrize("model", ["claude-sonnet-4.6", "gemini-3-pro-preview"])
def test_thinking_is_told_with_its_opaque_half(client: Client, model: str) -> None:
    message = client.chat("hello", model, reasoning_effort="low").json()["choices"][0]["message"]
    assert message["reasoning_text"]
    events = client.stream("hello", model, reasoning_effort="low").events()
    deltas = [choice["delta"] for event in events[:-1] for choice in event["choices"]]
    assert "".join(delta.get("reasoning_text", "") for delta in deltas) == message["reasoning_text"]
    assert [delta["reasoning_opaque"] for delta in deltas if "reasoning_opaque" in delta] == [
        message["reasoning_opaque"]
    ]


def test_lone_surrogates_do_not_break_the_answer(client: Client) -> None:
    got = client.ask(
        "POST", "/chat/completions", b'{"model":"gpt-4.1","messages":[{"role":"user","content":"\\ud800"}]}'
    )
    assert "“?”" in got.json()["choices"][0]["message"]["content"]


def test_the_proxy_chat_gives_the_prediction_back(client: Client) -> None:
    body = {
        "model": "copilot-nes-oct",
        "messages": [{"role": "user", "content": "edit"}],
        "prediction": {"type": "content", "content": "let x = 1;\n"},
    }
    got = client.ask("POST", "/proxy/chat/completions", body)
    assert spoken(got.events()) == "let x = 1;\n"
