"""A Messages stream on its way to the caller: whole frames, Copilot's additions taken out, the end told from a cut.

Regions without a defect go through as the bytes they are; only a frame that may need repair is parsed
(copilot-wire 7.4, state 2026-11).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.messages.errors import told_error
from copilotapi.protocols.messages.usage import decode_usage, merged
from copilotapi.sse import Frame, FrameBuffer, Read, dump, joined, load

_SAMPLE_BYTES = 2048
_PLAIN_EVENT = re.compile(rb"^event: ?(?:content_block_(?:start|delta|stop)|ping)$", re.MULTILINE)
# What a frame must hold to be worth parsing. Quotes inside JSON strings are escaped, so text cannot imitate these.
_SUSPECT = re.compile(rb'"type": ?"(?:message_\w+|error)"|"error": ?\{|"copilot_|"amazon-bedrock-')
_ADDITIONS = ("copilot_", "amazon-bedrock-")
_CR = 0x0D
_WRITTEN = ("text", "thinking", "partial_json")


@dataclass
class Tally:
    """What a stream has told about itself so far; read it whenever the stream has ended, however it ended.

    `usage` is there once Copilot has told both its counts. `sample` holds the first frames as they came,
    `relayed_bytes` the size of all of them: enough to estimate by.
    """

    usage: Usage | None = None
    model: str = ""
    answer_id: str = ""
    is_complete: bool = False
    relayed_bytes: int = 0
    sample: bytearray = field(default_factory=bytearray)

    def count(self, frames: bytes) -> None:
        self.relayed_bytes += len(frames)
        if len(self.sample) < _SAMPLE_BYTES:
            self.sample += frames


def new_tally(*, answer_id: str, model: str, created: int) -> Tally:
    """A message names itself: what other protocols need to fill gaps is not used."""
    return Tally()


def repair_stream(
    read: Read,
    tally: Tally,
    *,
    choice_count: int,
    wants_usage: bool,
    estimate: Callable[[], Usage],
) -> Iterator[bytes | None]:
    """Bytes of whole frames, one piece per block read; None where there is nothing to forward for now.

    Usage is always part of this protocol, so that `wants_usage` and `estimate` change nothing. Raises ApiError when the
    stream tells of an error, UpstreamFailed when it ends without message_stop or cannot be read.
    """
    frames = FrameBuffer()
    repair = _Repair(tally)
    while (block := read()) != b"":
        region = frames.feed(block) if block is not None else b""
        if not region:
            yield None
            continue
        tally.count(region)
        if repair.has_started and _is_clean(region):
            yield region
        else:
            yield from joined(repair.region(region))
        if tally.is_complete:
            return
    if _is_end(frames.rest):
        yield from joined(repair.region(frames.rest.rstrip(b"\r\n") + b"\n\n"))
    if not tally.is_complete:
        raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")


def written_text(frames: bytes) -> str:
    """What the model wrote in these frames: text, reasoning and tool input, for counting."""
    written: list[str] = []
    for frame in load(frames):
        delta = _readable(frame).get("delta")
        if isinstance(delta, dict):
            written += [delta[name] for name in _WRITTEN if isinstance(delta.get(name), str)]
    return "".join(written)


def parsed_event(frame: Frame) -> JSON:
    """One event. ApiError when it is an error in the middle of a stream that began with 200."""
    try:
        event = orjson.loads(frame.data or b"")
    except orjson.JSONDecodeError as exc:
        raise _unreadable() from exc
    if not isinstance(event, dict):
        raise _unreadable()
    if event.get("type") == "error" or event.get("error"):
        raise told_error(event.get("error"))
    if not isinstance(event.get("type"), str):
        raise _unreadable()
    return event


def without_additions(body: JSON) -> JSON:
    """Copilot's billing and citations and Bedrock's metrics out. The very same object when there are none."""
    if not any(name.startswith(_ADDITIONS) for name in body):
        return body
    return {name: value for name, value in body.items() if not name.startswith(_ADDITIONS)}


class _Repair:
    """The state of one stream."""

    def __init__(self, tally: Tally) -> None:
        self.has_started = False
        self._tally = tally
        self._usage: JSON = {}

    def region(self, region: bytes) -> Iterator[bytes]:
        for frame in load(region):
            if self._tally.is_complete:
                break
            if frame.data is None:
                yield frame.raw
            # VS Code, too, passes over an end that only OpenAI's streams have.
            elif frame.data.strip() != b"[DONE]":
                yield self._frame(frame)

    def _frame(self, frame: Frame) -> bytes:
        event = parsed_event(frame)
        kind = event["type"]
        if not self.has_started and kind not in ("message_start", "ping"):
            raise _unreadable()
        repaired = without_additions(event)
        if kind == "message_start":
            repaired = self._start(repaired)
        elif kind == "message_delta":
            self._usage = merged(self._usage, event.get("usage"))
            if isinstance(event.get("usage"), dict):
                self._tally.usage = decode_usage(self._usage)
        elif kind == "message_stop":
            self._tally.is_complete = True
        return frame.raw if repaired is event else dump(orjson.dumps(repaired), frame.event)

    def _start(self, event: JSON) -> JSON:
        told = event.get("message")
        if not isinstance(told, dict):
            raise _unreadable()
        self.has_started = True
        self._tally.answer_id, self._tally.model = str(told.get("id", "")), str(told.get("model", ""))
        self._usage = merged({}, told.get("usage"))
        message = without_additions(told)
        return event if message is told else {**event, "message": message}


def _is_clean(region: bytes) -> bool:
    """Every frame of the region is an event of a content block or a ping, with nothing to repair."""
    # Where lines end otherwise, frames are not counted by their blank lines.
    if _CR in region:
        return False
    return len(_PLAIN_EVENT.findall(region)) == region.count(b"\n\n") and _SUSPECT.search(region) is None


def _is_end(rest: bytes) -> bool:
    """The last event without its blank line."""
    frames = load(rest)
    return len(frames) == 1 and _readable(frames[0]).get("type") == "message_stop"


def _readable(frame: Frame) -> JSON:
    """The frame's event, empty when it is none."""
    try:
        event = orjson.loads(frame.data or b"")
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}


def _unreadable() -> UpstreamFailed:
    return UpstreamFailed("Copilot's stream holds an unreadable event.", code="upstream_bad_response")
