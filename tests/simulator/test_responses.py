"""POST /responses."""

from typing import Any

import pytest

from tests.simulator.client import Client

GREP = {"type": "function", "name": "grep", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}}
LIST = {"type": "function", "name": "list_files", "parameters": {"type": "object", "properties": {}}}


def ask(client: Client, **body: Any) -> Any:
    return client.ask("POST", "/responses", {"model": "gpt-5.3-codex", "input": "hello"} | body)


def stream(client: Client, **body: Any) -> list[Any]:
    return list(ask(client, stream=True, **body).events())


def ids_in(event: Any) -> list[str]:
    found = [event.get("item_id"), event.get("item", {}).get("id"), event.get("response", {}).get("id")]
    return [one for one in found if one]


def test_a_stream_is_named_numbered_and_ends_without_done(client: Client) -> None:
    got = ask(client, stream=True)
    events = got.events()
    names = [line[7:] for line in got.text.splitlines() if line.startswith("event: ")]
    assert names == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert names[:2] == ["response.created", "response.in_progress"]
    assert names[-1] == "response.completed"
    assert "[DONE]" not in got.text


def test_the_deltas_make_up_the_text_of_the_whole(client: Client) -> None:
    events = stream(client)
    text = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    final = events[-1]["response"]["output"][-1]["content"][0]["text"]
    whole = ask(client).json()["output"][-1]["content"][0]["text"]
    assert text == final == whole
    assert "hello" in text


def test_no_id_appears_twice_and_all_are_long(client: Client) -> None:
    ids = [one for event in stream(client, tools=[GREP]) for one in ids_in(event)]
    assert len(ids) == len(set(ids)) >= 10
    assert min(map(len, ids)) > 64


def test_reasoning_has_an_empty_summary_unless_asked_for(client: Client) -> None:
    item = ask(client).json()["output"][0]
    assert (item["type"], item["summary"]) == ("reasoning", [])
    assert "encrypted_content" not in item
    names = [event["type"] for event in stream(client)]
    assert not any("summary" in name for name in names)


def test_reasoning_is_summarised_and_encrypted_when_asked_for(client: Client) -> None:
    body = {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]}
    item = ask(client, **body).json()["output"][0]
    assert item["encrypted_content"]
    deltas = [e["delta"] for e in stream(client, **body) if e["type"] == "response.reasoning_summary_text.delta"]
    assert "".join(deltas) == item["summary"][0]["text"]


def test_a_model_that_does_not_reason_says_so_by_silence(client: Client) -> None:
    assert [item["type"] for item in ask(client, model="gpt-5.1", reasoning={"effort": "none"}).json()["output"]] == [
        "message"
    ]


def test_tools_are_called_in_fragments(client: Client) -> None:
    events = stream(client, input="use both", tools=[GREP, LIST])
    done = [event["arguments"] for event in events if event["type"] == "response.function_call_arguments.done"]
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(deltas) == "".join(done) == '{"q": "simulated q"}{}'
    calls = [item for item in events[-1]["response"]["output"] if item["type"] == "function_call"]
    assert [call["name"] for call in calls] == ["grep", "list_files"]


def test_a_tool_result_is_quoted(client: Client) -> None:
    items = [
        {"role": "user", "content": "look"},
        {"type": "function_call", "call_id": "c1", "name": "grep", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "17 files"},
    ]
    assert "17 files" in ask(client, input=items, tools=[GREP]).json()["output"][-1]["content"][0]["text"]


def test_a_text_that_is_too_long_is_incomplete(client: Client) -> None:
    answer = ask(client, max_output_tokens=2).json()
    assert (answer["status"], answer["incomplete_details"]["reason"]) == ("incomplete", "max_output_tokens")
    assert stream(client, max_output_tokens=2)[-1]["type"] == "response.incomplete"


def test_usage_adds_up(client: Client) -> None:
    answer = ask(client).json()
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert answer["copilot_usage"]["total_nano_aiu"] > 0


def test_an_error_fault_fails_the_response(client: Client) -> None:
    events = stream(client, input="x [[simulate: error code=cyber_policy]]")
    assert events[-1]["type"] == "response.failed"
    assert events[-1]["response"]["error"]["code"] == "cyber_policy"


def test_an_end_fault_leaves_out_the_terminal_event(client: Client) -> None:
    names = [event["type"] for event in stream(client, input="x [[simulate: end after_events=8]]")]
    assert len(names) == 8
    assert "response.completed" not in names


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"store": True}, "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_not_found"),
        ({"service_tier": "auto"}, "invalid_request_body"),
        ({"temperature": 0.2}, "invalid_request_body"),
        ({"tools": [{"type": "custom", "name": "apply_patch"}]}, "invalid_request_body"),
        ({"tools": [{"type": "web_search"}]}, "invalid_request_body"),
        ({"tools": ["grep"]}, "invalid_request_body"),
        ({"tools": "grep"}, "invalid_request_body"),
        ({"input": []}, "invalid_request_body"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "invalid_request_body"),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": ""}]}, "invalid_request_body"),
        ({"input": [{"type": "reasoning", "id": "x", "summary": []}]}, "invalid_encrypted_content"),
        ({"input": [{"type": "reasoning", "encrypted_content": "x", "status": None}]}, "invalid_encrypted_content"),
        ({"reasoning": {"effort": "extreme"}}, "invalid_reasoning_effort"),
    ],
)
def test_what_copilot_refuses_is_refused(client: Client, body: dict[str, Any], code: str) -> None:
    got = ask(client, **body)
    assert (got.status, got.code) == (400, code)


def test_reasoning_that_comes_back_whole_is_accepted(client: Client) -> None:
    first = ask(client, include=["reasoning.encrypted_content"]).json()["output"]
    items = [{"role": "user", "content": "one"}, *first, {"role": "user", "content": "two"}]
    assert ask(client, input=items).status == 200
