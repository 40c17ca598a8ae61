"""Chat streams as deltas, where they are told in another order than they come."""

from collections.abc import Iterable
from typing import Any

import orjson
import pytest

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.chat import decode_stream, new_tally, repair_stream
from copilotapi.protocols.conversation import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
    Usage,
)
from copilotapi.sse import dump, load, reading

STARTED = Started("chatcmpl-1", "gpt-4.1")


def stream(*choices: dict[str, Any], **names: str) -> bytes:
    envelope = {"id": "chatcmpl-1", "model": "gpt-4.1", "object": "chat.completion.chunk", "created": 1, **names}
    chunks = [{**envelope, "choices": [{"index": 0, **choice}]} for choice in choices]
    return b"".join(dump(orjson.dumps(chunk)) for chunk in chunks) + b"data: [DONE]\n\n"


def repaired(blocks: bytes) -> Iterable[bytes | None]:
    tally = new_tally(answer_id="chatcmpl-ours", model="asked", created=1)
    return repair_stream(reading([blocks]), tally, choice_count=1, wants_usage=False, estimate=lambda: Usage(0, 0))


def told(*choices: dict[str, Any], **names: str) -> list[Delta]:
    return [delta for delta in decode_stream(repaired(stream(*choices, **names))) if delta is not None]


def delta(**fields: Any) -> dict[str, Any]:
    return {"delta": fields, "finish_reason": None}


def call(index: int, arguments: str, **opening: str) -> dict[str, Any]:
    name = {"name": opening["name"]} if opening else {}
    named = {"id": opening["id"]} if "id" in opening else {}
    return delta(tool_calls=[{"index": index, **named, "function": {**name, "arguments": arguments}}])


STOP = {"delta": {}, "finish_reason": "stop"}
CALLS = {"delta": {}, "finish_reason": "tool_calls"}


def test_a_stream_that_never_says_how_it_finished_is_no_answer() -> None:
    with pytest.raises(UpstreamFailed):
        told(delta(content="Half"))


def test_text_waits_for_the_end_of_the_calls_before_it() -> None:
    assert told(call(0, "{", id="a", name="f"), delta(content="Hm."), call(0, "}"), CALLS) == [
        STARTED,
        ToolUseStarted("a", "f"),
        ToolInputDelta("{"),
        ToolInputDelta("}"),
        TextDelta("Hm."),
        Finished("tool_calls", None),
    ]


def test_a_call_without_arguments_has_an_empty_object() -> None:
    assert told(call(0, "", id="a", name="f"), call(1, "", id="b", name="g"), CALLS)[1:-1] == [
        ToolUseStarted("a", "f"),
        ToolInputDelta("{}"),
        ToolUseStarted("b", "g"),
        ToolInputDelta("{}"),
    ]


def test_a_call_without_an_id_is_given_one() -> None:
    assert told(call(0, "{}", name="f"), CALLS)[1] == ToolUseStarted("call_chatcmpl-1_0", "f")


def test_an_id_that_comes_with_every_piece_is_one_call() -> None:
    pieces = told(call(0, "{", id="a", name="f"), call(0, "}", id="a", name="f"), CALLS)
    assert pieces[1:-1] == [ToolUseStarted("a", "f"), ToolInputDelta("{"), ToolInputDelta("}")]


def test_the_state_of_reasoning_is_told_once_and_ends_it() -> None:
    thoughts = [delta(reasoning_text="Let ", reasoning_opaque="s"), delta(reasoning_text="me.", reasoning_opaque="s")]
    assert told(*thoughts, delta(content="Yes."), STOP)[1:-1] == [
        ReasoningDelta("Let "),
        ReasoningDelta("me."),
        ReasoningDelta("", "s"),
        TextDelta("Yes."),
    ]


@pytest.mark.parametrize("fields", [{"cot_summary": "Hm."}, {"reasoning_text": "Hm."}])
def test_reasoning_has_two_names(fields: dict[str, str]) -> None:
    assert told(delta(**fields), STOP)[1:-1] == [ReasoningDelta("Hm.")]


def test_a_refusal_is_what_the_model_said() -> None:
    assert told(delta(refusal="I cannot."), STOP)[1:-1] == [TextDelta("I cannot.")]


def test_a_chunk_may_leave_out_what_says_nothing() -> None:
    assert told({"delta": {"content": "Yes."}}, {"finish_reason": "stop"}) == [
        STARTED,
        TextDelta("Yes."),
        Finished("stop", None),
    ]


def test_what_is_held_back_shows_as_silence() -> None:
    blocks = repaired(stream(call(0, "{}", id="a", name="f"), delta(content="later"), CALLS))
    assert None in list(decode_stream(blocks))


def test_a_stream_that_begins_without_its_names_has_ours_from_the_first_chunk_on() -> None:
    sent = b"".join(piece or b"" for piece in repaired(stream(delta(content="a"), STOP, id="", model="")))
    chunks = [orjson.loads(frame.data) for frame in load(sent) if frame.data and frame.data != b"[DONE]"]
    assert {(chunk["id"], chunk["model"]) for chunk in chunks} == {("chatcmpl-ours", "asked")}


def test_the_role_is_told_once() -> None:
    spoken = [delta(role="assistant", content=text) for text in "abc"]
    sent = b"".join(piece or b"" for piece in repaired(stream(*spoken, STOP)))
    assert (sent.count(b'"role"'), sent.count(b'"content"')) == (1, 3)
