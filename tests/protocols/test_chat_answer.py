from typing import Any

import pytest

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.chat import answer_text, repair_answer
from copilotapi.protocols.conversation import JSON, Usage

# As stored in copilot-wire 5.2.
CLAUDE = {
    "id": "msg_01SIM",
    "created": 1893456000,
    "model": "claude-sonnet-4.5",
    "choices": [
        {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "Looking."}},
        {
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "tool_calls": [
                    {"id": "toolu_01A", "type": "function", "function": {"name": "grep", "arguments": '{"q":"x"}'}}
                ],
            },
        },
    ],
    "usage": {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29},
}


def repair(body: Any, choice_count: int = 1) -> tuple[JSON, Usage | None]:
    return repair_answer(body, choice_count=choice_count, answer_id="chatcmpl-ours", created=5)


def test_split_choices_are_merged_and_the_missing_fields_added() -> None:
    answer, usage = repair(CLAUDE)
    assert answer["object"] == "chat.completion"
    [choice] = answer["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "tool_calls")
    assert choice["message"]["content"] == "Looking."
    assert choice["message"]["tool_calls"][0]["id"] == "toolu_01A"
    assert usage == Usage(20, 9)
    assert answer_text(answer) == 'Looking.grep{"q":"x"}'


def test_an_answer_without_a_defect_is_the_very_same_object() -> None:
    body = {
        "id": "a",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop", "logprobs": None}
        ],
    }
    assert repair(body)[0] is body


def test_verdicts_of_filters_and_billing_do_not_reach_strict_clients() -> None:
    choice = {"index": 0, "message": {"content": "x"}, "finish_reason": "stop", "content_filter_results": {"hate": {}}}
    answer, _ = repair({"choices": [choice], "prompt_filter_results": [], "copilot_usage": {}})
    assert set(answer) == {"choices", "object", "id", "created"}
    assert "content_filter_results" not in answer["choices"][0]
    assert answer["id"] == "chatcmpl-ours"


def test_a_stop_with_calls_in_it_is_a_finish_by_tool_calls() -> None:
    body = {"choices": [{"message": {"tool_calls": [{"id": "1", "function": {}}]}, "finish_reason": "stop"}]}
    assert repair(body)[0]["choices"][0]["finish_reason"] == "tool_calls"


def test_several_choices_that_were_asked_for_are_not_merged() -> None:
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"} for text in "ab"]}
    assert [choice["index"] for choice in repair(body, choice_count=2)[0]["choices"]] == [0, 1]


@pytest.mark.parametrize("body", [None, [], "x", {}, {"choices": []}, {"choices": [3]}, {"choices": "no"}])
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        repair(body)
