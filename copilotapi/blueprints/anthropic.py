"""Anthropic's paths: messages, and the count of their tokens."""

from flask import Blueprint, Response, g, request

from copilotapi.blueprints.body import json_body
from copilotapi.blueprints.guard import KEY, access
from copilotapi.blueprints.http import Responder, new_call
from copilotapi.gateway import Gateway
from copilotapi.protocols import messages
from copilotapi.relay import Call

PREFIX = "/v1/messages"
_VERSION = "2023-06-01"


def build(gateway: Gateway, responder: Responder, max_body_bytes: int) -> Blueprint:
    anthropic = Blueprint("anthropic", __name__)

    @anthropic.post(PREFIX)
    @access(KEY)
    def create_message() -> Response:
        body = json_body(request, g.caller_socket, max_body_bytes)
        g.call = call = new_call()
        dropped = _pass_headers(call)
        response = responder.respond(
            gateway.complete(messages, body, call),
            is_streamed=bool(body.get("stream")),
            call=call,
            caller_socket=g.caller_socket,
            dialect=messages,
        )
        _warn(response, dropped)
        return response

    @anthropic.post(f"{PREFIX}/count_tokens")
    @access(KEY)
    def count_tokens() -> Response:
        body = json_body(request, g.caller_socket, max_body_bytes)
        g.call = call = new_call()
        _pass_headers(call)
        steps = gateway.count_tokens(body, call)
        return responder.respond(steps, is_streamed=False, call=call, caller_socket=g.caller_socket, dialect=messages)

    return anthropic


def _pass_headers(call: Call) -> tuple[str, ...]:
    """Puts Anthropic's own headers on the call, as far as Copilot takes them; the betas it does not are returned."""
    kept, dropped = messages.beta_header(request.headers.get("anthropic-beta", ""))
    call.headers = {
        "anthropic-version": request.headers.get("anthropic-version", _VERSION),
        "Openai-Intent": "messages-proxy",
        **({"anthropic-beta": kept} if kept else {}),
    }
    return dropped


def _warn(response: Response, dropped: tuple[str, ...]) -> None:
    warnings = [
        response.headers.get("X-CopilotAPI-Warnings", ""),
        *(f"dropped:anthropic-beta {name}" for name in dropped),
    ]
    if any(warnings):
        response.headers["X-CopilotAPI-Warnings"] = ", ".join(filter(None, warnings))
