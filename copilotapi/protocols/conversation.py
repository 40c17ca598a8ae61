"""The neutral vocabulary: what a request says and what an answer is made of, whichever protocol carried it.

A field stands here when two protocols can say it. Opaque things that must come back (signatures, encrypted reasoning)
ride along unread. Wire JSON stops at the codecs.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

JSON: TypeAlias = dict[str, Any]
Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """`url` is a `data:` URL or an http(s) address, as the caller gave it."""

    url: str
    detail: str = "auto"


@dataclass(frozen=True, slots=True)
class ToolUse:
    """`input_json` is the argument text as the model wrote it: JSON, but never parsed on the way through."""

    id: str
    name: str
    input_json: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    tool_use_id: str
    parts: "tuple[Text | Image, ...]"
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Reasoning:
    """`opaque` is a signature or encrypted state that has to come back unchanged."""

    text: str
    opaque: str | None = None


Part: TypeAlias = Text | Image | ToolUse | ToolResult | Reasoning


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    description: str
    input_schema: JSON


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request. `tool_choice` is "auto", "none", "required" or the name of a tool; `response_format` a JSON schema."""

    model: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    response_format: JSON | None = None
    parallel_tool_calls: bool | None = None


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """Text before and after a cursor. `next_indent` is set when the answer ends where its lines are indented less."""

    prompt: str
    suffix: str = ""
    max_tokens: int = 256
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    language: str = ""
    file_path: str = ""
    next_indent: int | None = None
    model: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts. `input_tokens` includes `cached_tokens`; `output_tokens` includes `reasoning_tokens`."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """The answer begins. `id` names it, `model` is the one that really answers."""

    id: str
    model: str


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More reasoning text, or (with an empty text) the opaque state. It closes the reasoning: more is another one."""

    text: str
    opaque: str | None = None


@dataclass(frozen=True, slots=True)
class ToolUseStarted:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolInputDelta:
    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    reason: FinishReason
    usage: Usage | None = None


Delta: TypeAlias = Started | TextDelta | ReasoningDelta | ToolUseStarted | ToolInputDelta | Finished


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer, folded from its deltas."""

    id: str
    model: str
    parts: tuple[Part, ...]
    reason: FinishReason
    usage: Usage | None = field(default=None)


# A delta of one of several answers that run side by side; None where none of them had anything for a while.
Indexed: TypeAlias = tuple[int, Delta] | None


def interleave(sources: Iterable[Iterator[Delta | None]]) -> Iterator[Indexed]:
    """One delta of each in turn, until all have ended."""
    running = dict(enumerate(sources))
    while running:
        for index, source in list(running.items()):
            try:
                delta = next(source)
            except StopIteration:
                del running[index]
            else:
                yield None if delta is None else (index, delta)


def collect(deltas: Iterable[Delta]) -> Completion:
    """Folds a stream into a whole answer. ValueError when `Started` does not come first or `Finished` does not come last."""
    answer_id = model = None
    parts: list[Part] = []
    for delta in deltas:
        match delta:
            case Started():
                answer_id, model = delta.id, delta.model
            case Finished():
                if answer_id is None or model is None:
                    break
                return Completion(answer_id, model, tuple(parts), delta.reason, delta.usage)
            case _:
                _grow(parts, delta)
    raise ValueError("the stream did not run from Started to Finished")


def _grow(parts: list[Part], delta: TextDelta | ReasoningDelta | ToolUseStarted | ToolInputDelta) -> None:
    last = parts[-1] if parts else None
    match delta, last:
        case TextDelta(text), Text(before):
            parts[-1] = Text(before + text)
        case TextDelta(text), _:
            parts.append(Text(text))
        case ReasoningDelta(text, opaque), Reasoning(before, None):
            parts[-1] = Reasoning(before + text, opaque)
        case ReasoningDelta(text, opaque), _:
            parts.append(Reasoning(text, opaque))
        case ToolUseStarted(tool_use_id, name), _:
            parts.append(ToolUse(tool_use_id, name, ""))
        case ToolInputDelta(text), ToolUse(tool_use_id, name, before):
            parts[-1] = ToolUse(tool_use_id, name, before + text)
        case _:
            raise ValueError("tool input came outside a tool use")
