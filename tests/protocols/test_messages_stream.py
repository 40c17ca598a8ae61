"""A Messages stream on its way through: what is taken out of it, what it tells, and when it is no end."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols.conversation import Usage
from copilotapi.protocols.messages.stream import Tally, _is_clean, new_tally, repair_stream, written_text
from copilotapi.sse import load, reading

STREAMS = Path(__file__).parent.parent / "streams"
START = b'event: message_start\ndata: {"type":"message_start","message":{"id":"a","model":"m","usage":{}}}\n\n'
STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
PING = b'event: ping\ndata: {"type": "ping"}\n\n'


def stored(name: str) -> bytes:
    return (STREAMS / f"messages-{name}.sse").read_bytes()


def pieces_of(*blocks: bytes | None, tally: Tally | None = None) -> Iterator[bytes | None]:
    tally = tally or Tally()
    return repair_stream(reading(blocks), tally, choice_count=1, wants_usage=False, estimate=lambda: Usage(0, 0))


def relay(*blocks: bytes | None) -> tuple[bytes, Tally]:
    tally = Tally()
    return b"".join(piece for piece in pieces_of(*blocks, tally=tally) if piece), tally


def events(relayed: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data or b"") for frame in load(relayed)]


def test_a_last_event_without_its_blank_line_is_an_end() -> None:
    assert relay(START + STOP.rstrip())[0] == START + STOP
    assert relay(START, STOP[:-1])[0] == START + STOP


def test_what_lies_between_start_and_end_is_forwarded_without_being_parsed() -> None:
    unparsable = b'event: content_block_delta\ndata: {"type":"content_block_delta",broken}\n\n'
    assert relay(START, unparsable, STOP)[0] == START + unparsable + STOP
    with pytest.raises(UpstreamFailed):
        relay(START + unparsable, STOP)


@pytest.mark.parametrize(
    "region",
    [
        START,
        STOP,
        PING + STOP,
        PING + b"data: [DONE]\n\n",
        PING + b": a comment\n\n",
        b"event: error\ndata: {}\n\n",
        b'event: ping\ndata: {"type": "error"}\n\n',
        b'event: content_block_delta\ndata: {"copilot_annotations":{}}\n\n',
        b'data: {"type":"ping"}\n\n',
    ],
)
def test_a_region_with_anything_to_look_at_is_looked_at(region: bytes) -> None:
    assert _is_clean(PING)
    assert not _is_clean(region)


@pytest.mark.parametrize("name", ["tools", "redacted"])
def test_what_copilot_and_bedrock_add_is_taken_out(name: str) -> None:
    addition = re.compile(rb'"(?:copilot_|amazon-bedrock-)')
    assert addition.search(stored(name))
    assert not addition.search(relay(stored(name))[0])


def test_a_frame_that_is_repaired_keeps_its_name_and_all_else() -> None:
    relayed, _ = relay(stored("tools"))
    assert [frame.event.decode() for frame in load(relayed)] == [event["type"] for event in events(relayed)]
    annotated = next(event for event in events(relayed) if event.get("delta", {}).get("text") == "Looking.")
    text = {"type": "text_delta", "text": "Looking."}
    assert annotated == {"type": "content_block_delta", "index": 1, "delta": text}
    assert events(relayed)[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None}


def test_an_end_of_openai_is_dropped_wherever_it_stands() -> None:
    relayed, tally = relay(stored("redacted"))
    assert b"[DONE]" not in relayed
    assert tally.is_complete
    assert events(relayed)[-1] == {"type": "message_stop"}


def test_what_follows_the_end_is_not_read() -> None:
    def blocks() -> Iterator[bytes]:
        yield stored("clean") + b"data: {broken\n\n"
        pytest.fail("read on after the end")

    pieces = repair_stream(reading(blocks()), Tally(), choice_count=1, wants_usage=False, estimate=lambda: Usage(0, 0))
    assert list(pieces) == [stored("clean")]


def test_the_models_name_stays_as_claude_writes_it() -> None:
    relayed, tally = relay(stored("tools"))
    assert events(relayed)[0]["message"]["model"] == tally.model == "claude-sonnet-4-5"
    assert tally.answer_id == "msg_bdrk_01B"


@pytest.mark.parametrize(("name", "output_tokens"), [("clean", 9), ("tools", 42), ("redacted", 2)])
def test_usage_is_that_of_the_start_with_that_of_the_end_over_it(name: str, output_tokens: int) -> None:
    assert relay(stored(name))[1].usage == Usage(30, output_tokens, cached_tokens=7)


def test_usage_of_a_stream_that_was_cut_is_left_to_an_estimate() -> None:
    tally = Tally()
    cut = stored("clean").partition(b"event: message_delta")[0]
    with pytest.raises(UpstreamFailed):
        list(pieces_of(cut, tally=tally))
    assert tally.usage is None
    assert tally.relayed_bytes == len(cut)
    assert written_text(bytes(tally.sample)).startswith("Héllo")


def test_usage_that_the_end_does_not_tell_is_left_to_an_estimate() -> None:
    start = START.replace(b'"usage":{}', b'"usage":{"input_tokens":3,"output_tokens":1}')
    end = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n' + STOP
    assert relay(start + end)[1].usage is None


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "No"}}, 503, "overloaded_error"),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "No"}}, 400, "invalid_request_error"),
        ({"type": "error", "error": {"type": "authentication_error", "message": "No"}}, 503, "authentication_error"),
        ({"type": "error", "error": {"type": "api_error", "message": "No"}}, 502, "api_error"),
        ({"error": {"message": "No", "code": "model_overloaded"}}, 502, "model_overloaded"),
        ({"type": "error", "error": "No"}, 502, "upstream_error"),
    ],
)
@pytest.mark.parametrize("before", [b"", START, START + PING])
def test_an_error_inside_the_stream_is_an_error_not_an_end(
    before: bytes, data: dict[str, Any], status: int, code: str
) -> None:
    with pytest.raises(ApiError) as caught:
        relay(before, b"event: error\ndata: " + json.dumps(data).encode() + b"\n\n", STOP)
    assert (caught.value.status, caught.value.code, caught.value.message) == (status, code, "No")


@pytest.mark.parametrize(
    "data", [b'{"type":"mess', b"7", b"{}", b'{"type":7}', b'{"type":"message_start","message":1}']
)
def test_an_event_that_cannot_be_read_is_an_error(data: bytes) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        relay(b"data: " + data + b"\n\n" + STOP)
    assert caught.value.code == "upstream_bad_response"


def test_an_answer_that_does_not_start_is_an_error() -> None:
    with pytest.raises(UpstreamFailed):
        relay(PING + STOP)


def test_a_block_before_the_start_is_an_error() -> None:
    block = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    pieces = pieces_of(PING, block, START, STOP)
    assert next(pieces) == PING
    assert next(pieces) is None
    with pytest.raises(UpstreamFailed):
        next(pieces)


def test_comments_pings_and_silence_pass() -> None:
    comment = b": still there\n\n"
    blocks = [PING, comment, None, START, PING, STOP]
    assert list(pieces_of(*blocks)) == blocks


def test_frames_before_an_error_in_the_same_block_go_out_first() -> None:
    pieces = pieces_of(START + PING + b"event: error\ndata: {}\n\n")
    assert next(pieces) == START + PING
    with pytest.raises(ApiError):
        next(pieces)


def test_what_was_written_is_found_again_for_counting() -> None:
    assert written_text(stored("tools")) == 'Two things to look up.Looking.{"q": "a b"}'
    assert written_text(b"data: [DONE]\n\n: comment\n\n") == ""


def test_a_new_tally_knows_nothing() -> None:
    assert new_tally(answer_id="msg_ours", model="m", created=5) == Tally()
