"""Text completions: OpenAI's legacy path and the ones editors use, which name an engine."""

from flask import Blueprint, Response

from copilotapi.blueprints.body import json_body
from copilotapi.blueprints.guard import KEY, access
from copilotapi.blueprints.http import Responder, new_call
from copilotapi.blueprints.web_app import this_request
from copilotapi.gateway import Gateway
from copilotapi.protocols import completions
from copilotapi.protocols.conversation import JSON


def build(gateway: Gateway, responder: Responder, max_body_bytes: int, limits: completions.TokenLimits) -> Blueprint:
    blueprint = Blueprint("completions", __name__)

    @blueprint.post("/v1/completions")
    @blueprint.post("/completions")
    @access(KEY)
    def create_completion() -> Response:
        return answer({})

    @blueprint.post("/v1/engines/<engine>/completions")
    @blueprint.post("/engines/<engine>/completions")
    @blueprint.post("/proxy/v1/engines/<engine>/completions")
    @access(KEY)
    def create_engine_completion(engine: str) -> Response:
        """The engine of the path is the model, whatever the body says."""
        return answer({"model": engine})

    def answer(more: JSON) -> Response:
        incoming = this_request()
        body = {**json_body(incoming, max_body_bytes), **more}
        completions.check_request(body)
        body = completions.with_limits(body, limits)
        call = new_call(incoming)
        opening = gateway.complete(completions, body, call)
        return responder.respond(
            opening, is_streamed=bool(body.get("stream")), call=call, caller_socket=incoming.caller_socket
        )

    return blueprint
