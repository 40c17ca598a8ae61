"""OpenAI's paths, with and without /v1: chat completions, responses, embeddings, and models, which Anthropic's clients
read here as well."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, request

from copilotapi.blueprints.body import json_body
from copilotapi.blueprints.editor_models import encode_model, encode_models, is_editor
from copilotapi.blueprints.guard import KEY, access
from copilotapi.blueprints.http import Responder, json_response, new_call
from copilotapi.blueprints.web_app import this_request
from copilotapi.errors import ApiError
from copilotapi.gateway import Gateway
from copilotapi.protocols import chat, responses
from copilotapi.protocols.conversation import JSON
from copilotapi.upstream.models import Model

# Copilot tells no date of creation. OpenAI's object has one, and Anthropic's, which may be the epoch where it is unknown:
# https://docs.claude.com/en/api/models-list.
_CREATED = 0
_CREATED_AT = "1970-01-01T00:00:00Z"


def build(gateway: Gateway, responder: Responder, max_body_bytes: int) -> Blueprint:
    openai = Blueprint("openai", __name__)

    @openai.post("/v1/chat/completions")
    @openai.post("/chat/completions")
    @access(KEY)
    def create_chat_completion() -> Response:
        incoming = this_request()
        body = json_body(incoming, max_body_bytes)
        call = new_call(incoming)
        opening = gateway.complete(chat, body, call)
        return responder.respond(
            opening, is_streamed=bool(body.get("stream")), call=call, caller_socket=incoming.caller_socket
        )

    @openai.post("/v1/responses")
    @openai.post("/responses")
    @access(KEY)
    def create_response() -> Response:
        incoming = this_request()
        body = json_body(incoming, max_body_bytes)
        call = new_call(incoming)
        return responder.respond(
            gateway.complete(responses, body, call),
            is_streamed=bool(body.get("stream")),
            call=call,
            caller_socket=incoming.caller_socket,
            dialect=responses,
        )

    @openai.get("/v1/responses", websocket=True)
    @openai.get("/responses", websocket=True)
    @access(KEY)
    def refuse_websocket() -> Response:
        """Codex CLI 0.169 goes over to HTTP at once on 426; on any other refusal it first tries for seven seconds."""
        message = "This gateway does not speak WebSocket: send the same request by POST."
        raise ApiError(message, status=426, kind="invalid_request_error", code="websocket_not_supported")

    @openai.post("/v1/embeddings")
    @openai.post("/embeddings")
    @access(KEY)
    def create_embeddings() -> Response:
        incoming = this_request()
        body = json_body(incoming, max_body_bytes)
        call = new_call(incoming)
        return responder.respond(
            gateway.embed(body, call), is_streamed=False, call=call, caller_socket=incoming.caller_socket
        )

    @openai.get("/v1/models")
    @access(KEY)
    def list_models() -> Response:
        return json_response(_shown_list(gateway.models().values(), gateway.default_model()))

    @openai.get("/models")
    @access(KEY)
    def list_models_for_anyone() -> Response:
        return json_response(encode_models(gateway.models())) if is_editor(request.headers) else list_models()

    @openai.get("/v1/models/<path:model_id>")
    @access(KEY)
    def show_model(model_id: str) -> Response:
        return json_response(_shown(gateway.model(model_id.rstrip("/")), gateway.default_model()))

    @openai.get("/models/<path:model_id>")
    @access(KEY)
    def show_model_to_anyone(model_id: str) -> Response:
        is_asked_by_editor = is_editor(request.headers)
        return json_response(encode_model(gateway.model(model_id))) if is_asked_by_editor else show_model(model_id)

    return openai


def _shown_list(models: Iterable[Model], default_id: str | None) -> JSON:
    """OpenAI's list and Anthropic's only page at once."""
    shown = [_shown(model, default_id) for model in models]
    return {
        "object": "list",
        "data": shown,
        "has_more": False,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _shown(model: Model, default_id: str | None) -> JSON:
    """OpenAI's model object and Anthropic's at once, with what Copilot tells beyond them under names neither uses."""
    wire: Any = model.wire
    capabilities = wire.get("capabilities") or {}
    limits = capabilities.get("limits")
    limits = limits if isinstance(limits, dict) else {}
    billing, policy = wire.get("billing"), wire.get("policy")
    return {
        "id": model.id,
        "object": "model",
        "created": _CREATED,
        "owned_by": model.vendor or "github-copilot",
        "type": "model",
        "display_name": wire.get("name") or model.id,
        "created_at": _CREATED_AT,
        "lifecycle": "active",
        "max_input_tokens": limits.get("max_prompt_tokens"),
        "max_tokens": limits.get("max_output_tokens"),
        "name": wire.get("name") or model.id,
        "kind": model.kind,
        "endpoints": [endpoint for endpoint in model.endpoints if not endpoint.startswith("ws:")],
        "limits": limits,
        "supports": capabilities.get("supports") or {},
        "preview": bool(wire.get("preview", False)),
        "billing": billing if isinstance(billing, dict) else {},
        # Without one the model's terms need no acceptance (copilot-wire 4.6).
        "policy": policy.get("state") if isinstance(policy, dict) else None,
        "is_default": model.id == default_id,
    }
