"""A request for more than its model can write. Anthropic's clients must name a number, and name their own model's."""

from copilotapi.protocols.conversation import JSON


def within_output_limit(body: JSON, limit: int) -> JSON:
    """The body with `max_tokens` of at most `limit` and a thinking budget below it; the very same when it is so already."""
    if body["max_tokens"] <= limit:
        return body
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled" and thinking["budget_tokens"] >= limit:
        thinking = {**thinking, "budget_tokens": max(limit // 2, 1)}
    return {**body, "max_tokens": limit, **({"thinking": thinking} if thinking else {})}
