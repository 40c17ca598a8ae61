"""A chat stream that was repaired, as deltas: for answers that go out in another protocol."""

from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from copilotapi.protocols.chat.usage import decode_usage
from copilotapi.protocols.conversation import (
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

    Calls that OpenAI's models interleave are told one after the other: a later call's deltas wait for the end of the
    one that is open.
    """
    usage: Usage | None = None
    reason: FinishReason = "stop"
    started = False
    waiting: dict[int, list[Delta]] = {}
    for chunk in _chunks(pieces):
        if chunk is None:
            yield None
            continue
        if not started:
            started = True
            yield Started(chunk["id"], chunk["model"])
        usage = decode_usage(chunk.get("usage")) or usage
        for choice in chunk["choices"]:
            yield from _text(choice["delta"])
            for call in choice["delta"].get("tool_calls") or ():
                waiting.setdefault(call["index"], []).extend(_call(call))
            yield from _of_the_open_call(waiting)
            reason = _REASONS.get(choice["finish_reason"] or "", reason)
    for deltas in waiting.values():
        yield from deltas
    yield Finished(reason, usage)


def _chunks(pieces: Iterable[bytes | None]) -> Iterator[Any]:
    for piece in pieces:
        if piece is None:
            yield None
            continue
        for frame in load(piece):
            if frame.data is not None and frame.data != b"[DONE]":
                yield orjson.loads(frame.data)


def _text(delta: dict[str, Any]) -> Iterator[Delta]:
    if delta.get("reasoning_text") or delta.get("reasoning_opaque"):
        yield ReasoningDelta(delta.get("reasoning_text") or "", delta.get("reasoning_opaque"))
    if delta.get("content"):
        yield TextDelta(delta["content"])


def _call(call: dict[str, Any]) -> Iterator[Delta]:
    function = call.get("function") or {}
    if call.get("id"):
        yield ToolUseStarted(call["id"], function.get("name", ""))
    if function.get("arguments"):
        yield ToolInputDelta(function["arguments"])


def _of_the_open_call(waiting: dict[int, list[Delta]]) -> Iterator[Delta]:
    """The first call is the open one; the others are held back until the stream ends."""
    if waiting:
        first = min(waiting)
        deltas, waiting[first] = waiting[first], []
        yield from deltas
