"""What the simulated model says: always the same for the same request. Protocols turn a request into a Turn and a Reply
into their own words; this module knows none of them."""

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from copilotapi.simulator.directives import without_directives
from copilotapi.simulator.faults import Fault
from copilotapi.simulator.prompts import token_count
from copilotapi.simulator.schemas import arguments_for

_QUOTED_CHARACTERS = 1_000
_FRAGMENT_CHARACTERS = 12
_BOTH = re.compile(r"\bboth\b", re.IGNORECASE)
_PREAMBLE = "Let me look that up."
_FILLER = "The simulator goes on talking — pleasantly, at length, and about nothing in particular ✓"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Any


@dataclass(frozen=True, slots=True)
class Turn:
    """A request as the model sees it.

    `tool_results` is not empty when tools have just answered. `tools` are those that may be called now; `must_call` says
    that one has to be.
    """

    model_id: str
    user_text: str
    prompt_tokens: int
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    parallel: bool = True
    max_tokens: int | None = None
    thinks: bool = False
    speaks_before_calls: bool = False
    call_id_prefix: str = "call_"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is JSON text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Reply:
    """`finish` in the words of chat completions: stop, length, tool_calls, content_filter, error."""

    text: str
    calls: tuple[ToolCall, ...]
    finish: str
    thought: str
    prompt_tokens: int
    completion_tokens: int
    pause_seconds: float


@dataclass(frozen=True, slots=True)
class Wishes:
    """How the answer shall be, from faults of kind `answer`; None leaves it to the simulator."""

    words: int | None = None
    text: str | None = None
    chunk_delay_seconds: float | None = None
    finish_reason: str | None = None
    tools: str | None = None


def wishes_in(faults: Sequence[Fault], chunk_delay_seconds: float) -> Wishes:
    """The later fault wins, field by field."""
    wished: dict[str, Any] = {"chunk_delay_seconds": chunk_delay_seconds}
    for fault in faults:
        if fault.kind == "answer":
            values = {name: getattr(fault, name) for name in Wishes.__dataclass_fields__}
            wished |= {name: value for name, value in values.items() if value is not None}
    return Wishes(**wished)


def compose(turn: Turn, wishes: Wishes) -> Reply:
    """The model's answer to one turn."""
    calls = _calls(turn, wishes.tools or "auto")
    thought = f"The user wrote {len(turn.user_text)} characters; a short answer will do." if turn.thinks else ""
    text, finish = (_PREAMBLE if turn.speaks_before_calls else "", "tool_calls") if calls else _text(turn, wishes)
    said = len(text) + len(thought) + sum(len(call.name) + len(call.arguments) for call in calls)
    return Reply(
        text,
        calls,
        wishes.finish_reason or finish,
        thought,
        turn.prompt_tokens,
        token_count(said),
        wishes.chunk_delay_seconds or 0.0,
    )


def pieces(text: str) -> list[str]:
    """The text word by word, blanks kept."""
    return re.findall(r"\S+\s*|^\s+", text)


def fragments(arguments: str) -> list[str]:
    return [arguments[at : at + _FRAGMENT_CHARACTERS] for at in range(0, len(arguments), _FRAGMENT_CHARACTERS)]


def copilot_usage(reply: Reply) -> dict[str, Any]:
    """What the answer costs in billionths of an AI unit (copilot-wire 5.6); the prices are invented."""
    priced = (("input", reply.prompt_tokens, 300), ("output", reply.completion_tokens, 1500))
    details = [
        {"token_type": kind, "token_count": count, "batch_size": 1_000_000, "cost_per_batch": cost}
        for kind, count, cost in priced
    ]
    return {"token_details": details, "total_nano_aiu": sum(count * cost * 1_000 for _, count, cost in priced)}


def _text(turn: Turn, wishes: Wishes) -> tuple[str, str]:
    text = wishes.text if wishes.text is not None else _small_talk(turn)
    if wishes.words is not None:
        text = _of_length(text, wishes.words)
    if turn.max_tokens is None or token_count(len(text)) <= turn.max_tokens:
        return text, "stop"
    return text[: 4 * max(turn.max_tokens, 1)], "length"


def _small_talk(turn: Turn) -> str:
    if turn.tool_results:
        quoted = "; ".join(f"“{_shortened(result)}”" for result in turn.tool_results)
        return f"The tool answered: {quoted}. That is all I wanted to know."
    said = without_directives(turn.user_text)
    opening = f"You said: “{_shortened(said)}”." if said else "You said nothing."
    return f"{opening} I am {turn.model_id} — as played by the Copilot simulator — and no real model was asked."


def _shortened(text: str) -> str:
    return text if len(text) <= _QUOTED_CHARACTERS else f"{text[:_QUOTED_CHARACTERS]}…"


def _of_length(text: str, words: int) -> str:
    spoken = text.split()
    filler = _FILLER.split()
    missing = max(0, words - len(spoken))
    spoken += filler * -(-missing // len(filler))
    return " ".join(spoken[:words])


def _calls(turn: Turn, wished: str) -> tuple[ToolCall, ...]:
    has_heard = bool(turn.tool_results) and not turn.must_call
    if not turn.tools or wished == "none" or (has_heard and wished == "auto"):
        return ()
    if wished == "all":
        chosen = list(turn.tools)
    elif wished == "auto" and turn.parallel and _BOTH.search(turn.user_text):
        chosen = list(turn.tools[:2] if len(turn.tools) > 1 else turn.tools * 2)
    else:
        chosen = [turn.tools[0]]
    return tuple(_call(tool, turn.call_id_prefix) for tool in chosen)


def _call(tool: Tool, prefix: str) -> ToolCall:
    return ToolCall(
        prefix + secrets.token_hex(12), tool.name, json.dumps(arguments_for(tool.schema), ensure_ascii=False)
    )
