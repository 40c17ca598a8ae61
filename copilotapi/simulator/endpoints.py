"""The names of everything the simulator plays, and the groups a fault may aim at."""

GITHUB = frozenset({"device_code", "access_token", "user", "token_exchange", "copilot_user", "content_exclusion"})
INFERENCE = frozenset({"chat", "responses", "messages", "embeddings", "completions", "proxy_chat"})
CAPI = frozenset({"chat", "responses", "messages", "count_tokens", "embeddings", "models", "policy", "session", "ping"})
PROXY = frozenset({"completions", "proxy_chat", "proxy_models"})
OTHER = frozenset({"telemetry", "page", "unknown"})

ENDPOINTS = GITHUB | INFERENCE | CAPI | PROXY | OTHER

GROUPS = {"github": GITHUB, "inference": INFERENCE, "capi": CAPI, "proxy": PROXY}

ALIASES = {"token": "token_exchange"}


def aim(path: str) -> str | None:
    """The endpoint, group, "*" or literal "/path" that a fault's `path` means; None when there is no such thing."""
    if path == "*" or path.startswith("/") or path in ENDPOINTS or path in GROUPS:
        return path
    return ALIASES.get(path)


def hits(path: str, endpoint: str, request_path: str) -> bool:
    if path.startswith("/"):
        return path == request_path
    return path in ("*", endpoint) or endpoint in GROUPS.get(path, ())
