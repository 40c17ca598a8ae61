"""The upstream of every measurement: answers as Copilot does, as cheaply as Python can, and counts what it did.

Which answer is meant stands in the prompt (see wire). Serves plain HTTP and, when given a certificate, TLS.
"""

import argparse
import asyncio
import json
import os
import ssl
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import cast

import httptools

from bench.event_loop import run
from bench.limits import raise_descriptor_limit
from bench.wire import MODEL, OPENING, SILENT, WHOLE, StreamWriter, burst, plan_in

# A burst leaves in pieces of about what one segment of a network carries.
_SEGMENT_BYTES = 1400
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
    b"X-Request-Id: bench\r\nX-GitHub-Request-Id: bench\r\n\r\n"
)
_END = b"0\r\n\r\n"
_GOLDEN_RATIO = (5**0.5 - 1) / 2
_MODELS = {
    "object": "list",
    "data": [
        {
            "id": MODEL,
            "name": "GPT-4.1",
            "object": "model",
            "vendor": "Azure OpenAI",
            "version": MODEL,
            "preview": False,
            "model_picker_enabled": True,
            "is_chat_default": True,
            "is_chat_fallback": True,
            "billing": {"is_premium": False, "multiplier": 0},
            "capabilities": {
                "type": "chat",
                "family": MODEL,
                "object": "model_capabilities",
                "tokenizer": "o200k_base",
                "limits": {
                    "max_context_window_tokens": 10_000_000,
                    "max_prompt_tokens": 9_000_000,
                    "max_output_tokens": 16_384,
                },
                "supports": {"streaming": True, "tool_calls": True, "parallel_tool_calls": True},
            },
        }
    ],
}


@dataclass
class Counts:
    """`open_streams` counts answers under way, silent ones too; `aborted_streams` those whose caller left."""

    requests: int = 0
    bytes_sent: int = 0
    open_streams: int = 0
    aborted_streams: int = 0


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\nX-Request-Id: bench\r\n\r\n"
    return head.encode() + body


_WHOLE_ANSWER = _answer(WHOLE)
_MODELS_ANSWER = _answer(json.dumps(_MODELS).encode())


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _segments(frames: Iterable[bytes]) -> tuple[bytes, ...]:
    """Each frame is an HTTP chunk of its own; several leave together."""
    segments, waiting = [], _STREAM_HEAD
    for frame in frames:
        waiting += _chunk(frame)
        if len(waiting) >= _SEGMENT_BYTES:
            segments.append(waiting)
            waiting = b""
    return (*segments, waiting + _END)


@cache
def _burst(chunk_count: int, tells_usage: bool) -> tuple[bytes, ...]:
    return _segments(burst(chunk_count, tells_usage=tells_usage))


def phase(number: int) -> float:
    """When the n-th stream's chunks are due, as a part of the interval. Those of any streams in a row are spread evenly:
    callers who come at a steady pace, or a gateway that lets several through at once, would else make chunks of many
    streams due at the same moment.
    """
    return number * _GOLDEN_RATIO % 1.0


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, counts: Counts, loop: asyncio.AbstractEventLoop, *, is_tls: bool) -> None:
        self._counts = counts
        self._loop = loop
        self._is_tls = is_tls
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._body: list[bytes] = []
        self._answering = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are asyncio's by their methods only.
        self._transport = cast(asyncio.Transport, transport)
        self._descriptor: int = -1 if self._is_tls else self._transport.get_extra_info("socket").fileno()

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        # They hold this object, and nothing collects such cycles here (event_loop).
        self._timer = self._parser = None
        if self._answering:
            self._ended()
            self._counts.aborted_streams += 1

    def on_message_begin(self) -> None:
        self._url, self._body = b"", []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        path = self._url.partition(b"?")[0]
        if path == b"/stats":
            self._send(_answer(json.dumps(asdict(self._counts)).encode()))
        elif path.endswith(b"/models"):
            self._send(_MODELS_ANSWER)
        else:
            self._counts.requests += 1
            self._complete(b"".join(self._body))

    def _complete(self, body: bytes) -> None:
        plan = plan_in(body)
        tells_usage = b'"include_usage":true' in body or b'"include_usage": true' in body
        if plan.kind == SILENT:
            self._began()
        elif plan.kind != "stream":
            self._send(_WHOLE_ANSWER)
        elif plan.interval_ms:
            self._began()
            self._send(_STREAM_HEAD + _chunk(OPENING))
            self._writer = StreamWriter(plan.chunk_count, tells_usage=tells_usage)
            self._interval_seconds = plan.interval_ms / 1000
            self._due = self._loop.time() + phase(self._counts.requests) * self._interval_seconds
            self._timer = self._loop.call_at(self._due, self._pace)
        else:
            for segment in _burst(plan.chunk_count, tells_usage):
                self._send(segment)

    def _pace(self) -> None:
        """Each chunk at its time since the start: one that is late does not delay the next."""
        if self._writer.is_last:
            self._ended()
            self._send(_chunk(self._writer.ending()) + _END)
            return
        self._send(_chunk(self._writer.next_chunk(time.monotonic_ns())))
        self._due += self._interval_seconds
        self._timer = self._loop.call_at(self._due, self._pace)

    def _began(self) -> None:
        self._answering = True
        self._counts.open_streams += 1

    def _ended(self) -> None:
        self._answering = False
        self._counts.open_streams -= 1

    def _send(self, data: bytes) -> None:
        """Past the loop's own buffering where the socket takes it, so that pieces leave one by one."""
        if self._transport.is_closing():
            return
        self._counts.bytes_sent += len(data)
        if self._is_tls or self._transport.get_write_buffer_size():
            self._transport.write(data)
            return
        try:
            sent = os.write(self._descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._transport.abort()
            return
        if sent < len(data):
            self._transport.write(data[sent:])


async def serve(certificate: str | None, key: str | None) -> None:
    """Prints one line of JSON, `{"port", "tls_port"}`, once it listens; then serves until it is killed."""
    loop = asyncio.get_running_loop()
    counts = Counts()
    plain = await loop.create_server(lambda: Upstream(counts, loop, is_tls=False), "127.0.0.1", 0, backlog=8192)
    ports = {"port": plain.sockets[0].getsockname()[1]}
    if certificate and key:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["http/1.1"])
        secure = await loop.create_server(
            lambda: Upstream(counts, loop, is_tls=True), "127.0.0.1", 0, ssl=context, backlog=8192
        )
        ports["tls_port"] = secure.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.mock", description=__doc__)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    asked = parser.parse_args()
    raise_descriptor_limit()
    run(serve(asked.certificate, asked.key))


if __name__ == "__main__":
    main()
