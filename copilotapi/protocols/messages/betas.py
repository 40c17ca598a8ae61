"""The anthropic-beta header: Copilot refuses a request for any value it does not know (copilot-wire 7.2, state 2026-11)."""

_ACCEPTED = frozenset(
    {
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "compact-2026-01-12",
        "advanced-tool-use-2025-11-20",
        "computer-use-2025-11-24",
        "computer-use-2025-01-24",
    }
)


def beta_header(values: str) -> tuple[str, tuple[str, ...]]:
    """The header to send, "" for none, and the values left out of it. `values` is the caller's, comma-separated."""
    asked = dict.fromkeys(value.strip() for value in values.split(","))
    kept = [value for value in asked if value in _ACCEPTED]
    return ",".join(kept), tuple(value for value in asked if value and value not in _ACCEPTED)
