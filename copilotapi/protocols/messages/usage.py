"""Anthropic's usage object, to and from the vocabulary. Its input_tokens leave out what the cache had or took."""

from typing import Any

from copilotapi.protocols.conversation import JSON, Usage

_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def decode_usage(usage: object) -> Usage | None:
    """None when it is absent or lacks a count of the input or the output."""
    if not isinstance(usage, dict):
        return None
    if not isinstance(usage.get("input_tokens"), int) or not isinstance(usage.get("output_tokens"), int):
        return None
    return Usage(
        input_tokens=sum(_count(usage, name) for name in _INPUT_COUNTS),
        output_tokens=usage["output_tokens"],
        cached_tokens=_count(usage, "cache_read_input_tokens"),
    )


def encode_usage(usage: Usage) -> JSON:
    encoded: JSON = {
        "input_tokens": max(usage.input_tokens - usage.cached_tokens, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
    }
    if usage.estimated:
        encoded["estimated"] = True
    return encoded


def merged(before: JSON, told: object) -> JSON:
    """The counts of message_start with those of message_delta over them: each of these is the sum so far."""
    if not isinstance(told, dict):
        return before
    return {**before, **{name: count for name, count in told.items() if count is not None}}


def _count(counts: dict[str, Any], name: str) -> int:
    value = counts.get(name)
    return value if isinstance(value, int) else 0


def wants_usage(body: JSON) -> bool:
    """Every answer of this protocol tells usage."""
    return True
