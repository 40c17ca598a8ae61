"""OpenAI's usage object, to and from the vocabulary."""

from copilotapi.protocols.conversation import JSON, Usage


def decode_usage(usage: object) -> Usage | None:
    """None when it is absent or holds no counts."""
    if not isinstance(usage, dict) or not isinstance(usage.get("prompt_tokens"), int):
        return None
    return Usage(
        input_tokens=usage["prompt_tokens"],
        output_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(usage.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(usage.get("completion_tokens_details"), "reasoning_tokens"),
        estimated=usage.get("estimated") is True,
    )


def encode_usage(usage: Usage) -> JSON:
    counts: JSON = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.estimated:
        return {**counts, "estimated": True}
    cached, reasoning = {"cached_tokens": usage.cached_tokens}, {"reasoning_tokens": usage.reasoning_tokens}
    return {**counts, "prompt_tokens_details": cached, "completion_tokens_details": reasoning}


def _count(counts: object, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0
