"""Anthropic's paths: messages, and the count of their tokens. Models are listed in `openai`, for both at once."""

from datetime import UTC, datetime

from flask import Blueprint, Request, Response, request

from copilotapi.blueprints.body import json_body
from copilotapi.blueprints.guard import KEY, access
from copilotapi.blueprints.http import Dialect, Responder, new_call
from copilotapi.blueprints.web_app import this_request
from copilotapi.gateway import Gateway
from copilotapi.protocols import messages, openai_errors
from copilotapi.relay import Call

_PREFIX = "/v1/messages"
_SHARED_PREFIX = "/v1/models"
# The one that Copilot is known to take (copilot-wire 7.2); Anthropic's client 2.11 asks for a later one, 2026-10-21.
_VERSION = "2023-06-01"


def build(gateway: Gateway, responder: Responder, max_body_bytes: int) -> Blueprint:
    anthropic = Blueprint("anthropic", __name__)

    @anthropic.post(_PREFIX)
    @access(KEY)
    def create_message() -> Response:
        incoming = this_request()
        body = json_body(incoming, max_body_bytes)
        call = new_call(incoming)
        _pass_headers(call)
        return responder.respond(
            gateway.complete(messages, body, call),
            is_streamed=bool(body.get("stream")),
            call=call,
            caller_socket=incoming.caller_socket,
            dialect=messages,
        )

    @anthropic.post(f"{_PREFIX}/count_tokens")
    @access(KEY)
    def count_tokens() -> Response:
        incoming = this_request()
        body = json_body(incoming, max_body_bytes)
        call = new_call(incoming)
        _pass_headers(call)
        opening = gateway.count_tokens(body, call)
        return responder.respond(
            opening, is_streamed=False, call=call, caller_socket=incoming.caller_socket, dialect=messages
        )

    @anthropic.after_request
    def tell_limits(response: Response) -> Response:
        told = {name.lower(): value for name, value in response.headers.items()}
        response.headers.update(messages.limit_headers(told, datetime.now(UTC)))
        return response

    return anthropic


def dialect_of(incoming: Request) -> Dialect:
    """Anthropic's words on its own paths, and on those it shares with OpenAI for its own clients."""
    is_its_own = incoming.path.startswith(_PREFIX)
    is_shared = incoming.path.startswith(_SHARED_PREFIX) and "anthropic-version" in incoming.headers
    return messages if is_its_own or is_shared else openai_errors


def _pass_headers(call: Call) -> None:
    """Puts Anthropic's own headers on the call, as far as Copilot takes them."""
    kept, dropped = messages.beta_header(request.headers.get("anthropic-beta", ""))
    call.headers = {
        "anthropic-version": _VERSION,
        "Openai-Intent": "messages-proxy",
        **({"anthropic-beta": kept} if kept else {}),
    }
    call.warnings += [f"dropped:anthropic-beta {name}" for name in dropped]
