"""CopilotAPI: a gateway in front of GitHub Copilot, and a completion server to embed. These are its public names.

They are loaded when they are first used: the simulator and the command line need few of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from copilotapi.app import create_app
    from copilotapi.handlers import CompletionHandler
    from copilotapi.protocols.conversation import (
        CompletionRequest,
        Conversation,
        Delta,
        Finished,
        Image,
        Message,
        Reasoning,
        ReasoningDelta,
        Started,
        Text,
        TextDelta,
        Tool,
        ToolInputDelta,
        ToolResult,
        ToolUse,
        ToolUseStarted,
        Usage,
    )
    from copilotapi.proxy import CopilotProxy
    from copilotapi.settings import Settings, SettingsError

_PLACES = {
    "create_app": "app",
    "CompletionHandler": "handlers",
    "CopilotProxy": "proxy",
    "Settings": "settings",
    "SettingsError": "settings",
}
_VOCABULARY = "protocols.conversation"

__all__ = [
    "CompletionHandler",
    "CompletionRequest",
    "Conversation",
    "CopilotProxy",
    "Delta",
    "Finished",
    "Image",
    "Message",
    "Reasoning",
    "ReasoningDelta",
    "Settings",
    "SettingsError",
    "Started",
    "Text",
    "TextDelta",
    "Tool",
    "ToolInputDelta",
    "ToolResult",
    "ToolUse",
    "ToolUseStarted",
    "Usage",
    "create_app",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES.get(name, _VOCABULARY)}"), name)
