"""Messages streams as deltas and deltas as Messages streams: lists in, lists out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import (
    Completion,
    Delta,
    Finished,
    FinishReason,
    Indexed,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStarted,
    Usage,
    collect,
)
from copilotapi.protocols.messages import decode_stream, encode_response, encode_stream
from copilotapi.protocols.messages.stream import Tally, repair_stream
from copilotapi.sse import load, reading

STREAMS = Path(__file__).parent.parent / "streams"
STARTED = Started("msg_1", "claude-sonnet-4.5")
USAGE = Usage(30, 9, cached_tokens=7)


def stored(name: str) -> bytes:
    return (STREAMS / f"messages-{name}.sse").read_bytes()


def repaired(*blocks: bytes | None) -> Iterable[bytes | None]:
    return repair_stream(reading(blocks), Tally(), choice_count=1, wants_usage=True, estimate=lambda: Usage(0, 0))


def encoded(deltas: Iterable[Delta | None], usage: Any = None) -> bytes:
    indexed = [None if delta is None else (0, delta) for delta in deltas]
    pieces = encode_stream(indexed, answer_id="msg_1", model="claude-sonnet-4.5", created=5, usage=usage)
    return b"".join(piece for piece in pieces if piece)


def decoded(*blocks: bytes | None) -> list[Delta | None]:
    return list(decode_stream(repaired(*blocks)))


def told(*blocks: bytes) -> list[Delta]:
    return [delta for delta in decoded(*blocks) if delta is not None]


def events(stream: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(frame.data or b"") for frame in load(stream)]


TOOLS: list[Delta] = [
    Started("msg_bdrk_01B", "claude-sonnet-4-5"),
    ReasoningDelta("Two things "),
    ReasoningDelta("to look up."),
    ReasoningDelta("", "EqQBCkYIAxgC"),
    TextDelta("Looking."),
    ToolUseStarted("toolu_bdrk_a", "grep"),
    ToolInputDelta('{"q": '),
    ToolInputDelta('"a b"}'),
    ToolUseStarted("toolu_bdrk_b", "ls"),
    ToolInputDelta("{}"),
    Finished("tool_calls", Usage(30, 42, cached_tokens=7)),
]


def test_thinking_text_and_calls_are_told_in_their_order() -> None:
    assert decoded(stored("tools")) == TOOLS


def test_blocks_without_a_word_in_the_vocabulary_are_left_out() -> None:
    assert decoded(stored("redacted")) == [
        Started("msg_01C", "claude-sonnet-4-5"),
        ReasoningDelta("", "redacted_thinking:EmwKAhgB"),
        TextDelta("Cut"),
        Finished("length", Usage(30, 2, cached_tokens=7)),
    ]


@pytest.mark.parametrize("name", ["clean", "crlf", "tools", "redacted"])
def test_the_deltas_do_not_depend_on_where_the_network_cuts(name: str) -> None:
    stream = stored(name)
    expected = told(stream)
    for at in range(1, len(stream)):
        assert told(stream[:at], stream[at:]) == expected


def test_a_stream_that_is_cut_finishes_nothing() -> None:
    seen: list[Delta | None] = []
    deltas = decode_stream(repaired(stored("tools").partition(b"event: message_stop")[0]))
    with pytest.raises(UpstreamFailed):
        seen.extend(deltas)
    assert seen == TOOLS[:-1]


def test_silence_passes_through_both_ways() -> None:
    head, tail = stored("clean")[:400], stored("clean")[400:]
    assert None in decoded(head, None, tail)
    pieces = encode_stream([(0, STARTED), None], answer_id="a", model="m", created=0, usage=None)
    assert list(pieces)[1] is None


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("a_reason_of_tomorrow", "stop"),
        (None, "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_every_stop_reason_has_a_finish(stop_reason: str | None, reason: FinishReason) -> None:
    value = f'"{stop_reason}"'.encode() if stop_reason else b"null"
    assert told(stored("clean").replace(b'"end_turn"', value))[-1] == Finished(reason, Usage(30, 9, cached_tokens=7))


def test_a_block_that_starts_with_all_it_has_is_told_at_once() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm", "signature": "Eq"},
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {"a": 1}},
    ]
    head, _, rest = stored("clean").partition(b"event: content_block_start")
    tail = rest[rest.index(b"event: message_delta") :]
    middle = b"".join(
        b"data: " + orjson.dumps(event) + b"\n\n"
        for index, block in enumerate(blocks)
        for event in (
            {"type": "content_block_start", "index": index, "content_block": block},
            {"type": "content_block_stop", "index": index},
        )
    )
    assert decoded(head + middle + tail)[1:-1] == [
        ReasoningDelta("Hm", "Eq"),
        TextDelta("Hi"),
        ToolUseStarted("toolu_1", "ls"),
        ToolInputDelta('{"a":1}'),
    ]


def test_citations_and_deltas_of_tomorrow_are_passed_over() -> None:
    odd = (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"citations_delta",'
        b'"citation":{}}}\n\nevent: a_new_one\ndata: {"type":"a_new_one"}\n\n'
    )
    stream = stored("clean").replace(b"event: content_block_stop", odd + b"event: content_block_stop")
    assert decoded(stream) == decoded(stored("clean"))


def test_an_answer_is_written_as_anthropic_writes_it() -> None:
    deltas: list[Delta] = [
        STARTED,
        ReasoningDelta("Hm"),
        ReasoningDelta("", "Eq"),
        TextDelta("Hi"),
        TextDelta("!"),
        ToolUseStarted("toolu_1", "ls"),
        ToolInputDelta("{}"),
        Finished("tool_calls", USAGE),
    ]
    stream = encoded(deltas)
    assert [frame.event.decode() for frame in load(stream)] == [event["type"] for event in events(stream)]
    counts = {"input_tokens": 23, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 7, "output_tokens": 9}
    assert events(stream) == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4.5",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": dict.fromkeys(counts, 0),
            },
        },
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "thinking", "thinking": "", "signature": ""},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "Eq"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "!"}},
        {"type": "content_block_stop", "index": 1},
        {
            "type": "content_block_start",
            "index": 2,
            "content_block": {"type": "tool_use", "id": "toolu_1", "name": "ls", "input": {}},
        },
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": "{}"}},
        {"type": "content_block_stop", "index": 2},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None}, "usage": counts},
        {"type": "message_stop"},
    ]


def test_what_is_signed_is_a_block_of_its_own() -> None:
    thoughts = [ReasoningDelta("a"), ReasoningDelta("", "Eq"), ReasoningDelta("b"), ReasoningDelta("", "Er")]
    starts = [event["index"] for event in events(encoded([STARTED, *thoughts])) if "content_block" in event]
    assert starts == [0, 1]


def test_one_delta_is_one_piece_so_that_nothing_waits() -> None:
    deltas: list[Delta] = [STARTED, TextDelta("a"), TextDelta("b"), Finished("stop", USAGE)]
    pieces = list(encode_stream([(0, d) for d in deltas], answer_id="a", model="m", created=0, usage=None))
    assert len(pieces) == len(deltas)


def test_the_count_is_asked_when_the_answer_is_over_and_told_what_is_known() -> None:
    asked: list[int] = []

    def usage() -> Usage:
        asked.append(1)
        return Usage(4, 5, estimated=True)

    last = events(encoded([STARTED, TextDelta("x"), Finished("stop")], usage))[-2]
    assert (last["usage"]["input_tokens"], last["usage"]["output_tokens"], last["usage"]["estimated"]) == (4, 5, True)
    assert asked == [1]
    assert events(encoded([STARTED, Finished("stop", USAGE)], usage))[-2]["usage"]["output_tokens"] == 9
    assert asked == [1]


def test_an_answer_that_never_finishes_has_no_end() -> None:
    assert b"message_stop" not in encoded([STARTED, TextDelta("x")])


def test_only_the_first_choice_is_told() -> None:
    indexed: list[Indexed] = [
        (0, STARTED),
        (1, STARTED),
        (1, TextDelta("other")),
        (0, TextDelta("x")),
        (0, Finished("stop", USAGE)),
    ]
    pieces = encode_stream(indexed, answer_id="a", model="m", created=0, usage=None)
    stream = b"".join(piece for piece in pieces if piece)
    assert b"other" not in stream
    assert told(stream)[1] == TextDelta("x")


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_IDS = st.text("abcXYZ019_-", min_size=1, max_size=8)
_SIGNATURES = st.text("ABCDEFabcdef+/=", min_size=1, max_size=8)
_BLOCKS: st.SearchStrategy[list[Delta]] = st.one_of(
    st.lists(st.builds(TextDelta, _TEXTS), min_size=1, max_size=3).map(list),
    st.builds(
        lambda texts, opaque: [*(ReasoningDelta(text) for text in texts), ReasoningDelta("", opaque)],
        st.lists(_TEXTS, min_size=1, max_size=3),
        _SIGNATURES,
    ),
    st.builds(lambda data: [ReasoningDelta("", f"redacted_thinking:{data}")], _SIGNATURES),
    st.builds(
        lambda call_id, name, texts: [ToolUseStarted(call_id, name), *(ToolInputDelta(text) for text in texts)],
        _IDS,
        _IDS,
        st.lists(_TEXTS, min_size=1, max_size=3),
    ),
)


@given(
    st.lists(_BLOCKS, max_size=6),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
)
def test_what_is_encoded_is_decoded_to_equal_deltas(
    blocks: list[list[Delta]], reason: FinishReason, cached: int, more: int
) -> None:
    usage = Usage(cached + more, more, cached_tokens=cached)
    deltas = [STARTED, *(delta for block in blocks for delta in block), Finished(reason, usage)]
    assert decoded(encoded(deltas)) == deltas


@given(st.lists(_BLOCKS, max_size=6))
def test_blocks_are_numbered_without_gaps_and_one_is_open_at_a_time(blocks: list[list[Delta]]) -> None:
    stream = encoded([STARTED, *(delta for block in blocks for delta in block), Finished("stop", USAGE)])
    opened, is_open = -1, False
    for event in events(stream)[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            opened, is_open = opened + 1, True
        assert is_open
        assert event["index"] == opened
        is_open = event["type"] != "content_block_stop"
    assert not is_open


@pytest.mark.parametrize("name", ["clean", "tools", "redacted"])
def test_a_stored_stream_survives_being_written_anew(name: str) -> None:
    deltas = told(stored(name))
    assert told(encoded(deltas))[1:] == deltas[1:]


def test_a_whole_answer_holds_what_the_stream_told() -> None:
    completion = collect(TOOLS)
    answer = encode_response({0: completion}, answer_id="msg_1", model="m", created=5)
    assert answer == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "Two things to look up.", "signature": "EqQBCkYIAxgC"},
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "toolu_bdrk_a", "name": "grep", "input": {"q": "a b"}},
            {"type": "tool_use", "id": "toolu_bdrk_b", "name": "ls", "input": {}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
    }


def test_reasoning_nobody_signed_and_odd_inputs_have_a_place_in_a_whole_answer() -> None:
    parts = (Reasoning("Hm"), Reasoning("", "redacted_thinking:x"), Text(""), ToolUse("c", "patch", "*** Begin"))
    answer = encode_response({0: Completion("a", "m", parts, "stop")}, answer_id="a", model="m", created=0)
    assert answer["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "tool_use", "id": "c", "name": "patch", "input": {"input": "*** Begin"}},
    ]
    assert answer["stop_reason"] == "end_turn"
