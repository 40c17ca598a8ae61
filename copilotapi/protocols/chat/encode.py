"""A chat answer of our own making, written as OpenAI writes it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import orjson

from copilotapi.protocols.chat.reasoning import encode_reasoning, extend, packed
from copilotapi.protocols.chat.usage import encode_usage
from copilotapi.protocols.conversation import (
    JSON,
    Completion,
    Delta,
    Finished,
    Indexed,
    Reasoning,
    ReasoningDelta,
    Started,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStarted,
    Usage,
)
from copilotapi.sse import dump

_DONE = b"data: [DONE]\n\n"


def encode_stream(
    deltas: Iterable[Indexed], *, answer_id: str, model: str, created: int, usage: Callable[[], Usage] | None
) -> Iterator[bytes | None]:
    """`usage` is there where the caller asked for it; it is asked last, and goes out last.

    Opaque states of reasoning go out once, before the finish: clients join the strings of a field.
    """
    envelope = {"id": answer_id, "object": "chat.completion.chunk", "created": created, "model": model}
    calls: dict[int, int] = {}
    thoughts: dict[int, list[Reasoning]] = {}
    for indexed in deltas:
        if indexed is None:
            yield None
            continue
        index, delta = indexed
        if isinstance(delta, ToolUseStarted):
            calls[index] = calls.get(index, -1) + 1
        elif isinstance(delta, ReasoningDelta):
            extend(thoughts.setdefault(index, []), delta)
            if not delta.text:
                yield None
                continue
        elif isinstance(delta, Finished) and (opaque := packed(thoughts.get(index, []))):
            yield _chunk(envelope, index, {"reasoning_opaque": opaque}, None)
        encoded, reason = _delta(delta, calls.get(index, 0))
        yield _chunk(envelope, index, encoded, reason)
    if usage is not None:
        yield dump(orjson.dumps({**envelope, "choices": [], "usage": encode_usage(usage())}))
    yield _DONE


def encode_response(completions: Mapping[int, Completion], *, answer_id: str, model: str, created: int) -> JSON:
    """Without usage: whoever counts adds it."""
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [_choice(index, completion) for index, completion in sorted(completions.items())],
    }


def _chunk(envelope: JSON, index: int, delta: JSON, reason: str | None) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
    return dump(orjson.dumps({**envelope, "choices": [choice]}))


def _delta(delta: Delta, call_index: int) -> tuple[JSON, str | None]:
    match delta:
        case Started():
            return {"role": "assistant", "content": ""}, None
        case TextDelta(text):
            return {"content": text}, None
        case ReasoningDelta(text, _):
            return {"reasoning_text": text}, None
        case ToolUseStarted(call_id, name):
            function = {"name": name, "arguments": ""}
            return {
                "tool_calls": [{"index": call_index, "id": call_id, "type": "function", "function": function}]
            }, None
        case ToolInputDelta(text):
            return {"tool_calls": [{"index": call_index, "function": {"arguments": text}}]}, None
        case Finished(reason, _):
            return {}, reason


def _choice(index: int, completion: Completion) -> JSON:
    text = "".join(part.text for part in completion.parts if isinstance(part, Text))
    message: JSON = {"role": "assistant", "content": text or None}
    message |= encode_reasoning(part for part in completion.parts if isinstance(part, Reasoning))
    calls = [part for part in completion.parts if isinstance(part, ToolUse)]
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.input_json}}
            for call in calls
        ]
    else:
        message["content"] = text
    return {"index": index, "message": message, "finish_reason": completion.reason, "logprobs": None}
