"""What editors' Copilot clients ask for besides models, chats and completions, described."""

from collections.abc import Mapping
from types import MappingProxyType

from copilotapi.openapi.shapes import (
    ANY_OBJECT,
    FLAG,
    TALLY,
    TEXT,
    Operation,
    answer,
    array,
    const,
    empty,
    optional,
    plain,
    record,
    ref,
    shared_parameter,
)
from copilotapi.protocols.conversation import JSON

_ENDPOINTS = record(dict.fromkeys(("api", "proxy", "telemetry", "origin-tracker"), TEXT), needs=("api", "proxy"))
_NO_EXPERIMENTS = {
    "Features": [],
    "Flights": {},
    "Configs": [],
    "ParameterGroups": [],
    "FlightingVersion": 0,
    "ImpressionId": "",
    "AssignmentContext": "",
}

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "EditorToken": record(
            {
                "token": {**TEXT, "description": "Of this gateway; never one of Copilot's."},
                "expires_at": {**TALLY, "description": "Unix time."},
                "refresh_in": {**TALLY, "description": "Seconds."},
                "sku": TEXT,
                "chat_enabled": FLAG,
                "endpoints": _ENDPOINTS,
            },
            needs=("token", "expires_at", "refresh_in", "sku", "chat_enabled", "endpoints"),
        ),
        "EditorUser": record(
            {
                "login": TEXT,
                "copilot_plan": TEXT,
                "chat_enabled": FLAG,
                "endpoints": _ENDPOINTS,
                "quota_snapshots": ANY_OBJECT,
            },
            needs=("login", "copilot_plan", "chat_enabled", "endpoints", "quota_snapshots"),
        ),
        "GitHubUser": record(
            {"login": TEXT, "id": TALLY, "name": TEXT, "type": const("User"), "email": optional(TEXT)},
            needs=("login", "id"),
        ),
        "Session": record(
            {
                "available_models": array(TEXT),
                "selected_model": optional(TEXT),
                "session_token": TEXT,
                "expires_at": TALLY,
                "discounted_costs": ANY_OBJECT,
            },
            needs=("available_models", "selected_model", "session_token", "expires_at"),
        ),
        "Experiments": record(
            {"Features": array(TEXT), "Flights": ANY_OBJECT, "Configs": array(ANY_OBJECT)},
            needs=tuple(_NO_EXPERIMENTS),
        ),
    }
)

_BASE = "http://localhost:8000"
_AT = {"api": _BASE, "proxy": f"{_BASE}/proxy", "telemetry": _BASE, "origin-tracker": _BASE}
_TOKEN = {
    "token": "tid=1;exp=1767227400;sku=copilotapi",
    "expires_at": 1767227400,
    "refresh_in": 1500,
    "sku": "copilotapi",
    "chat_enabled": True,
    "endpoints": _AT,
}
_USER = {
    "login": "copilotapi",
    "copilot_plan": "individual",
    "chat_enabled": True,
    "endpoints": _AT,
    "quota_snapshots": {},
}
_GITHUB_USER = {"login": "copilotapi", "id": 1, "name": "CopilotAPI", "type": "User", "email": None}
_SESSION = {
    "available_models": ["gpt-4.1"],
    "selected_model": "gpt-4.1",
    "session_token": "5f1c",
    "expires_at": 1767229200,
    "discounted_costs": {},
}


def _operation(
    method: str,
    path: str,
    name: str,
    summary: str,
    told: JSON,
    access: str = "key",
    errors: str = "Keyed",
    status: str = "200",
) -> Operation:
    shared = (shared_parameter("X-Request-Id"),)
    return Operation(method, (path,), name, "Editors", summary, access, errors, {status: told}, parameters=shared)


OPERATIONS = (
    _operation(
        "get",
        "/copilot_internal/v2/token",
        "issueEditorToken",
        "Issue a token of this gateway to an editor.",
        answer("The token, and where to use it: here.", ref("EditorToken"), {"token": _TOKEN}),
        access="the key itself",
    ),
    _operation(
        "get",
        "/copilot_internal/user",
        "showEditorUser",
        "The account as an editor reads it.",
        answer("The account.", ref("EditorUser"), {"user": _USER}),
    ),
    _operation(
        "get",
        "/user",
        "showGitHubUser",
        "The user as GitHub would tell.",
        answer("The user: no real one.", ref("GitHubUser"), {"user": _GITHUB_USER}),
    ),
    _operation(
        "get",
        "/copilot_internal/content_exclusion",
        "listExclusions",
        "Files to keep from Copilot: none.",
        answer("An empty list.", array(ANY_OBJECT, maxItems=0), {"none": []}),
    ),
    _operation(
        "post",
        "/copilot_internal/notification",
        "acknowledgeNotice",
        "Taken and forgotten.",
        empty("Nothing to tell."),
        status="204",
    ),
    _operation(
        "get",
        "/proxy/models",
        "listEditModels",
        "Models for edit suggestions: none.",
        answer(
            "An empty list.",
            record({"models": array(ANY_OBJECT, maxItems=0)}, needs=("models",)),
            {"none": {"models": []}},
        ),
    ),
    _operation(
        "post",
        "/models/session",
        "openSession",
        "The model that Auto means: the chat default.",
        answer("The session.", ref("Session"), {"session": _SESSION}),
        errors="Editor",
    ),
    _operation("get", "/_ping", "ping", "A sign of life.", plain("A word.", "text/plain", TEXT, "OK")),
    _operation(
        "get",
        "/telemetry",
        "listExperiments",
        "Experiments that run: none.",
        answer("Empty lists.", ref("Experiments"), {"none": _NO_EXPERIMENTS}),
        access="public",
        errors="Open",
    ),
    _operation(
        "post",
        "/telemetry",
        "ignoreTelemetry",
        "Neither read nor kept.",
        empty("Nothing to tell."),
        access="public",
        errors="Open",
    ),
    _operation(
        "post",
        "/twirp/github.snippy.v1.SnippyAPI/Match",
        "matchPublicCode",
        "Public code like this: none is looked for.",
        answer(
            "An empty list.",
            record({"snippets": array(ANY_OBJECT, maxItems=0)}, needs=("snippets",)),
            {"none": {"snippets": []}},
        ),
    ),
)
