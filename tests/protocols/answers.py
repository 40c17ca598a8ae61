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
    collect,
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


@dataclass(frozen=True)
class Answer:
    """`unsaid_by` names upstreams whose protocol has no way to say it."""

    feature: str
    deltas: tuple[Delta, ...]
    less: tuple[Less, ...] = ()
    unsaid_by: tuple[str, ...] = ()

    def expected(self, client: str, upstream: str) -> Read:
        read = whole(client, collect(self.deltas))
        for less in self.applying(client, upstream):
            read = less.shown(read)
        return read

    def applying(self, client: str, upstream: str) -> list[Less]:
        return [less for less in self.less if client in less.clients and upstream in less.upstreams]


def whole(client: str, completion: Completion) -> Read:
    """The answer with nothing lost."""
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


def _without_thoughts(read: Read) -> Read:
    return replace(read, thoughts=())


def _without_calls(read: Read) -> Read:
    return replace(read, calls=())


def _without_reasoning_tokens(read: Read) -> Read:
    return replace(read, usage=(*read.usage[:3], 0))


STARTED = Started("answer_1", "some-model")
USAGE = Usage(30, 12)
TEXT_ONLY = Less("text only", _without_thoughts, clients=("completions",))
NO_CALLS = Less("text only", _without_calls, clients=("completions",))
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
        (NO_CALLS,),
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
        (NO_CALLS,),
    ),
    Answer(
        "a call without arguments",
        _answer(ToolUseStarted("call_a", "ls"), ToolInputDelta("{}"), reason="tool_calls"),
        (NO_CALLS,),
    ),
    Answer("reasoning", _answer(ReasoningDelta("Let me "), ReasoningDelta("see."), TextDelta("Yes.")), (TEXT_ONLY,)),
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
        (TEXT_ONLY, NO_CALLS),
    ),
    Answer(
        "encrypted reasoning without a text",
        _answer(ReasoningDelta("", "gAAAAABo_x-y=="), TextDelta("Yes.")),
        (TEXT_ONLY,),
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
        (TEXT_ONLY,),
        unsaid_by=("chat",),
    ),
    Answer("the end: finished", _answer(TextDelta("Yes."), reason="stop")),
    Answer("the end: too long", _answer(TextDelta("Ye"), reason="length")),
    Answer(
        "the end: calls",
        _answer(ToolUseStarted("call_a", "ls"), ToolInputDelta("{}"), reason="tool_calls"),
        (Less("as finished", _without_calls, clients=("completions",)),),
    ),
    Answer("the end: content filter", _answer(TextDelta("Ye"), reason="content_filter")),
    Answer("usage", _answer(TextDelta("Yes."), usage=Usage(1_000, 20))),
    Answer("usage: tokens read from a cache", _answer(TextDelta("Yes."), usage=Usage(1_000, 20, cached_tokens=900))),
    Answer(
        "usage: tokens of reasoning",
        _answer(TextDelta("Yes."), usage=Usage(1_000, 20, reasoning_tokens=15)),
        (
            Less("within output", _without_reasoning_tokens, clients=("messages",)),
            Less("within output", _without_reasoning_tokens, upstreams=("messages",)),
        ),
    ),
)
