"""The three dialects of chat completions, whole and streamed: GPT with Azure's filter results, Claude with its split
choices, Gemini (copilot-wire 5.2, 5.3). It turns a Reply into JSON and knows nothing of requests."""

import base64
import secrets
import time
from collections.abc import Iterator

from copilotapi.simulator.answers import DONE, JSON, event
from copilotapi.simulator.catalogue import Model
from copilotapi.simulator.replies import Reply, fragments, pieces

_CATEGORIES = ("hate", "self_harm", "sexual", "violence")


def whole(reply: Reply, model: Model) -> JSON:
    match model.style:
        case "claude":
            return _identity(model) | {"choices": _split_choices(reply), "usage": _short_usage(reply)}
        case "gemini":
            choices = [{"finish_reason": reply.finish, "message": _message(reply) | _thinking(reply)}]
            return _identity(model) | {"choices": choices, "usage": _short_usage(reply)}
    choice: JSON = {
        "index": 0,
        "message": {"refusal": None} | _message(reply),
        "finish_reason": reply.finish,
        "logprobs": None,
    }
    choice |= {"content_filter_results": _filtered(reply)}
    shape = {"object": "chat.completion", "system_fingerprint": "fp_simulator"}
    return _identity(model) | shape | {"choices": [choice], "usage": _usage(reply)} | _prompt_filter()


def events(reply: Reply, model: Model, wants_usage: bool) -> Iterator[bytes]:
    match model.style:
        case "claude":
            yield from _claude_events(reply, model)
        case "gemini":
            yield from _gemini_events(reply, model)
        case _:
            yield from _gpt_events(reply, model, wants_usage)
    yield DONE


def _message(reply: Reply) -> JSON:
    calls = {"tool_calls": _tool_calls(reply)} if reply.calls else {}
    return {"role": "assistant", "content": reply.text or None} | calls


def _split_choices(reply: Reply) -> list[JSON]:
    """Claude's turn: a choice for the text, one more for each tool call, none of them numbered (copilot-wire 5.2)."""
    spoken = {"role": "assistant", "content": reply.text} | _thinking(reply)
    called = [{"role": "assistant", "tool_calls": [one]} for one in _tool_calls(reply)]
    return [{"finish_reason": reply.finish, "message": message} for message in (spoken, *called)]


def _gpt_events(reply: Reply, model: Model, wants_usage: bool) -> Iterator[bytes]:
    opening = {"choices": [], "created": 0, "id": "", "model": "", "object": ""}
    yield event(opening | _prompt_filter())
    shape = _identity(model) | {"object": "chat.completion.chunk", "system_fingerprint": "fp_simulator", "usage": None}

    def chunk(delta: JSON, finish: str | None = None, filtered: JSON | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "content_filter_results": filtered or {}, "finish_reason": finish}
        return event({"choices": [choice | {"logprobs": None}]} | shape)

    yield chunk({"content": None if reply.calls else "", "refusal": None, "role": "assistant"})
    for piece in pieces(reply.text):
        yield chunk({"content": piece}, filtered=_prompt_filter()["prompt_filter_results"][0]["content_filter_results"])
    for index, call in enumerate(reply.calls):
        function = {"name": call.name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]})
        for fragment in fragments(call.arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": fragment}}]})
    yield chunk({}, reply.finish, _filtered(reply) if reply.finish == "content_filter" else None)
    if wants_usage:
        yield event(shape | {"choices": [], "usage": _usage(reply)})


def _claude_events(reply: Reply, model: Model) -> Iterator[bytes]:
    """No `object`, unnumbered choices, and every tool call says it is number 0 (copilot-wire 5.3)."""
    identity = _identity(model)
    for delta in _spoken_deltas(reply):
        yield event({"choices": [{"delta": delta}]} | identity)
    for call in reply.calls:
        opening = {"index": 0, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        yield event({"choices": [{"delta": {"content": None, "tool_calls": [opening]}}]} | identity)
        for fragment in fragments(call.arguments):
            part = {"index": 0, "function": {"arguments": fragment}, "type": "function"}
            yield event({"choices": [{"delta": {"content": None, "tool_calls": [part]}}]} | identity)
    finish = {"finish_reason": reply.finish, "delta": {"content": None}}
    yield event({"choices": [finish]} | identity | {"usage": _short_usage(reply)})


def _gemini_events(reply: Reply, model: Model) -> Iterator[bytes]:
    """As Claude's, but each tool call comes whole and with its own number."""
    identity = _identity(model)
    for delta in _spoken_deltas(reply):
        yield event({"choices": [{"delta": delta}]} | identity)
    for index, call in enumerate(_tool_calls(reply)):
        delta = {"role": "assistant", "content": None, "tool_calls": [{"index": index} | call]}
        yield event({"choices": [{"delta": delta}]} | identity)
    finish = {"finish_reason": reply.finish, "delta": {"role": "assistant", "content": None}}
    yield event({"choices": [finish]} | identity | {"usage": _short_usage(reply)})


def _spoken_deltas(reply: Reply) -> Iterator[JSON]:
    for piece in pieces(reply.thought):
        yield {"role": "assistant", "content": None, "reasoning_text": piece}
    if reply.thought:
        yield {"role": "assistant", "content": None, "reasoning_opaque": _opaque(reply)}
    for piece in pieces(reply.text):
        yield {"role": "assistant", "content": piece}


def _identity(model: Model) -> JSON:
    if model.style == "claude":
        return {"created": int(time.time()), "id": f"msg_01{secrets.token_hex(11)}", "model": model.id}
    return {"created": int(time.time()), "id": f"chatcmpl-{secrets.token_hex(14)}", "model": model.id}


def _usage(reply: Reply) -> JSON:
    zeros = ("accepted_prediction_tokens", "audio_tokens", "reasoning_tokens", "rejected_prediction_tokens")
    return {
        "completion_tokens": reply.completion_tokens,
        "completion_tokens_details": dict.fromkeys(zeros, 0),
        "prompt_tokens": reply.prompt_tokens,
        "prompt_tokens_details": {"audio_tokens": 0, "cached_tokens": 0},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _short_usage(reply: Reply) -> JSON:
    return {
        "completion_tokens": reply.completion_tokens,
        "prompt_tokens": reply.prompt_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }


def _filtered(reply: Reply) -> JSON:
    results: JSON = {category: {"filtered": False, "severity": "safe"} for category in _CATEGORIES}
    if reply.finish == "content_filter":
        results["violence"] = {"filtered": True, "severity": "high"}
    return results


def _prompt_filter() -> JSON:
    results = {category: {"filtered": False, "severity": "safe"} for category in _CATEGORIES}
    return {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": results}]}


def _tool_calls(reply: Reply) -> list[JSON]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in reply.calls
    ]


def _thinking(reply: Reply) -> JSON:
    if not reply.thought:
        return {}
    return {"reasoning_text": reply.thought, "reasoning_opaque": _opaque(reply)}


def _opaque(reply: Reply) -> str:
    return base64.b64encode(f"opaque:{reply.thought}".encode()).decode()
