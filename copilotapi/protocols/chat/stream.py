"""A chat stream on its way to the caller: whole frames, Copilot's defects repaired, the end told from a cut.

Chunks like one that was parsed already go through by its skeleton, as the bytes they are where nothing was to repair;
all others are parsed (copilot-wire 5.3, state 2026-11).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols.chat.choices import merge, strongest
from copilotapi.protocols.chat.skeleton import Skeleton, skeleton_of
from copilotapi.protocols.chat.usage import decode_usage, encode_usage
from copilotapi.protocols.conversation import JSON, Usage
from copilotapi.sse import Frame, FrameBuffer, Read, as_frame, dump, frame_end, joined, load

_SAMPLE_BYTES = 2048
# What a stream's chunks tell word by word.
_TEXT_KEYS = ("content", "reasoning_text")


@dataclass(slots=True)
class Tally:
    """What a stream has told about itself so far; read it whenever the stream has ended, however it ended.

    `sample` holds the first frames as they came, `relayed_bytes` the size of all of them: enough to estimate by.
    `own_id` and `own_model` are for a stream that begins without its names.
    """

    own_id: str = ""
    own_model: str = ""
    usage: Usage | None = None
    model: str = ""
    answer_id: str = ""
    is_complete: bool = False
    relayed_bytes: int = 0
    sample: bytearray = field(default_factory=bytearray)

    def count(self, frames: bytes) -> None:
        self.relayed_bytes += len(frames)
        if len(self.sample) < _SAMPLE_BYTES:
            self.sample += frames


def new_tally(*, answer_id: str, model: str, created: int) -> Tally:
    return Tally(own_id=answer_id, own_model=model)


def repair_stream(
    read: Read,
    tally: Tally,
    *,
    choice_count: int,
    wants_usage: bool,
    estimate: Callable[[], Usage],
) -> Iterator[bytes | None]:
    """Bytes of whole frames, one piece per block read; None where there is nothing to forward for now.

    `estimate` is asked when the caller wants usage and Copilot gave none. Raises ApiError when the stream tells of an
    error, UpstreamFailed when it ends without [DONE] or cannot be read.
    """
    frames = FrameBuffer()
    repair = _Repair(tally, choice_count, wants_usage, estimate)
    while (block := read()) != b"":
        if block is None:
            yield None
            continue
        if (skeleton := repair.skeleton) is not None and not frames.rest and (alike := skeleton.one(block)):
            tally.relayed_bytes += len(block)
            if len(tally.sample) < _SAMPLE_BYTES:
                tally.sample += block
            yield alike
            continue
        region = frames.feed(block)
        if not region:
            yield None
            continue
        tally.count(region)
        if skeleton is not None:
            taken, end = skeleton.take(region, 0)
            if end == len(region):
                yield taken
                continue
        yield from joined(repair.region(region))
        if tally.is_complete:
            return
    if frames.rest.strip() == b"data: [DONE]":
        yield from joined(repair.region(frames.rest + b"\n\n"))
    else:
        raise UpstreamFailed("Copilot ended the stream before the answer was complete.", code="upstream_disconnected")


def written_text(frames: bytes) -> str:
    """What the model wrote in these frames: text, reasoning and tool input, for counting."""
    written: list[str] = []
    for frame in load(frames):
        for choice in _choices_of(frame):
            delta = choice.get("delta") or {}
            written += [delta.get("content") or "", delta.get("reasoning_text") or ""]
            written += [
                str((call.get("function") or {}).get("arguments", "")) for call in delta.get("tool_calls") or ()
            ]
    return "".join(written)


class _Repair:
    """The state of one stream. A frame like one that was repaired before, in the same state, is repaired by its `skeleton`."""

    def __init__(self, tally: Tally, choice_count: int, wants_usage: bool, estimate: Callable[[], Usage]) -> None:
        self._tally = tally
        self._single = choice_count == 1
        self._wants_usage = wants_usage
        self._estimate = estimate
        self._created = 0
        self._finishing: tuple[bytes, JSON] | None = None
        self._usage_sent = False
        self._calls = _ToolCalls()
        self._with_role: set[int] = set()
        self.skeleton: Skeleton | None = None

    def region(self, region: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(region) and not self._tally.is_complete:
            if self.skeleton is not None:
                frames, start = self.skeleton.take(region, start)
                if frames:
                    yield frames
                    continue
            end = frame_end(region, start)
            if region[start:end].strip(b"\r\n"):
                yield from self._frame(as_frame(region[start:end]))
            start = end

    def _state(self) -> tuple[object, ...]:
        """What the repair of a chunk depends on, but for the chunk."""
        tally = self._tally
        names = (tally.answer_id, tally.model, self._created)
        return names, tally.usage, len(self._with_role), self._calls.count, self._finishing is None

    def _frame(self, frame: Frame) -> Iterator[bytes]:
        if frame.data is None:
            yield frame.raw
            return
        if frame.data.strip() == b"[DONE]":
            yield from self._release_finish()
            yield from self._missing_usage()
            self._tally.is_complete = True
            yield frame.raw
            return
        chunk = _parsed(frame.data)
        if not chunk.get("choices"):
            yield from self._without_choices(frame.raw, chunk)
            return
        state = self._state()
        before = orjson.dumps(chunk)
        self._repair(chunk)
        after = orjson.dumps(chunk)
        raw = frame.raw if before == after else dump(after)
        yield from self._hold_finish(raw, chunk) if self._single else (raw,)
        if state == self._state() and self._finishing is None:
            self.skeleton = _skeleton(frame.raw, raw, chunk)

    def _without_choices(self, raw: bytes, chunk: JSON) -> Iterator[bytes]:
        """Filter verdicts, references and the like go no further; usage does if the caller asked for it."""
        usage = decode_usage(chunk.get("usage"))
        if usage is None:
            return
        self._tally.usage = usage
        yield from self._release_finish()
        if self._wants_usage:
            told = self._usage_chunk(chunk["usage"])
            is_clean = told == {name: value for name, value in chunk.items() if name != "system_fingerprint"}
            yield raw if is_clean else dump(orjson.dumps(told))

    def _repair(self, chunk: JSON) -> None:
        tally = self._tally
        tally.answer_id = tally.answer_id or _named(chunk, "id") or tally.own_id
        tally.model = tally.model or _named(chunk, "model") or tally.own_model
        self._created = self._created or chunk.get("created") or 0
        chunk["id"] = tally.answer_id
        chunk["object"] = "chat.completion.chunk"
        chunk["created"] = chunk.get("created") or self._created
        chunk["model"] = tally.model
        chunk.pop("copilot_usage", None)
        if usage := decode_usage(chunk.get("usage")):
            # Claude and Gemini put it on the chunk that finishes; OpenAI's place is a chunk of its own.
            tally.usage = usage
            del chunk["usage"]
        choices = [choice for choice in chunk["choices"] if isinstance(choice, dict)]
        chunk["choices"] = [_complete(choice) for choice in (_single(choices) if self._single else choices)]
        for choice in chunk["choices"]:
            self._calls.renumber(choice)
            self._tell_role_once(choice)

    def _tell_role_once(self, choice: JSON) -> None:
        """Claude's and Gemini's chunks all bear it, and OpenAI's SDKs join the strings of a field."""
        if "role" in choice["delta"]:
            if choice["index"] in self._with_role:
                choice["delta"] = {name: value for name, value in choice["delta"].items() if name != "role"}
            self._with_role.add(choice["index"])

    def _hold_finish(self, raw: bytes, chunk: JSON) -> Iterator[bytes]:
        """A finish is held for one frame: Claude's split choices finish before their tool calls have come."""
        choice = chunk["choices"][0]
        earlier, self._finishing = self._finishing, None
        if earlier is not None:
            if not choice["delta"] and choice["finish_reason"] is None:
                self._finishing = earlier
                yield raw
                return
            reasons = (earlier[1]["choices"][0]["finish_reason"], choice["finish_reason"])
            yield from _without_finish(*earlier)
            if choice["finish_reason"] is not None:
                choice["finish_reason"] = strongest(reasons)
                raw = dump(orjson.dumps(chunk))
        if choice["finish_reason"] is None:
            yield raw
        else:
            self._finishing = (raw, chunk)

    def _release_finish(self) -> Iterator[bytes]:
        if self._finishing is None:
            return
        raw, chunk = self._finishing
        self._finishing = None
        choice = chunk["choices"][0]
        if choice["finish_reason"] == "stop" and self._calls.count:
            choice["finish_reason"] = "tool_calls"
            raw = dump(orjson.dumps(chunk))
        yield raw

    def _missing_usage(self) -> Iterator[bytes]:
        if self._wants_usage and not self._usage_sent:
            self._tally.usage = self._tally.usage or self._estimate()
            yield dump(orjson.dumps(self._usage_chunk(encode_usage(self._tally.usage))))

    def _usage_chunk(self, usage: JSON) -> JSON:
        self._usage_sent = True
        return {
            "id": self._tally.answer_id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._tally.model,
            "choices": [],
            "usage": {name: value for name, value in usage.items() if name != "copilot_usage"},
        }


class _ToolCalls:
    """Numbers tool calls by their ids: the indexes of split choices all say 0 (copilot-wire 5.3)."""

    def __init__(self) -> None:
        self.count = 0
        self._ids: dict[str, int] = {}
        self._ours: dict[Any, int] = {}

    def renumber(self, choice: JSON) -> None:
        for call in choice["delta"].get("tool_calls") or ():
            theirs = call.get("index", 0)
            call_id = call.get("id")
            if call_id and call_id not in self._ids:
                self._ids[call_id] = self._ours[theirs] = self.count
                self.count += 1
            call["index"] = self._ids[call_id] if call_id else self._ours.get(theirs, max(self.count - 1, 0))


def _skeleton(raw: bytes, new: bytes, chunk: JSON) -> Skeleton | None:
    """Of a chunk that only goes on with a text: what else it tells is the same in those that look like it."""
    choices = chunk["choices"]
    if len(choices) != 1 or choices[0]["finish_reason"] is not None:
        return None
    delta = choices[0]["delta"]
    told = [key for key in _TEXT_KEYS if isinstance(delta.get(key), str)]
    calls = delta.get("tool_calls") or []
    if len(calls) == 1 and not calls[0].get("id") and not told:
        told = ["arguments"]
    return skeleton_of(raw, new, told[0]) if len(told) == 1 else None


def _parsed(data: bytes) -> JSON:
    """One chunk. ApiError when it is an error in the middle of a stream that began with 200."""
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError as exc:
        raise UpstreamFailed("Copilot's stream holds an unreadable event.", code="upstream_bad_response") from exc
    if not isinstance(chunk, dict):
        raise UpstreamFailed("Copilot's stream holds an unreadable event.", code="upstream_bad_response")
    if chunk.get("error"):
        raise _told_error(chunk["error"])
    if any(
        isinstance(choice, dict) and choice.get("finish_reason") == "error" for choice in chunk.get("choices") or ()
    ):
        raise UpstreamFailed("The model broke off with an error.", code="upstream_error")
    return chunk


def _told_error(told: object) -> ApiError:
    fields = told if isinstance(told, dict) else {"message": str(told)}
    message = str(fields.get("message") or "Copilot broke off with an error.")[:1000]
    code = fields.get("code")
    return ApiError(message, status=502, kind="server_error", code=str(code) if code else "upstream_error")


def _single(choices: list[JSON]) -> list[JSON]:
    """One choice was asked for: split ones are one, whatever index they bear."""
    if len(choices) <= 1:
        return [{**choice, "index": 0} for choice in choices]
    delta = merge(choice.get("delta") or {} for choice in choices)
    reason = strongest(choice.get("finish_reason") for choice in choices)
    return [{**choices[0], "index": 0, "delta": delta, "finish_reason": reason}]


def _complete(choice: JSON) -> JSON:
    return {
        **choice,
        "index": choice.get("index", 0),
        "delta": choice.get("delta") or {},
        "finish_reason": choice.get("finish_reason"),
    }


def _without_finish(raw: bytes, chunk: JSON) -> Iterator[bytes]:
    """The frame that seemed to finish, with what else it held; nothing when it held nothing else."""
    choice = chunk["choices"][0]
    if choice["delta"]:
        yield dump(orjson.dumps({**chunk, "choices": [{**choice, "finish_reason": None}]}))


def _named(chunk: JSON, name: str) -> str:
    value = chunk.get(name)
    return value if isinstance(value, str) else ""


def _choices_of(frame: Frame) -> list[JSON]:
    if frame.data is None or not frame.data.startswith(b"{"):
        return []
    try:
        choices = orjson.loads(frame.data).get("choices")
    except orjson.JSONDecodeError:
        return []
    return [choice for choice in choices or () if isinstance(choice, dict)]
