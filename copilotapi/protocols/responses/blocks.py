"""The items of an answer of our own making: as objects, and as the events that build them up one after the other.

An event is a type and its fields without `sequence_number`. Event model: platform.openai.com, Responses, streaming events.
"""

from collections.abc import Iterator
from typing import Protocol, TypeAlias

from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.functions import restored_item
from copilotapi.protocols.responses.names import freeform_text, item_id, tool_name

Event: TypeAlias = tuple[str, JSON]


class Block(Protocol):
    """An item while it is written. `status` is how it ends: completed or incomplete."""

    def opening(self) -> Iterator[Event]: ...
    def more(self, text: str) -> Iterator[Event]: ...
    def closing(self, status: str) -> Iterator[Event]: ...
    def item(self, status: str) -> JSON: ...


class MessageBlock:
    def __init__(self, answer_id: str, index: int) -> None:
        self._id = item_id("message", f"{answer_id}.{index}")
        self._place = {"item_id": self._id, "output_index": index, "content_index": 0}
        self._index = index
        self._written: list[str] = []

    def opening(self) -> Iterator[Event]:
        yield _added(self._index, {**self.item("in_progress"), "content": []})
        yield "response.content_part.added", {**self._place, "part": _output_text("")}

    def more(self, text: str) -> Iterator[Event]:
        self._written.append(text)
        yield "response.output_text.delta", {**self._place, "delta": text, "logprobs": []}

    def closing(self, status: str) -> Iterator[Event]:
        text = "".join(self._written)
        yield "response.output_text.done", {**self._place, "text": text, "logprobs": []}
        yield "response.content_part.done", {**self._place, "part": _output_text(text)}
        yield _done(self._index, self.item(status))

    def item(self, status: str) -> JSON:
        content = [_output_text("".join(self._written))]
        return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": content}


class ReasoningBlock:
    """`opaque` is told with the finished item."""

    def __init__(self, answer_id: str, index: int) -> None:
        self.opaque: str | None = None
        self._id = item_id("reasoning", f"{answer_id}.{index}")
        self._place = {"item_id": self._id, "output_index": index, "summary_index": 0}
        self._index = index
        self._written: list[str] = []

    def opening(self) -> Iterator[Event]:
        yield _added(self._index, {"id": self._id, "type": "reasoning", "summary": []})

    def more(self, text: str) -> Iterator[Event]:
        if not self._written:
            yield "response.reasoning_summary_part.added", {**self._place, "part": _summary("")}
        self._written.append(text)
        yield "response.reasoning_summary_text.delta", {**self._place, "delta": text}

    def closing(self, status: str) -> Iterator[Event]:
        if self._written:
            text = "".join(self._written)
            yield "response.reasoning_summary_text.done", {**self._place, "text": text}
            yield "response.reasoning_summary_part.done", {**self._place, "part": _summary(text)}
        yield _done(self._index, self.item(status))

    def item(self, status: str) -> JSON:
        summary = [_summary("".join(self._written))] if self._written else []
        encrypted = {"encrypted_content": self.opaque} if self.opaque else {}
        return {"id": self._id, "type": "reasoning", "summary": summary, **encrypted}


class CallBlock:
    def __init__(self, answer_id: str, index: int, call_id: str, name: str) -> None:
        self._id = item_id("function_call", f"{answer_id}.{index}")
        self._place = {"item_id": self._id, "output_index": index}
        self._index = index
        self._call = {"call_id": call_id, "name": name}
        self._written: list[str] = []

    def opening(self) -> Iterator[Event]:
        yield _added(self._index, self.item("in_progress"))

    def more(self, text: str) -> Iterator[Event]:
        self._written.append(text)
        yield "response.function_call_arguments.delta", {**self._place, "delta": text}

    def closing(self, status: str) -> Iterator[Event]:
        yield "response.function_call_arguments.done", {**self._place, "arguments": "".join(self._written)}
        yield _done(self._index, self.item(status))

    def item(self, status: str) -> JSON:
        written = {"arguments": "".join(self._written), "status": status}
        return restored_item({"id": self._id, "type": "function_call", **self._call, **written})


class FreeformBlock(CallBlock):
    """The call of a `custom` tool. Its text is told at the end: the JSON around it cannot be read in pieces."""

    def more(self, text: str) -> Iterator[Event]:
        self._written.append(text)
        yield from ()

    def closing(self, status: str) -> Iterator[Event]:
        text = freeform_text("".join(self._written))
        yield "response.custom_tool_call_input.delta", {**self._place, "delta": text}
        yield "response.custom_tool_call_input.done", {**self._place, "input": text}
        yield _done(self._index, self.item(status))


def call_block(answer_id: str, index: int, call_id: str, name: str) -> CallBlock:
    kind = FreeformBlock if tool_name(name).is_freeform else CallBlock
    return kind(answer_id, index, call_id, name)


def _added(index: int, item: JSON) -> Event:
    return "response.output_item.added", {"output_index": index, "item": item}


def _done(index: int, item: JSON) -> Event:
    return "response.output_item.done", {"output_index": index, "item": item}


def _output_text(text: str) -> JSON:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> JSON:
    return {"type": "summary_text", "text": text}
