"""A whole chat answer: Copilot's defects repaired, each in a function of its own (copilot-wire 5.2, state 2026-11)."""

from typing import Any

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.chat.choices import merge, strongest
from copilotapi.protocols.chat.usage import decode_usage
from copilotapi.protocols.conversation import JSON, Usage

_BILLING_FIELDS = ("prompt_filter_results", "copilot_usage")


def repair_answer(body: Any, *, choice_count: int, answer_id: str, created: int) -> tuple[JSON, Usage | None]:
    """The answer a strict client expects, and Copilot's usage if it gave one.

    The very object that came is returned unchanged when nothing was to repair. `answer_id` and `created` (unix time)
    fill gaps. UpstreamFailed when it is no chat answer at all.
    """
    if not isinstance(body, dict) or not isinstance(body.get("choices"), list) or not body["choices"]:
        raise UpstreamFailed("Copilot's answer is not a chat completion.", code="upstream_bad_response")
    repaired = dict(body)
    for name in _BILLING_FIELDS:
        repaired.pop(name, None)
    repaired["object"] = "chat.completion"
    repaired["id"] = body.get("id") or answer_id
    repaired["created"] = body.get("created") or created
    choices = [_complete(choice) for choice in body["choices"] if isinstance(choice, dict)]
    repaired["choices"] = _numbered(choices if choice_count > 1 else [_merged(choices)])
    return (body if repaired == body else repaired), decode_usage(body.get("usage"))


def fold(frames: bytes) -> JSON:
    """Chat answers come whole when they are asked for whole."""
    raise UpstreamFailed("Copilot answered with a stream that nobody asked for.", code="upstream_bad_response")


def answer_text(answer: JSON) -> str:
    """What the model wrote: text, reasoning and tool input, for counting."""
    written: list[str] = []
    for choice in answer["choices"]:
        message = choice["message"]
        written += [message.get("content") or "", message.get("reasoning_text") or ""]
        for call in message.get("tool_calls") or ():
            function = call.get("function") or {}
            written += [str(function.get("name", "")), str(function.get("arguments", ""))]
    return "".join(written)


def _complete(choice: JSON) -> JSON:
    """Azure's filter verdicts out; the fields in that every OpenAI message has."""
    kept = {name: value for name, value in choice.items() if name != "content_filter_results"}
    message = choice.get("message")
    kept["message"] = {"role": "assistant", "content": None, **(message if isinstance(message, dict) else {})}
    return kept


def _merged(choices: list[JSON]) -> JSON:
    """One turn that came as several choices; `stop` with calls in it is `tool_calls`."""
    if not choices:
        raise UpstreamFailed("Copilot's answer holds no choice.", code="upstream_bad_response")
    message = merge(choice["message"] for choice in choices)
    reason = strongest(choice.get("finish_reason") for choice in choices)
    if message.get("tool_calls") and reason in (None, "stop"):
        reason = "tool_calls"
    return {**choices[0], "message": message, "finish_reason": reason or "stop"}


def _numbered(choices: list[JSON]) -> list[JSON]:
    return [{**choice, "index": index, "logprobs": choice.get("logprobs")} for index, choice in enumerate(choices)]
