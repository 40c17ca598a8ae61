"""The operator's paths and what the gateway tells of itself, described."""

from collections.abc import Mapping
from types import MappingProxyType

from copilotapi.openapi.shapes import (
    ANY_OBJECT,
    TALLY,
    TEXT,
    WHOLE,
    Operation,
    answer,
    array,
    const,
    headers,
    one_of,
    optional,
    parameter,
    plain,
    record,
    ref,
    shared_parameter,
)
from copilotapi.protocols.conversation import JSON

_COUNTERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "estimated_requests")
_COUNTS: Mapping[str, JSON] = MappingProxyType(dict.fromkeys(_COUNTERS, TALLY))

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "Refreshed": record(
            {
                "status": one_of("refreshed", "unchanged"),
                "generation": {**TALLY, "description": "The how-manieth token of the account."},
                "expires_in": {**optional(WHOLE), "description": "Seconds left."},
                "refresh_in": {**optional(WHOLE), "description": "Seconds until the next refresh."},
            },
            needs=("status", "generation", "expires_in", "refresh_in"),
        ),
        "UsageReport": record(
            {
                "object": const("usage"),
                "days": {**TALLY, "minimum": 1, "maximum": 62},
                "total": record(_COUNTS, description="Empty when nothing was used."),
                "data": array(
                    record(
                        {"day": TEXT, "key": {**TEXT, "description": "The key's id."}, "model": TEXT, **_COUNTS},
                        needs=("day", "key", "model", *_COUNTERS),
                    )
                ),
                "copilot": {**ANY_OBJECT, "description": "For the operator: plan and quotas of the account."},
            },
            needs=("object", "days", "total", "data"),
        ),
        "About": record({"title": TEXT, "description": TEXT, "version": TEXT}, needs=("title", "version")),
        "Health": record({"status": const("ok")}, needs=("status",)),
        "Readiness": record(
            {
                "status": one_of("ready", "degraded", "unready"),
                "reasons": array(record({"name": TEXT, "detail": TEXT}, needs=("name", "detail"))),
            },
            needs=("status", "reasons"),
        ),
    }
)

_ROW = {"requests": 2, "errors": 0, "input_tokens": 9, "output_tokens": 20, "cached_tokens": 0, "estimated_requests": 0}
_REPORT = {
    "object": "usage",
    "days": 7,
    "total": _ROW,
    "data": [{"day": "2026-01-01", "key": "key-1a2b3c4d", "model": "gpt-4.1", **_ROW}],
}
_REASON = {"name": "copilot_token_pending", "detail": "The first Copilot token has not been fetched yet."}
_REFRESHED = {"status": "refreshed", "generation": 2, "expires_in": 1560, "refresh_in": 1380}
_REFRESH_ANSWER = {"200": answer("What came of it.", ref("Refreshed"), {"refreshed": _REFRESHED})}
_REFRESH_PATHS = ("/v1/token/refresh", "/token/refresh")
_DESCRIPTION = "Never shows a token. At most one exchange in five seconds."
_REQUEST_ID = (shared_parameter("X-Request-Id"),)
_METRICS = "# TYPE copilotapi_open_streams gauge\ncopilotapi_open_streams 0.0\n"
_ABOUT = {"title": "CopilotAPI", "description": "A gateway in front of GitHub Copilot.", "version": "0.1.0"}


def _probed(path: str, name: str, summary: str, errors: str, answers: Mapping[str, JSON]) -> tuple[Operation, ...]:
    """GET, and HEAD with the same headers and no body."""
    heads = {
        status: {name: told for name, told in answer.items() if name != "content"} for status, answer in answers.items()
    }
    shown = Operation("get", (path,), name, "Status", summary, "public", errors, answers, parameters=_REQUEST_ID)
    bare = Operation(
        "head",
        (path,),
        f"{name}Headers",
        "Status",
        f"{summary} Without a body.",
        "public",
        errors,
        heads,
        parameters=_REQUEST_ID,
    )
    return shown, bare


_CACHED = {**headers(), "ETag": {"$ref": "#/components/headers/ETag"}}
_UNCHANGED = {"description": "What If-None-Match names is still right.", "headers": _CACHED}
_DOCUMENT = answer("The document.", ANY_OBJECT, {"start": {"openapi": "3.1.0"}}, "ETag")
_PAGE = plain("The page.", "text/html", TEXT, "<!doctype html>")

OPERATIONS = (
    Operation(
        "get",
        _REFRESH_PATHS,
        "refreshTokenByGet",
        "Operator",
        "Fetch a new Copilot token at once.",
        "admin",
        "Refresh",
        _REFRESH_ANSWER,
        _DESCRIPTION,
        _REQUEST_ID,
    ),
    Operation(
        "post",
        _REFRESH_PATHS,
        "refreshToken",
        "Operator",
        "Fetch a new Copilot token at once.",
        "admin",
        "Refresh",
        _REFRESH_ANSWER,
        _DESCRIPTION,
        _REQUEST_ID,
    ),
    Operation(
        "get",
        ("/v1/usage", "/usage"),
        "showUsage",
        "Operator",
        "Requests and tokens by day, key and model.",
        "key",
        "Usage",
        {"200": answer("Newest first.", ref("UsageReport"), {"week": _REPORT})},
        description="A key sees its own use; the admin key everyone's, and the account's quotas at GitHub.",
        parameters=(
            parameter("days", "query", {**WHOLE, "minimum": 1, "maximum": 62, "default": 7}, "How many days.", 7),
            *_REQUEST_ID,
        ),
    ),
    Operation(
        "get",
        ("/metrics",),
        "showMetrics",
        "Status",
        "Numbers for Prometheus.",
        "loopback or admin",
        "Measured",
        {"200": plain("Prometheus' text format.", "text/plain", TEXT, _METRICS)},
        parameters=_REQUEST_ID,
    ),
    *_probed(
        "/",
        "showAbout",
        "What this is.",
        "Open",
        {"200": answer("Title and version.", ref("About"), {"about": _ABOUT})},
    ),
    *_probed(
        "/health",
        "showHealth",
        "Whether the worker runs.",
        "Probe",
        {"200": answer("It does.", ref("Health"), {"ok": {"status": "ok"}})},
    ),
    *_probed(
        "/ready",
        "showReadiness",
        "Whether requests can be answered, and what is not as it should be.",
        "Probe",
        {
            "200": answer("Ready, or degraded.", ref("Readiness"), {"ready": {"status": "ready", "reasons": []}}),
            "503": answer("Unready.", ref("Readiness"), {"unready": {"status": "unready", "reasons": [_REASON]}}),
        },
    ),
    *_probed("/openapi.json", "showDocument", "This document.", "Open", {"200": _DOCUMENT, "304": _UNCHANGED}),
    *_probed("/docs", "showExplorer", "The explorer of this document.", "Open", {"200": _PAGE}),
)
