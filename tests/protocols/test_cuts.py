"""Where the network cuts a stream, and where its upstream dies: every stored stream, in every protocol.

The first changes nothing that comes out; the second never looks like an end.
"""

import pytest

from tests.protocols.cut import CLEAN, LINE_ENDS, NAMES, REPAIRED, TERMINAL, at_random, cut_at, relay, with_line_ends
from tests.protocols.stored import stored

_WITH_LINE_ENDS = [(name, line_ends) for name in NAMES for line_ends in (*LINE_ENDS, "mixed")]


@pytest.mark.parametrize("name", CLEAN)
def test_a_stream_without_a_defect_goes_through_byte_for_byte(name: str) -> None:
    assert relay(name, [stored(name)]).sent == stored(name)


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_which_two_pieces_a_stream_comes_in(name: str) -> None:
    stream = stored(name)
    expected = relay(name, [stream])
    assert expected.failure is None
    for at in range(1, len(stream)):
        assert relay(name, cut_at(stream, [at])) == expected, at


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_how_many_pieces_a_stream_comes_in(name: str) -> None:
    stream = stored(name)
    expected = relay(name, [stream])
    for places in (*at_random(stream), range(1, len(stream))):
        assert relay(name, cut_at(stream, places)) == expected, places


@pytest.mark.parametrize(("name", "line_ends"), _WITH_LINE_ENDS)
def test_it_does_not_matter_where_the_network_cuts_the_ends_of_lines(name: str, line_ends: str) -> None:
    stream = with_line_ends(name, line_ends)
    expected = relay(name, [stream])
    assert expected.failure is None
    assert expected.sent == stream or name in REPAIRED
    near = {at + by for at, byte in enumerate(stream) if byte in b"\r\n" for by in (0, 1)}
    for at in near - {0, len(stream)}:
        assert relay(name, cut_at(stream, [at])) == expected, at
    for places in (sorted(near - {0, len(stream)}), range(1, len(stream))):
        assert relay(name, cut_at(stream, places)) == expected


@pytest.mark.parametrize("name", NAMES)
def test_an_upstream_that_dies_anywhere_is_an_error_after_whole_frames_unless_all_has_come(name: str) -> None:
    stream = stored(name)
    whole = relay(name, [stream])
    ended = 0
    for at in range(len(stream)):
        came = relay(name, [stream[:at]])
        if came.failure is None:
            ended += 1
            # The blank line after the last event may be lacking, and what follows that event.
            assert came.sent.rstrip() == whole.sent.rstrip(), at
        else:
            assert came.failure.code == "upstream_disconnected"
            assert whole.sent.startswith(came.sent), at
            assert came.sent == b"" or came.sent.endswith((b"\n\n", b"\r\n\r\n"))
            assert not TERMINAL.search(came.sent)
    assert ended <= len(stream) - len(stream.removesuffix(b"data: [DONE]\n\n").rstrip()) + 1
