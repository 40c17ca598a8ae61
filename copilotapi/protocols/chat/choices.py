"""The defect both halves of chat share: Copilot splits one turn of Claude over several choices (copilot-wire 5.2, 5.3)."""

from collections.abc import Iterable

from copilotapi.protocols.conversation import JSON

# The strongest wins when the split choices disagree.
_STRENGTH = ("tool_calls", "function_call", "length", "content_filter", "stop")


def strongest(reasons: Iterable[str | None]) -> str | None:
    told = [reason for reason in reasons if reason]
    known = [reason for reason in _STRENGTH if reason in told]
    return known[0] if known else next(iter(told), None)


def merge(halves: Iterable[JSON]) -> JSON:
    """Messages or deltas as one: text and reasoning joined, tool calls in a row, the first of anything else."""
    merged: JSON = {}
    for half in halves:
        for name, value in half.items():
            if isinstance(value, str) and name in ("content", "reasoning_text", "refusal"):
                merged[name] = (merged.get(name) or "") + value
            elif isinstance(value, list) and name == "tool_calls":
                merged[name] = [*(merged.get(name) or []), *value]
            elif merged.get(name) is None:
                merged[name] = value
    return merged
