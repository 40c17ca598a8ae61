"""What every endpoint of Copilot checks before it answers (copilot-wire 4.2, 8.2), and its small endpoints."""

import re
import secrets
import time
from typing import Any

from copilotapi.simulator.answers import JSON, Answer, json_answer, refuse, refuse_text, text_answer
from copilotapi.simulator.catalogue import BY_ID, ENGINES, LISTED, PROXY_MODELS, Model
from copilotapi.simulator.prompts import images, last_user_text, prompt_token_count
from copilotapi.simulator.world import Call

_EDITOR_VERSION = re.compile(r"[^/\s]+/\S+")
_SESSION_SECONDS = 3600


def admit(call: Call, served_at: str) -> tuple[JSON, Model]:
    """A request for inference that may be answered: its body, its model. Raises Refused otherwise."""
    authenticate(call)
    body = object_body(call)
    call.obey(last_user_text(body))
    model = find(call, body.get("model"), served_at)
    check_images(call, body)
    check_prompt_size(body, model)
    return body, model


def authenticate(call: Call) -> None:
    """Bearer, then Editor-Version, which only an exchanged token needs (copilot-wire 2.6). Raises Refused."""
    if not check_bearer(call):
        editor = call.header("editor-version")
        if not editor:
            raise refuse_text(400, "bad request: missing Editor-Version header for IDE auth")
        if not _EDITOR_VERSION.fullmatch(editor):
            raise refuse_text(400, f"bad request: unknown Editor-Version {editor}")


def check_bearer(call: Call) -> bool:
    """Whether the bearer is a GitHub token, where those are let in; classic ones never are. Raises Refused."""
    bearer = _bearer(call)
    if bearer.startswith("ghp_"):
        raise refuse_text(400, "Personal Access Tokens are not supported for this endpoint")
    account = call.world.account
    if call.world.settings.direct and not bearer.startswith("tid=") and account.knows(bearer):
        return True
    if not account.accepts(bearer):
        raise refuse_text(401, "unauthorized: token expired")
    return False


def object_body(call: Call) -> JSON:
    if not isinstance(call.body, dict):
        raise refuse(400, "failed to parse request", "invalid_request_body")
    return call.body


def find(call: Call, model_id: Any, served_at: str) -> Model:
    """The model, if this account may use it at this endpoint. Raises Refused."""
    model = BY_ID.get(model_id) if isinstance(model_id, str) else None
    if model is None or model.restricted_to or (model.needs_terms and not call.world.account.has_enabled(model.id)):
        more = {"param": "model", "type": "invalid_request_error"}
        raise refuse(400, "The requested model is not supported.", "model_not_supported", **more)
    if not model.serves(served_at):
        message = f'model "{model.id}" is not accessible via the {served_at} endpoint'
        raise refuse(400, message, "unsupported_api_for_model")
    return model


def check_images(call: Call, body: JSON) -> None:
    found = list(images(body))
    if any(source.startswith(("http:", "https:")) for source in found):
        raise refuse(400, "external image URLs are not supported", "invalid_request_body")
    if found and call.header("copilot-vision-request").lower() != "true":
        raise refuse(400, "missing required Copilot-Vision-Request header for vision requests")


def check_prompt_size(body: JSON, model: Model) -> None:
    limit = model.prompt_tokens
    count = prompt_token_count(body)
    if limit is not None and count > limit:
        message = f"prompt token count of {count} exceeds the limit of {limit}"
        raise refuse(400, message, "model_max_prompt_tokens_exceeded")


def check_effort(effort: Any, model: Model) -> None:
    if effort is not None and model.efforts and effort not in model.efforts:
        message = f'reasoning effort "{effort}" is not supported by model "{model.id}"'
        raise refuse(400, message, "invalid_reasoning_effort")


def token_limit(body: JSON, *names: str) -> int | None:
    """The first of these fields that is set. Raises Refused unless it is a positive integer."""
    for name in names:
        value = body.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise refuse(400, f"{name} must be a positive integer", "invalid_request_body", param=name)
        if value is not None:
            return int(value)
    return None


def spend(call: Call, model: Model) -> None:
    """One turn of a user costs the model's multiplier, an agent's follow-up nothing (copilot-wire 4.3)."""
    account = call.world.account
    is_user = call.header("x-initiator").lower() == "user"
    if not (account.spend(model.multiplier) if is_user else account.may_spend(model.multiplier)):
        raise refuse(402, "You have no quota", "quota_exceeded")


def models(call: Call) -> Answer:
    authenticate(call)
    account = call.world.account
    listed = [model.as_listed(terms_accepted=account.has_enabled(model.id)) for model in LISTED]
    return json_answer({"object": "list", "data": listed})


def one_model(call: Call) -> Answer:
    authenticate(call)
    model = _named(call)
    return json_answer(model.as_listed(terms_accepted=call.world.account.has_enabled(model.id)))


def policy(call: Call) -> Answer:
    """POST /models/{id}/policy: accepts a model's terms."""
    authenticate(call)
    model = _named(call)
    if object_body(call).get("state") != "enabled":
        raise refuse(400, "state must be enabled", "invalid_request_body")
    call.world.account.enable(model.id)
    return json_answer(model.as_listed(terms_accepted=True))


def session(call: Call) -> Answer:
    """POST /models/session: the Auto mode's choice (copilot-wire 4.7)."""
    authenticate(call)
    body = {
        "available_models": ["gpt-4.1", "claude-sonnet-4.5"],
        "selected_model": "gpt-4.1",
        "session_token": secrets.token_hex(32),
        "expires_at": int(time.time()) + _SESSION_SECONDS,
        "discounted_costs": {"claude-sonnet-4.5": 0.1},
    }
    return json_answer(body)


def ping(call: Call) -> Answer:
    check_bearer(call)
    return text_answer("OK")


def proxy_models(call: Call) -> Answer:
    check_bearer(call)
    return json_answer({"models": list(PROXY_MODELS)})


def check_engine(call: Call) -> str:
    engine = call.parts["engine"]
    if engine not in ENGINES:
        raise refuse(404, f"no such engine: {engine}", "not_found")
    return engine


def telemetry(call: Call) -> Answer:
    return text_answer("")


def _named(call: Call) -> Model:
    model = BY_ID.get(call.parts["model"])
    if model is None:
        raise refuse(404, "model not found", "not_found")
    return model


def _bearer(call: Call) -> str:
    scheme, _, bearer = call.header("authorization").partition(" ")
    return bearer.strip() if scheme.lower() == "bearer" else ""
