"""How a streamed answer proves that it arrived whole."""

import json
from collections.abc import Sequence

import pytest

from bench.wire import Plan, StreamReader, StreamWriter, burst, plan_in, request_body


def frames(chunk_count: int = 20) -> list[bytes]:
    return list(burst(chunk_count, tells_usage=True))


def fault_of(sent: Sequence[bytes]) -> str:
    reader = StreamReader()
    for frame in sent:
        reader.feed(frame)
    return reader.finish()


def test_an_answer_as_it_was_sent_is_whole() -> None:
    reader = StreamReader()
    reader.feed(b"".join(frames()))
    assert (reader.finish(), reader.chunk_count) == ("", 20)


def test_where_the_network_cuts_does_not_matter() -> None:
    sent = b"".join(frames())
    reader = StreamReader()
    for byte in range(len(sent)):
        reader.feed(sent[byte : byte + 1])
    assert (reader.finish(), reader.chunk_count) == ("", 20)


def test_a_gateway_may_write_its_json_in_its_own_way() -> None:
    sent = [
        b"data: " + json.dumps(json.loads(frame[6:])).encode() + b"\n\n"
        for frames_of in frames()
        for frame in frames_of.split(b"\n\n")
        if frame and b"[DONE]" not in frame
    ]
    assert fault_of([*sent, b"data: [DONE]\n\n"]) == ""


def test_a_lost_chunk_is_reported() -> None:
    sent = frames()
    del sent[7]
    assert fault_of(sent) == "a chunk is missing or out of order"


def test_chunks_in_another_order_are_reported() -> None:
    sent = frames()
    sent[5], sent[6] = sent[6], sent[5]
    assert fault_of(sent) == "a chunk is missing or out of order"


def test_a_chunk_twice_is_reported() -> None:
    sent = frames()
    sent.insert(5, sent[5])
    assert fault_of(sent) == "a chunk is missing or out of order"


def test_changed_text_is_reported() -> None:
    sent = frames()
    sent[5] = sent[5].replace(b"quick brown", b"brown quick")
    assert fault_of(sent) == "the answer's bytes differ"


def test_the_last_chunk_cannot_be_lost_unseen() -> None:
    sent = frames()
    del sent[20]
    assert fault_of(sent) == "the answer's bytes differ"


@pytest.mark.parametrize("kept", [1, 10, 21])
def test_a_truncated_stream_is_incomplete(kept: int) -> None:
    assert fault_of(frames()[:kept]) == "no [DONE]"


def test_an_answer_without_its_text_is_not_whole() -> None:
    assert fault_of([b"data: [DONE]\n\n"]) == "the last chunk is missing"


def test_the_way_of_a_chunk_is_timed_from_its_stamp() -> None:
    writer = StreamWriter(1, tells_usage=False)
    reader = StreamReader()
    reader.feed(writer.next_chunk(1))
    assert reader.transits_ms[0] > 0


@pytest.mark.parametrize("plan", [Plan(), Plan("stream", 200, 20), Plan("silent")])
def test_a_prompt_says_which_answer_it_wants(plan: Plan) -> None:
    assert plan_in(request_body(plan)) == plan


@pytest.mark.parametrize("prompt_bytes", [60, 100_000])
def test_a_prompt_is_as_long_as_asked(prompt_bytes: int) -> None:
    prompt = json.loads(request_body(Plan(), prompt_bytes))["messages"][0]["content"]
    assert len(prompt) == prompt_bytes
