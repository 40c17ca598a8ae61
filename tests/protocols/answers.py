"""The answers of the matrix: what a model says, and what each side can carry of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from copilotapi.protocols.conversation import (
    Completion,
    Delta,
    Finished,
    FinishReason,
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
from tests.protocols.pairs import CLIENTS, UPSTREAMS, Read

# The client's own words.
REASONS: dict[str, dict[FinishReason, str]] = {
    "chat": {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
    "completions": {"stop": "stop", "length": "length", "tool_calls": "stop", "content_filter": "content_filter"},
    "messages": {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"},
    "responses": {
        "stop": "completed",
        "length": "max_output_tokens",
        "tool_calls": "completed",
        "content_filter": "content_filter",
    },
}


@dataclass(frozen=True)
class Less:
    """What comes of an answer where a side cannot carry all of it. `note` is its word in the page."""

    note: str
    shown: Callable[[Read], Read]
    clients: tuple[str, ...] = tuple(CLIENTS)
    upstreams: tuple[str, ...] = UPSTREAMS


def _text_only(read: Read) -> Read:
    return replace(read, thoughts=(), calls=())


def _without_reasoning_tokens(read: Read) -> Read:
    return replace(read, usage=(*read.usage[:3], 0))


LESS = (
    Less("text only", _text_only, clients=("completions",)),
    Less("within the output", _without_reasoning_tokens, clients=("messages",)),
    Less("within the output", _without_reasoning_tokens, upstreams=("messages",)),
)


@dataclass(frozen=True)
class Answer:
    """`unsaid_by` names upstreams whose protocol has no way to say it."""

    feature: str
    deltas: tuple[Delta, ...]
    unsaid_by: tuple[str, ...] = ()


def as_shown(client: str, upstream: str, completion: Completion) -> Read:
    """What a client has in the end of what this upstream said."""
    read = _whole(client, completion)
    for less in _applying(client, upstream):
        read = less.shown(read)
    return read


def notes(client: str, upstream: str, completion: Completion) -> tuple[str, ...]:
    """The words for what is lost of it."""
    read = _whole(client, completion)
    found = (less.note for less in _applying(client, upstream) if less.shown(read) != read)
    return tuple(dict.fromkeys(found))


def _applying(client: str, upstream: str) -> list[Less]:
    return [less for less in LESS if client in less.clients and upstream in less.upstreams]


def _whole(client: str, completion: Completion) -> Read:
    usage = completion.usage or Usage(0, 0)
    return Read(
        "".join(part.text for part in completion.parts if isinstance(part, Text)),
        tuple(part for part in completion.parts if isinstance(part, Reasoning)),
        tuple((part.id, part.name, _object(part.input_json)) for part in completion.parts if isinstance(part, ToolUse)),
        REASONS[client][completion.reason],
        (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens),
    )


def _object(input_json: str) -> Any:
    return orjson.loads(input_json or "{}")


STARTED = Started("answer_1", "some-model")
USAGE = Usage(30, 12)
# Nothing that frames, JSON or a terminal could be led astray by.
TRICKY = 'Zoë 漢字 👩‍👩‍👧 "quoted" \\ back\u2028line\u2029 \ndata: [DONE]\n\nevent: message_stop\n\n{"error": {}} <b>'


def _answer(*deltas: Delta, reason: FinishReason = "stop", usage: Usage = USAGE) -> tuple[Delta, ...]:
    return (STARTED, *deltas, Finished(reason, usage))


ANSWERS = (
    Answer("text", _answer(TextDelta("Hel"), TextDelta("lo "), TextDelta("there."))),
    Answer("text of every script, and text that looks like a stream", _answer(*map(TextDelta, TRICKY))),
    Answer("an empty answer", _answer()),
    Answer(
        "a call, its arguments streamed",
        _answer(
            TextDelta("Looking."),
            ToolUseStarted("call_a", "grep"),
            ToolInputDelta('{"q": '),
            ToolInputDelta('"a \\"b\\" ✓"}'),
            reason="tool_calls",
        ),
    ),
    Answer(
        "parallel calls",
        _answer(
            ToolUseStarted("call_a", "grep"),
            ToolInputDelta('{"q": 1'),
            ToolInputDelta("}"),
            ToolUseStarted("call_b", "ls"),
            ToolInputDelta("{"),
            ToolInputDelta("}"),
            ToolUseStarted("call_c", "grep"),
            ToolInputDelta('{"q": [2]}'),
            reason="tool_calls",
        ),
    ),
    Answer(
        "a call without arguments",
        _answer(ToolUseStarted("call_a", "ls"), ToolInputDelta("{}"), reason="tool_calls"),
    ),
    Answer("reasoning", _answer(ReasoningDelta("Let me "), ReasoningDelta("see."), TextDelta("Yes."))),
    Answer(
        "reasoning with its signature, before text and a call",
        _answer(
            ReasoningDelta("Let me "),
            ReasoningDelta("see."),
            ReasoningDelta("", "EqQBCkYIAxgC"),
            TextDelta("Looking."),
            ToolUseStarted("call_a", "ls"),
            ToolInputDelta("{}"),
            reason="tool_calls",
        ),
    ),
    Answer(
        "encrypted reasoning without a text",
        _answer(ReasoningDelta("", "gAAAAABo_x-y=="), TextDelta("Yes.")),
    ),
    Answer(
        "several signed reasonings",
        _answer(
            ReasoningDelta("One.", None),
            ReasoningDelta("", "EqQBCkYI"),
            ReasoningDelta("Two."),
            ReasoningDelta("", "EqQBCkYJ"),
            TextDelta("Yes."),
        ),
        unsaid_by=("chat",),
    ),
    Answer("the end: finished", _answer(TextDelta("Yes."), reason="stop")),
    Answer("the end: too long", _answer(TextDelta("Ye"), reason="length")),
    Answer(
        "the end: calls",
        _answer(ToolUseStarted("call_a", "ls"), ToolInputDelta("{}"), reason="tool_calls"),
    ),
    Answer("the end: content filter", _answer(TextDelta("Ye"), reason="content_filter")),
    Answer("usage", _answer(TextDelta("Yes."), usage=Usage(1_000, 20))),
    Answer("usage: tokens read from a cache", _answer(TextDelta("Yes."), usage=Usage(1_000, 20, cached_tokens=900))),
    Answer("usage: tokens of reasoning", _answer(TextDelta("Yes."), usage=Usage(1_000, 20, reasoning_tokens=15))),
)
