"""A stream of Responses on its way to the caller: whole frames, Copilot's defects repaired, the end told from a cut.

Regions without a defect go through as the bytes they are (copilot-wire 6.3, state 2026-11).
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import orjson

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.responses.envelope import envelope, required_fields
from copilotapi.protocols.responses.failure import failure_in
from copilotapi.protocols.responses.functions import CallRestorer
from copilotapi.protocols.responses.names import item_id
from copilotapi.protocols.responses.usage import completed_usage, decode_usage, encode_usage
from copilotapi.sse import Frame, FrameBuffer, Read, dump, joined, load

_SAMPLE_BYTES = 2048
_TERMINAL = ("response.completed", "response.incomplete")
_BEGINNING = "response.created"
_WRITTEN = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.reasoning_summary_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
)
# Quotes inside JSON strings are escaped, so text cannot imitate these.
_DELTA = re.compile(rb'^event: response\.\w+\.delta\ndata: ?\{"[^\n]*\}\n\n', re.MULTILINE)
_ITEM_ID = re.compile(rb'"item_id": ?"([^"\\]*)"')
_NUMBER = re.compile(rb'"sequence_number": ?(\d+)')
_SUSPECT = re.compile(rb'"error"|"copilot_usage"|"item": ?\{|"response": ?\{')


@dataclass
class Tally:
    """What a stream has told about itself so far. `answer_id`, `model` and `created` fill what it leaves out.

    `sample` holds the first frames as they came, `relayed_bytes` the size of all of them: enough to estimate by.
    """

    usage: Usage | None = None
    model: str = ""
    answer_id: str = ""
    created: int = 0
    is_complete: bool = False
    relayed_bytes: int = 0
    sample: bytearray = field(default_factory=bytearray)

    def count(self, frames: bytes) -> None:
        self.relayed_bytes += len(frames)
        if len(self.sample) < _SAMPLE_BYTES:
            self.sample += frames


def new_tally(*, answer_id: str, model: str, created: int) -> Tally:
    return Tally(answer_id=answer_id, model=model, created=created)


def repair_stream(
    read: Read,
    tally: Tally,
    *,
    choice_count: int,
    wants_usage: bool,
    estimate: Callable[[], Usage],
) -> Iterator[bytes | None]:
    """Bytes of whole frames, one piece per block read; None where there is nothing to forward for now.

    The last event always has usage: `estimate` is asked when Copilot gave none. Raises ApiError when the stream tells of
    an error, UpstreamFailed when it ends without its last event or cannot be read.
    """
    frames = FrameBuffer()
    repair = _Repair(tally, estimate)
    while (block := read()) != b"":
        if block is None:
            yield None
            continue
        region = frames.feed(block)
        if not region:
            yield None
            continue
        tally.count(region)
        if repair.takes_as_it_is(region):
            yield region
        else:
            yield from joined(repair.region(region))
        if tally.is_complete:
            return
    rest = frames.rest
    if _is_terminal(rest):
        tally.count(rest)
        yield from joined(repair.region(rest.rstrip(b"\r\n") + b"\n\n"))
    else:
        raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")


def written_text(frames: bytes) -> str:
    """What the model wrote in these frames: text, reasoning and tool input, for counting."""
    events = (_object(frame.data) for frame in load(frames) if frame.data is not None)
    return "".join(str(event.get("delta") or "") for event in events if event.get("type") in _WRITTEN)


class _Repair:
    """The state of one stream."""

    def __init__(self, tally: Tally, estimate: Callable[[], Usage]) -> None:
        self._tally = tally
        self._estimate = estimate
        self._has_begun = False
        self._has_identity = False
        self._calls = CallRestorer()
        self._ids: dict[int, tuple[str, str]] = {}
        self._known: set[bytes] = set()
        self._last_number = -1

    def takes_as_it_is(self, region: bytes) -> bool:
        """Every frame is a delta of an item under its own id, in number: nothing to repair."""
        if not self._has_begun or not self._calls.is_idle or _SUSPECT.search(region):
            return False
        if b"".join(_DELTA.findall(region)) != region:
            return False
        frame_count = region.count(b"\n\n")
        ids = _ITEM_ID.findall(region)
        numbers = [int(number) for number in _NUMBER.findall(region)]
        first = self._last_number + 1
        if numbers != list(range(first, first + frame_count)) or len(ids) != frame_count or set(ids) - self._known:
            return False
        self._last_number += frame_count
        return True

    def region(self, region: bytes) -> Iterator[bytes]:
        for frame in load(region):
            if self._tally.is_complete:
                break
            yield from self._frame(frame)

    def _frame(self, frame: Frame) -> Iterator[bytes]:
        if frame.data is None:
            yield frame.raw
            return
        if frame.data.strip() == b"[DONE]":
            return
        parsed = _object(frame.data)
        before = orjson.dumps(parsed)
        event = _named(parsed, frame)
        kind = event["type"]
        yield from self._missing_beginning(event)
        event.pop("copilot_usage", None)
        if isinstance(event.get("response"), dict):
            self._repair_response(event["response"], kind)
        self._repair_items(event)
        for restored in self._calls.restored(event):
            self._number(restored)
            data = orjson.dumps(restored)
            yield frame.raw if data == before else dump(data, restored["type"].encode())
        self._tally.is_complete = kind in _TERMINAL

    def _missing_beginning(self, event: JSON) -> Iterator[bytes]:
        """SDKs stop at a stream that does not begin with `response.created`."""
        if self._has_begun:
            return
        self._has_begun = True
        told = event.get("response")
        if event["type"] == _BEGINNING and isinstance(told, dict):
            return
        tally = self._tally
        ours = envelope(
            answer_id=tally.answer_id, model=tally.model, created=tally.created, status="in_progress", output=[]
        )
        if isinstance(told, dict):
            unfinished: JSON = {"status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
            ours |= told | unfinished
        self._repair_response(ours, _BEGINNING)
        if event["type"] == _BEGINNING:
            event["response"] = ours
            return
        created = {"type": _BEGINNING, "response": ours}
        self._number(created)
        yield dump(orjson.dumps(created), _BEGINNING.encode())

    def _repair_response(self, response: JSON, kind: str) -> None:
        """Id and date of the first event stay; usage is read; billing is taken out; what is required is there."""
        tally = self._tally
        if not self._has_identity:
            self._has_identity = True
            tally.answer_id = _text(response, "id") or tally.answer_id
            tally.created = response.get("created_at") or tally.created
        tally.model = _text(response, "model") or tally.model
        response.pop("copilot_usage", None)
        for name, value in required_fields().items():
            response.setdefault(name, value)
        response |= {"id": tally.answer_id, "object": "response", "created_at": tally.created, "model": tally.model}
        if kind in _TERMINAL:
            response.setdefault("status", kind.removeprefix("response."))
            tally.usage = decode_usage(response.get("usage"))
            if tally.usage is None:
                tally.usage = self._estimate()
                response["usage"] = encode_usage(tally.usage)
            else:
                response["usage"] = completed_usage(response["usage"])
        output = response.get("output")
        self._repair_output([item for item in output if isinstance(item, dict)] if isinstance(output, list) else [])

    def _repair_output(self, output: list[JSON]) -> None:
        """The items that were streamed, in their order; one of them may be missing here."""
        streamed = sorted(self._ids.items())
        for item in output:
            places = [index for index, (kind, _) in streamed if kind == item.get("type")]
            if places:
                self._repair_item(item, places[0])
                streamed = [place for place in streamed if place[0] > places[0]]

    def _repair_items(self, event: JSON) -> None:
        index = event.get("output_index")
        if not isinstance(index, int):
            return
        if isinstance(event.get("item"), dict):
            self._repair_item(event["item"], index)
        if "item_id" in event:
            event["item_id"] = self._stable_id(index, "", _text(event, "item_id"))

    def _repair_item(self, item: JSON, index: int) -> None:
        """Copilot gives one item another id in every event."""
        kind = _text(item, "type")
        item["id"] = self._stable_id(index, kind, _text(item, "id"))
        if kind == "reasoning" and not isinstance(item.get("summary"), list):
            item["summary"] = []

    def _stable_id(self, index: int, kind: str, given: str) -> str:
        """The first id seen of the item at this place; one of our own where there never was any."""
        if index not in self._ids:
            first = given or item_id(kind, f"{self._tally.answer_id}.{index}")
            self._ids[index] = (kind, first)
            self._known.add(first.encode())
        known_kind, first = self._ids[index]
        self._ids[index] = (known_kind or kind, first)
        return first

    def _number(self, event: JSON) -> None:
        """Numbers go on where events were put in or bore none."""
        given = event.get("sequence_number")
        following = self._last_number + 1
        self._last_number = max(given, following) if isinstance(given, int) else following
        event["sequence_number"] = self._last_number


def _named(event: JSON, frame: Frame) -> JSON:
    """The event with its type. ApiError when it is a failure in the middle of a stream that began with 200."""
    named = {"type": frame.event.decode("utf-8", "replace"), **event}
    failure = failure_in(named)
    if failure is not None:
        raise failure
    kind = named["type"]
    is_without_response = kind in _TERMINAL and not isinstance(named.get("response"), dict)
    if not event or not isinstance(kind, str) or not kind or is_without_response:
        raise UpstreamFailed("Copilot's stream holds an unreadable event.", code="upstream_bad_response")
    return named


def _object(data: bytes) -> JSON:
    """Empty when it is no JSON object."""
    try:
        parsed = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _is_terminal(rest: bytes) -> bool:
    """A stream may close without the blank line after its last event."""
    frames = load(rest)
    return bool(frames) and _object(frames[-1].data or b"").get("type") in _TERMINAL


def _text(fields: JSON, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
