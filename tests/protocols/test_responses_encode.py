"""Answers of our own making: as events that OpenAI's own client accepts, and as one object."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from copilotapi.errors import ApiError, UpstreamFailed, bad_request
from copilotapi.protocols.conversation import (
    Delta,
    Finished,
    Indexed,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
    Usage,
    collect,
)
from copilotapi.protocols.responses import (
    answer_text,
    decode_stream,
    encode_error,
    encode_response,
    encode_stream,
    encode_stream_error,
    encode_usage,
    fold,
    repair_answer,
)
from copilotapi.sse import load

STARTED = Started("resp_1", "m")
USAGE = Usage(20, 12, cached_tokens=8, reasoning_tokens=5)
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
FREEFORM = [
    ToolUseStarted("call_1", "apply_patch--freeform"),
    ToolInputDelta('{"input":"'),
    ToolInputDelta('a \\"b\\"\\n'),
    ToolInputDelta('"}'),
]
ANSWERS: dict[str, list[Delta]] = {
    "nothing": [Finished("stop", USAGE)],
    "text": [TextDelta("Hé"), TextDelta("llo"), Finished("stop", USAGE)],
    "text without usage": [TextDelta("x"), Finished("stop")],
    "text cut short": [TextDelta("x"), Finished("length", USAGE)],
    "reasoning cut short": [ReasoningDelta("hm"), Finished("length", USAGE)],
    "text filtered": [TextDelta("x"), Finished("content_filter", USAGE)],
    "reasoning, text and parallel calls": [
        ReasoningDelta("Let me "),
        ReasoningDelta("look."),
        ReasoningDelta("", "opaque="),
        TextDelta("Looking."),
        ToolUseStarted("call_1", "grep"),
        ToolInputDelta('{"q"'),
        ToolInputDelta(":1}"),
        ToolUseStarted("call_2", "ls"),
        ToolInputDelta("{}"),
        Finished("tool_calls", USAGE),
    ],
    "reasoning nobody may read": [ReasoningDelta("", "opaque="), TextDelta("x"), Finished("stop", USAGE)],
    "two thoughts in a row": [
        ReasoningDelta("a"),
        ReasoningDelta("", "1"),
        ReasoningDelta("b"),
        ReasoningDelta("", "2"),
        TextDelta("x"),
        Finished("stop", USAGE),
    ],
    "a call without input": [ToolUseStarted("call_1", "ls"), Finished("tool_calls", USAGE)],
    "a tool of a namespace": [
        ToolUseStarted("c", "mcp--ns--read"),
        ToolInputDelta("{}"),
        Finished("tool_calls", USAGE),
    ],
    "a freeform tool": [*FREEFORM, Finished("tool_calls", USAGE)],
}


def encoded(*deltas: Delta | None) -> bytes:
    indexed: Iterator[Indexed] = (None if delta is None else (0, delta) for delta in deltas)
    pieces = encode_stream(indexed, answer_id="resp_1", model="m", created=1893456000, usage=None)
    return b"".join(piece for piece in pieces if piece)


def events(stream: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data) for frame in load(stream) if frame.data is not None]


def accumulated(stream: bytes) -> Response | None:
    """What OpenAI's Python client makes of it. It raises where events do not belong together."""
    state: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events(stream):
        state.handle_event(construct_type_unchecked(type_=ResponseStreamEvent, value=event))  # type: ignore[arg-type]
    return state._completed_response


@pytest.mark.parametrize("name", ANSWERS)
def test_every_event_is_one_of_openais_in_order_and_under_its_name(name: str) -> None:
    stream = encoded(STARTED, *ANSWERS[name])
    told = events(stream)
    for event in told:
        STREAM_EVENT.validate_python(event)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert [frame.event.decode() for frame in load(stream)] == [event["type"] for event in told]
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    assert b"[DONE]" not in stream


@pytest.mark.parametrize("name", [name for name, deltas in ANSWERS.items() if deltas[-1].reason[0] in "st"])  # type: ignore[union-attr]
def test_openais_client_accumulates_what_was_said(name: str) -> None:
    response = accumulated(encoded(STARTED, *ANSWERS[name]))
    assert response is not None
    said = "".join(delta.text for delta in ANSWERS[name] if isinstance(delta, TextDelta))
    assert response.output_text == said
    assert (response.id, response.model, response.status, response.created_at) == (
        "resp_1",
        "m",
        "completed",
        1893456000,
    )


def test_openais_client_sees_reasoning_and_calls() -> None:
    response = accumulated(encoded(STARTED, *ANSWERS["reasoning, text and parallel calls"]))
    assert response is not None
    reasoning, message, *calls = (item.to_dict() for item in response.output)
    assert (reasoning["summary"], reasoning["encrypted_content"]) == (
        [{"type": "summary_text", "text": "Let me look."}],
        "opaque=",
    )
    assert message["status"] == "completed"
    assert [(call["call_id"], call["name"], call["arguments"]) for call in calls] == [
        ("call_1", "grep", '{"q":1}'),
        ("call_2", "ls", "{}"),
    ]


def test_the_events_of_a_message_are_those_that_are_documented() -> None:
    told = events(encoded(STARTED, *ANSWERS["text"]))
    assert [event["type"].removeprefix("response.") for event in told] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    part = {"type": "output_text", "text": "Héllo", "annotations": [], "logprobs": []}
    assert (told[6]["text"], told[7]["part"]) == ("Héllo", part)
    assert told[2]["item"]["content"] == []
    assert told[8]["item"] == told[9]["response"]["output"][0]
    assert told[8]["item"]["content"] == [part]
    assert {event.get("item_id", told[2]["item"]["id"]) for event in told} == {told[2]["item"]["id"]}


def test_the_events_of_reasoning_and_a_call_are_those_that_are_documented() -> None:
    told = events(encoded(STARTED, *ANSWERS["reasoning, text and parallel calls"]))
    kinds = [event["type"].removeprefix("response.") for event in told]
    assert kinds[2:9] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    assert told[8]["item"]["encrypted_content"] == "opaque="
    call = kinds.index("function_call_arguments.delta") - 1
    assert kinds[call : call + 5] == [
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
    ]
    assert (told[call]["item"]["arguments"], told[call + 3]["arguments"]) == ("", '{"q":1}')


def test_a_tool_of_a_namespace_is_called_by_the_name_the_caller_gave() -> None:
    item = fold(encoded(STARTED, *ANSWERS["a tool of a namespace"]))["output"][0]
    assert (item["type"], item["namespace"], item["name"], item["call_id"]) == ("function_call", "mcp", "read", "c")


def test_a_freeform_tool_is_called_with_the_text_alone() -> None:
    told = events(encoded(STARTED, *ANSWERS["a freeform tool"]))
    assert [event["type"].removeprefix("response.") for event in told[2:-1]] == [
        "output_item.added",
        "custom_tool_call_input.delta",
        "custom_tool_call_input.done",
        "output_item.done",
    ]
    item = told[-1]["response"]["output"][0]
    assert (item["type"], item["name"], item["input"]) == ("custom_tool_call", "apply_patch", 'a "b"\n')
    assert (told[3]["delta"], told[2]["item"]["input"]) == ('a "b"\n', "")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_an_answer_cut_short_is_incomplete_and_says_why(reason: Any) -> None:
    last = events(encoded(STARTED, TextDelta("x"), Finished(reason, USAGE)))[-1]
    told = {"length": "max_output_tokens", "content_filter": "content_filter"}[reason]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"] == {"reason": told}
    assert last["response"]["output"][0]["status"] == "incomplete"


def test_usage_is_asked_last() -> None:
    asked: list[str] = []

    def deltas() -> Iterator[Indexed]:
        yield 0, STARTED
        yield 0, Finished("stop")
        asked.append("deltas")

    def usage() -> Usage:
        asked.append("usage")
        return Usage(1, 2, estimated=True)

    pieces = list(encode_stream(deltas(), answer_id="a", model="m", created=1, usage=usage))
    told = events(pieces[-1] or b"")[-1]["response"]["usage"]
    assert asked == ["deltas", "usage"]
    assert (told["total_tokens"], told["estimated"]) == (3, True)


def test_silence_passes_and_empty_text_is_no_message() -> None:
    pieces = list(
        encode_stream(
            [(0, STARTED), None, (0, TextDelta("")), (0, Finished("stop"))],
            answer_id="a",
            model="m",
            created=1,
            usage=None,
        )
    )
    assert pieces[1:3] == [None, None]
    assert fold(pieces[-1] or b"")["output"] == []


def test_deltas_that_do_not_finish_are_no_answer() -> None:
    with pytest.raises(UpstreamFailed):
        encoded(STARTED, TextDelta("x"))


@pytest.mark.parametrize("name", [name for name in ANSWERS if name != "a freeform tool"])
def test_what_is_encoded_is_decoded_again(name: str) -> None:
    assert list(decode_stream([encoded(STARTED, *ANSWERS[name])])) == [STARTED, *ANSWERS[name]]


def test_a_freeform_call_is_decoded_again_as_the_same_json() -> None:
    deltas = [STARTED, *ANSWERS["a freeform tool"]]
    decoded = [delta for delta in decode_stream([encoded(*deltas)]) if delta is not None]
    assert collect(decoded) == collect(deltas)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
BLOCKS = st.one_of(
    st.lists(TEXTS.map(TextDelta), min_size=1, max_size=3),
    st.tuples(st.lists(TEXTS.map(ReasoningDelta), max_size=3), TEXTS).map(
        lambda block: [*block[0], ReasoningDelta("", block[1])]
    ),
    st.tuples(st.uuids(), st.lists(TEXTS.map(ToolInputDelta), max_size=3)).map(
        lambda block: [ToolUseStarted(f"call_{block[0].hex}", "f"), *block[1]]
    ),
)


@given(st.lists(BLOCKS, max_size=5))
def test_any_answer_is_decoded_as_it_was_encoded(blocks: list[list[Delta]]) -> None:
    deltas: list[Delta] = [STARTED, *(delta for block in blocks for delta in block)]
    has_calls = any(isinstance(delta, ToolUseStarted) for delta in deltas)
    deltas.append(Finished("tool_calls" if has_calls else "stop", USAGE))
    stream = encoded(*deltas)
    assert list(decode_stream([stream])) == deltas
    assert accumulated(stream) is not None


@pytest.mark.parametrize("name", ANSWERS)
def test_a_whole_answer_is_what_the_stream_ends_with(name: str) -> None:
    deltas = [STARTED, *ANSWERS[name]]
    streamed = fold(encoded(*deltas))
    completion = collect(deltas)
    whole = encode_response({0: completion}, answer_id="resp_1", model="m", created=1893456000)
    usage = encode_usage(completion.usage) if completion.usage else None
    assert {**whole, "usage": usage} == streamed
    Response.model_validate({**whole, "usage": usage})
    assert repair_answer({**whole, "usage": usage}, choice_count=1, answer_id="z", created=0)[1] == completion.usage


def test_what_the_model_wrote_is_found_in_a_whole_answer() -> None:
    completion = collect([STARTED, *ANSWERS["reasoning, text and parallel calls"]])
    whole = encode_response({0: completion}, answer_id="resp_1", model="m", created=1)
    assert answer_text(whole) == 'Let me look.Looking.grep{"q":1}ls{}'


def test_a_failure_in_a_stream_is_told_in_the_words_of_every_client() -> None:
    error = ApiError("No more.", status=429, kind="rate_limit_error", code="rate_limited")
    told, failed = events(encode_stream_error(error, "req_1"))
    STREAM_EVENT.validate_python(told)
    assert (told["type"], told["code"], told["message"]) == ("error", "rate_limited", "No more.")
    # OpenAI's SDKs raise on a nested `error`, and on nothing else.
    assert told["error"] == encode_error(error)["error"]
    assert (failed["type"], failed["response"]["status"]) == ("response.failed", "failed")
    assert failed["response"]["error"] == {"code": "rate_limited", "message": "No more."}
    assert failed["sequence_number"] > told["sequence_number"]


def test_a_failure_without_a_code_is_told_by_its_kind() -> None:
    assert events(encode_stream_error(bad_request("No.")))[1]["response"]["error"]["code"] == "invalid_request_error"
