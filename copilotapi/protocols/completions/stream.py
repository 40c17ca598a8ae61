"""A completion stream on its way from Copilot: the fields it leaves out put in, its end told from a cut.

Copilot's completion proxy sends chunks without id, object, created and model, some without text (copilot-wire 9.1).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols.completions.encode import encode_usage
from copilotapi.protocols.conversation import JSON, Delta, Finished, FinishReason, Started, TextDelta, Usage
from copilotapi.sse import Frame, FrameBuffer, Read, dump, joined, load

_SAMPLE_BYTES = 2048
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length", "content_filter": "content_filter"}
_COMPLETE = re.compile(rb'"object": ?"text_completion"')


@dataclass
class Tally:
    """What the stream has told so far. `answer_id`, `model` and `created` fill what its chunks leave out."""

    usage: Usage | None = None
    model: str = ""
    answer_id: str = ""
    created: int = 0
    is_complete: bool = False
    relayed_bytes: int = 0
    sample: bytearray = field(default_factory=bytearray)


def new_tally(*, answer_id: str, model: str, created: int) -> Tally:
    return Tally(answer_id=answer_id, model=model, created=created)


def repair_stream(
    read: Read,
    tally: Tally,
    *,
    choice_count: int,
    wants_usage: bool,
    estimate: Callable[[], Usage],
) -> Iterator[bytes | None]:
    """Bytes of whole frames, one piece per block; None where there is nothing to forward for now.

    Usage is told once, before [DONE], and only to a caller who wants it: Copilot's own numbers, else `estimate`.
    ApiError when the stream tells of one, UpstreamFailed when it ends without its [DONE].
    """
    frames = FrameBuffer()
    told_usage = estimate if wants_usage else None
    while (block := read()) != b"":
        if block is None:
            yield None
            continue
        region = frames.feed(block)
        tally.relayed_bytes += len(region)
        if len(tally.sample) < _SAMPLE_BYTES:
            tally.sample += region
        yield from joined(_repaired(frame, tally, told_usage) for frame in load(region))
        if tally.is_complete:
            return
    raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")


def decode_stream(pieces: Iterable[bytes | None]) -> Iterator[Delta | None]:
    """What `repair_stream` yields for one choice, as deltas."""
    reason: FinishReason = "stop"
    started = False
    for piece in pieces:
        if piece is None:
            yield None
            continue
        for chunk in filter(None, map(_chunk, load(piece))):
            if not started:
                started = True
                yield Started(chunk["id"], chunk["model"])
            for choice in chunk["choices"]:
                if choice["text"]:
                    yield TextDelta(choice["text"])
                reason = _REASONS.get(choice["finish_reason"] or "", reason)
    yield Finished(reason)


def fold(frames: bytes) -> JSON:
    """The whole answer that a repaired stream tells."""
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    envelope: JSON = {}
    for frame in load(frames):
        chunk = _chunk(frame)
        if chunk is None:
            continue
        envelope = envelope or chunk
        for choice in chunk["choices"]:
            index = choice["index"]
            texts[index] = texts.get(index, "") + choice["text"]
            reasons[index] = choice.get("finish_reason") or reasons.get(index, "")
    choices = [
        {"text": text, "index": index, "logprobs": None, "finish_reason": reasons[index] or "stop"}
        for index, text in sorted(texts.items())
    ]
    return {name: envelope.get(name) for name in ("id", "object", "created", "model")} | {"choices": choices}


def repair_answer(body: Any, *, choice_count: int, answer_id: str, created: int) -> tuple[JSON, Usage | None]:
    """A folded answer needs no repair; Copilot's completion proxy tells no usage."""
    return {**body, "id": body.get("id") or answer_id, "created": body.get("created") or created}, None


def written_text(frames: bytes) -> str:
    chunks = (_chunk(frame) for frame in load(frames))
    return "".join(str(choice.get("text") or "") for chunk in chunks if chunk for choice in chunk.get("choices") or ())


def answer_text(answer: JSON) -> str:
    return "".join(choice["text"] for choice in answer["choices"])


def _repaired(frame: Frame, tally: Tally, told_usage: Callable[[], Usage] | None) -> bytes:
    if tally.is_complete:
        return b""
    if frame.data is None:
        return frame.raw
    if frame.data.strip() == b"[DONE]":
        tally.is_complete = True
        return frame.raw if told_usage is None else _usage_frame(tally, told_usage) + frame.raw
    chunk = _chunk(frame)
    if chunk is None:
        raise UpstreamFailed("Copilot's stream holds an unreadable event.", code="upstream_bad_response")
    if chunk.get("error"):
        told = chunk["error"] if isinstance(chunk["error"], dict) else {}
        message = str(told.get("message") or "Copilot broke off with an error.")[:1000]
        raise ApiError(message, status=502, kind="server_error", code=str(told.get("code") or "upstream_error"))
    if chunk.get("usage") is not None:
        tally.usage = _usage(chunk.pop("usage")) or tally.usage
        return dump(orjson.dumps(_completed(chunk, tally))) if chunk.get("choices") else b""
    return frame.raw if _is_complete(frame.data, chunk) else dump(orjson.dumps(_completed(chunk, tally)))


def _usage(told: object) -> Usage | None:
    counts = told if isinstance(told, dict) else {}
    prompt_tokens, completion_tokens = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not isinstance(prompt_tokens, int) or not isinstance(completion_tokens, int):
        return None
    return Usage(prompt_tokens, completion_tokens)


def _usage_frame(tally: Tally, estimate: Callable[[], Usage]) -> bytes:
    tally.usage = tally.usage or estimate()
    envelope = {"id": tally.answer_id, "object": "text_completion", "created": tally.created, "model": tally.model}
    return dump(orjson.dumps({**envelope, "choices": [], "usage": encode_usage(tally.usage)}))


def _is_complete(data: bytes, chunk: JSON) -> bool:
    return _COMPLETE.search(data) is not None and all(
        isinstance(choice, dict) and {"text", "index", "finish_reason"} <= choice.keys()
        for choice in chunk.get("choices") or ()
    )


def _completed(chunk: JSON, tally: Tally) -> JSON:
    choices = [choice for choice in chunk.get("choices") or () if isinstance(choice, dict)]
    return {
        **chunk,
        "id": chunk.get("id") or tally.answer_id,
        "object": "text_completion",
        "created": chunk.get("created") or tally.created,
        "model": chunk.get("model") or tally.model,
        "choices": [
            {
                **choice,
                "text": choice.get("text") or "",
                "index": choice.get("index", 0),
                "logprobs": choice.get("logprobs"),
                "finish_reason": choice.get("finish_reason"),
            }
            for choice in choices
        ],
    }


def _chunk(frame: Frame) -> JSON | None:
    if frame.data is None:
        return None
    try:
        chunk = orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        return None
    return chunk if isinstance(chunk, dict) and isinstance(chunk.get("choices", []), list) else None
