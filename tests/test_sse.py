"""Where frames end, whatever the network cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from copilotapi.errors import UpstreamFailed
from copilotapi.sse import MAX_FRAME_BYTES, Frame, FrameBuffer, dump, load

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [b"data: one", b"data:two", b"data", b"event: e", b": comment", b"id: 1", b"data: {}", b"retry: 1"]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Frames of one to three lines, all with the line end that this stream uses."""
    line_end = draw(LINE_ENDS)
    frames = draw(st.lists(st.lists(LINES, min_size=1, max_size=3), min_size=1, max_size=5))
    return b"".join(line_end.join([*lines, b"", b""]) for lines in frames)


def fields(frames: bytes) -> list[tuple[bytes | None, bytes]]:
    return [(frame.data, frame.event) for frame in load(frames)]


@pytest.mark.parametrize(
    ("raw", "data", "event"),
    [
        (b"data: x\n\n", b"x", b""),
        (b"data:x\n\n", b"x", b""),
        (b"data:  x\n\n", b" x", b""),
        (b"data: a\ndata: b\n\n", b"a\nb", b""),
        (b"event: e\ndata: x\n\n", b"x", b"e"),
        (b"data: x\nevent: a\nevent: b\n\n", b"x", b"b"),
        (b"data\n\n", b"", b""),
        (b"data: x:y\n\n", b"x:y", b""),
        (b": comment\n\n", None, b""),
        (b"event: e\n\n", None, b"e"),
        (b"database: x\n\n", None, b""),
        (b"id: 7\nretry: 5\ndata: x\n\n", b"x", b""),
    ],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_a_frame_is_read_as_the_event_stream_format_says(
    raw: bytes, data: bytes | None, event: bytes, line_end: bytes
) -> None:
    raw = raw.replace(b"\n", line_end)
    assert load(raw) == [Frame(data, event, raw)]


def test_a_last_frame_without_its_blank_line_counts() -> None:
    assert fields(b"data: 1\n\ndata: 2") == [(b"1", b""), (b"2", b"")]
    assert fields(b"data: 1\n\n\n") == [(b"1", b"")]
    assert load(b"") == []


def test_what_is_dumped_is_loaded_again() -> None:
    assert fields(dump(b'{"a": 1}')) == [(b'{"a": 1}', b"")]
    assert fields(dump(b"{}", b"message_start") + dump(b"[DONE]")) == [(b"{}", b"message_start"), (b"[DONE]", b"")]


def test_a_region_ends_with_the_last_whole_frame() -> None:
    frames = FrameBuffer()
    assert frames.feed(b"data: 1\n\ndata: 2\n\ndata: 3\n") == b"data: 1\n\ndata: 2\n\n"
    assert frames.rest == b"data: 3\n"
    assert frames.feed(b"\n") == b"data: 3\n\n"
    assert frames.rest == b""


def test_the_halves_of_a_crlf_are_not_two_line_ends() -> None:
    frames = FrameBuffer()
    regions = [frames.feed(bytes([byte])) for byte in b"event: e\r\ndata: x\r\n\r\n"]
    assert [region for region in regions if region] == [b"event: e\r\ndata: x\r\n\r\n"]


@given(stream=streams(), data=st.data())
def test_frames_are_the_same_wherever_the_network_cut(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    frames = FrameBuffer()
    regions = [frames.feed(stream[start:end]) for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert b"".join(regions) + frames.rest == stream
    assert [one for region in regions for one in fields(region)] + fields(frames.rest) == fields(stream)


@given(stream=streams())
def test_nothing_complete_is_held_back(stream: bytes) -> None:
    frames = FrameBuffer()
    frames.feed(stream)
    # A CR at the very end may be the first half of a CRLF.
    assert frames.rest == b"" or stream.endswith(b"\r")


@given(junk=st.binary(max_size=200), data=st.data())
def test_no_bytes_are_lost_or_made_up(junk: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(junk)))
    frames = FrameBuffer()
    regions = frames.feed(junk[:cut]) + frames.feed(junk[cut:])
    assert regions + frames.rest == junk
    assert b"".join(frame.raw for frame in load(junk)).strip(b"\r\n") in junk


def test_an_endless_frame_is_given_up_after_what_came_before_it() -> None:
    frames = FrameBuffer()
    assert frames.feed(b"data: 1\n\n" + b"x" * MAX_FRAME_BYTES) == b"data: 1\n\n"
    assert frames.feed(b"x") == b""
    with pytest.raises(UpstreamFailed) as caught:
        frames.feed(b"x")
    assert caught.value.code == "upstream_bad_response"
