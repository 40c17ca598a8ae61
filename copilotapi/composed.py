"""An answer that is composed here from deltas: a handler's, or another model's in a protocol it does not speak."""

import time
from collections.abc import Iterator
from typing import TypedDict

import orjson

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import (
    JSON,
    Delta,
    Finished,
    Indexed,
    ReasoningDelta,
    TextDelta,
    ToolInputDelta,
    Usage,
    collect,
    interleave,
)
from copilotapi.relay import Call, Codec, Opened, new_id
from copilotapi.token_count import TokenCounter
from copilotapi.upstream.client import Waiting


class _Envelope(TypedDict):
    answer_id: str
    model: str
    created: int


class Composed:
    """`sources` give one choice each, Started to Finished. Stands where a Relay stands.

    `endpoint` names who is asked, for the log; `lost` what of the request is not told to them.
    """

    def __init__(
        self,
        codec: Codec,
        body: JSON,
        call: Call,
        counter: TokenCounter,
        sources: list[Iterator[Delta | None]],
        *,
        endpoint: str = "handler",
        lost: tuple[str, ...] = (),
    ) -> None:
        self.codec = codec
        self.call = call
        self.model = ""
        self.endpoint = endpoint
        self._headers = {"X-CopilotAPI-Warnings": ", ".join(f"dropped:{name}" for name in lost)} if lost else {}
        self._body = body
        self._counter = counter
        self._sources = sources
        self._has_begun = False
        self._told: list[Usage] = []
        self._written: list[str] = []

    def open(self, model: str) -> Waiting[Opened]:
        """Waits for the first bytes. Raises whatever the sources raise."""
        self.model = model
        try:
            if self._body.get("stream"):
                return (yield from self._streamed())
            return (yield from self._whole())
        except BaseException:
            self.close()
            raise

    def clear_of_secrets(self, error: ApiError) -> None:
        """None was sent to get it; where it was made of another answer, that one was cleared."""

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        for source in self._sources:
            close = getattr(source, "close", None)
            if close is not None:
                close()

    def usage(self) -> Usage | None:
        """What the sources told, else an estimate, else None when nothing ever came."""
        if not self._has_begun:
            return None
        if len(self._told) == len(self._sources):
            return Usage(
                input_tokens=sum(told.input_tokens for told in self._told),
                output_tokens=sum(told.output_tokens for told in self._told),
                cached_tokens=sum(told.cached_tokens for told in self._told),
                reasoning_tokens=sum(told.reasoning_tokens for told in self._told),
                estimated=any(told.estimated for told in self._told),
            )
        return Usage(self.estimated_input_tokens(), self._counter.count_text("".join(self._written)), estimated=True)

    def estimated_input_tokens(self) -> int:
        """What the prompt counts by our own reckoning."""
        return self._counter.count(self.codec.decode_request(self._body))

    def _streamed(self) -> Waiting[Opened]:
        wants_usage = self.codec.wants_usage(self._body)
        pieces = self.codec.encode_stream(
            self._counted(), **self._envelope(), usage=self._known_usage if wants_usage else None
        )
        first = b""
        for piece in pieces:
            if piece is None:
                yield
                continue
            first = piece
            break
        return Opened({**self._headers}, first, pieces, self)

    def _whole(self) -> Waiting[Opened]:
        collected: dict[int, list[Delta]] = {index: [] for index in range(len(self._sources))}
        for indexed in self._counted():
            if indexed is None:
                yield
            else:
                collected[indexed[0]].append(indexed[1])
        completions = {index: collect(deltas) for index, deltas in collected.items()}
        answer = self.codec.encode_response(completions, **self._envelope())
        usage = self._known_usage()
        answer["usage"] = self.codec.encode_usage(usage)
        headers = {**self._headers, "X-CopilotAPI-Usage": "estimate" if usage.estimated else "upstream"}
        return Opened(headers, orjson.dumps(answer), iter(()), self)

    def _counted(self) -> Iterator[Indexed]:
        for indexed in interleave(self._sources):
            self._has_begun = self._has_begun or indexed is not None
            match indexed:
                case (_, TextDelta(text)) | (_, ReasoningDelta(text, _)) | (_, ToolInputDelta(text)):
                    self._written.append(text)
                case (_, Finished(_, usage)) if usage is not None:
                    self._told.append(usage)
            yield indexed

    def _envelope(self) -> _Envelope:
        return {"answer_id": new_id(self.codec), "model": self.model, "created": int(time.time())}

    def _known_usage(self) -> Usage:
        return self.usage() or Usage(0, 0, estimated=True)
