"""A whole answer of Responses: Copilot's defects repaired (copilot-wire 6.2, 6.3, state 2026-11)."""

from typing import Any

import orjson

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.protocols.responses.envelope import required_fields
from copilotapi.protocols.responses.failure import told_error
from copilotapi.protocols.responses.functions import restored_item
from copilotapi.protocols.responses.names import item_id
from copilotapi.protocols.responses.request import summary_text
from copilotapi.protocols.responses.usage import completed_usage, decode_usage
from copilotapi.sse import load

_FINISHED = ("completed", "incomplete")
_TERMINAL = ("response.completed", "response.incomplete")


def repair_answer(body: Any, *, choice_count: int, answer_id: str, created: int) -> tuple[JSON, Usage | None]:
    """The answer a strict client expects, and Copilot's usage if it gave one.

    The very object that came is returned unchanged when nothing was to repair. `answer_id` and `created` (unix time)
    fill gaps. ApiError when it tells of a failure, UpstreamFailed when it is no finished answer.
    """
    if isinstance(body, dict) and (body.get("status") in ("failed", "cancelled") or body.get("error")):
        raise told_error(body.get("error"))
    if not isinstance(body, dict) or not isinstance(body.get("output"), list):
        raise UpstreamFailed("Copilot's answer is not a response.", code="upstream_bad_response")
    repaired = required_fields() | {name: value for name, value in body.items() if name != "copilot_usage"}
    repaired["id"] = body.get("id") or answer_id
    repaired["object"] = "response"
    repaired["created_at"] = body.get("created_at") or created
    repaired["status"] = body.get("status") or "completed"
    if repaired["status"] not in _FINISHED:
        raise UpstreamFailed("Copilot's answer is not finished.", code="upstream_bad_response")
    items = [item for item in body["output"] if isinstance(item, dict)]
    repaired["output"] = [_complete(item, f"{repaired['id']}.{index}") for index, item in enumerate(items)]
    usage = decode_usage(body.get("usage"))
    if usage is not None:
        repaired["usage"] = completed_usage(body["usage"])
    return (body if repaired == body else repaired), usage


def fold(frames: bytes) -> JSON:
    """The whole answer that a repaired stream ends with. UpstreamFailed when it has no end."""
    for frame in reversed(load(frames)):
        event = orjson.loads(frame.data) if frame.data is not None else {}
        if event.get("type") in _TERMINAL:
            response: JSON = event["response"]
            return response
    raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")


def answer_text(answer: JSON) -> str:
    """What the model wrote: text, reasoning and tool input, for counting."""
    written: list[str] = []
    for item in answer["output"]:
        content = item.get("content")
        parts = [part for part in (content if isinstance(content, list) else ()) if isinstance(part, dict)]
        written += [str(part.get("text") or part.get("refusal") or "") for part in parts]
        if item.get("type") == "reasoning":
            written.append(summary_text(item))
        written += [str(item.get(name) or "") for name in ("name", "arguments", "input")]
    return "".join(written)


def _complete(item: JSON, seed: str) -> JSON:
    """With an id and, if it is reasoning, a summary; a call as the caller's tools call for."""
    kind = item.get("type")
    completed = {**item, "id": item.get("id") or item_id(str(kind), seed)}
    if kind == "reasoning" and not isinstance(item.get("summary"), list):
        completed["summary"] = []
    return restored_item(completed)
