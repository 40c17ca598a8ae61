"""Chunks that differ in one text only: once one of them was parsed and repaired, the others need no parsing.

A stream's text comes in hundreds of chunks that are alike but for a word. Knows bytes only; what may differ is told by
whoever parsed the first.
"""

import re

# The inside of a JSON string (RFC 8259, 7), possessively: no input makes it slow.
_TEXT = re.compile(rb'(?:[^"\\\x00-\x1f]++|\\["\\/bfnrtu])*+')


# As numbers: asked whether it holds bytes, CPython 3.11 first tries to take them for a number, and makes an exception.
_QUOTE, _BACKSLASH, _LF, _CR = b'"\\\n\r'


class Skeleton:
    """A frame around a text: `before` and `after` as they come, `new_before` and `new_after` as they go on."""

    __slots__ = (
        *("_after", "_before", "_is_unchanged", "_joint", "_new_after", "_new_before"),
        *("_quotes", "_text_begins", "_text_ends"),
    )

    def __init__(self, before: bytes, after: bytes, new_before: bytes, new_after: bytes) -> None:
        self._is_unchanged = (before, after) == (new_before, new_after)
        self._before, self._after = before, after
        self._new_before, self._new_after = (before, after) if self._is_unchanged else (new_before, new_after)
        self._joint = after + before
        self._quotes = self._joint.count(b'"')
        self._text_begins, self._text_ends = len(before), -len(after)

    def one(self, block: bytes) -> bytes:
        """`block` as it goes on, where it is one whole frame of this kind, as the blocks of a stream mostly are; else b""."""
        if (
            not block.startswith(self._before)
            or not block.endswith(self._after)
            or len(block) < len(self._joint)  # the last quote of the one could be the first of the other
        ):
            return b""
        text = block[self._text_begins : self._text_ends]
        # Escapes, or more than one frame: then the text has to be looked at more closely.
        if (_QUOTE in text or _BACKSLASH in text or _LF in text or _CR in text) and not _TEXT.fullmatch(text):
            return b""
        return block if self._is_unchanged else b"".join((self._new_before, text, self._new_after))

    def take(self, region: bytes, start: int) -> tuple[bytes, int]:
        """The frames from `start` on that are of this kind, as they go on, and where the first of another kind begins.

        `region` holds whole frames only. b"" when the first is of another kind already.
        """
        if not region.startswith(self._before, start) or len(region) - start < len(self._joint):
            return b"", start
        if self._is_unchanged:
            end = region.rfind(self._after, start) + len(self._after)
            if self._are_all_alike(region, start, end):
                return region[start:end], end
        return self._taken_singly(region, start)

    def _are_all_alike(self, region: bytes, start: int, end: int) -> bool:
        """By counting, many times faster than looking at each: as many frames as skeletons and no quote beyond theirs."""
        count = region.count(self._joint, start, end) + 1
        return (
            region.count(b"\n", start, end) == 2 * count
            and region.count(b'"', start, end) == self._quotes * count
            and region.find(b"\\", start, end) < 0
        )

    def _taken_singly(self, region: bytes, start: int) -> tuple[bytes, int]:
        taken: list[bytes] = []
        while region.startswith(self._before, start):
            end = region.find(b"\n\n", start) + 2
            text = region[start + len(self._before) : end - len(self._after)]
            is_whole = end - start >= len(self._joint) and region.startswith(self._after, end - len(self._after))
            if not is_whole or not _TEXT.fullmatch(text):
                break
            taken += (self._new_before, text, self._new_after)
            start = end
        return b"".join(taken), start


def skeleton_of(raw: bytes, new: bytes, key: str) -> Skeleton | None:
    """Of a frame `raw` that went on as `new`, where the text under `key` is what differs.

    None unless each of them has that key once, with a string, so that it is clear which one is meant.
    """
    around, new_around = _around(raw, key), _around(new, key)
    return Skeleton(*around, *new_around) if around and new_around else None


def _around(frame: bytes, key: str) -> tuple[bytes, bytes] | None:
    # Quotes inside JSON strings are escaped, so that text cannot imitate a key.
    begins = [found.end() for found in re.finditer(rb'"%b": ?"' % key.encode(), frame)]
    inside = _TEXT.match(frame, begins[0]) if len(begins) == 1 else None
    if inside is None:
        return None
    before, after = frame[: inside.start()], frame[inside.end() :]
    return (before, after) if after.startswith(b'"') and after.endswith(b"}\n\n") else None
