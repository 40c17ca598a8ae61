"""What the stored streams of Copilot say, whoever reads them: each endpoint's, with its defects."""

from collections.abc import Mapping
from pathlib import Path

from copilotapi.protocols.conversation import Completion, FinishReason, Part, Reasoning, Text, ToolUse, Usage

STREAMS = Path(__file__).parent.parent / "streams"


def stored(name: str) -> bytes:
    return (STREAMS / f"{name}.sse").read_bytes()


def upstream_of(name: str) -> str:
    """The protocol of a stored stream."""
    named = ("messages", "responses", "completions")
    return next((upstream for upstream in named if name.startswith(upstream)), "chat")


def _said(*parts: Part, reason: FinishReason = "stop", usage: Usage) -> Completion:
    return Completion("", "", parts, reason, usage)


_CALLS = (ToolUse("call_a", "grep", '{"q":1}'), ToolUse("call_b", "ls", "{}"))
_QUOTING = Text('Héllo "item_id":"x" \u2028 [DONE]')
_FRAMED = Text('Héllo "type":"message_stop" \u2028 [DONE] "copilot_usage": {} \n\nevent: error')
_FULL = Usage(20, 12, cached_tokens=8, reasoning_tokens=5)
_CLAUDES = Usage(30, 9, cached_tokens=7)

STORED: Mapping[str, Completion] = {
    "gpt-text": _said(Text('Héllo "usage":{ \u2028 [x]'), usage=Usage(9, 2, cached_tokens=4, reasoning_tokens=1)),
    "gpt-tools": _said(*_CALLS, reason="tool_calls", usage=Usage(9, 2, cached_tokens=4, reasoning_tokens=1)),
    "claude-split": _said(
        Text("Looking."),
        ToolUse("toolu_a", "grep", '{"q":1}'),
        ToolUse("toolu_b", "ls", "{}"),
        reason="tool_calls",
        usage=Usage(20, 9),
    ),
    "gemini-reasoning": _said(
        Reasoning("Two things.", "CpMBAY89="),
        Text("Looking."),
        *_CALLS,
        reason="tool_calls",
        usage=Usage(20, 9, cached_tokens=5),
    ),
    "chat-mixed": _said(
        *_CALLS, Text("Meanwhile, wait."), Reasoning("", "late"), reason="tool_calls", usage=Usage(20, 9)
    ),
    "messages-clean": _said(_FRAMED, usage=_CLAUDES),
    "messages-crlf": _said(_FRAMED, usage=_CLAUDES),
    "messages-tools": _said(
        Reasoning("Two things to look up.", "EqQBCkYIAxgC"),
        Text("Looking."),
        ToolUse("toolu_bdrk_a", "grep", '{"q": "a b"}'),
        ToolUse("toolu_bdrk_b", "ls", "{}"),
        reason="tool_calls",
        usage=Usage(30, 42, cached_tokens=7),
    ),
    "messages-redacted": _said(
        Reasoning("", "redacted_thinking:EmwKAhgB"),
        Text("Cut"),
        reason="length",
        usage=Usage(30, 2, cached_tokens=7),
    ),
    "responses-clean": _said(
        Reasoning("Let me look.\n\nThen decide.", "gAAA="),
        _QUOTING,
        _CALLS[0],
        reason="tool_calls",
        usage=_FULL,
    ),
    "responses-rotating": _said(Reasoning("", "gAAA="), _QUOTING, _CALLS[0], reason="tool_calls", usage=_FULL),
}
