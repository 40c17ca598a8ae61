"""A completion of our own making, as OpenAI and Copilot write it (copilot-wire 9.1)."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import orjson

from copilotapi.protocols.conversation import JSON, Completion, Finished, Indexed, Text, TextDelta, Usage
from copilotapi.sse import dump

_DONE = b"data: [DONE]\n\n"


def encode_stream(
    deltas: Iterable[Indexed], *, answer_id: str, model: str, created: int, usage: Callable[[], Usage] | None
) -> Iterator[bytes | None]:
    """Text and finishes only: a completion has no tools and no reasoning."""
    envelope = {"id": answer_id, "object": "text_completion", "created": created, "model": model}
    for indexed in deltas:
        if indexed is None:
            yield None
            continue
        index, delta = indexed
        match delta:
            case TextDelta(text):
                yield _chunk(envelope, index, text, None)
            case Finished(reason, _):
                yield _chunk(envelope, index, "", "stop" if reason == "tool_calls" else reason)
    if usage is not None:
        yield dump(orjson.dumps({**envelope, "choices": [], "usage": encode_usage(usage())}))
    yield _DONE


def encode_response(completions: Mapping[int, Completion], *, answer_id: str, model: str, created: int) -> JSON:
    """Without usage: whoever counts adds it."""
    return {
        "id": answer_id,
        "object": "text_completion",
        "created": created,
        "model": model,
        "choices": [
            {
                "text": "".join(part.text for part in completion.parts if isinstance(part, Text)),
                "index": index,
                "logprobs": None,
                "finish_reason": "stop" if completion.reason == "tool_calls" else completion.reason,
            }
            for index, completion in sorted(completions.items())
        ],
    }


def encode_usage(usage: Usage) -> JSON:
    counts: JSON = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.estimated:
        return {**counts, "estimated": True}
    cached, reasoning = {"cached_tokens": usage.cached_tokens}, {"reasoning_tokens": usage.reasoning_tokens}
    return {**counts, "prompt_tokens_details": cached, "completion_tokens_details": reasoning}


def _chunk(envelope: JSON, index: int, text: str, reason: str | None) -> bytes:
    choice = {"text": text, "index": index, "logprobs": None, "finish_reason": reason}
    return dump(orjson.dumps({**envelope, "choices": [choice]}))
