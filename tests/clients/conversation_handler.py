"""A completion handler that answers conversations: it calls tools, thinks, and tells what it was given."""

from collections.abc import Iterator
from itertools import takewhile

from copilotapi.protocols.conversation import (
    Conversation,
    Delta,
    Finished,
    ReasoningDelta,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolResult,
    ToolUseStarted,
)

_ARGUMENTS = ('{"city": ', '"simulated city"}')
_FREEFORM_ARGUMENTS = ('{"input": ', '"simulated input"}')


def complete(conversation: Conversation) -> Iterator[Delta]:
    """Results of tools are told; else a tool is called where there is one (two for "both"); else the user is quoted."""
    last = reversed(conversation.messages)
    answers = list(takewhile(lambda message: message.role == "tool", last))[::-1]
    results = [part for message in answers for part in message.parts if isinstance(part, ToolResult)]
    said = _text(conversation.messages[-1].parts)
    if conversation.reasoning_effort:
        yield ReasoningDelta(f"An effort of {conversation.reasoning_effort}.")
    if results:
        yield TextDelta(f"The tools answered: {[_text(result.parts) for result in results]}")
    elif conversation.tools and conversation.tool_choice != "none":
        tools = conversation.tools if "both" in said else conversation.tools[:1]
        for number, tool in enumerate(tools):
            yield ToolUseStarted(f"call_{number}", tool.name)
            is_freeform = "input" in (tool.input_schema.get("properties") or {})
            yield from map(ToolInputDelta, _FREEFORM_ARGUMENTS if is_freeform else _ARGUMENTS)
    else:
        yield TextDelta("You said: ")
        yield TextDelta(said)
    if conversation.max_tokens is not None and conversation.max_tokens < len(said) // 4:
        yield Finished("length")


complete.model = "local-coder"  # type: ignore[attr-defined]


def _text(parts: object) -> str:
    return " ".join(part.text for part in parts if isinstance(part, Text)) if isinstance(parts, tuple) else ""
