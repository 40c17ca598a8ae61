"""The list of models in Copilot's own schema, as editors read it at the root's /models (copilot-wire 4.4).

Copilot's own objects pass, less what the gateway does not serve; what an editor cannot start without is filled in.
"""

from collections.abc import Mapping
from typing import Any

from werkzeug.datastructures import Headers

from copilotapi.protocols.conversation import JSON
from copilotapi.upstream.models import Model

_EDITOR_HEADERS = ("Copilot-Integration-Id", "Editor-Version")
# What editors take for the engine when no model is of this type (copilot-wire 9.1).
_ENGINE = Model("gpt-41-copilot", "completion", "Azure OpenAI", (), "o200k_base", {"name": "GPT-4.1 Copilot"})


def is_editor(headers: Headers) -> bool:
    """Whether Copilot's schema is expected rather than OpenAI's: no OpenAI client sends these headers."""
    return any(name in headers for name in _EDITOR_HEADERS)


def encode_models(models: Mapping[str, Model]) -> JSON:
    """With one chat default, one chat fallback and a completion model, whatever the account lists."""
    listed = [encode_model(model) for model in models.values()]
    if not any(model.kind == "completion" for model in models.values()):
        listed.append(encode_model(_ENGINE))
    chats = [wire for wire in listed if wire["capabilities"]["type"] == "chat"]
    for flag in ("is_chat_default", "is_chat_fallback"):
        if chats and not any(wire.get(flag) is True for wire in chats):
            chats[0][flag] = True
    return {"object": "list", "data": listed}


def encode_model(model: Model) -> JSON:
    """Copilot's object; a handler's model tells little, and gets the rest of the fields an editor checks."""
    wire: dict[str, Any] = dict(model.wire)
    capabilities = wire.get("capabilities")
    return {
        "name": model.id,
        "vendor": model.vendor or "CopilotAPI",
        "version": model.id,
        "preview": False,
        "model_picker_enabled": model.kind == "chat",
        "is_chat_default": False,
        "is_chat_fallback": False,
        **wire,
        "id": model.id,
        "object": "model",
        **_endpoints(model),
        "capabilities": {
            "object": "model_capabilities",
            "family": model.id,
            "tokenizer": model.tokenizer,
            "limits": {},
            "supports": {"streaming": True},
            **(capabilities if isinstance(capabilities, dict) else {}),
            "type": model.kind,
        },
    }


def _endpoints(model: Model) -> JSON:
    """A WebSocket is nothing the gateway speaks."""
    served = [endpoint for endpoint in model.endpoints if not endpoint.startswith("ws:")]
    return {"supported_endpoints": served} if model.kind == "chat" else {}
