"""Server-sent events as bytes: where frames end, what they carry, how they are written. Knows no protocol.

The rules are those of the WHATWG event stream: lines end in LF, CR or CRLF, a blank line ends a frame.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from copilotapi.errors import ApiError, UpstreamFailed

MAX_FRAME_BYTES = 1_048_576
COMMENT_HEARTBEAT = b": heartbeat\n\n"
# A number: asked whether it holds bytes, CPython 3.11 first tries to take them for one, and makes an exception.
_CR = 0x0D
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic: the halves of one CRLF are not two line ends.
_FRAME_END = re.compile(rb"(?>\r\n|\n|\r)(?:\r\n|\n|\r)")


@dataclass(frozen=True, slots=True)
class Frame:
    """`data` is None for a frame of comments only. `raw` is the frame as it came, its blank line included."""

    data: bytes | None
    event: bytes = b""
    raw: bytes = b""


# Gives the next bytes of a stream; None when nothing has come for a while, b"" at the end.
Read: TypeAlias = Callable[[], bytes | None]


def reading(blocks: Iterable[bytes | None]) -> Read:
    """Of blocks that are there already."""
    return partial(next, (block for block in blocks if block != b""), b"")


class FrameBuffer:
    """Cuts a byte stream where frames end. `rest` is what came after the last complete frame."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, block: bytes) -> bytes:
        """All frames that are complete now, as they came; b"" when there is none. UpstreamFailed on one over 1 MiB.

        It fails when asked for more, so that the frames before the long one are not lost with it.
        """
        if len(self.rest) > MAX_FRAME_BYTES:
            raise UpstreamFailed("An event of Copilot's stream is too long.", code="upstream_bad_response")
        if not self.rest and block.endswith(b"\n\n") and _CR not in block:
            return block
        pending = self.rest + block if self.rest else block
        end = _last_frame_end(pending, max(len(self.rest) - 3, 0))
        self.rest = pending[end:]
        return pending[:end]


def joined(pieces: Iterable[bytes]) -> Iterator[bytes | None]:
    """All pieces as one, None when there is nothing in them. When making them fails, what was made before goes first."""
    made: list[bytes] = []
    try:
        made.extend(pieces)
    except ApiError:
        yield b"".join(made) or None
        raise
    yield b"".join(made) or None


def frame_end(frames: bytes, start: int) -> int:
    """Where the frame that begins at `start` ends; the end of all when it has no blank line."""
    if _CR not in frames:
        end = frames.find(b"\n\n", start)
        return end + 2 if end >= 0 else len(frames)
    found = _FRAME_END.search(frames, start)
    return found.end() if found else len(frames)


def load(frames: bytes) -> list[Frame]:
    """Every frame of a region that ends where a frame ends; a last one without its blank line counts."""
    loaded, start = [], 0
    for end in _FRAME_END.finditer(frames):
        loaded.append(as_frame(frames[start : end.end()]))
        start = end.end()
    if frames[start:].strip(b"\r\n"):
        loaded.append(as_frame(frames[start:]))
    return loaded


def dump(data: bytes, event: bytes = b"") -> bytes:
    """One frame around a single line of data."""
    return (b"event: " + event + b"\n" if event else b"") + b"data: " + data + b"\n\n"


def as_frame(raw: bytes) -> Frame:
    """One frame, as it came; with or without its blank line."""
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.count(b"\n") == 2 and _CR not in raw:
        return Frame(raw[6:-2], b"", raw)
    fields = [line.partition(b":") for line in _LINE_END.split(raw)]
    data = _values(fields, b"data")
    event = _values(fields, b"event")
    return Frame(b"\n".join(data) if data else None, event[-1] if event else b"", raw)


def _values(fields: Iterable[tuple[bytes, bytes, bytes]], name: bytes) -> list[bytes]:
    return [value.removeprefix(b" ") for field, _, value in fields if field == name]


def _last_frame_end(pending: bytes, start: int) -> int:
    """Looks from `start` on, where the bytes before it are known to end no frame."""
    if _CR not in pending:
        found = pending.rfind(b"\n\n", start)
        return found + 2 if found >= 0 else 0
    # A CR at the very end may be the first half of a CRLF.
    settled = pending.removesuffix(b"\r") if pending.endswith(b"\n\r") else pending
    ends = ((pair, settled.rfind(pair, start)) for pair in (b"\n\n", b"\n\r\n", b"\r\r", b"\n\r"))
    return max((found + len(pair) for pair, found in ends if found >= 0), default=0)
