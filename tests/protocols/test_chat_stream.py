import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols.chat.stream import Tally, repair_stream, written_text
from copilotapi.protocols.conversation import Usage
from copilotapi.sse import load, reading

STREAMS = Path(__file__).parent.parent / "streams"
ESTIMATE = Usage(7, 8, estimated=True)


def stored(name: str) -> bytes:
    return (STREAMS / f"{name}.sse").read_bytes()


def relay(*blocks: bytes | None, wants_usage: bool = False, choice_count: int = 1) -> tuple[bytes, Tally]:
    tally = Tally()
    pieces = repair_stream(
        reading(blocks), tally, choice_count=choice_count, wants_usage=wants_usage, estimate=lambda: ESTIMATE
    )
    return b"".join(piece for piece in pieces if piece), tally


def chunks(relayed: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in load(relayed) if frame.data and frame.data != b"[DONE]"]


def message_of(relayed: bytes) -> tuple[str, list[tuple[str, str, str]], list[str]]:
    """What an OpenAI client makes of it: text, calls as (id, name, arguments), finish reasons."""
    text, calls, reasons = "", dict[int, list[str]](), []
    for chunk in chunks(relayed):
        assert chunk["object"] == "chat.completion.chunk"
        for choice in chunk["choices"]:
            assert choice["index"] == 0
            text += choice["delta"].get("content") or ""
            for call in choice["delta"].get("tool_calls") or ():
                known = calls.setdefault(call["index"], ["", "", ""])
                known[0] = known[0] or call.get("id", "")
                known[1] += call["function"].get("name", "")
                known[2] += call["function"].get("arguments", "")
            if choice["finish_reason"]:
                reasons.append(choice["finish_reason"])
    return text, [(call[0], call[1], call[2]) for _, call in sorted(calls.items())], reasons


def test_the_filter_chunk_is_dropped_and_the_text_is_not_touched() -> None:
    relayed, tally = relay(stored("gpt-text"))
    text, calls, reasons = message_of(relayed)
    assert (text, calls, reasons) == ('Héllo "usage":{ \u2028 [x]', [], ["stop"])
    assert b"prompt_filter_results" not in relayed
    assert (tally.answer_id, tally.model) == ("chatcmpl-1", "gpt-4.1-2025-04-14")


def test_usage_is_read_from_the_tail_and_kept_from_a_caller_who_did_not_ask() -> None:
    relayed, tally = relay(stored("gpt-text"))
    assert tally.usage == Usage(9, 2, cached_tokens=4, reasoning_tokens=1)
    assert all(chunk["choices"] for chunk in chunks(relayed))


@pytest.mark.parametrize(("name", "total_tokens"), [("gpt-text", 11), ("claude-split", 29)])
def test_usage_that_was_asked_for_comes_once_in_a_chunk_of_its_own(name: str, total_tokens: int) -> None:
    with_usage = [chunk for chunk in chunks(relay(stored(name), wants_usage=True)[0]) if chunk.get("usage")]
    assert [(chunk["choices"], chunk["usage"]["total_tokens"]) for chunk in with_usage] == [([], total_tokens)]
    assert with_usage[0]["id"]
    assert "copilot_usage" not in json.dumps(with_usage)


def test_usage_that_never_came_is_estimated_and_says_so() -> None:
    last = chunks(relay(stored("clean"), wants_usage=True)[0])[-1]
    assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15, "estimated": True}


def test_split_choices_become_one_with_calls_numbered_and_one_finish() -> None:
    text, calls, reasons = message_of(relay(stored("claude-split"))[0])
    assert text == "Looking."
    assert calls == [("toolu_a", "grep", '{"q":1}'), ("toolu_b", "ls", "{}")]
    assert reasons == ["tool_calls"]


def test_interleaved_calls_of_openai_keep_their_own_numbers() -> None:
    _, calls, reasons = message_of(relay(stored("gpt-tools"))[0])
    assert calls == [("call_a", "grep", '{"q":1}'), ("call_b", "ls", "{}")]
    assert reasons == ["tool_calls"]


def test_several_choices_that_were_asked_for_stay_several() -> None:
    frames = b"".join(
        b'data: {"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":%d,'
        b'"delta":{"content":"x"},"finish_reason":"stop"}]}\n\n' % index
        for index in (0, 1)
    )
    relayed, _ = relay(frames + b"data: [DONE]\n\n", choice_count=2)
    assert [chunk["choices"][0]["index"] for chunk in chunks(relayed)] == [0, 1]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b'data: {"error":{"message":"overloaded","code":"model_overloaded"}}\n\n', "model_overloaded"),
        (b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"error"}]}\n\n', "upstream_error"),
        (b'data: {"choices":[{"ind\n\n', "upstream_bad_response"),
        (b"data: 7\n\n", "upstream_bad_response"),
    ],
)
def test_an_error_inside_the_stream_is_an_error_not_an_end(frame: bytes, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        relay(frame + b"data: [DONE]\n\n")
    assert caught.value.code == code


def test_what_follows_done_is_not_read() -> None:
    assert relay(stored("clean") + b"data: {broken\n\n")[0] == stored("clean")


def test_comments_and_silence_pass() -> None:
    comment = b": still there\n\n"
    tally = Tally()
    pieces = repair_stream(
        reading([comment, None, stored("clean")]), tally, choice_count=1, wants_usage=False, estimate=lambda: ESTIMATE
    )
    assert list(pieces) == [comment, None, stored("clean")]


def test_an_event_longer_than_the_limit_is_refused() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"data: " + b"x" * 65536

    with pytest.raises(UpstreamFailed):
        list(repair_stream(reading(endless()), Tally(), choice_count=1, wants_usage=False, estimate=lambda: ESTIMATE))


def test_what_was_written_is_found_again_for_counting() -> None:
    assert written_text(stored("claude-split")) == 'Looking.{"q":1}{}'
