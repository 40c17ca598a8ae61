"""POST /v1/messages and its token count."""

import json
from typing import Any

import pytest

from tests.simulator.client import Client, Got

GREP = {"name": "grep", "input_schema": {"type": "object", "properties": {"q": {"type": "string"}}}}
LIST = {"name": "list_files", "input_schema": {"type": "object", "properties": {}}}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def ask(client: Client, prompt: Any = "hello", headers: dict[str, str] | None = None, **body: Any) -> Got:
    usual = {"model": "claude-sonnet-4.5", "max_tokens": 4096, "messages": [{"role": "user", "content": prompt}]}
    return client.ask("POST", "/v1/messages", usual | body, **(headers or {}))


def stream(client: Client, prompt: Any = "hello", **body: Any) -> list[Any]:
    return ask(client, prompt, stream=True, **body).events()


def blocks_of(events: list[Any]) -> list[dict[str, Any]]:
    """The blocks that a stream builds up, checked for one open block at a time."""
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == len(blocks)
                blocks.append(dict(event["content_block"]) | {"json": ""})
                is_open = True
            case "content_block_delta":
                assert event["index"] == len(blocks) - 1
                _apply(blocks[-1], event["delta"])
            case "content_block_stop":
                is_open = False
    return blocks


def _apply(block: dict[str, Any], delta: dict[str, Any]) -> None:
    fields = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
    if delta["type"] == "input_json_delta":
        block["json"] += delta["partial_json"]
    else:
        name = fields[delta["type"]]
        block[name] += delta[name]


def test_the_model_is_asked_for_with_dots_and_answers_with_dashes(client: Client) -> None:
    assert ask(client).json()["model"] == "claude-sonnet-4-5"
    assert stream(client)[0]["message"]["model"] == "claude-sonnet-4-5"
    assert ask(client, model="claude-sonnet-4-5").code == "model_not_supported"


def test_a_stream_has_anthropics_events_and_builds_the_whole(client: Client) -> None:
    events = stream(client, thinking=THINKING)
    whole = ask(client, thinking=THINKING).json()
    assert [event["type"] for event in events[:2]] == ["message_start", "ping"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    thinking, text = blocks_of(events)
    assert (thinking["thinking"], thinking["signature"]) == (
        whole["content"][0]["thinking"],
        whole["content"][0]["signature"],
    )
    assert text["text"] == whole["content"][1]["text"]
    assert events[-2]["delta"]["stop_reason"] == whole["stop_reason"] == "end_turn"


def test_the_last_delta_has_all_usage_and_copilots_own(client: Client) -> None:
    delta = stream(client)[-2]
    assert delta["usage"]["input_tokens"] > 0
    assert delta["copilot_usage"]["total_nano_aiu"] > 0


def test_tools_are_called_after_some_words(client: Client) -> None:
    text, first, second = blocks_of(stream(client, "use both", tools=[GREP, LIST]))
    assert text["text"]
    assert (first["name"], json.loads(first["json"])) == ("grep", {"q": "simulated q"})
    assert (second["name"], second["json"]) == ("list_files", "{}")
    assert ask(client, "go", tools=[GREP]).json()["stop_reason"] == "tool_use"


def test_one_tool_at_a_time_when_parallel_use_is_disabled(client: Client) -> None:
    choice = {"type": "auto", "disable_parallel_tool_use": True}
    content = ask(client, "use both", tools=[GREP, LIST], tool_choice=choice).json()["content"]
    assert [block["name"] for block in content if block["type"] == "tool_use"] == ["grep"]


def test_a_tool_result_is_quoted(client: Client) -> None:
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "grep", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "17 files"}]}
    answer = ask(client, messages=[{"role": "user", "content": "look"}, called, result], tools=[GREP]).json()
    assert "17 files" in answer["content"][0]["text"]


def test_a_tool_result_belongs_right_after_its_call(client: Client) -> None:
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "grep", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "17 files"}]}
    talk = [{"role": "user", "content": "well?"}, {"role": "assistant", "content": "well"}]
    got = ask(client, messages=[{"role": "user", "content": "look"}, called, *talk, result])
    assert "unexpected `tool_use_id`" in got.text


def test_thinking_must_come_back_verbatim(client: Client) -> None:
    first = ask(client, thinking=THINKING).json()["content"]
    after = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "b"},
    ]
    assert ask(client, messages=after).status == 200
    first[0]["thinking"] += "!"
    assert "Invalid `signature`" in ask(client, messages=after).text


def test_max_tokens_ends_an_answer(client: Client) -> None:
    answer = ask(client, max_tokens=2).json()
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 2)


def test_an_error_fault_is_an_error_event(client: Client) -> None:
    got = ask(client, "x [[simulate: error message=gone]]", stream=True)
    assert got.events()[-1] == {"type": "error", "error": {"type": "api_error", "message": "gone"}}
    assert "event: error\n" in got.text


def test_tokens_are_counted(client: Client) -> None:
    body = {"model": "claude-sonnet-4.5", "messages": [{"role": "user", "content": "x" * 400}]}
    assert client.ask("POST", "/v1/messages/count_tokens", body).json() == {"input_tokens": 100}


def test_images_need_the_vision_header_inside_tool_results_too(client: Client) -> None:
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
    called = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "see", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [picture]}]}
    messages = [{"role": "user", "content": "look"}, called, result]
    assert "Copilot-Vision-Request" in ask(client, messages=messages).text
    assert ask(client, messages=messages, headers={"Copilot_Vision_Request": "true"}).status == 200


def test_an_inline_document_needs_no_vision_header_and_one_by_url_is_refused(client: Client) -> None:
    inline = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}}
    linked = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
    assert ask(client, [inline, {"type": "text", "text": "read"}]).status == 200
    assert "external image URLs" in ask(client, [linked]).text


@pytest.mark.parametrize("beta", ["context-1m-2025-08-07", "claude-code-20250219", "advisor-tool-2026-03-01"])
def test_a_beta_off_the_list_is_refused(client: Client, beta: str) -> None:
    got = ask(client, headers={"anthropic_beta": f"interleaved-thinking-2025-05-14, {beta}"})
    assert got.status == 400
    assert f"unsupported beta header(s): {beta}" in got.text


def test_context_management_needs_its_beta(client: Client) -> None:
    body: dict[str, Any] = {"context_management": {"edits": []}}
    assert "context_management: Extra inputs are not permitted" in ask(client, **body).text
    headers = {"anthropic_beta": "context-management-2025-06-27"}
    assert ask(client, headers=headers, **body).status == 200


CACHED = [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"contextTier": "long"}, "contextTier: Extra inputs are not permitted"),
        ({"cache_control": {"type": "ephemeral"}}, "cache_control: Extra inputs are not permitted"),
        ({"output_format": {}}, "output_format: Extra inputs are not permitted"),
        ({"mcp_servers": []}, "mcp_servers: Extra inputs are not permitted"),
        ({"system": CACHED}, "system.0.cache_control.ttl: Extra inputs are not permitted"),
        ({"messages": [{"role": "user", "content": CACHED}]}, "messages.0.content.0.cache_control.ttl: Extra inputs"),
        ({"thinking": {"type": "adaptive"}}, "adaptive thinking is not supported"),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "budget_tokens"),
        ({"thinking": {"type": "enabled", "budget_tokens": 4096}}, "must be greater than"),
        ({"thinking": THINKING, "model": "claude-opus-4.7"}, "adaptive"),
        ({"output_config": {"effort": "low"}}, "invalid_reasoning_effort"),
        ({"output_config": {"effort": "max"}, "model": "claude-sonnet-4.6"}, "invalid_reasoning_effort"),
        ({"tools": [GREP | {"eager_input_streaming": True}]}, "tools.0.custom.eager_input_streaming: Extra inputs"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "web search tool is not supported"),
        ({"tools": [{"type": "code_execution_20250825", "name": "code"}]}, "rejected tool(s): code"),
        ({"messages": [{"role": "user", "content": ""}]}, "not empty"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": ""}]}]}, "must be non-empty"),
        ({"messages": [{"role": "system", "content": "x"}]}, "Input should be 'user' or 'assistant'"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "prefill"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "q"}]}]}, "tool_use_id"),
        ({"messages": {}}, "messages"),
    ],
)
def test_what_copilot_refuses_is_refused(client: Client, body: dict[str, Any], words: str) -> None:
    got = ask(client, **body)
    assert got.status == 400
    assert words in got.text


@pytest.mark.parametrize(
    "body",
    [
        {"model": "claude-opus-4.7", "thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        {"model": "claude-sonnet-4.6", "thinking": THINKING, "output_config": {"effort": "low"}},
        {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"tools": [{"type": "bash_20250124", "name": "bash"}], "tool_choice": {"type": "none"}},
    ],
)
def test_what_copilot_accepts_is_accepted(client: Client, body: dict[str, Any]) -> None:
    assert ask(client, **body).status == 200
