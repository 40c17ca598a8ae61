"""A whole answer of Copilot's Claude endpoint: its additions taken out, its gaps filled (copilot-wire 7.4)."""

from typing import Any

import orjson

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.messages.errors import told_error
from copilotapi.protocols.messages.stream import without_additions
from copilotapi.protocols.messages.usage import decode_usage


def repair_answer(body: Any, *, choice_count: int, answer_id: str, created: int) -> tuple[JSON, Usage | None]:
    """The answer a strict client expects, and Copilot's usage if it gave one.

    The very object that came is returned unchanged when nothing was to repair. `answer_id` fills a gap. ApiError when it
    tells of an error, UpstreamFailed when it is no message at all.
    """
    if isinstance(body, dict) and (body.get("type") == "error" or body.get("error")):
        raise told_error(body.get("error"))
    if not isinstance(body, dict) or not isinstance(body.get("content"), list):
        raise UpstreamFailed("Copilot's answer is not a message.", code="upstream_bad_response")
    filled = {"type": "message", "role": "assistant", "stop_sequence": None} | without_additions(body)
    filled["id"] = body.get("id") or answer_id
    return (body if filled == body else filled), decode_usage(body.get("usage"))


def fold(frames: bytes) -> JSON:
    """Messages come whole when they are asked for whole."""
    raise UpstreamFailed("Copilot answered with a stream that nobody asked for.", code="upstream_bad_response")


def answer_text(answer: JSON) -> str:
    """What the model wrote: text, reasoning and tool input, for counting."""
    return "".join(_written(block) for block in answer["content"] if isinstance(block, dict))


def _written(block: JSON) -> str:
    match block:
        case {"type": "text", "text": str(text)} | {"type": "thinking", "thinking": str(text)}:
            return text
        case {"type": "tool_use"}:
            return str(block.get("name", "")) + orjson.dumps(block.get("input")).decode()
    return ""
