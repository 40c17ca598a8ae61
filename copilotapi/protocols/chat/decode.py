"""A chat stream that was repaired, as deltas: for answers that go out in another protocol."""

from collections.abc import Iterable, Iterator

import orjson

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.chat.usage import decode_usage
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
    Usage,
)
from copilotapi.sse import load

_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def decode_stream(pieces: Iterable[bytes | None]) -> Iterator[Delta | None]:
    """`pieces` are what `repair_stream` yields for one choice with usage wanted.

    Blocks are told one after the other. Of calls that OpenAI's models interleave, a later one's deltas wait for the end
    of the stream, and so does text that comes after a call began. UpstreamFailed when no choice ever finished.
    """
    usage: Usage | None = None
    reason: FinishReason | None = None
    blocks: _Blocks | None = None
    for chunk in _chunks(pieces):
        if chunk is None:
            yield None
            continue
        if blocks is None:
            blocks = _Blocks(chunk["id"])
            yield Started(chunk["id"], chunk["model"])
        usage = decode_usage(chunk.get("usage")) or usage
        for choice in chunk["choices"]:
            told = list(blocks.told(choice.get("delta") or {}))
            yield from told
            if not told:
                # Held back; but the stream is alive.
                yield None
            if choice.get("finish_reason"):
                reason = _REASONS.get(choice["finish_reason"], "stop")
    if blocks is None or reason is None:
        raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")
    yield from blocks.held()
    yield Finished(reason, usage)


def _chunks(pieces: Iterable[bytes | None]) -> Iterator[JSON | None]:
    for piece in pieces:
        if piece is None:
            yield None
            continue
        for frame in load(piece):
            if frame.data is not None and frame.data != b"[DONE]":
                yield orjson.loads(frame.data)


class _Blocks:
    """Text and reasoning are told until a call begins, then the first call. All others are held until the end."""

    def __init__(self, answer_id: str) -> None:
        self._answer_id = answer_id
        self._calls: dict[int, list[Delta]] = {}
        self._with_input: set[int] = set()
        self._after: list[Delta] = []
        self._opaque: str | None = None

    def told(self, delta: JSON) -> Iterator[Delta]:
        texts = list(self._texts(delta))
        if self._calls:
            self._after += texts
        else:
            yield from texts
        calls = delta.get("tool_calls") or ()
        if calls and not self._calls:
            yield from self._close_reasoning()
        for call in calls:
            self._take(call)
        if self._calls:
            first = min(self._calls)
            deltas, self._calls[first] = self._calls[first], []
            yield from deltas

    def held(self) -> Iterator[Delta]:
        for index, deltas in self._calls.items():
            yield from deltas
            if index not in self._with_input:
                # Called without arguments: no JSON for clients that parse it.
                yield ToolInputDelta("{}")
        yield from self._after
        yield from self._close_reasoning()

    def _texts(self, delta: JSON) -> Iterator[Delta]:
        self._opaque = delta.get("reasoning_opaque") or self._opaque
        if reasoning := delta.get("reasoning_text") or delta.get("cot_summary"):
            yield ReasoningDelta(reasoning)
        if text := delta.get("content") or delta.get("refusal"):
            yield from self._close_reasoning()
            yield TextDelta(text)

    def _close_reasoning(self) -> Iterator[Delta]:
        """Its state may come at any time, and with every chunk; it is told once, as the end of the reasoning."""
        if self._opaque:
            opaque, self._opaque = self._opaque, None
            yield ReasoningDelta("", opaque)

    def _take(self, call: JSON) -> None:
        """Some models tell a call's id and name with every piece of it, others give it no id."""
        index, function = call["index"], call.get("function") or {}
        if index not in self._calls:
            call_id = call.get("id") or f"call_{self._answer_id}_{index}"
            self._calls[index] = [ToolUseStarted(call_id, function.get("name") or "")]
        if function.get("arguments"):
            self._with_input.add(index)
            self._calls[index].append(ToolInputDelta(function["arguments"]))
