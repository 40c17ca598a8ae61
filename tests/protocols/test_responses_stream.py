"""Responses streams from Copilot: what is repaired on the way, and what is told of them."""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from copilotapi.errors import ApiError, UpstreamFailed
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
from copilotapi.protocols.responses import (
    answer_text,
    decode_stream,
    fold,
    new_tally,
    repair_answer,
    repair_stream,
    written_text,
)
from copilotapi.protocols.responses.stream import Tally
from copilotapi.sse import dump, load, reading

STREAMS = Path(__file__).parent.parent / "streams"
ESTIMATE = Usage(7, 8, estimated=True)
TEXT = 'Héllo "item_id":"x" \u2028 [DONE]'


def stored(name: str) -> bytes:
    return (STREAMS / f"responses-{name}.sse").read_bytes()


def relay(*blocks: bytes | None) -> tuple[bytes, Tally]:
    tally = new_tally(answer_id="resp_ours", model="asked-model", created=5)
    pieces = repair_stream(reading(blocks), tally, choice_count=1, wants_usage=True, estimate=lambda: ESTIMATE)
    return b"".join(piece for piece in pieces if piece), tally


def events(relayed: bytes) -> list[dict[str, Any]]:
    return [json.loads(frame.data or b"") for frame in load(relayed) if frame.data not in (None, b"[DONE]")]


def stream(*told: dict[str, Any]) -> bytes:
    return b"".join(dump(json.dumps(event).encode(), event["type"].encode()) for event in told)


def created(**fields: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "in_progress"}
    required = {"output": [], "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return {"type": "response.created", "sequence_number": 0, "response": {**response, **required, **fields}}


def completed(number: int = 9, **fields: Any) -> dict[str, Any]:
    details = {"input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}
    counts = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, **details}
    usage = {**counts, "output_tokens_details": {"reasoning_tokens": 0}}
    event = created(status="completed", usage=usage, **fields)
    return {**event, "type": "response.completed", "sequence_number": number}


def text_delta(number: int, text: str = "x", **fields: Any) -> dict[str, Any]:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", "sequence_number": number, **place, "delta": text, **fields}


def test_deltas_without_a_defect_are_not_even_parsed() -> None:
    begun = stream(created(), text_delta(11))
    oddly_spaced = b'event: response.output_text.delta\ndata: {"sequence_number": 12,  "item_id": "msg_1", "oops"}\n\n'
    assert relay(begun, oddly_spaced, stream(completed(13)))[0] == begun + oddly_spaced + stream(completed(13))


def test_a_response_has_what_strict_clients_require() -> None:
    bare = {name: value for name, value in created()["response"].items() if name not in ("tools", "tool_choice")}
    ended = {**bare, "status": "completed", "usage": {"input_tokens": 1, "output_tokens": 2}}
    told = events(
        relay(stream({**created(), "response": bare}), stream({**completed(1), "response": ended}))[0],
    )
    assert [event["response"] for event in told] == [created()["response"], completed()["response"]]


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
def test_a_last_event_without_its_blank_line_is_an_end(line_end: bytes) -> None:
    relayed, tally = relay(stored("clean").rstrip() + line_end)
    assert relayed == stored("clean")
    assert tally.is_complete


def test_a_stream_with_other_line_ends_says_the_same() -> None:
    crlf = stored("clean").replace(b"\n", b"\r\n")
    assert relay(crlf)[0] == crlf
    assert list(decode_stream([crlf])) == list(decode_stream([stored("clean")]))


def test_an_item_keeps_the_first_id_seen_whatever_its_later_events_say() -> None:
    added = [event for event in events(stored("rotating")) if event["type"] == "response.output_item.added"]
    first = {event["output_index"]: event["item"]["id"] for event in added}
    told = events(relay(stored("rotating"))[0])
    placed = [event for event in told if "output_index" in event]
    assert all((event.get("item_id") or event["item"]["id"]) == first[event["output_index"]] for event in placed)
    assert [item["id"] for item in told[-1]["response"]["output"]] == list(first.values())


def test_an_answer_keeps_its_first_id_and_date() -> None:
    before = [event["response"]["id"] for event in events(stored("rotating")) if "response" in event]
    assert len(set(before)) == 3
    told, tally = relay(stored("rotating"))
    responses = [event["response"] for event in events(told) if "response" in event]
    assert {(response["id"], response["created_at"]) for response in responses} == {(before[0], 1893456001)}
    assert (tally.answer_id, tally.model) == (before[0], "gpt-5-codex")


def test_a_rotating_stream_says_what_a_clean_one_says() -> None:
    def said(name: str) -> list[Delta | None]:
        return [delta for delta in decode_stream([relay(stored(name))[0]]) if not isinstance(delta, Started)]

    assert said("rotating") == [ReasoningDelta("", "gAAA="), *said("clean")[6:]]


def test_billing_is_taken_out_and_done_is_dropped() -> None:
    relayed, _ = relay(stored("rotating"))
    assert b"copilot_usage" in stored("rotating")
    assert b"copilot_usage" not in relayed
    assert b"data: [DONE]" not in relayed


def test_done_alone_is_not_an_end() -> None:
    with pytest.raises(UpstreamFailed) as caught:
        relay(stream(created()) + b"data: [DONE]\n\n")
    assert caught.value.code == "upstream_disconnected"


def test_what_follows_the_last_event_is_not_read() -> None:
    assert relay(stored("clean") + b"data: {broken\n\n")[0] == stored("clean")


def test_an_output_that_leaves_an_item_out_still_has_the_ids_that_were_streamed() -> None:
    def item(kind: str, identity: str) -> dict[str, Any]:
        return {"type": kind, "id": identity, "summary": []}

    told = [
        created(),
        {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item("reasoning", "a")},
        {"type": "response.output_item.added", "sequence_number": 2, "output_index": 1, "item": item("message", "b")},
        completed(3, output=[item("message", "z")]),
    ]
    assert events(relay(stream(*told))[0])[-1]["response"]["output"][0]["id"] == "b"


def test_items_of_one_kind_keep_their_own_ids() -> None:
    def message(identity: str) -> dict[str, Any]:
        return {"type": "message", "id": identity, "content": []}

    added = [
        {"type": "response.output_item.added", "output_index": index, "item": message(f"msg_{index}")}
        for index in range(2)
    ]
    told = events(relay(stream(created(), *added, completed(output=[message("y"), message("z")])))[0])
    assert [item["id"] for item in told[-1]["response"]["output"]] == ["msg_0", "msg_1"]


def test_an_item_that_is_announced_late_keeps_the_id_of_its_first_delta() -> None:
    item = {"type": "message", "id": "z", "content": []}
    done = {"type": "response.output_item.done", "output_index": 0, "item": dict(item)}
    told = events(relay(stream(created(), text_delta(1), done, completed(output=[item])))[0])
    assert told[2]["item"]["id"] == told[3]["response"]["output"][0]["id"] == "msg_1"


@pytest.mark.parametrize("summary", [{}, {"summary": None}])
def test_reasoning_without_a_summary_gets_an_empty_one(summary: dict[str, Any]) -> None:
    item = {"type": "reasoning", "id": "rs_1", **summary}
    added = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": item}
    told = events(relay(stream(created(), added, completed(output=[dict(item)])))[0])
    assert told[1]["item"]["summary"] == []
    assert told[2]["response"]["output"][0]["summary"] == []


def test_an_item_that_never_had_an_id_gets_one_that_stays() -> None:
    added = {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "content": []}}
    done = {**added, "type": "response.output_item.done", "item": {"type": "message", "content": []}}
    told = events(relay(stream(created(), added, done, completed()))[0])
    assert told[1]["item"]["id"] == told[2]["item"]["id"]
    assert told[1]["item"]["id"].startswith("msg_")


def test_a_stream_that_does_not_begin_is_begun() -> None:
    told = events(relay(stream(text_delta(0), text_delta(1), completed(2)))[0])
    assert [event["type"] for event in told] == [
        "response.created",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.completed",
    ]
    assert [event["sequence_number"] for event in told] == [0, 1, 2, 3]
    assert told[0]["response"]["id"] == told[-1]["response"]["id"] == "resp_ours"
    assert told[0]["response"]["model"] == "asked-model"


def test_a_beginning_that_was_lost_is_made_of_what_follows_it() -> None:
    in_progress = {**created(instructions="Be brief."), "type": "response.in_progress", "sequence_number": 1}
    told = events(relay(stream(in_progress, completed(2)))[0])
    assert [event["type"] for event in told] == ["response.created", "response.in_progress", "response.completed"]
    assert (told[0]["response"]["id"], told[0]["response"]["instructions"]) == ("resp_1", "Be brief.")
    assert [event["sequence_number"] for event in told] == [0, 1, 2]


def test_a_stream_that_only_ends_has_a_beginning_that_has_not_ended() -> None:
    beginning, end = events(relay(stream(completed(0)))[0])
    assert (beginning["response"]["status"], beginning["response"]["usage"]) == ("in_progress", None)
    assert (end["response"]["status"], end["sequence_number"]) == ("completed", 1)


def test_a_beginning_without_its_response_is_given_one() -> None:
    told = events(relay(stream({"type": "response.created", "sequence_number": 0}, completed(1)))[0])
    assert [event["type"] for event in told] == ["response.created", "response.completed"]
    assert told[0]["response"]["id"] == told[1]["response"]["id"]


def test_events_without_numbers_are_numbered() -> None:
    def bare(event: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in event.items() if name != "sequence_number"}

    told = events(relay(stream(*map(bare, (created(), text_delta(1), text_delta(2), completed()))))[0])
    assert [event["sequence_number"] for event in told] == [0, 1, 2, 3]


def test_an_event_without_a_type_has_that_of_its_line() -> None:
    bare = dump(b'{"sequence_number":1,"output_index":0,"item_id":"a","delta":"x"}', b"response.output_text.delta")
    assert events(relay(stream(created()) + bare + stream(completed(2)))[0])[1]["type"] == "response.output_text.delta"


def test_an_event_of_tomorrow_passes() -> None:
    unknown = {"type": "response.dreaming", "sequence_number": 1, "depth": 3}
    assert events(relay(stream(created(), unknown, completed(2)))[0])[1] == unknown


def test_usage_is_read_from_the_last_event() -> None:
    assert relay(stored("rotating"))[1].usage == Usage(20, 12, cached_tokens=8, reasoning_tokens=5)


def test_usage_that_never_came_is_estimated_and_says_so() -> None:
    relayed, tally = relay(stream(created(), {**completed(1), "response": {"id": "resp_1", "model": "m"}}))
    usage = events(relayed)[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["estimated"]) == (7, 8, True)
    assert tally.usage == ESTIMATE
    assert events(relayed)[-1]["response"]["status"] == "completed"


def test_an_incomplete_answer_is_an_end() -> None:
    end = {**completed(1, incomplete_details={"reason": "max_output_tokens"}), "type": "response.incomplete"}
    end["response"]["status"] = "incomplete"
    relayed, tally = relay(stream(created(), end))
    assert tally.is_complete
    assert list(decode_stream([relayed]))[-1] == Finished("length", Usage(1, 2))


@pytest.mark.parametrize(
    ("event", "status", "code", "message"),
    [
        ({"type": "error", "error": {"message": "no", "code": "x"}}, 502, "x", "no"),
        ({"type": "error", "message": "no", "code": "rate_limit_exceeded"}, 429, "rate_limit_exceeded", "no"),
        ({"type": "error"}, 502, "upstream_error", "Copilot broke off with an error."),
        ({"type": "error", "error": "just words"}, 502, "upstream_error", "just words"),
        ({"type": "response.failed", "response": {"error": {"code": "cyber_policy"}}}, 400, "cyber_policy", None),
        ({"type": "response.failed", "response": {"error": None}}, 502, "upstream_error", None),
        ({"type": "response.failed"}, 502, "upstream_error", None),
        ({"type": "response.cancelled", "response": {}}, 502, "upstream_error", None),
        ({"type": "x", "error": {"message": "no", "code": 7}}, 502, "upstream_error", "no"),
    ],
)
def test_a_failure_inside_the_stream_is_an_error_not_an_end(
    event: dict[str, Any], status: int, code: str, message: str | None
) -> None:
    with pytest.raises(ApiError) as caught:
        relay(stream(created(), event, completed()))
    assert (caught.value.status, caught.value.code) == (status, code)
    assert message is None or caught.value.message == message


def test_an_error_that_only_its_line_names_is_one() -> None:
    with pytest.raises(ApiError) as caught:
        relay(stream(created()) + dump(b'{"message":"no","code":"x"}', b"error"))
    assert caught.value.code == "x"


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {broken\n\n",
        b"data: 7\n\n",
        b"data: {}\n\n",
        b'data: {"type":7}\n\n',
        b'data: {"no":"type"}\n\n',
        b'data: {"type":"response.completed"}\n\n',
        b'data: {"type":"response.completed","response":[]}\n\n',
    ],
)
def test_an_event_that_cannot_be_read_is_an_error(frame: bytes) -> None:
    with pytest.raises(UpstreamFailed) as caught:
        relay(stream(created()) + frame + stream(completed()))
    assert caught.value.code == "upstream_bad_response"


def test_what_came_before_a_failure_is_passed_on() -> None:
    pieces: list[bytes | None] = []
    tally = new_tally(answer_id="a", model="m", created=1)
    blocks = [stream(created(), text_delta(1), {"type": "error", "code": "x"})]
    repaired = repair_stream(reading(blocks), tally, choice_count=1, wants_usage=True, estimate=lambda: ESTIMATE)
    with pytest.raises(ApiError):  # noqa: PT012 (the pieces before the error are looked at too)
        for piece in repaired:
            pieces.append(piece)
    assert [event["type"] for piece in pieces for event in events(piece or b"")] == [
        "response.created",
        "response.output_text.delta",
    ]


def test_comments_and_silence_pass() -> None:
    comment = b": still there\n\n"
    tally = new_tally(answer_id="a", model="m", created=1)
    pieces = repair_stream(
        reading([comment, None, stored("clean")]), tally, choice_count=1, wants_usage=True, estimate=lambda: ESTIMATE
    )
    assert list(pieces) == [comment, None, stored("clean")]


def test_an_event_longer_than_the_limit_is_refused() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"data: " + b"x" * 65536

    tally = new_tally(answer_id="a", model="m", created=1)
    with pytest.raises(UpstreamFailed):
        list(repair_stream(reading(endless()), tally, choice_count=1, wants_usage=True, estimate=lambda: ESTIMATE))


def test_what_was_written_is_found_again_for_counting() -> None:
    assert written_text(stored("clean")) == f'Let me look.Then decide.{TEXT}{{"q":1}}'
    assert written_text(b"data: {broken\n\n: c\n\n") == ""


def test_a_stream_folds_into_the_answer_it_ends_with() -> None:
    answer = fold(relay(stored("rotating"))[0])
    assert [item["type"] for item in answer["output"]] == ["reasoning", "message", "function_call"]
    with pytest.raises(UpstreamFailed):
        fold(stream(created()))


def test_a_call_of_a_namespaces_tool_is_told_as_the_caller_knows_it() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "mcp--ns--read", "arguments": "{}"}
    added = {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": call}
    told = events(relay(stream(created(), added, completed(2, output=[call])))[0])
    for item in (told[1]["item"], told[2]["response"]["output"][0]):
        assert (item["name"], item["namespace"], item["type"]) == ("read", "mcp", "function_call")


def test_a_call_of_a_freeform_tool_is_told_as_the_caller_knows_it() -> None:
    call = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "patch--freeform", "status": "completed"}
    place = {"item_id": "fc_1", "output_index": 0}
    told = [
        created(),
        {"type": "response.output_item.added", "output_index": 0, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"input":'},
        {"type": "response.function_call_arguments.delta", **place, "delta": '"a\\nb"}'},
        {"type": "response.function_call_arguments.done", **place, "arguments": '{"input":"a\\nb"}'},
        {"type": "response.output_item.done", "output_index": 0, "item": {**call, "arguments": '{"input":"a\\nb"}'}},
        completed(output=[{**call, "arguments": '{"input":"a\\nb"}'}]),
    ]
    numbered = [{"sequence_number": number, **event} for number, event in enumerate(told[:-1])]
    relayed = events(relay(*(stream(event) for event in [*numbered, told[-1]]))[0])
    assert [event["type"] for event in relayed] == [
        "response.created",
        "response.output_item.added",
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [relayed[1]["item"]["input"], relayed[2]["delta"], relayed[3]["input"]] == ["", "a\nb", "a\nb"]
    done = {**call, "type": "custom_tool_call", "name": "patch", "input": "a\nb"}
    assert relayed[4]["item"] == relayed[5]["response"]["output"][0] == done
    numbers = [event["sequence_number"] for event in relayed]
    assert numbers == sorted(set(numbers))


def deltas(*told: dict[str, Any]) -> list[Delta | None]:
    return list(decode_stream([relay(stream(created(), *told, completed(99)))[0]]))


def test_a_stream_is_decoded() -> None:
    assert list(decode_stream([stored("clean")])) == [
        Started("resp_1", "gpt-5-codex"),
        ReasoningDelta("Let m"),
        ReasoningDelta("e look."),
        ReasoningDelta("\n\n"),
        ReasoningDelta("Then "),
        ReasoningDelta("decide."),
        ReasoningDelta("", "gAAA="),
        TextDelta("Héll"),
        TextDelta('o "item_id'),
        TextDelta('":"x" \u2028 [DONE]'),
        ToolUseStarted("call_a", "grep"),
        ToolInputDelta('{"q"'),
        ToolInputDelta(":1}"),
        Finished("tool_calls", Usage(20, 12, cached_tokens=8, reasoning_tokens=5)),
    ]


def test_a_freeform_call_is_decoded_as_json_that_grows() -> None:
    told = [delta.text for delta in decode_stream([stored("custom")]) if isinstance(delta, ToolInputDelta)]
    assert len(told) == 3
    assert json.loads("".join(told)) == {"input": '*** Begin "Patch"\n+é\n'}


def test_calls_that_overlap_are_told_one_after_the_other() -> None:
    def call(index: int, kind: str, number: int) -> dict[str, Any]:
        item = {"type": "function_call", "id": f"fc_{index}", "call_id": f"call_{index}", "name": "f", "arguments": ""}
        return {"type": kind, "sequence_number": number, "output_index": index, "item": item}

    def delta(index: int, text: str, number: int) -> dict[str, Any]:
        place = {"item_id": f"fc_{index}", "output_index": index, "sequence_number": number}
        return {"type": "response.function_call_arguments.delta", **place, "delta": text}

    added, done = "response.output_item.added", "response.output_item.done"
    told = [
        call(0, added, 1),
        call(1, added, 2),
        delta(1, "b", 3),
        delta(0, "a", 4),
        call(1, done, 5),
        call(0, done, 6),
    ]
    assert deltas(*told)[1:-1] == [
        ToolUseStarted("call_0", "f"),
        ToolInputDelta("a"),
        ToolUseStarted("call_1", "f"),
        ToolInputDelta("b"),
    ]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "message", "content": [{"type": "output_text", "text": "x"}]}, [TextDelta("x")]),
        ({"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}, [TextDelta("no")]),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            [ToolUseStarted("c", "f"), ToolInputDelta("{}")],
        ),
        (
            {"type": "custom_tool_call", "call_id": "c", "name": "p", "input": ""},
            [ToolUseStarted("c", "p--freeform"), ToolInputDelta('{"input":"'), ToolInputDelta('"}')],
        ),
        (
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}, {"text": "b"}]},
            [ReasoningDelta("a\n\nb")],
        ),
        ({"type": "web_search_call", "status": "completed"}, []),
    ],
)
def test_what_no_delta_told_is_told_by_the_finished_item(item: dict[str, Any], expected: list[Delta]) -> None:
    done = {"type": "response.output_item.done", "sequence_number": 1, "output_index": 0, "item": item}
    assert deltas(done)[1:-1] == expected
    whole = relay(stream(created(), completed(1, output=[item])))[0]
    assert list(decode_stream([whole]))[1:-1] == expected


def test_a_refusal_and_open_reasoning_are_text_and_reasoning() -> None:
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    refusal = {"type": "response.refusal.delta", "sequence_number": 1, **place, "delta": "no"}
    thought = {"type": "response.reasoning_text.delta", "sequence_number": 2, **place, "delta": "hm"}
    assert deltas(refusal, thought)[1:-1] == [TextDelta("no"), ReasoningDelta("hm")]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("steered", "length"), (None, "length")],
)
def test_why_an_answer_is_incomplete(reason: str | None, expected: str) -> None:
    end = completed(1, incomplete_details={"reason": reason})
    end["type"] = "response.incomplete"
    end["response"]["status"] = "incomplete"
    assert list(decode_stream([relay(stream(created(), end))[0]]))[-1] == Finished(expected, Usage(1, 2))  # type: ignore[arg-type]


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, [7]], ids=repr)
def test_no_value_of_another_kind_does_worse_than_an_error(junk: Any) -> None:
    told = events(stored("clean"))
    for place, event in enumerate(told):
        for name in [*event, *(("item", inner) for inner in event.get("item", ()))]:
            odd = (
                {**event, "item": {**event["item"], name[1]: junk}}
                if isinstance(name, tuple)
                else {**event, name: junk}
            )
            frames = b"".join(dump(json.dumps(each).encode()) for each in (*told[:place], odd, *told[place + 1 :]))
            with suppress(ApiError):
                relayed, _ = relay(frames)
                assert isinstance(list(decode_stream([relayed]))[-1], Finished)
                answer_text(repair_answer(fold(relayed), choice_count=1, answer_id="a", created=1)[0])


def test_silence_passes_the_decoder() -> None:
    assert list(decode_stream([None, stored("clean")]))[:2] == [None, Started("resp_1", "gpt-5-codex")]
