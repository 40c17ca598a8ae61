"""A stream of Responses that was repaired, as deltas: for answers that go out in another protocol."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from copilotapi.protocols.conversation import (
    JSON,
    Delta,
    Finished,
    FinishReason,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
)
from copilotapi.protocols.responses.names import FREEFORM_CLOSING, FREEFORM_OPENING, ToolName, escaped, flat_name
from copilotapi.protocols.responses.request import summary_text
from copilotapi.protocols.responses.usage import decode_usage
from copilotapi.sse import load

_REASONS: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_TEXT = ("response.output_text.delta", "response.refusal.delta")
_THOUGHT = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")
_INPUT = ("response.function_call_arguments.delta", "response.custom_tool_call_input.delta")


def decode_stream(pieces: Iterable[bytes | None]) -> Iterator[Delta | None]:
    """`pieces` are what `repair_stream` yields.

    Items that overlap are told one after the other: a later one's deltas wait for the end of the one that is open.
    """
    items: dict[int, _Item] = {}
    started = has_calls = seen = False
    for event in _events(pieces):
        if event is None:
            yield None
            continue
        response = _object(event.get("response"))
        if response and not started:
            started = True
            yield Started(response["id"], response["model"])
        index = event.get("output_index")
        if isinstance(index, int):
            seen = True
            item = items.setdefault(index, _Item())
            item.take(event)
            has_calls = has_calls or item.is_call
            yield from _released(items)
        if event["type"] in ("response.completed", "response.incomplete"):
            _finish(items, response.get("output") or [] if not seen else [])
            has_calls = has_calls or any(item.is_call for item in items.values())
            yield from _released(items)
            yield Finished(_reason(response, has_calls=has_calls), decode_usage(response.get("usage")))


class _Item:
    """One output item: deltas that were not told yet. `take` adds those of an event."""

    def __init__(self) -> None:
        self.is_done = False
        self.is_call = False
        self._waiting: list[Delta] = []
        self._has_text = False
        self._is_freeform = False

    def deltas(self) -> list[Delta]:
        deltas, self._waiting = self._waiting, []
        return deltas

    def take(self, event: JSON) -> None:
        kind = event["type"]
        if kind in _TEXT:
            self._text(TextDelta(_text(event, "delta")))
        elif kind in _THOUGHT:
            self._text(ReasoningDelta(_text(event, "delta")))
        elif kind in _INPUT:
            self._input(_text(event, "delta"))
        elif kind == "response.reasoning_summary_part.added" and event.get("summary_index"):
            self._text(ReasoningDelta("\n\n"))
        elif kind == "response.output_item.added":
            self._begin(_object(event.get("item")))
        elif kind == "response.output_item.done":
            self.end(_object(event.get("item")))

    def _text(self, delta: TextDelta | ReasoningDelta) -> None:
        if delta.text:
            self._has_text = True
            self._waiting.append(delta)

    def _begin(self, item: JSON) -> None:
        kind = item.get("type")
        if kind in ("function_call", "custom_tool_call") and not self.is_call:
            self.is_call = True
            self._is_freeform = kind == "custom_tool_call"
            name = flat_name(ToolName(_text(item, "name"), _text(item, "namespace"), self._is_freeform))
            self._waiting.append(ToolUseStarted(_text(item, "call_id") or _text(item, "id"), name))

    def _input(self, text: str) -> None:
        if self._is_freeform:
            text = ("" if self._has_text else FREEFORM_OPENING) + escaped(text)
        if text:
            self._has_text = True
            self._waiting.append(ToolInputDelta(text))

    def end(self, item: JSON) -> None:
        """What no delta told is told here: deltas are not promised."""
        self.is_done = True
        self._begin(item)
        if not self._has_text:
            self._whole(item)
        if self._is_freeform and self._has_text:
            self._waiting.append(ToolInputDelta(FREEFORM_CLOSING))
        if item.get("type") == "reasoning" and (opaque := _text(item, "encrypted_content")):
            self._waiting.append(ReasoningDelta("", opaque))

    def _whole(self, item: JSON) -> None:
        match item.get("type"):
            case "message":
                for part in map(_object, item.get("content") or ()):
                    self._text(TextDelta(_text(part, "text") or _text(part, "refusal")))
            case "reasoning":
                self._text(ReasoningDelta(summary_text(item)))
            case "function_call" | "custom_tool_call":
                self._input(_text(item, "arguments") or _text(item, "input"))


def _finish(items: dict[int, _Item], untold: list[JSON]) -> None:
    """Nothing more will come. `untold` is the whole output where not one event told of an item."""
    for index, told in enumerate(untold):
        items[index] = _Item()
        items[index].end(_object(told))
    for item in items.values():
        item.is_done = True


def _events(pieces: Iterable[bytes | None]) -> Iterator[JSON | None]:
    for piece in pieces:
        if piece is None:
            yield None
            continue
        for frame in load(piece):
            if frame.data is not None:
                yield orjson.loads(frame.data)


def _released(items: dict[int, _Item]) -> Iterator[Delta]:
    """The first item is the open one until it is done."""
    while items:
        first = min(items)
        yield from items[first].deltas()
        if not items[first].is_done:
            return
        del items[first]


def _reason(response: JSON, *, has_calls: bool) -> FinishReason:
    if response.get("status") == "incomplete":
        return _REASONS.get(_text(_object(response.get("incomplete_details")), "reason"), "length")
    return "tool_calls" if has_calls else "stop"


def _object(value: Any) -> JSON:
    """Empty where it is none: some backends announce an item that they do not tell yet."""
    return value if isinstance(value, dict) else {}


def _text(fields: JSON, name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""
