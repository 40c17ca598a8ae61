"""A Messages stream that was repaired, as deltas: for answers that go out in another protocol."""

from collections.abc import Iterable, Iterator

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
from copilotapi.protocols.messages.stream import parsed_event
from copilotapi.protocols.messages.thinking import KINDS, decode_thinking
from copilotapi.protocols.messages.usage import decode_usage, merged
from copilotapi.sse import load

_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def decode_stream(pieces: Iterable[bytes | None]) -> Iterator[Delta | None]:
    """`pieces` are what `repair_stream` yields. Blocks the vocabulary has no word for, as of server tools, are left out."""
    usage: JSON = {}
    reason: FinishReason = "stop"
    kind, has_input = "", False
    for event in _events(pieces):
        match event:
            case None:
                yield None
            case {"type": "message_start", "message": message}:
                usage = merged(usage, message.get("usage"))
                yield Started(str(message.get("id", "")), str(message.get("model", "")))
            case {"type": "content_block_start", "content_block": {"type": str(kind)} as block}:
                opening = list(_opening(block))
                has_input = kind == "tool_use" and len(opening) > 1
                yield from opening
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": str(text)}}:
                if text and kind == "tool_use":
                    has_input = True
                    yield ToolInputDelta(text)
            case {"type": "content_block_delta", "delta": delta}:
                yield from _continued(delta)
            case {"type": "content_block_stop"} if kind == "tool_use" and not has_input:
                # Called without arguments: no input at all is an empty object here, and no JSON anywhere else.
                yield ToolInputDelta("{}")
            case {"type": "message_delta"}:
                usage = merged(usage, event.get("usage"))
                reason = _REASONS.get((event.get("delta") or {}).get("stop_reason") or "", reason)
            case {"type": "message_stop"}:
                yield Finished(reason, decode_usage(usage))


def _events(pieces: Iterable[bytes | None]) -> Iterator[JSON | None]:
    for piece in pieces:
        if piece is None:
            yield None
            continue
        yield from (parsed_event(frame) for frame in load(piece) if frame.data is not None)


def _opening(block: JSON) -> Iterator[Delta]:
    """What the start of a block says by itself: mostly nothing but its kind."""
    match block["type"]:
        case "tool_use":
            yield ToolUseStarted(str(block.get("id", "")), str(block.get("name", "")))
            if block.get("input"):
                yield ToolInputDelta(orjson.dumps(block["input"]).decode())
        case "text" if block.get("text"):
            yield TextDelta(block["text"])
        case kind if kind in KINDS:
            reasoning = decode_thinking(block)
            if reasoning.text or reasoning.opaque:
                yield ReasoningDelta(reasoning.text, reasoning.opaque)


def _continued(delta: JSON) -> Iterator[Delta]:
    match delta:
        case {"type": "text_delta", "text": str(text)} if text:
            yield TextDelta(text)
        case {"type": "thinking_delta", "thinking": str(text)} if text:
            yield ReasoningDelta(text)
        case {"type": "signature_delta", "signature": str(signature)} if signature:
            yield ReasoningDelta("", signature)
