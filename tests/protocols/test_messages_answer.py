"""Whole Messages answers, counts and errors."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilotapi.errors import ApiError, SignInFailed, UpstreamFailed, bad_request
from copilotapi.protocols import messages
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.messages import (
    HEARTBEAT,
    answer_text,
    encode_error,
    encode_stream_error,
    encode_usage,
    fold,
    repair_answer,
)
from copilotapi.protocols.messages.usage import decode_usage
from copilotapi.relay import Codec
from copilotapi.sse import load

PLAIN: dict[str, Any] = {
    "id": "msg_bdrk_01",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [
        {"type": "thinking", "thinking": "Hm. ", "signature": "Eq"},
        {"type": "text", "text": "Looking. "},
        {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {"a": 1}},
        {"type": "server_tool_use", "input": {}},
    ],
    "stop_reason": "tool_use",
    "stop_sequence": None,
    "usage": {"input_tokens": 20, "cache_read_input_tokens": 7, "output_tokens": 9},
}


def repair(body: Any) -> tuple[JSON, Usage | None]:
    return repair_answer(body, choice_count=1, answer_id="msg_ours", created=5)


def test_an_answer_without_a_defect_is_the_very_same_object() -> None:
    answer, usage = repair(PLAIN)
    assert answer is PLAIN
    assert usage == Usage(27, 9, cached_tokens=7)


def test_what_copilot_and_bedrock_add_is_taken_out() -> None:
    added: dict[str, Any] = {"copilot_usage": {}, "copilot_annotations": {}, "amazon-bedrock-invocationMetrics": {}}
    assert repair({**PLAIN, **added})[0] == PLAIN


def test_gaps_are_filled() -> None:
    answer, usage = repair({"content": [], "model": "m", "stop_reason": "end_turn"})
    assert answer == {
        "type": "message",
        "role": "assistant",
        "stop_sequence": None,
        "content": [],
        "model": "m",
        "stop_reason": "end_turn",
        "id": "msg_ours",
    }
    assert usage is None


def test_an_error_under_a_200_is_an_error() -> None:
    with pytest.raises(ApiError) as caught:
        repair({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}})
    assert (caught.value.status, caught.value.message) == (503, "Busy")


@pytest.mark.parametrize("body", [None, [], "x", {}, {"content": "x"}, {"choices": []}])
def test_what_is_no_answer_is_an_error(body: Any) -> None:
    with pytest.raises(UpstreamFailed):
        repair(body)


def test_a_stream_nobody_asked_for_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        fold(b"")


def test_what_was_written_is_found_again_for_counting() -> None:
    assert answer_text(PLAIN) == 'Hm. Looking. ls{"a":1}'


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_counts_survive_being_written_and_read(new: int, cached: int, written: int) -> None:
    usage = Usage(new + cached, written, cached_tokens=cached)
    assert encode_usage(usage)["input_tokens"] == new
    assert decode_usage(encode_usage(usage)) == usage


def test_what_the_cache_took_in_is_input_too() -> None:
    counts = {"input_tokens": 1, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 300, "output_tokens": 4}
    assert decode_usage(counts) == Usage(321, 4, cached_tokens=300)


@pytest.mark.parametrize("usage", [None, 7, {}, {"input_tokens": 3}, {"output_tokens": 3}, {"input_tokens": "3"}])
def test_half_a_count_is_none(usage: Any) -> None:
    assert decode_usage(usage) is None


def test_an_estimate_says_so() -> None:
    assert encode_usage(Usage(3, 4, estimated=True))["estimated"] is True
    assert "estimated" not in encode_usage(Usage(3, 4))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (502, "api_error"),
        (503, "overloaded_error"),
        (504, "timeout_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_name_anthropic_gives_its_status(status: int, kind: str) -> None:
    error = ApiError("No.", status=status, kind="whatever")
    assert encode_error(error, "req_1") == {
        "type": "error",
        "error": {"type": kind, "message": "No."},
        "request_id": "req_1",
    }


def test_our_own_lost_sign_in_is_never_the_callers() -> None:
    assert encode_error(SignInFailed("Sign in.", code="x"), "r")["error"]["type"] == "overloaded_error"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            "prompt token count of 140001 exceeds the limit of 128000",
            "prompt is too long: 140001 tokens > 128000 maximum",
        ),
        (
            "This model's maximum context length is 128,000 tokens. However, you requested 130,500 tokens (1 here).",
            "prompt is too long: 130500 tokens > 128000 maximum",
        ),
        (
            "claude-opus-4-20250514 and gpt-4.1-2025 took 300 of 200.",
            "prompt is too long: 300 tokens > 200 maximum",
        ),
        ("Request body is too large.", "prompt is too long: Request body is too large."),
        ("128000 of 128000 are taken.", "prompt is too long: 128000 of 128000 are taken."),
        ("Only 128000 fit.", "prompt is too long: Only 128000 fit."),
        ("prompt is too long: 5 tokens > 4 maximum", "prompt is too long: 5 tokens > 4 maximum"),
        (
            "input length and `max_tokens` exceed context limit: 189727 + 16000 > 200000, decrease input length",
            "input length and `max_tokens` exceed context limit: 189727 + 16000 > 200000, decrease input length",
        ),
    ],
)
def test_a_prompt_that_is_too_long_is_told_in_words_that_make_claude_code_compact(told: str, message: str) -> None:
    error = bad_request(told, code="context_length_exceeded")
    assert encode_error(error, "r")["error"] == {"type": "invalid_request_error", "message": message}
    assert encode_error(bad_request(told), "r")["error"]["message"] == told


def test_an_error_ends_a_stream_as_an_event_of_its_own() -> None:
    [frame] = load(encode_stream_error(UpstreamFailed("Cut.", code="x"), "req_1"))
    assert frame.event == b"error"
    assert orjson.loads(frame.data or b"") == {
        "type": "error",
        "error": {"type": "api_error", "message": "Cut."},
        "request_id": "req_1",
    }


def test_a_heartbeat_is_a_ping() -> None:
    assert HEARTBEAT == b'event: ping\ndata: {"type": "ping"}\n\n'


def test_the_module_is_a_codec() -> None:
    codec: Codec = messages
    assert (codec.ENDPOINT, codec.HOST, codec.ID_PREFIX, codec.ALWAYS_STREAMS) == ("/v1/messages", "api", "msg_", False)
    assert [name for name in messages.__all__ if not hasattr(messages, name)] == []
