"""What an editor's Copilot client asks for besides completions and chat (copilot-wire 9.3): a token, a user, empty lists.

Whoever answers the token request decides every other host: `endpoints` leads the editor back here. Nothing an editor
sends to these paths is read, kept or passed on.
"""

import secrets
import time
from collections.abc import Callable, Mapping

from flask import Blueprint, Response, request

from copilotapi.blueprints.editor_models import encode_models
from copilotapi.blueprints.guard import KEY, OWN_KEY, PUBLIC, access
from copilotapi.blueprints.http import json_response
from copilotapi.blueprints.web_app import this_request
from copilotapi.metering.editor_tokens import SKU, EditorTokens
from copilotapi.protocols.conversation import JSON
from copilotapi.upstream.models import Model

# Five minutes before the token's end, as Copilot's own (copilot-wire 2.4).
_REFRESH_IN_SECONDS = 1500
_SESSION_SECONDS = 3600
_LOGIN = "copilotapi"
_NO_QUOTA = {
    "entitlement": 0,
    "remaining": 0,
    "quota_remaining": 0.0,
    "percent_remaining": 100.0,
    "unlimited": True,
    "overage_count": 0,
    "overage_permitted": False,
}
# The experiment service's answer when no experiment runs; the language server wants its lists to be there.
_NO_EXPERIMENTS: JSON = {
    "Features": [],
    "Flights": {},
    "Configs": [],
    "ParameterGroups": [],
    "FlightingVersion": 0,
    "ImpressionId": "",
    "AssignmentContext": "",
}


def build(tokens: EditorTokens, account_sku: Callable[[], str], models: Callable[[], Mapping[str, Model]]) -> Blueprint:
    """`account_sku` tells what kind of subscription answers, "" when that is not known."""
    copilot = Blueprint("copilot", __name__)

    @copilot.get("/copilot_internal/v2/token")
    @access(OWN_KEY)
    def issue_token() -> Response:
        editor_token, expires_at = tokens.issue(this_request().known_caller().key_id)
        return json_response(_envelope(editor_token, expires_at, plan_of(account_sku())))

    @copilot.get("/copilot_internal/user")
    @access(KEY)
    def show_copilot_user() -> Response:
        return json_response(_copilot_user(plan_of(account_sku())))

    @copilot.get("/user")
    @access(KEY)
    def show_user() -> Response:
        return json_response({"login": _LOGIN, "id": 1, "name": "CopilotAPI", "type": "User", "email": None})

    @copilot.get("/copilot_internal/content_exclusion")
    @access(KEY)
    def list_exclusions() -> Response:
        return Response("[]", content_type="application/json")

    @copilot.post("/copilot_internal/notification")
    @access(KEY)
    def acknowledge_notice() -> Response:
        return Response(status=204)

    @copilot.get("/proxy/models")
    @access(KEY)
    def list_edit_models() -> Response:
        return json_response({"models": []})

    @copilot.post("/models/session")
    @access(KEY)
    def open_session() -> Response:
        return json_response(_session(encode_models(models())["data"]))

    @copilot.get("/_ping")
    @access(KEY)
    def ping() -> Response:
        return Response("OK", content_type="text/plain")

    # An editor sends neither of these with a key.
    @copilot.get("/telemetry")
    @access(PUBLIC)
    def list_experiments() -> Response:
        return json_response(_NO_EXPERIMENTS)

    @copilot.post("/telemetry")
    @access(PUBLIC)
    def ignore_telemetry() -> Response:
        return Response(status=200)

    @copilot.post("/twirp/github.snippy.v1.SnippyAPI/Match")
    @access(KEY)
    def match_public_code() -> Response:
        return json_response({"snippets": []})

    return copilot


def plan_of(sku: str) -> str:
    """`copilot_plan` for a token's `sku`: both vocabularies are Copilot's (copilot-wire 2.2 and 3.1)."""
    plans = {"enterprise": "enterprise", "business": "business", "free": "free"}
    return next((plan for word, plan in plans.items() if word in sku.split("_")), "individual")


def _envelope(editor_token: str, expires_at: int, plan: str) -> JSON:
    # Flags of features that would send code elsewhere, or that nothing here answers, are off.
    off = ("copilotignore_enabled", "code_quote_enabled", "code_review_enabled", "codesearch")
    return {
        "token": editor_token,
        "expires_at": expires_at,
        "refresh_in": _REFRESH_IN_SECONDS,
        "sku": SKU,
        "individual": plan not in ("business", "enterprise"),
        "chat_enabled": True,
        "endpoints": _endpoints(),
        "public_suggestions": "disabled",
        "telemetry": "disabled",
        **dict.fromkeys((*off, "blackbird_clientside_indexing", "vsc_electron_fetcher_v2"), False),
        "limited_user_quotas": None,
        "limited_user_reset_date": None,
        "organization_list": [],
        "enterprise_list": None,
    }


def _session(listed: list[JSON]) -> JSON:
    """The "Auto" model (copilot-wire 4.7): always the chat default, without a discount, so that the token means nothing."""
    chats = [wire for wire in listed if wire["capabilities"]["type"] == "chat" and wire["model_picker_enabled"]]
    return {
        "available_models": [wire["id"] for wire in chats],
        "selected_model": next((wire["id"] for wire in chats if wire["is_chat_default"]), None),
        "session_token": secrets.token_hex(16),
        "expires_at": int(time.time()) + _SESSION_SECONDS,
        "discounted_costs": {},
    }


def _copilot_user(plan: str) -> JSON:
    quotas = ("chat", "completions", "premium_interactions")
    return {
        "login": _LOGIN,
        "access_type_sku": SKU,
        "analytics_tracking_id": "0" * 32,
        "assigned_date": None,
        "can_signup_for_limited": False,
        "chat_enabled": True,
        "copilot_plan": plan,
        "organization_login_list": [],
        "organization_list": [],
        "endpoints": _endpoints(),
        "token_based_billing": False,
        "quota_snapshots": {quota: {"quota_id": quota, **_NO_QUOTA} for quota in quotas},
    }


def _endpoints() -> JSON:
    """All on the address by which the editor found us. The API and the completion proxy both have a /models."""
    base = request.host_url.rstrip("/")
    return {"api": base, "proxy": f"{base}/proxy", "telemetry": base, "origin-tracker": base}
