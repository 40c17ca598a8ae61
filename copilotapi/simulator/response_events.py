"""Answers of /responses, whole and streamed, with the ids that change in every event (copilot-wire 6.3). It turns a
Reply into JSON and knows nothing of requests."""

import base64
import itertools
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

from copilotapi.simulator.answers import JSON, event
from copilotapi.simulator.prompts import token_count
from copilotapi.simulator.replies import Reply, ToolCall, copilot_usage, fragments, pieces

_ID_BYTES = 180


@dataclass(frozen=True, slots=True)
class Form:
    """How the answer is to look; without `shows_summary` reasoning items have an empty summary, as Copilot's often do."""

    model_id: str
    shows_summary: bool
    encrypts_reasoning: bool


def whole(reply: Reply, form: Form) -> JSON:
    return _response(reply, form, _final_status(reply), _output(reply, form))


def events(reply: Reply, form: Form) -> Iterator[bytes]:
    """The named events of a stream, numbered; no [DONE] follows."""
    for number, (name, body) in enumerate(_named_events(reply, form)):
        yield event({"type": name, "sequence_number": number} | body, name)


def error_event(code: str, message: str) -> bytes:
    failed = {
        "id": _opaque_id(),
        "object": "response",
        "created_at": int(time.time()),
        "status": "failed",
        "error": {"code": code, "message": message},
        "incomplete_details": None,
        "output": [],
        "usage": None,
    }
    return event({"type": "response.failed", "response": failed}, "response.failed")


def _named_events(reply: Reply, form: Form) -> Iterator[tuple[str, JSON]]:
    for name in ("response.created", "response.in_progress"):
        yield name, {"response": _response(reply, form, "in_progress", [])}
    indices = itertools.count()
    if reply.thought:
        yield from _reasoning_events(reply, form, next(indices))
    if reply.text:
        yield from _message_events(reply, next(indices))
    for call in reply.calls:
        yield from _call_events(call, next(indices))
    status = _final_status(reply)
    yield f"response.{status}", {"response": _response(reply, form, status, _output(reply, form))}


def _reasoning_events(reply: Reply, form: Form, index: int) -> Iterator[tuple[str, JSON]]:
    yield "response.output_item.added", {"output_index": index, "item": _reasoning_item(reply, form, summarised=False)}
    if form.shows_summary:
        yield "response.reasoning_summary_part.added", _at(index, summary_index=0, part=_summary(""))
        for piece in pieces(reply.thought):
            yield "response.reasoning_summary_text.delta", _at(index, summary_index=0, delta=piece)
        yield "response.reasoning_summary_text.done", _at(index, summary_index=0, text=reply.thought)
        yield "response.reasoning_summary_part.done", _at(index, summary_index=0, part=_summary(reply.thought))
    item = _reasoning_item(reply, form, summarised=form.shows_summary)
    yield "response.output_item.done", {"output_index": index, "item": item}


def _message_events(reply: Reply, index: int) -> Iterator[tuple[str, JSON]]:
    yield "response.output_item.added", {"output_index": index, "item": _message_item(None, "in_progress")}
    yield "response.content_part.added", _at(index, content_index=0, part=_output_text(""))
    for piece in pieces(reply.text):
        yield "response.output_text.delta", _at(index, content_index=0, delta=piece)
    yield "response.output_text.done", _at(index, content_index=0, text=reply.text)
    yield "response.content_part.done", _at(index, content_index=0, part=_output_text(reply.text))
    yield "response.output_item.done", {"output_index": index, "item": _message_item(reply.text, "completed")}


def _call_events(call: ToolCall, index: int) -> Iterator[tuple[str, JSON]]:
    yield "response.output_item.added", {"output_index": index, "item": _call_item(call, "", "in_progress")}
    for fragment in fragments(call.arguments):
        yield "response.function_call_arguments.delta", _at(index, delta=fragment)
    yield "response.function_call_arguments.done", _at(index, arguments=call.arguments)
    yield "response.output_item.done", {"output_index": index, "item": _call_item(call, call.arguments, "completed")}


def _at(output_index: int, **more: object) -> JSON:
    return {"item_id": _opaque_id(), "output_index": output_index} | more


def _opaque_id() -> str:
    return base64.b64encode(secrets.token_bytes(_ID_BYTES)).decode()


def _final_status(reply: Reply) -> str:
    return "incomplete" if reply.finish in ("length", "content_filter") else "completed"


def _response(reply: Reply, form: Form, status: str, output: list[JSON]) -> JSON:
    reason = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reply.finish)
    is_over = status != "in_progress"
    return {
        "id": _opaque_id(),
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "model": form.model_id,
        "error": None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "output": output,
        "store": False,
        "usage": _usage(reply) if is_over else None,
    } | ({"copilot_usage": copilot_usage(reply)} if is_over else {})


def _output(reply: Reply, form: Form) -> list[JSON]:
    items = [_reasoning_item(reply, form, summarised=form.shows_summary)] if reply.thought else []
    items += [_message_item(reply.text, "completed")] if reply.text else []
    return items + [_call_item(call, call.arguments, "completed") for call in reply.calls]


def _reasoning_item(reply: Reply, form: Form, *, summarised: bool) -> JSON:
    item = {"type": "reasoning", "id": _opaque_id(), "summary": [_summary(reply.thought)] if summarised else []}
    if form.encrypts_reasoning:
        item["encrypted_content"] = base64.b64encode(f"encrypted:{reply.thought}".encode()).decode()
    return item


def _message_item(text: str | None, status: str) -> JSON:
    content = [] if text is None else [_output_text(text)]
    return {"type": "message", "id": _opaque_id(), "status": status, "role": "assistant", "content": content}


def _call_item(call: ToolCall, arguments: str, status: str) -> JSON:
    named = {"call_id": call.id, "name": call.name, "arguments": arguments}
    return {"type": "function_call", "id": _opaque_id(), "status": status} | named


def _summary(text: str) -> JSON:
    return {"type": "summary_text", "text": text}


def _output_text(text: str) -> JSON:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage(reply: Reply) -> JSON:
    return {
        "input_tokens": reply.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": token_count(len(reply.thought))},
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
    }
