"""One caller of a gateway: a kept connection that asks, and tells how each answer came."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import httptools

from bench.wire import StreamReader, whole_fault

_MS_PER_NS = 1e-6


@dataclass
class Outcome:
    """One request. Times are in ms since it was sent, None when it did not come so far; `fault` "" means all is well."""

    fault: str = ""
    first_byte_ms: float | None = None
    latency_ms: float | None = None
    stream: StreamReader | None = None


OnFirstByte: TypeAlias = Callable[[Outcome], None]


def ignored(outcome: Outcome) -> None:
    """For whom the first byte is nothing to act on."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int


@dataclass
class _Under:
    """The request under way."""

    outcome: Outcome
    sent_ns: int
    done: asyncio.Future[Outcome]
    on_first_byte: OnFirstByte
    body: list[bytes] = field(default_factory=list)
    status: int = 0
    is_ended: bool = False
    keeps_alive: bool = False


class Caller(asyncio.Protocol):
    """Not to be asked again before the last answer is there."""

    def __init__(self) -> None:
        self._under: _Under | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by their methods only.
        self._transport = cast(asyncio.Transport, transport)
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.is_open = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        # The two hold each other, and nothing collects such cycles here (event_loop).
        self._parser = None
        if self._under is not None:
            self._end("the connection was closed")

    def ask(self, request: bytes, on_first_byte: OnFirstByte = ignored, *, streamed: bool) -> asyncio.Future[Outcome]:
        """Never raises: an answer that fails says so."""
        done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        outcome = Outcome(stream=StreamReader() if streamed else None)
        self._under = _Under(outcome, time.monotonic_ns(), done, on_first_byte)
        self._transport.write(request)
        return done

    @property
    def outcome(self) -> Outcome | None:
        """Of the request under way, so far."""
        return self._under.outcome if self._under else None

    def leave(self, *, rudely: bool = False) -> None:
        self._under = None
        if rudely:
            self._transport.abort()
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            self._end(f"not HTTP: {type(exc).__name__}")
            self._transport.close()
            return
        under = self._under
        if under is None:
            return
        if under.body and under.outcome.stream is not None:
            under.outcome.stream.feed(b"".join(under.body))
            under.body.clear()
        if under.is_ended:
            self._finish(under)

    def on_headers_complete(self) -> None:
        if self._under is not None and self._parser is not None:
            self._under.status = self._parser.get_status_code()
            # llhttp forgets the head when the answer is complete.
            self._under.keeps_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        under = self._under
        if under is None:
            return
        if under.outcome.first_byte_ms is None:
            under.outcome.first_byte_ms = (time.monotonic_ns() - under.sent_ns) * _MS_PER_NS
            under.on_first_byte(under.outcome)
        under.body.append(body)

    def on_message_complete(self) -> None:
        if self._under is not None and self._under.status >= 200:
            self._under.is_ended = True

    def _finish(self, under: _Under) -> None:
        stream = under.outcome.stream
        if under.status != 200:
            self._end(f"status {under.status}")
        else:
            self._end(stream.finish() if stream is not None else whole_fault(b"".join(under.body)))
        if not under.keeps_alive:
            self.is_open = False
            self._transport.close()

    def _end(self, fault: str) -> None:
        under, self._under = self._under, None
        if under is None or under.done.done():
            return
        under.outcome.fault = fault
        under.outcome.latency_ms = (time.monotonic_ns() - under.sent_ns) * _MS_PER_NS
        under.done.set_result(under.outcome)


async def connect(address: Address) -> Caller:
    """OSError when nobody listens."""
    _, caller = await asyncio.get_running_loop().create_connection(Caller, address.host, address.port)
    return caller
