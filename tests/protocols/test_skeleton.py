"""A skeleton saves parsing and changes nothing: what passes by it is what parsing each chunk gives."""

from collections.abc import Iterator

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from copilotapi.protocols import chat
from copilotapi.protocols.chat import stream
from copilotapi.protocols.chat.skeleton import skeleton_of
from copilotapi.protocols.conversation import Usage
from copilotapi.sse import load, reading

DONE = b"data: [DONE]\n\n"


def chunk(delta: dict[str, object], reason: str | None = None, **more: object) -> bytes:
    told = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], "created": 1, "id": "c-1", **more}
    return b"data: " + orjson.dumps({**told, "model": "m", "object": "chat.completion.chunk"}) + b"\n\n"


def claude(delta: dict[str, object]) -> bytes:
    """As Claude's come: each with a role, none with index and object (copilot-wire 5.2)."""
    told = {"choices": [{"delta": {**delta, "role": "assistant"}}], "created": 1, "id": "c-1", "model": "m"}
    return b"data: " + orjson.dumps(told) + b"\n\n"


def repaired(blocks: list[bytes]) -> bytes:
    tally = chat.new_tally(answer_id="own", model="m", created=1)
    pieces = chat.repair_stream(
        reading(blocks), tally, choice_count=1, wants_usage=False, estimate=lambda: Usage(0, 0, estimated=True)
    )
    return b"".join(piece for piece in pieces if piece)


def told(frames: bytes) -> list[object]:
    return [orjson.loads(frame.data) for frame in load(frames) if frame.data and frame.data.startswith(b"{")]


def cut(whole: bytes, places: list[int]) -> Iterator[bytes]:
    last = 0
    for place in sorted({place % (len(whole) + 1) for place in places}):
        yield whole[last:place]
        last = place
    yield whole[last:]


texts = st.text(st.sampled_from('ab"\\\n\r\té\u2028{}[]:,\x00') | st.characters(codec="utf-8"), max_size=8)
deltas = st.one_of(
    texts.map(lambda text: {"content": text}),
    texts.map(lambda text: {"reasoning_text": text}),
    texts.map(lambda text: {"content": text, "refusal": None}),
    texts.map(lambda text: {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}),
    st.just({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f", "arguments": ""}}]}),
    st.just({}),
)
frames = st.one_of(
    deltas.map(chunk),
    deltas.map(claude),
    st.just(b": comment\n\n"),
    st.just(chunk({"content": "x"}, id="c-2", usage=None)),
    st.just(chunk({}, "stop")),
)


beginnings = st.sampled_from([[], [chunk({"role": "assistant", "content": ""})], [chunk({"content": "x"}, id="")]])


@given(beginnings, st.lists(frames, max_size=12), st.lists(st.integers(0, 5000), max_size=6))
@example([], [claude({"content": "a"})] * 3, [])
@example([], [chunk({"content": "a"}, id="")] + [chunk({"content": "b"})] * 2, [])
def test_what_passes_by_a_skeleton_is_what_parsing_each_chunk_gives(
    beginning: list[bytes], sent: list[bytes], places: list[int]
) -> None:
    whole = b"".join([*beginning, *sent, chunk({}, "stop"), DONE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "_skeleton", lambda raw, new, parsed: None)
        expected = told(repaired([whole]))
    assert told(repaired([whole])) == expected
    assert told(repaired(list(cut(whole, places)))) == expected


def test_chunks_without_a_defect_pass_as_the_bytes_they_are() -> None:
    words = [chunk({"content": f"word {number}"}) for number in range(50)]
    # Written as another program writes it: what is parsed and dumped would look otherwise.
    words += [word.replace(b'":', b'": ', 1).replace(b"e\xcc", b"\\u00e9") for word in words]
    whole = b"".join([chunk({"role": "assistant", "content": ""}), *words, chunk({}, "stop"), DONE])
    assert repaired([whole]) == whole


def test_most_chunks_of_a_stream_are_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[bytes] = []
    parse = stream._parsed
    monkeypatch.setattr(stream, "_parsed", lambda data: parsed.append(data) or parse(data))
    for make in (lambda text: chunk({"content": text}), lambda text: claude({"content": text})):
        parsed.clear()
        repaired([make("first"), *(make(f'word "{number}"\n') for number in range(100)), chunk({}, "stop"), DONE])
        assert len(parsed) <= 4


@pytest.mark.parametrize(
    "frame",
    [
        b'data: {"content":"a","x":{"content":"b"}}\n\n',
        b'data: {"content":1}\n\n',
        b'data: {"content":"a\n\n',
        b'data: {"content":"a"} \n\n',
    ],
    ids=["twice", "no text", "no end", "something after it"],
)
def test_a_frame_that_could_be_misread_makes_no_skeleton(frame: bytes) -> None:
    assert skeleton_of(frame, frame, "content") is None


@pytest.mark.parametrize(
    "text",
    [b'a","b":"c', b"a\\", b"a\nb", b'\\"'],
    ids=["ends and goes on", "half an escape", "a line break", "an escaped quote"],
)
def test_only_the_inside_of_a_string_passes(text: bytes) -> None:
    def frame(inside: bytes) -> bytes:
        return b'data: {"content":"' + inside + b'","id":"1"}\n\n'

    skeleton = skeleton_of(frame(b"x"), frame(b"x"), "content")
    assert skeleton is not None
    for region in (frame(text), frame(b"y") + frame(text) + frame(b"z")):
        taken, end = skeleton.take(region, 0)
        assert taken == region[:end]
        assert (end == len(region)) is (text == b'\\"')


@pytest.mark.parametrize("is_changed", [False, True])
def test_a_quote_that_is_missing_is_seen(is_changed: bool) -> None:
    frame = b'data: {"content":"x","id":"1"}\n\n'
    skeleton = skeleton_of(frame, frame.replace(b"id", b"ID") if is_changed else frame, "content")
    assert skeleton is not None
    assert skeleton.take(frame.replace(b'"x"', b'"'), 0) == (b"", 0)
    assert skeleton.take(frame + frame.replace(b'"x"', b'"'), 0)[1] == len(frame)
