"""An answer of our own making, written as Anthropic writes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import orjson

from copilotapi.protocols.conversation import (
    JSON,
    Completion,
    Delta,
    Finished,
    FinishReason,
    Indexed,
    Part,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStarted,
    Usage,
)
from copilotapi.protocols.messages.ask import encode_tool_use
from copilotapi.protocols.messages.thinking import encode_thinking, is_redacted
from copilotapi.protocols.messages.usage import encode_usage
from copilotapi.sse import dump

_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def encode_stream(
    deltas: Iterable[Indexed], *, answer_id: str, model: str, created: int, usage: Callable[[], Usage] | None
) -> Iterator[bytes | None]:
    """The events of one answer; there are no others in this protocol, so those of another choice are left out.

    The opening counts are 0, for nothing is known yet: clients take the last ones. These are what `Finished` tells, else
    what `usage` says, asked then.
    """
    blocks = _Blocks()
    for indexed in deltas:
        if indexed is None:
            yield None
            continue
        index, delta = indexed
        if index:
            continue
        match delta:
            case Started():
                opening = {**_envelope(answer_id, model), "content": [], "stop_reason": None, "stop_sequence": None}
                yield _event("message_start", message={**opening, "usage": encode_usage(Usage(0, 0))})
            case Finished(reason, told):
                counts = told or (usage() if usage is not None else Usage(0, 0, estimated=True))
                stop = {"stop_reason": _REASONS[reason], "stop_sequence": None}
                last = _event("message_delta", delta=stop, usage=encode_usage(counts)) + _event("message_stop")
                yield blocks.close() + last
            case _:
                yield b"".join(blocks.write(delta)) or None


def encode_response(completions: Mapping[int, Completion], *, answer_id: str, model: str, created: int) -> JSON:
    """Without usage: whoever counts adds it."""
    completion = completions[0]
    return {
        **_envelope(answer_id, model),
        "content": [block for part in completion.parts for block in _encoded_part(part)],
        "stop_reason": _REASONS[completion.reason],
        "stop_sequence": None,
    }


class _Blocks:
    """Numbers the content blocks of one answer; at most one is open."""

    def __init__(self) -> None:
        self._index = -1
        self._kind = ""

    def write(self, delta: Delta) -> Iterator[bytes]:
        match delta:
            case TextDelta(text) if text:
                yield from self._opened("text", {"type": "text", "text": ""})
                yield self._delta("text_delta", text=text)
            case ReasoningDelta(_, opaque) if is_redacted(opaque):
                yield self.close() + self._open("redacted_thinking", encode_thinking(Reasoning("", opaque)))
                yield self.close()
            case ReasoningDelta(text, opaque) if text or opaque:
                yield from self._opened("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                if text:
                    yield self._delta("thinking_delta", thinking=text)
                if opaque:
                    # What was signed is complete: more reasoning is another block.
                    yield self._delta("signature_delta", signature=opaque) + self.close()
            case ToolUseStarted(tool_use_id, name):
                start = {"type": "tool_use", "id": tool_use_id, "name": name, "input": {}}
                yield self.close() + self._open("tool_use", start)
            case ToolInputDelta(text) if text:
                yield self._delta("input_json_delta", partial_json=text)

    def close(self) -> bytes:
        """The end of the open block, nothing when there is none."""
        if not self._kind:
            return b""
        self._kind = ""
        return _event("content_block_stop", index=self._index)

    def _opened(self, kind: str, start: JSON) -> Iterator[bytes]:
        if self._kind != kind:
            yield self.close() + self._open(kind, start)

    def _open(self, kind: str, start: JSON) -> bytes:
        self._kind = kind
        self._index += 1
        return _event("content_block_start", index=self._index, content_block=start)

    def _delta(self, kind: str, **fields: str) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind, **fields})


def _envelope(answer_id: str, model: str) -> JSON:
    return {"id": answer_id, "type": "message", "role": "assistant", "model": model}


def _event(kind: str, **fields: object) -> bytes:
    return dump(orjson.dumps({"type": kind, **fields}), kind.encode())


def _encoded_part(part: Part) -> Iterator[JSON]:
    match part:
        case Text(text) if text:
            yield {"type": "text", "text": text}
        case Reasoning():
            yield encode_thinking(part)
        case ToolUse():
            yield encode_tool_use(part)
