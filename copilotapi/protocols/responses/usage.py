"""The usage object of OpenAI's Responses, to and from the vocabulary."""

from copilotapi.protocols.conversation import JSON, Usage


def wants_usage(body: JSON) -> bool:
    """Always: the last event has it, and Codex repeats a turn that told none (clients.md)."""
    return True


def decode_usage(usage: object) -> Usage | None:
    """None when it is absent or holds no counts."""
    if not isinstance(usage, dict) or not isinstance(usage.get("input_tokens"), int):
        return None
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=_count(usage, "output_tokens"),
        cached_tokens=_count(usage.get("input_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(usage.get("output_tokens_details"), "reasoning_tokens"),
        estimated=usage.get("estimated") is True,
    )


def completed_usage(usage: JSON) -> JSON:
    """What Copilot told, with the counts a strict client requires. Takes what `decode_usage` could read."""
    known = decode_usage(usage)
    if known is None:
        return usage
    encoded = encode_usage(known)
    for name in ("input_tokens_details", "output_tokens_details"):
        told = usage.get(name)
        encoded[name] |= told if isinstance(told, dict) else {}
    return usage | {name: value for name, value in encoded.items() if name.endswith("_details") or name not in usage}


def encode_usage(usage: Usage) -> JSON:
    encoded: JSON = {
        "input_tokens": usage.input_tokens,
        # openai-python 3.52 requires cache_write_tokens; what was written to a cache is not known here.
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.estimated:
        encoded["estimated"] = True
    return encoded


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0
