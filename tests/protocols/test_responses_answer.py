"""Whole answers of Copilot's /responses: what is repaired, what is refused."""

from typing import Any

import pytest

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.responses import answer_text, encode_usage, repair_answer

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
    "output_tokens": 12,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 32,
}
MESSAGE = {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "Hi"}]}
ANSWER: JSON = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "m",
    "output": [MESSAGE],
    "parallel_tool_calls": False,
    "tool_choice": "none",
    "tools": [],
    "usage": USAGE,
}


def repair(body: Any) -> tuple[JSON, Usage | None]:
    return repair_answer(body, choice_count=1, answer_id="resp_ours", created=5)


def output(*items: JSON) -> list[JSON]:
    told: list[JSON] = repair({**ANSWER, "output": list(items)})[0]["output"]
    return told


def test_an_answer_without_a_defect_is_the_very_same_object() -> None:
    answer, usage = repair(ANSWER)
    assert answer is ANSWER
    assert usage == Usage(20, 12, cached_tokens=8, reasoning_tokens=5)


def test_billing_does_not_reach_strict_clients() -> None:
    assert repair({**ANSWER, "copilot_usage": {}})[0] == ANSWER


def test_what_is_missing_is_filled_in() -> None:
    answer, usage = repair({"output": [{"type": "message", "content": []}]})
    assert (answer["id"], answer["object"], answer["created_at"]) == ("resp_ours", "response", 5)
    assert answer["status"] == "completed"
    assert answer["output"][0]["id"].startswith("msg_")
    assert (answer["parallel_tool_calls"], answer["tool_choice"], answer["tools"]) == (True, "auto", [])
    assert usage is None


def test_counts_that_strict_clients_require_are_filled_in() -> None:
    answer, usage = repair({**ANSWER, "usage": {"input_tokens": 20, "output_tokens": 12, "of_ours": 1}})
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    assert answer["usage"] == {
        **USAGE,
        **details,
        "output_tokens_details": {"reasoning_tokens": 0},
        "of_ours": 1,
    }
    assert usage == Usage(20, 12)


@pytest.mark.parametrize("summary", [{}, {"summary": None}])
def test_reasoning_without_a_summary_gets_an_empty_one(summary: JSON) -> None:
    assert output({"type": "reasoning", "id": "rs_1", **summary})[0]["summary"] == []


def test_calls_are_told_as_the_caller_knows_their_tools() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "arguments": '{"input":"x"}'}
    plain, nested, free = output(
        {**call, "name": "f"}, {**call, "name": "mcp--ns--read"}, {**call, "name": "mcp--ns--sql--freeform"}
    )
    assert plain == {**call, "name": "f"}
    assert nested == {**call, "name": "read", "namespace": "mcp"}
    assert (free["type"], free["name"], free["namespace"], free["input"]) == ("custom_tool_call", "sql", "mcp", "x")
    assert "arguments" not in free


def test_an_incomplete_answer_is_one() -> None:
    answer = {**ANSWER, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert repair(answer)[0] is answer


@pytest.mark.parametrize("body", [None, [], "x", 7, {}, {"output": {}}, {**ANSWER, "status": "in_progress"}])
def test_what_is_no_finished_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        repair(body)


@pytest.mark.parametrize("status", ["failed", "cancelled", "completed"])
def test_a_failure_is_an_error_with_its_code(status: str) -> None:
    error = {"code": "context_length_exceeded", "message": "Too long."}
    with pytest.raises(ApiError) as caught:
        repair({**ANSWER, "status": status, "error": error})
    assert (caught.value.status, caught.value.code) == (400, "context_length_exceeded")
    assert caught.value.message == "Too long."


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_failure_that_is_not_explained_is_one(status: str) -> None:
    with pytest.raises(ApiError) as caught:
        repair({**ANSWER, "status": status, "error": None})
    assert (caught.value.status, caught.value.code) == (502, "upstream_error")


def test_what_the_model_wrote_is_found() -> None:
    items: list[JSON] = [
        {"type": "reasoning", "summary": [{"text": "a"}, {"text": "b"}]},
        {"type": "message", "content": [{"text": "c"}, {"refusal": "d"}, 7]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "name": "g", "input": "x"},
        {"type": "web_search_call", "action": {}},
    ]
    assert answer_text({"output": items}) == "a\n\nbcdf{}gx"


def test_usage_has_every_field_that_openais_has() -> None:
    assert encode_usage(Usage(20, 12, cached_tokens=8, reasoning_tokens=5)) == USAGE
    assert encode_usage(Usage(1, 2, estimated=True))["estimated"] is True
