"""What both ends of a measurement agree on: how a prompt says which answer it wants, and how a streamed answer proves
that it arrived whole.

Each content delta is `<when sent, ns> <number> <filler>`; the last one bears the CRC of all before it.
"""

import argparse
import json
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MODEL = "gpt-4.1"
SILENT = "silent"
_PLAN = re.compile(rb"@plan ([a-z]+) (\d+) (\d+)@")
_CONTENT = re.compile(rb'"content": ?"(\d{20}) (\d{6}) ([a-z ]+)"')
_END = re.compile(rb'"content": ?"end (\d{6}) ([0-9a-f]{8})"')
_FILLER = b"the quick brown"
_NS_PER_MS = 1e6

_SAFE = '{"hate":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}'
_IDENTITY = f'"created":1767225600,"id":"chatcmpl-bench","model":"{MODEL}","object":"chat.completion.chunk"'
_USAGE = '{"completion_tokens":200,"prompt_tokens":20,"prompt_tokens_details":{"cached_tokens":0},"total_tokens":220}'

OPENING = (
    'data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":'
    f'[{{"prompt_index":0,"content_filter_results":{_SAFE}}}]}}\n\n'
    'data: {"choices":[{"index":0,"delta":{"content":"","role":"assistant"},"content_filter_results":{},'
    f'"finish_reason":null}}],{_IDENTITY},"usage":null}}\n\n'
).encode()
_BEFORE = b'data: {"choices":[{"index":0,"delta":{"content":"'
_AFTER = f'"}},"content_filter_results":{{}},"finish_reason":null}}],{_IDENTITY},"usage":null}}\n\n'.encode()
_FINISH = (
    'data: {"choices":[{"index":0,"delta":{},"content_filter_results":{},"finish_reason":"stop"}],'
    f'{_IDENTITY},"usage":null}}\n\n'
).encode()
_USAGE_CHUNK = f'data: {{"choices":[],{_IDENTITY},"usage":{_USAGE}}}\n\n'.encode()
_DONE = b"data: [DONE]\n\n"

TEXT = " ".join(f"word{number:03d}" for number in range(90))
WHOLE = json.dumps(
    {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "content_filter_results": json.loads(_SAFE),
                "finish_reason": "stop",
            }
        ],
        "created": 1_767_225_600,
        "id": "chatcmpl-bench",
        "model": MODEL,
        "object": "chat.completion",
        "usage": json.loads(_USAGE),
    },
    separators=(",", ":"),
).encode()


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer a prompt asks for. `kind` is whole, stream or silent; without an interval a stream comes in one burst."""

    kind: str = "whole"
    chunk_count: int = 0
    interval_ms: int = 0


def plan_in(body: bytes) -> Plan:
    found = _PLAN.search(body)
    return Plan(found[1].decode(), int(found[2]), int(found[3])) if found else Plan()


def request_body(plan: Plan, prompt_bytes: int = 60) -> bytes:
    """A chat request of about `prompt_bytes` of prompt: source code, as coding assistants send."""
    wish = f"@plan {plan.kind} {plan.chunk_count} {plan.interval_ms}@ "
    text = wish + _source_code(prompt_bytes - len(wish))
    body: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    if plan.kind != "whole":
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return json.dumps(body, separators=(",", ":")).encode()


def _source_code(byte_count: int) -> str:
    source = Path(argparse.__file__).read_text()
    return (source * (1 + max(0, byte_count) // len(source)))[: max(0, byte_count)]


class StreamWriter:
    """The frames of one streamed answer, in order."""

    def __init__(self, chunk_count: int, *, tells_usage: bool) -> None:
        self._chunk_count = chunk_count
        self._tells_usage = tells_usage
        self._number = 0
        self._crc = 0

    @property
    def is_last(self) -> bool:
        return self._number == self._chunk_count

    def next_chunk(self, sent_ns: int) -> bytes:
        content = b"%020d %06d %s" % (sent_ns, self._number, _FILLER)
        self._crc = zlib.crc32(content, self._crc)
        self._number += 1
        return b"%s%s%s" % (_BEFORE, content, _AFTER)

    def ending(self) -> bytes:
        proof = b"%send %06d %08x%s" % (_BEFORE, self._number, self._crc, _AFTER)
        return b"".join((proof, _FINISH, _USAGE_CHUNK if self._tells_usage else b"", _DONE))


def burst(chunk_count: int, *, tells_usage: bool) -> Iterator[bytes]:
    """All frames of an answer that nobody times."""
    writer = StreamWriter(chunk_count, tells_usage=tells_usage)
    yield OPENING
    for _ in range(chunk_count):
        yield writer.next_chunk(0)
    yield writer.ending()


@dataclass
class StreamReader:
    """Reads a streamed answer as it arrives. `fault` says in a few words what is wrong with it, "" while nothing is."""

    chunk_count: int = 0
    transits_ms: list[float] = field(default_factory=list)
    fault: str = ""
    is_complete: bool = False
    _crc: int = 0
    _rest: bytes = b""
    _has_proof: bool = False

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._rest = data
            return
        self._rest = data[end:]
        self._chunks(_CONTENT.findall(data, 0, end))
        if ending := _END.search(data, 0, end):
            self._check(ending)
        if data.find(b"data: [DONE]", 0, end) >= 0:
            self.is_complete = True

    def finish(self) -> str:
        """The fault of an answer that has ended, "" for a whole one."""
        if not self.fault and not self.is_complete:
            self.fault = "no [DONE]"
        if not self.fault and not self._has_proof:
            self.fault = "the last chunk is missing"
        return self.fault

    def _chunks(self, found: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        now_ns = time.monotonic_ns()
        for sent, number, filler in found:
            if int(number) != self.chunk_count:
                self.fault = self.fault or "a chunk is missing or out of order"
            self._crc = zlib.crc32(b"%s %s %s" % (sent, number, filler), self._crc)
            self.chunk_count += 1
            if sent_ns := int(sent):
                self.transits_ms.append((now_ns - sent_ns) / _NS_PER_MS)

    def _check(self, ending: re.Match[bytes]) -> None:
        self._has_proof = True
        if int(ending[1]) != self.chunk_count or int(ending[2], 16) != self._crc:
            self.fault = self.fault or "the answer's bytes differ"


def whole_fault(body: bytes) -> str:
    return "" if TEXT.encode() in body else "the answer's bytes differ"
