"""The account, asked as the gateway asks: sign-in, token exchange, models, and one real answer where that is wanted."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from copilotapi.app import build_credentials, clocks, identification
from copilotapi.cli.doctor.findings import Finding, Known, failed, ok, printable, skipped, warning
from copilotapi.errors import ApiError, SignInFailed
from copilotapi.metering.metrics import Metrics
from copilotapi.store import MemoryStore
from copilotapi.upstream.client import CopilotClient, Hangup, Outgoing, finish
from copilotapi.upstream.github import ExchangeRefused, GitHub
from copilotapi.upstream.models import Catalogue, Model
from copilotapi.upstream.transport import Clocks

_LIVE_CLOCKS = Clocks(connect_seconds=5, first_byte_seconds=30, idle_seconds=15, total_seconds=45)
_QUESTION = "Answer with the word ok."
_MAX_TOKENS = 16
_CHAT = "/chat/completions"
_UNKNOWN_COST = math.inf
# Kinds by prefix: copilot-wire 1.3.
_KINDS = {
    "ghu_": "a token of a GitHub App (ghu_)",
    "gho_": "a token of an OAuth app (gho_)",
    "github_pat_": "a fine-grained personal token (github_pat_)",
}
_REMEDIES = {
    "copilot_sign_in_required": "Run `copilotapi login`, or set GITHUB_COPILOT_TOKEN anew.",
    "copilot_access_refused": "Check the account's plan and policies at GitHub; on an enterprise host also GITHUB_URL "
    "and GITHUB_API_URL.",
    "copilot_token_unavailable": "Wait and try again; if it lasts, check the network, HTTPS_PROXY and GITHUB_API_URL.",
    "copilot_client_version_refused": "Look at EDITOR_VERSION and EDITOR_PLUGIN_VERSION.",
    "copilot_forbidden": "Check the account's policies at GitHub.",
    "insufficient_quota": "Wait for the quota's reset, or take a model that is included.",
    "rate_limit_exceeded": "Wait and try again.",
}


def sign_in(known: Known) -> Finding:
    """Whose GitHub token it is, by GitHub's own word."""
    given = known.settings.github_copilot_token
    if given is None:
        return failed("There is no GitHub token.", "Run `copilotapi login`, or set GITHUB_COPILOT_TOKEN.")
    github_token = given.get_secret_value()
    kind = next((name for prefix, name in _KINDS.items() if github_token.startswith(prefix)), "of no known kind")
    source = "the stored sign-in" if known.uses_stored_sign_in else "GITHUB_COPILOT_TOKEN"
    if github_token.startswith("tid="):
        reason = f"{source} holds a Copilot token, which ends within the hour and cannot be renewed."
        return warning(reason, "Run `copilotapi login` for a GitHub token.")
    try:
        user = _github(known).user(github_token)
    except ExchangeRefused as exc:
        if exc.code == "copilot_sign_in_required":
            return failed(f"{exc.message} It comes from {source}.", _remedy(exc.code))
        return warning(f"GitHub did not tell about the account: {exc.message}", _remedy(exc.code))
    who = f"{_word(user, 'login')}, plan {_word(user, 'copilot_plan')}"
    return ok(f"Signed in as {who}, by {source}, {kind}.")


def _github(known: Known) -> GitHub:
    return GitHub(known.transport, known.settings.github_api_url, identification(known.settings))


def _word(user: Mapping[str, Any], name: str) -> str:
    value = user.get(name)
    return (printable(value) if isinstance(value, str) else "") or "unknown"


def exchange(known: Known) -> Finding:
    """A Copilot token, newly fetched: what workers share is not touched."""
    known.credentials = build_credentials(known.settings, known.transport, MemoryStore(), Metrics())
    try:
        copilot_token = known.credentials.current()
    except SignInFailed as exc:
        return failed(exc.message, _remedy(exc.code))
    known.copilot_token = copilot_token
    known.secrets.add(copilot_token.secret)
    if math.isinf(copilot_token.life_seconds):
        return ok("Copilot takes the GitHub token itself; nothing is exchanged, nothing ends.")
    life, due = copilot_token.life_seconds / 60, copilot_token.due_seconds / 60
    kind = f" for {printable(copilot_token.sku)}" if copilot_token.sku else ""
    return ok(f"GitHub gave a Copilot token{kind}: it lives {life:.0f} min, its renewal is due after {due:.0f} min.")


def models(known: Known) -> Finding:
    """The models of the account."""
    given = known.settings
    known.client = CopilotClient(
        known.credentials, identification(given), known.session, clocks(given), given.upstream_concurrency
    )
    known.catalogue = Catalogue(known.client.list_models, MemoryStore(), lambda: "models", given.aliases)
    try:
        listed = known.catalogue.listed()
    except ApiError as exc:
        return failed(exc.message, _remedy(exc.code))
    chat_count = sum(model.kind == "chat" for model in listed.values())
    return ok(f"The account has {len(listed)} models, {chat_count} of them for chat.")


def model_names(known: Known) -> Finding:
    """Whether the settings name models that the account has."""
    given = known.settings
    named = {"DEFAULT_MODEL": given.default_model, "FALLBACK_MODEL": given.fallback_model}
    missing = [f"{setting}: {told}" for setting, name in named.items() if name and (told := _missing(known, name))]
    if missing:
        return failed(" ".join(missing), "Name a model that `copilotapi models` lists.")
    remarks = list(_remarks(known))
    if remarks:
        return warning(" ".join(remarks), "Name models that `copilotapi models` lists.")
    default = given.default_model or known.catalogue.default()
    return ok(f"A request without a model gets {printable(default or '')}; every name in the settings is a model.")


def _missing(known: Known, name: str) -> str:
    try:
        known.catalogue.find(name)
    except ApiError as exc:
        return exc.message
    return ""


def _remarks(known: Known) -> Iterator[str]:
    given, catalogue = known.settings, known.catalogue
    if given.default_model is None and catalogue.default() is None:
        yield "Copilot names no default model, so that a request without a model is refused: set DEFAULT_MODEL."
    for name in filter(None, (given.default_model, given.fallback_model)):
        if catalogue.replaced(name):
            model = catalogue.find(name)
            yield f"The account lacks {name}; {model.id if model else 'another model'} stands in for it."
    for alias in given.aliases:
        if told := _missing(known, alias):
            yield f"MODEL_ALIASES: {told}"


def live(known: Known) -> Finding:
    """One short chat with the cheapest model, asked once: never more than one premium request."""
    if not known.asks_live:
        return skipped("A real answer may cost a premium request.", "Ask for it with --live.")
    model = cheapest(known.catalogue)
    if model is None:
        return skipped("No model of the account is known to cost one premium request or less.")
    body = {"model": model.id, "max_tokens": _MAX_TOKENS, "messages": [{"role": "user", "content": _QUESTION}]}
    headers = {"Content-Type": "application/json", "X-Initiator": "user"}
    outgoing = Outgoing(_CHAT, "doctor", body=orjson.dumps(body), headers=headers, clocks=_LIVE_CLOCKS)
    began = time.monotonic()
    try:
        answer = finish(finish(known.client.send(outgoing, Hangup(), attempts=1)).read_json())
    except ApiError as exc:
        return failed(f"{model.id} did not answer: {exc.message}", _remedy(exc.code))
    if not _holds_text(answer):
        return failed(f"{model.id} answered without a text.", "Persisting: report it.")
    return ok(f"{model.id} answered in {time.monotonic() - began:.1f} s; {_cost_told(model)}.")


def cheapest(catalogue: Catalogue) -> Model | None:
    """A chat model that costs at most one premium request, Copilot's own default where several cost the same."""
    usable = [model for model in catalogue.models().values() if _is_usable(model) and cost(model) <= 1]
    return min(usable, key=lambda model: (cost(model), model.wire.get("is_chat_default") is not True), default=None)


def cost(model: Model) -> float:
    """Premium requests for one answer; infinite where Copilot does not say (copilot-wire 4.4)."""
    billing = model.wire.get("billing")
    multiplier = billing.get("multiplier") if isinstance(billing, dict) else None
    if not isinstance(multiplier, int | float) or isinstance(multiplier, bool) or multiplier < 0:
        return _UNKNOWN_COST
    return float(multiplier)


def _is_usable(model: Model) -> bool:
    policy = model.wire.get("policy")
    is_accepted = not isinstance(policy, dict) or policy.get("state") == "enabled"
    return model.kind == "chat" and _CHAT in model.endpoints and is_accepted


def _cost_told(model: Model) -> str:
    return "it is included" if cost(model) == 0 else f"it cost {cost(model):g} premium requests"


def _holds_text(answer: object) -> bool:
    match answer:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return bool(text.strip())
    return False


def _remedy(code: str | None) -> str:
    return _REMEDIES.get(code or "", f"docs/operations.md, error code {code}." if code else "See docs/operations.md.")
