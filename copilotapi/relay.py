"""A request in the protocol Copilot speaks too: sent on, and its answer's bytes brought back, repaired and counted.

Knows neither Flask nor requests, and no protocol by name: a codec is a module of `protocols`.
"""

import logging
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol
from urllib.parse import quote

import orjson

from copilotapi.errors import ApiError, UpstreamFailed, UpstreamRefused
from copilotapi.protocols.conversation import (
    JSON,
    Completion,
    CompletionRequest,
    Conversation,
    Delta,
    Indexed,
    Usage,
)
from copilotapi.sse import Read
from copilotapi.token_count import TokenCounter
from copilotapi.upstream.client import Answer, CopilotClient, Hangup, Host, Outgoing, Waiting
from copilotapi.upstream.models import Catalogue

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Call:
    """A request as the HTTP side sees it. `body` is what was asked, `raw_body` the same as it came, until an answer begins.

    `headers` go on where Copilot is asked in the caller's own protocol; `warnings` collects what its answer will tell that
    is not quite as asked, `limits` the headers of Copilot's answer that pass although it is translated, `facts` what its
    log line will tell.
    """

    request_id: str
    key_id: str
    body: JSON = field(default_factory=dict)
    raw_body: bytes = b"{}"
    hangup: Hangup = field(default_factory=Hangup)
    refuses_fallback: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    limits: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Traits(Protocol):
    @property
    def initiator(self) -> str: ...
    @property
    def has_images(self) -> bool: ...


class Tally(Protocol):
    """What a stream has told so far; `sample` is its first frames, `relayed_bytes` the size of all."""

    usage: Usage | None
    relayed_bytes: int
    sample: bytearray


class Codec(Protocol):
    """A module of `protocols` that Copilot speaks too: what its requests mean, how its answers are repaired and written."""

    @property
    def ENDPOINT(self) -> str: ...  # the path, with {model} where the model is part of it
    @property
    def HOST(self) -> Host: ...
    @property
    def ID_PREFIX(self) -> str: ...
    @property
    def ALWAYS_STREAMS(self) -> bool: ...  # then a whole answer is folded from `fold(frames)`
    @property
    def FIELD_NAMES(self) -> Mapping[str, str]: ...  # chat's name of a field -> this protocol's, where they differ
    def check_request(self, body: JSON) -> None: ...
    def decode_request(self, body: JSON) -> Conversation: ...
    def decode_requests(self, body: JSON) -> list[Conversation] | list[CompletionRequest]: ...
    def wants_usage(self, body: JSON) -> bool: ...
    def losses(self, body: JSON) -> tuple[str, ...]: ...
    def encode_request(self, conversation: Conversation) -> JSON: ...
    def traits(self, body: JSON) -> Traits: ...
    def for_upstream(self, body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]: ...
    def remedy(self, code: str, message: str) -> Mapping[str, str]: ...
    def new_tally(self, *, answer_id: str, model: str, created: int) -> Any: ...
    def repair_stream(
        self,
        read: Read,
        tally: Any,
        *,
        choice_count: int,
        wants_usage: bool,
        estimate: Callable[[], Usage],
    ) -> Iterator[bytes | None]: ...
    def repair_answer(
        self, body: Any, *, choice_count: int, answer_id: str, created: int
    ) -> tuple[JSON, Usage | None]: ...
    def decode_stream(self, pieces: Iterable[bytes | None]) -> Iterator[Delta | None]: ...
    def encode_stream(
        self,
        deltas: Iterable[Indexed],
        *,
        answer_id: str,
        model: str,
        created: int,
        usage: Callable[[], Usage] | None,
    ) -> Iterator[bytes | None]: ...
    def encode_response(
        self, completions: Mapping[int, Completion], *, answer_id: str, model: str, created: int
    ) -> JSON: ...
    def fold(self, frames: bytes) -> JSON: ...
    def written_text(self, frames: bytes) -> str: ...
    def answer_text(self, answer: JSON) -> str: ...
    def encode_usage(self, usage: Usage) -> JSON: ...


class Source(Protocol):
    """Where an answer comes from. `finish` instead of `close` once all of it came: what it came over may serve again."""

    def clear_of_secrets(self, error: ApiError) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


@dataclass(slots=True)
class Opened:
    """An answer that has begun: its first bytes are here, so whatever failed before could still be told by a status."""

    headers: dict[str, str]
    first: bytes
    rest: Iterator[bytes | None]
    source: Source

    def to_its_end(self) -> Generator[bytes | None, None, None]:
        """All of it, for whoever makes another answer of it; closes its source in the end."""
        try:
            yield self.first
            yield from self.rest
        except ApiError as exc:
            self.source.clear_of_secrets(exc)
            raise
        else:
            self.source.finish()
        finally:
            self.source.close()


class Relay:
    """One request in the caller's own protocol on its way to Copilot and back: forwarded, repaired, counted.

    `renames` is what refusals have taught so far, by endpoint and model; shared by all relays of a gateway. `headers` go
    along as they are, before any of our own making.
    """

    def __init__(
        self,
        client: CopilotClient,
        catalogue: Catalogue,
        counter: TokenCounter,
        renames: dict[tuple[str, str], Mapping[str, str]],
        codec: Codec,
        body: JSON,
        call: Call,
        headers: Mapping[str, str],
    ) -> None:
        self.codec = codec
        self.call = call
        self.model = ""
        self.endpoint = codec.ENDPOINT
        self._headers = headers
        self._client = client
        self._catalogue = catalogue
        self._counter = counter
        self._renames = renames
        self._body = body
        self._is_streamed = bool(body.get("stream"))
        self._choice_count = body.get("n") or 1
        self._tally: Tally | None = None

    def open(self, model: str) -> Waiting[Opened]:
        """Sends the request for `model` and waits for the first bytes of the answer."""
        self.model = model
        self._tally = None
        answer, dropped = yield from self._post(model)
        self._tally = tally = self._new_tally()
        try:
            opened = yield from (self._streamed(answer, tally) if self._is_streamed else self._whole(answer, tally))
        except BaseException:
            answer.close()
            raise
        if dropped:
            opened.headers["X-CopilotAPI-Warnings"] = ", ".join(f"dropped:{name}" for name in dropped)
        return opened

    def usage(self) -> Usage | None:
        """Copilot's numbers, else an estimate, else None when no answer ever began."""
        if (tally := self._tally) is None:
            return None
        if tally.usage is None:
            tally.usage = self._estimate(tally)
        return tally.usage

    def estimated_input_tokens(self) -> int:
        """What the prompt counts by our own reckoning."""
        return self._counter.count(self.codec.decode_request(self._body), self._tokenizer())

    def _new_tally(self) -> Tally:
        is_stream = self._is_streamed or self.codec.ALWAYS_STREAMS
        answer_id = new_id(self.codec) if is_stream else ""
        tally: Tally = self.codec.new_tally(answer_id=answer_id, model=self.model, created=int(time.time()))
        return tally

    def _post(self, model: str) -> Waiting[tuple[Answer, tuple[str, ...]]]:
        """A refusal whose remedy is known is remembered for the model, and the request sent once more."""
        try:
            return (yield from self._send(model))
        except UpstreamRefused as exc:
            renames = self.codec.remedy(exc.upstream_code, exc.message) if exc.upstream_status == 400 else {}
            known = self._renames.get(self._learnt_for(model), {})
            if not renames or renames.items() <= known.items():
                raise
            # What was renamed to a name that is refused now was learnt wrongly, or of another day's model.
            kept = {name: other for name, other in known.items() if other not in renames}
            self._renames[self._learnt_for(model)] = {**kept, **renames}
            log.info("parameter_learnt", extra={"model": model, "renames": str(renames)})
        return (yield from self._send(model, attempts=1))

    def _learnt_for(self, model: str) -> tuple[str, str]:
        return self.endpoint, model

    def _send(self, model: str, attempts: Literal[1, 2] = 2) -> Waiting[tuple[Answer, tuple[str, ...]]]:
        renames = self._renames.get(self._learnt_for(model), {})
        upstream_body, dropped = self.codec.for_upstream(self._body, model, renames)
        traits = self.codec.traits(self._body)
        headers = {"X-Initiator": traits.initiator, **self._headers, "Content-Type": "application/json"}
        is_streamed = self._is_streamed or self.codec.ALWAYS_STREAMS
        headers["Accept"] = "text/event-stream" if is_streamed else "application/json"
        if traits.has_images:
            headers["Copilot-Vision-Request"] = "true"
        outgoing = Outgoing(
            path=self.codec.ENDPOINT.format(model=quote(model, safe="")),
            request_id=self.call.request_id,
            host=self.codec.HOST,
            body=self._payload(upstream_body),
            headers=headers,
        )
        return (yield from self._client.send(outgoing, self.call.hangup, attempts)), dropped

    def _payload(self, upstream_body: JSON) -> bytes:
        """The very bytes that came, where they are still there and nothing in them had to change."""
        came = self.call.body
        is_unchanged = (
            self.call.raw_body
            and len(came) == len(upstream_body)
            and all(
                value is upstream_body.get(name) or (name == "model" and value == upstream_body.get("model"))
                for name, value in came.items()
            )
        )
        return self.call.raw_body if is_unchanged else orjson.dumps(upstream_body)

    def _frames(self, answer: Answer, tally: Tally) -> Iterator[bytes | None]:
        content_type = answer.headers.get("Content-Type", "")
        if not content_type.lower().startswith("text/event-stream"):
            raise UpstreamFailed("Copilot did not answer with a stream.", code="upstream_bad_response")
        return self.codec.repair_stream(
            answer.read,
            tally,
            choice_count=self._choice_count,
            wants_usage=self.codec.wants_usage(self._body),
            estimate=partial(self._estimate, tally),
        )

    def _streamed(self, answer: Answer, tally: Tally) -> Waiting[Opened]:
        frames = self._frames(answer, tally)
        try:
            for piece in frames:
                if piece is not None:
                    return Opened(answer.passed_headers, piece, frames, answer)
                yield
        except ApiError as exc:
            answer.clear_of_secrets(exc)
            raise
        # Only if the codec broke its word: a stream without an end is an error to it.
        raise UpstreamFailed("Copilot's answer is empty.", code="upstream_bad_response")

    def _whole(self, answer: Answer, tally: Tally) -> Waiting[Opened]:
        received, parsed = yield from (self._folded(answer, tally) if self.codec.ALWAYS_STREAMS else _parsed(answer))
        repaired, usage = self.codec.repair_answer(
            parsed,
            choice_count=self._choice_count,
            answer_id="" if isinstance(parsed, dict) and parsed.get("id") else new_id(self.codec),
            created=int(time.time()),
        )
        headers = answer.passed_headers
        headers["X-CopilotAPI-Usage"] = "upstream" if usage else "estimate"
        tally.usage = usage or self._estimate(tally, self.codec.answer_text(repaired))
        if usage is None:
            repaired = {**repaired, "usage": self.codec.encode_usage(tally.usage)}
        unchanged = repaired is parsed
        return Opened(headers, received if unchanged else orjson.dumps(repaired), iter(()), answer)

    def _folded(self, answer: Answer, tally: Tally) -> Waiting[tuple[bytes, Any]]:
        pieces = bytearray()
        opened = Opened({}, b"", self._frames(answer, tally), answer)
        for piece in opened.to_its_end():
            if piece is None:
                yield
            else:
                pieces += piece
        return b"", self.codec.fold(bytes(pieces))

    def _estimate(self, tally: Tally, written: str | None = None) -> Usage:
        """From the text itself, or from a stream's first frames scaled to its whole size."""
        counter, tokenizer = self._counter, self._tokenizer()
        input_tokens = self.estimated_input_tokens()
        if written is not None:
            return Usage(input_tokens, counter.count_text(written, tokenizer), estimated=True)
        sample = bytes(tally.sample)
        output_tokens = counter.count_text(self.codec.written_text(sample), tokenizer) if sample else 0
        scale = tally.relayed_bytes / len(sample) if sample else 0
        return Usage(input_tokens, round(output_tokens * scale), estimated=True)

    def _tokenizer(self) -> str:
        model = self._catalogue.models().get(self.model)
        return model.tokenizer if model else "o200k_base"


def new_id(codec: Codec) -> str:
    """A name for an answer that has none, in the fashion of its protocol."""
    return f"{codec.ID_PREFIX}{random.getrandbits(128):032x}"


def _parsed(answer: Answer) -> Waiting[tuple[bytes, Any]]:
    """The body as it came, and what it says."""
    received = yield from answer.read_whole()
    try:
        return received, orjson.loads(received)
    except orjson.JSONDecodeError as exc:
        raise UpstreamFailed("Copilot's answer is not JSON.", code="upstream_bad_response") from exc
