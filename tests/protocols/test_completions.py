import json
from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols import completions
from copilotapi.protocols.conversation import Completion, Finished, Started, Text, TextDelta, Usage
from copilotapi.sse import reading

# As stored in copilot-wire 9.1.
GHOST = (
    b'data: {"choices":[{"index":0,"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"text":" console","index":0,"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"text":"X","index":1,"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"text":".log","index":0,"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[{"index":1,"finish_reason":"length"}]}\n\n'
    b"data: [DONE]\n\n"
)


def relay(stream: bytes, wants_usage: bool = False) -> bytes:
    tally = completions.new_tally(answer_id="cmpl-1", model="engine", created=5)
    pieces = completions.repair_stream(
        reading([stream]), tally, choice_count=2, wants_usage=wants_usage, estimate=lambda: Usage(3, 4, estimated=True)
    )
    return b"".join(piece for piece in pieces if piece)


def test_usage_is_told_once_at_the_end_to_a_caller_who_wants_it() -> None:
    def told(stream: bytes, wants_usage: bool) -> list[dict[str, Any]]:
        lines = relay(stream, wants_usage).split(b"\n\n")
        chunks = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
        assert all(not chunk["choices"] for chunk in chunks if "usage" in chunk)
        return [chunk["usage"] for chunk in chunks if "usage" in chunk]

    theirs = GHOST.replace(
        b"data: [DONE]", b'data: {"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":2}}\n\ndata: [DONE]'
    )
    assert told(GHOST, False) == told(theirs, False) == []
    assert [(usage["prompt_tokens"], usage.get("estimated")) for usage in told(GHOST, True)] == [(3, True)]
    assert [(usage["prompt_tokens"], usage.get("estimated")) for usage in told(theirs, True)] == [(8, None)]


def test_what_copilot_leaves_out_is_put_in() -> None:
    chunks = [json.loads(line[6:]) for line in relay(GHOST).split(b"\n\n") if line.startswith(b"data: {")]
    assert {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        ("cmpl-1", "text_completion", 5, "engine")
    }
    assert all(isinstance(choice["text"], str) for chunk in chunks for choice in chunk["choices"])


def test_a_stream_that_lacks_nothing_goes_through_byte_for_byte() -> None:
    repaired = relay(GHOST)
    assert relay(repaired) == repaired


def test_a_stream_folds_into_a_whole_answer_choice_by_choice() -> None:
    answer = completions.fold(relay(GHOST))
    assert [(choice["text"], choice["finish_reason"]) for choice in answer["choices"]] == [
        (" console.log", "stop"),
        ("X", "length"),
    ]


def test_its_deltas_say_the_same() -> None:
    single = b"".join(frame + b"\n\n" for frame in GHOST.split(b"\n\n") if frame and b'"index":1' not in frame)
    assert list(completions.decode_stream([None, relay(single)])) == [
        None,
        Started("cmpl-1", "engine"),
        TextDelta(" console"),
        TextDelta(".log"),
        Finished("stop"),
    ]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1], [2]]}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "x", "max_tokens": "abc"}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 1.5}, "max_tokens"),
        ({"prompt": "x", "max_tokens": True}, "max_tokens"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "stop": 3}, "stop"),
        ({"prompt": "x", "stop": [3]}, "stop"),
        ({"prompt": "x", "suffix": 3}, "suffix"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "temperature": "hot"}, "temperature"),
        ({"prompt": "x", "extra": []}, "extra"),
        ({"prompt": "x", "extra": {"language": 5}}, "extra.language"),
        ({"prompt": "x", "extra": {"next_indent": "4"}}, "extra.next_indent"),
        ({"prompt": "x", "extra": {"trim_by_indentation": 1}}, "extra.trim_by_indentation"),
        ({"prompt": "x", "stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"prompt": "x", "n": 129}, "n"),
        ({"prompt": ["x"] * 65, "n": 2}, "prompt"),
        ({"prompt": "x", "best_of": 2}, "best_of"),
        ({"prompt": "x", "echo": True}, "echo"),
        ({"prompt": "x", "model": 3}, "model"),
    ],
)
def test_a_wrong_request_names_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        completions.check_request(body)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(("asked", "given"), [(None, 100), (50, 50), (500, 500), (99_999, 500)])
def test_max_tokens_has_a_default_and_a_limit(asked: int | None, given: int) -> None:
    body = {"prompt": "x", **({} if asked is None else {"max_tokens": asked})}
    assert completions.with_limits(body, completions.TokenLimits(100, 500))["max_tokens"] == given


def test_each_prompt_is_asked_n_times_in_order() -> None:
    requests = completions.decode_requests({"prompt": ["a", "b"], "n": 2, "stop": "x", "extra": {"next_indent": 4}})
    assert [request.prompt for request in requests] == ["a", "a", "b", "b"]
    assert (requests[0].stop, requests[0].next_indent) == (("x",), None)


def test_the_server_trims_by_indentation_only_when_asked() -> None:
    extra = {"next_indent": 4, "trim_by_indentation": True, "language": "python"}
    [request] = completions.decode_requests({"prompt": "a", "extra": extra})
    assert (request.next_indent, request.language) == (4, "python")


def test_copilot_is_always_asked_for_a_stream_and_never_for_what_it_does_not_know() -> None:
    body = {"prompt": ["a"], "model": "codex", "user": "me", "file_path": "x", "max_tokens": 5, "nwo": "o/r"}
    sent, dropped = completions.for_upstream(body, "engine", {})
    assert sent == {"prompt": "a", "max_tokens": 5, "nwo": "o/r", "stream": True}
    assert dropped == ("user",)


def test_answers_of_our_own_have_every_field() -> None:
    written = completions.encode_response(
        {0: Completion("a", "m", (Text("x"),), "stop")}, answer_id="cmpl-1", model="m", created=5
    )
    assert written == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 5,
        "model": "m",
        "choices": [{"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    }
    pieces = completions.encode_stream(
        [(0, Started("a", "m")), (0, TextDelta("x")), None, (0, Finished("stop"))],
        answer_id="cmpl-1",
        model="m",
        created=5,
        usage=lambda: Usage(1, 2, estimated=True),
    )
    told = b"".join(piece for piece in pieces if piece)
    assert completions.fold(told)["choices"][0]["text"] == "x"
    assert b'"estimated":true' in told
    assert told.endswith(b"data: [DONE]\n\n")
