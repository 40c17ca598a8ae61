"""github.com and api.github.com: device sign-in, the exchange for a Copilot token, who the user is (copilot-wire 1-3)."""

from urllib.parse import parse_qsl, urlencode, urlsplit

from copilotapi.simulator.account import reset_date
from copilotapi.simulator.answers import JSON, Answer, Refused, json_answer, text_answer
from copilotapi.simulator.faults import Fault
from copilotapi.simulator.refusals import github_error, no_seat
from copilotapi.simulator.world import Call

_DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_NO_USER_AGENT = (
    "Request forbidden by administrative rules. "
    "Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview)."
)


def device_code(call: Call) -> Answer:
    if not _form(call).get("client_id"):
        return _oauth(call, {"error": "Not Found"}, 404)
    return _oauth(call, call.world.devices.issue(call.base_url))


def access_token(call: Call) -> Answer:
    form = _form(call)
    if form.get("grant_type") != _DEVICE_GRANT:
        return _oauth(call, {"error": "unsupported_grant_type", "error_description": "unknown grant_type"})
    error = call.world.devices.poll(form.get("device_code", ""))
    if error is not None:
        return _oauth(call, error)
    granted = {"access_token": call.world.account.sign_in(), "token_type": "bearer", "scope": "read:user"}
    return _oauth(call, granted)


def device_page(call: Call) -> Answer:
    return text_answer("The simulator enters the code for you: go back to your terminal and wait.\n")


def user(call: Call) -> Answer:
    _github_token(call)
    return json_answer({"login": "octocat", "id": 1, "name": "The Octocat"})


def token_exchange(call: Call) -> Answer:
    """GET /copilot_internal/v2/token."""
    github_token = _github_token(call)
    if github_token.startswith("github_pat_"):
        return github_error(403, "Resource not accessible by personal access token")
    if github_token.startswith("ghp_"):
        return github_error(404, "Not Found")
    settings = call.world.settings
    if not settings.has_seat:
        return no_seat(call.base_url)
    life = next((fault for fault in call.faults if fault.kind == "token_life"), Fault("token_life"))
    issued = call.world.account.issue(_proxy_host(call), life.expires_in_seconds, life.refresh_in_seconds)
    return json_answer(issued | _features(settings.sku) | _endpoints(call))


def copilot_user(call: Call) -> Answer:
    """GET /copilot_internal/user: the plan and what is left of its quotas."""
    _github_token(call)
    unlimited = {
        "entitlement": 0,
        "remaining": 0,
        "quota_remaining": 0.0,
        "percent_remaining": 100.0,
        "unlimited": True,
    }
    unlimited |= {"overage_count": 0, "overage_permitted": False}
    snapshots = {quota: {"quota_id": quota} | unlimited for quota in ("chat", "completions")}
    snapshots["premium_interactions"] = call.world.account.quota()
    body = {
        "login": "octocat",
        "access_type_sku": call.world.settings.sku,
        "analytics_tracking_id": "00000000000000000000000000000000",
        "assigned_date": "2025-01-01T00:00:00Z",
        "can_signup_for_limited": False,
        "chat_enabled": True,
        "copilot_plan": "individual",
        "codex_agent_enabled": True,
        "organization_login_list": [],
        "organization_list": [],
        "token_based_billing": False,
        "quota_reset_date": reset_date(),
        "quota_snapshots": snapshots,
    }
    return json_answer(body | _api_endpoint(call))


def content_exclusion(call: Call) -> Answer:
    _github_token(call)
    return github_error(404, "Not Found")


def _form(call: Call) -> dict[str, str]:
    if isinstance(call.body, dict):
        return {name: str(value) for name, value in call.body.items()}
    return dict(parse_qsl(call.request.body.decode("utf-8", "replace")))


def _oauth(call: Call, body: JSON, status: int = 200) -> Answer:
    # Without Accept: application/json GitHub answers a form (copilot-wire 1.1).
    if "json" in call.header("accept"):
        return json_answer(body, status)
    return text_answer(urlencode(body), status, "application/x-www-form-urlencoded; charset=utf-8")


def _github_token(call: Call) -> str:
    """The token of the request. Raises Refused: 403 without a User-Agent, 401 for a token that is not known."""
    if not call.header("user-agent").strip():
        raise Refused(text_answer(_NO_USER_AGENT, 403))
    scheme, _, github_token = call.header("authorization").partition(" ")
    if scheme.lower() not in ("token", "bearer") or not call.world.account.knows(github_token.strip()):
        raise Refused(github_error(401, "Bad credentials"))
    return github_token.strip()


def _proxy_host(call: Call) -> str | None:
    """For `proxy-ep`: a name without a port, for what follows a colon is the token's seal (copilot-wire 2.3)."""
    settings = call.world.settings
    if settings.endpoints == "absent":
        return None
    host = settings.proxy_host or urlsplit(call.base_url).hostname or ""
    return None if ":" in host else host


def _endpoints(call: Call) -> JSON:
    if call.world.settings.endpoints != "self":
        return {}
    here = {"proxy": f"{call.base_url}/proxy", "telemetry": call.base_url, "origin-tracker": call.base_url}
    return {"endpoints": {"api": call.world.settings.api_url or call.base_url} | here}


def _api_endpoint(call: Call) -> JSON:
    if call.world.settings.endpoints != "self":
        return {}
    return {"endpoints": {"api": call.world.settings.api_url or call.base_url}}


def _features(sku: str) -> JSON:
    flags = {"code_quote_enabled": True, "code_review_enabled": True, "codesearch": True}
    flags |= dict.fromkeys(("copilotignore_enabled", "blackbird_clientside_indexing", "vsc_electron_fetcher_v2"), False)
    return {
        "sku": sku,
        "individual": True,
        "chat_enabled": True,
        "public_suggestions": "disabled",
        "telemetry": "disabled",
        "limited_user_quotas": None,
        "limited_user_reset_date": None,
        "organization_list": [],
        "enterprise_list": None,
    } | flags
