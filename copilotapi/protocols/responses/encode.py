"""An answer of our own making, written as OpenAI's Responses writes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import orjson

from copilotapi.errors import UpstreamFailed
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
from copilotapi.protocols.responses.blocks import Block, Event, MessageBlock, ReasoningBlock, call_block
from copilotapi.protocols.responses.envelope import envelope
from copilotapi.protocols.responses.usage import encode_usage
from copilotapi.sse import dump

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_Opened = TypeVar("_Opened", bound=Block)


def encode_stream(
    deltas: Iterable[Indexed], *, answer_id: str, model: str, created: int, usage: Callable[[], Usage] | None
) -> Iterator[bytes | None]:
    """One piece for each delta. The last event has `usage()`, asked last, else what `Finished` told, else null.

    UpstreamFailed when the deltas end without `Finished`. Responses has one choice: all indexes are taken for it.
    """
    answer = _Answer(answer_id, model, created)
    finished: Finished | None = None
    for indexed in deltas:
        if indexed is None:
            yield None
            continue
        delta = indexed[1]
        if isinstance(delta, Finished):
            finished = delta
            continue
        yield b"".join(map(answer.dumped, answer.events(delta))) or None
    if finished is None:
        raise UpstreamFailed("The answer ended before it was complete.", code="upstream_disconnected")
    told = usage() if usage is not None else finished.usage
    yield b"".join(map(answer.dumped, answer.ending(finished.reason, told)))


def encode_response(completions: Mapping[int, Completion], *, answer_id: str, model: str, created: int) -> JSON:
    """Without usage: whoever counts adds it."""
    completion = completions[min(completions)]
    status, incomplete = _status(completion.reason)
    output = [_item(part, answer_id, index, "completed") for index, part in enumerate(_told(completion.parts))]
    if incomplete and output and "status" in output[-1]:
        output[-1]["status"] = "incomplete"
    whole = envelope(answer_id=answer_id, model=model, created=created, status=status, output=output)
    return {**whole, "incomplete_details": incomplete}


class _Answer:
    """The events of one answer, numbered as they are dumped."""

    def __init__(self, answer_id: str, model: str, created: int) -> None:
        self._answer_id = answer_id
        self._model = model
        self._created = created
        self._number = 0
        self._output: list[JSON] = []
        self._open: Block | None = None

    def dumped(self, event: Event) -> bytes:
        kind, fields = event
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return dump(orjson.dumps(body), kind.encode())

    def events(self, delta: Delta) -> Iterator[Event]:
        match delta:
            case Started():
                yield "response.created", {"response": self._response("in_progress")}
                yield "response.in_progress", {"response": self._response("in_progress")}
            case TextDelta(text) if text:
                yield from self._more(MessageBlock, text)
            case ReasoningDelta(text, opaque):
                yield from self._reasoning(text, opaque)
            case ToolUseStarted(call_id, name):
                yield from self._close("completed")
                self._open = call_block(self._answer_id, len(self._output), call_id, name)
                yield from self._open.opening()
            case ToolInputDelta(text) if self._open is not None:
                yield from self._open.more(text)

    def ending(self, reason: FinishReason, usage: Usage | None) -> Iterator[Event]:
        status, incomplete = _status(reason)
        yield from self._close(status)
        response = self._response(status)
        response["incomplete_details"] = incomplete
        response["usage"] = None if usage is None else encode_usage(usage)
        yield f"response.{status}", {"response": response}

    def _more(self, kind: type[MessageBlock] | type[ReasoningBlock], text: str) -> Iterator[Event]:
        if not isinstance(self._open, kind):
            yield from self._close("completed")
            self._open = kind(self._answer_id, len(self._output))
            yield from self._open.opening()
        if text:
            yield from self._open.more(text)

    def _reasoning(self, text: str, opaque: str | None) -> Iterator[Event]:
        """The opaque state closes the reasoning; what follows is another item."""
        if not text and not opaque:
            return
        yield from self._more(ReasoningBlock, text)
        if opaque and isinstance(self._open, ReasoningBlock):
            self._open.opaque = opaque
            yield from self._close("completed")

    def _close(self, status: str) -> Iterator[Event]:
        if self._open is not None:
            block, self._open = self._open, None
            yield from block.closing(status)
            self._output.append(block.item(status))

    def _response(self, status: str) -> JSON:
        return envelope(
            answer_id=self._answer_id,
            model=self._model,
            created=self._created,
            status=status,
            output=list(self._output),
        )


def _status(reason: FinishReason) -> tuple[str, JSON | None]:
    """The status of the response and its `incomplete_details`."""
    if reason in _INCOMPLETE:
        return "incomplete", {"reason": _INCOMPLETE[reason]}
    return "completed", None


def _told(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts that make an item: a model may begin a text and write nothing."""
    return (part for part in parts if not (isinstance(part, Text) and not part.text))


def _item(part: Part, answer_id: str, index: int, status: str) -> JSON:
    match part:
        case Reasoning(text, opaque):
            thought = _filled(ReasoningBlock(answer_id, index), text)
            thought.opaque = opaque
            return thought.item(status)
        case ToolUse(call_id, name, input_json):
            return _filled(call_block(answer_id, index, call_id, name), input_json).item(status)
        case Text(text):
            return _filled(MessageBlock(answer_id, index), text).item(status)
    raise ValueError("an answer holds text, reasoning and calls only")


def _filled(block: _Opened, text: str) -> _Opened:
    if text:
        list(block.more(text))
    return block
