"""How many tokens a request or a text has, counted here: exactly where a vocabulary is open, estimated elsewhere.

Bounded in time and memory whatever the text is, and without an exception. No network: a picture's size is read from the
head of its `data:` URL, a picture that lies elsewhere counts as the largest.
"""

import base64
import hashlib
import logging
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from tiktoken import Encoding

from copilotapi.protocols.conversation import (
    Conversation,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from copilotapi.vocabularies import VOCABULARIES, Vocabularies

T = TypeVar("T")
logger = logging.getLogger(__name__)

DEFAULT_TOKENIZER = "o200k_base"
_TOKENIZERS = frozenset(vocabulary.name for vocabulary in VOCABULARIES)

# Copilot Chat's own constants (vscode-copilot-chat, src/platform/tokenizer/node/tokenizer.ts, read November 2026).
_PER_REPLY = 3
_PER_MESSAGE = 3
_PER_NAME = 1
_FOR_TOOLS = 16
_PER_TOOL = 8
# OpenAI's tile rule for the 4o and 4.1 models, which Copilot Chat applies to all: fit into 2048 x 2048, shrink the shorter
# side to 768, count squares of 512. So no picture has more than 4 x 2 tiles.
_IMAGE_BASE = 85
_IMAGE_TILE = 170
_MAX_TILES = 8
_IMAGE_HEAD_CHARS = 64 * 1024

# tiktoken 0.14 panics on 1,000,000 white-space characters in a row; slices of this size over-count by 0.005 %.
_SLICE_CHARS = 100_000
# One string costs as much as 50 further characters of prose (1 us and 17 ns each, measured), so effort is counted in those.
_STRING_EFFORT = 50
_INLINE_EFFORT = 16_384
_EXACT_EFFORT = 1_000_000
_SAMPLES = 16
_SAMPLE_CHARS = 50_000
_MAX_WORKERS = 2
_REMEMBERED = 5_000


class RunOffLoop(Protocol):
    """Runs `work` where it does not hold up other requests, and returns or raises what it does."""

    def __call__(self, work: Callable[[], T], /) -> T: ...


class _EncoderFailed(Exception):
    """tiktoken gave up on a text."""


class _Count(NamedTuple):
    token_count: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class _Unit:
    """Strings that are encoded one by one and remembered together: a message, a tool."""

    strings: tuple[str, ...]
    is_json: bool = False

    def effort(self) -> int:
        return sum(map(len, self.strings)) + _STRING_EFFORT * len(self.strings)

    def digest(self, tokenizer: str) -> bytes:
        digest = hashlib.sha256(tokenizer.encode())
        for string in self.strings:
            content = string.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "big") + content)
        return digest.digest()

    def estimate(self) -> int:
        """Measured with o200k_base: prose and code have 4.3 to 4.7 bytes a token, compact JSON 2.3."""
        size_bytes = sum(_utf8_bytes(string) for string in self.strings)
        return math.ceil(size_bytes / 2.5) if self.is_json else math.ceil(size_bytes / 4)


class _Recent:
    """Exact counts by digest, the least recently used forgotten first. Chat clients send the whole history each time."""

    def __init__(self) -> None:
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, digest: bytes) -> int | None:
        with self._lock:
            if digest in self._counts:
                self._counts.move_to_end(digest)
            return self._counts.get(digest)

    def put(self, digest: bytes, token_count: int) -> None:
        with self._lock:
            self._counts[digest] = token_count
            self._counts.move_to_end(digest)
            if len(self._counts) > _REMEMBERED:
                self._counts.popitem(last=False)


def _in_place(work: Callable[[], T], /) -> T:
    return work()


class TokenCounter:
    """Counts tokens. Any number of threads may share one; at most two large texts are encoded at a time.

    `run_off_loop` gets the encoding of large texts, which releases the GIL; everything else happens in the caller.
    """

    def __init__(self, vocabularies: Vocabularies, *, run_off_loop: RunOffLoop = _in_place) -> None:
        self._vocabularies = vocabularies
        self._run_off_loop = run_off_loop
        self._workers = threading.Semaphore(_MAX_WORKERS)
        self._recent = _Recent()

    def count(self, conversation: Conversation, tokenizer: str = DEFAULT_TOKENIZER) -> int:
        """The tokens of a request, as Copilot Chat counts them. An unknown tokenizer counts as o200k_base.

        Opaque reasoning counts nothing: what it costs shows only in the upstream's own usage.
        """
        messages = [_message_unit(message) for message in conversation.messages]
        calls = [_call_unit(part) for part in _parts(conversation) if isinstance(part, ToolUse)]
        tools = [_tool_unit(tool) for tool in conversation.tools]
        formats = [_schema_unit(conversation.response_format)] if conversation.response_format else []
        counts = iter(self._count([*messages, *calls, *tools, *formats], tokenizer))
        token_count = _PER_REPLY + sum(_PER_MESSAGE + next(counts) for _ in messages)
        # Copilot Chat allows for the wrapping it does not see: half as much again on calls, a tenth on tools.
        token_count += sum((_PER_NAME + next(counts)) * 3 // 2 for _ in calls)
        if tools:
            token_count += (_FOR_TOOLS + sum(_PER_TOOL + next(counts) for _ in tools)) * 11 // 10
        return token_count + sum(counts) + sum(map(_image_tokens, _images(conversation)))

    def count_text(self, text: str, tokenizer: str = DEFAULT_TOKENIZER) -> int:
        """The tokens of a text by itself, such as an answer. An unknown tokenizer counts as o200k_base."""
        return self._count([_Unit((text,))], tokenizer)[0]

    def _count(self, units: Sequence[_Unit], tokenizer: str) -> list[int]:
        name = tokenizer if tokenizer in _TOKENIZERS else DEFAULT_TOKENIZER
        encoding = self._vocabularies.get(name)
        if encoding is None:
            return [unit.estimate() for unit in units]
        if len(units) > _REMEMBERED:
            # More than is remembered would push itself out before it comes again.
            return [count.token_count for count in self._encode(encoding, units)]
        return self._recall_or_encode(encoding, units)

    def _recall_or_encode(self, encoding: Encoding, units: Sequence[_Unit]) -> list[int]:
        digests = [unit.digest(encoding.name) for unit in units]
        known = [self._recent.get(digest) for digest in digests]
        unknown = [unit for unit, count in zip(units, known, strict=True) if count is None]
        fresh = iter(self._encode(encoding, unknown))
        return [
            self._remember(digest, next(fresh)) if count is None else count
            for digest, count in zip(digests, known, strict=True)
        ]

    def _encode(self, encoding: Encoding, units: Sequence[_Unit]) -> list[_Count]:
        work = partial(_measure, encoding, units)
        if sum(unit.effort() for unit in units) < _INLINE_EFFORT:
            return work()
        with self._workers:
            return self._run_off_loop(work)

    def _remember(self, digest: bytes, count: _Count) -> int:
        if count.is_exact:
            self._recent.put(digest, count.token_count)
        return count.token_count


def _measure(encoding: Encoding, units: Sequence[_Unit]) -> list[_Count]:
    """Exact for as many units as the budget allows, in order; the others get what samples of them say."""
    budget = _EXACT_EFFORT
    counts: dict[int, _Count] = {}
    beyond: list[int] = []
    for index, unit in enumerate(units):
        if (effort := unit.effort()) <= budget:
            budget -= effort
            counts[index] = _exact(encoding, unit)
        else:
            beyond.append(index)
    counts.update(zip(beyond, _extrapolated(encoding, [units[index] for index in beyond]), strict=True))
    return [counts[index] for index in range(len(units))]


def _exact(encoding: Encoding, unit: _Unit) -> _Count:
    try:
        return _Count(sum(_encoded_length(encoding, string) for string in unit.strings), is_exact=True)
    except _EncoderFailed:
        return _Count(unit.estimate(), is_exact=False)


def _extrapolated(encoding: Encoding, units: Sequence[_Unit]) -> list[_Count]:
    # A seam between two short strings is worth a token, hence the line end.
    text = "\n".join(string for unit in units for string in unit.strings)
    samples = list(_samples(text))
    try:
        sampled = sum(_encoded_length(encoding, sample) for sample in samples)
    except _EncoderFailed:
        return [_Count(unit.estimate(), is_exact=False) for unit in units]
    rate = sampled / max(1, sum(map(len, samples)))
    lengths = [sum(map(len, unit.strings)) + len(unit.strings) for unit in units]
    return [_Count(math.ceil(length * rate), is_exact=False) for length in lengths]


def _samples(text: str) -> Iterator[str]:
    """Evenly spaced pieces, the first and the last included; a short text whole."""
    if len(text) <= _SAMPLES * _SAMPLE_CHARS:
        yield text
        return
    for index in range(_SAMPLES):
        start = (len(text) - _SAMPLE_CHARS) * index // (_SAMPLES - 1)
        yield text[start : start + _SAMPLE_CHARS]


def _encoded_length(encoding: Encoding, text: str) -> int:
    """Tokens of `text`, special tokens read as plain text. Raises _EncoderFailed."""
    starts = range(0, len(text), _SLICE_CHARS)
    try:
        return sum(len(encoding.encode_ordinary(text[start : start + _SLICE_CHARS])) for start in starts)
    except BaseException as exc:
        # A panic in Rust arrives as pyo3_runtime.PanicException, which no module exports and which is no Exception.
        # All else of that kind (the end of a greenlet, of the process) is not ours to stop.
        if not isinstance(exc, Exception) and type(exc).__module__ != "pyo3_runtime":
            raise
        logger.warning("encoder_failed", extra={"tokenizer": encoding.name, "reason": type(exc).__name__})
        raise _EncoderFailed from exc


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _message_unit(message: Message) -> _Unit:
    strings = [message.role, *(string for part in message.parts for string in _part_strings(part))]
    return _Unit(tuple(strings), is_json=any(isinstance(part, ToolResult) for part in message.parts))


def _part_strings(part: Part) -> list[str]:
    """What of a part is counted as a message's text: not its pictures, and not its calls, which have a rule of their own."""
    match part:
        case Text(text) | Reasoning(text):
            return [text]
        case ToolResult(tool_use_id, parts):
            return [tool_use_id, *(inner.text for inner in parts if isinstance(inner, Text))]
        case _:
            return []


def _call_unit(call: ToolUse) -> _Unit:
    return _Unit((call.id, "function", call.name, call.input_json), is_json=True)


def _tool_unit(tool: Tool) -> _Unit:
    return _schema_unit({"name": tool.name, "description": tool.description, "parameters": tool.input_schema})


def _schema_unit(schema: object) -> _Unit:
    return _Unit(tuple(_json_strings(schema)), is_json=True)


def _json_strings(value: object) -> Iterator[str]:
    """All keys and all strings of a JSON value, however deep."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as string:
                yield string
            case dict() as members:
                yield from members
                waiting.extend(members.values())
            case list() as items:
                waiting.extend(items)


def _parts(conversation: Conversation) -> Iterator[Part]:
    return (part for message in conversation.messages for part in message.parts)


def _images(conversation: Conversation) -> Iterator[Image]:
    for part in _parts(conversation):
        inner_parts = part.parts if isinstance(part, ToolResult) else (part,)
        yield from (inner for inner in inner_parts if isinstance(inner, Image))


def _image_tokens(image: Image) -> int:
    if image.detail == "low":
        return _IMAGE_BASE
    size = _image_size(_image_head(image.url))
    return _IMAGE_BASE + _IMAGE_TILE * (_tiles(*size) if size else _MAX_TILES)


def _tiles(width: int, height: int) -> int:
    shrink = min(1.0, 2048 / max(width, height))
    width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
    shrink = min(1.0, 768 / min(width, height))
    return math.ceil(round(width * shrink) / 512) * math.ceil(round(height * shrink) / 512)


def _image_head(url: str) -> bytes:
    """The first bytes of a base64 `data:` URL's content; empty for anything else."""
    comma = url.find(",", 0, 1024)
    kind = url[: max(comma, 0)].lower()
    if not (kind.startswith("data:") and kind.endswith(";base64")):
        return b""
    encoded = "".join(url[comma + 1 : comma + 1 + _IMAGE_HEAD_CHARS].split())
    try:
        return base64.b64decode(encoded[: len(encoded) // 4 * 4], validate=True)
    except ValueError:
        return b""


def _image_size(head: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, as the head of a PNG, GIF, JPEG or WebP file says; None when it does not say."""
    try:
        width, height = _read_size(head)
    except struct.error:
        return None
    return (width, height) if width and height else None


def _read_size(head: bytes) -> tuple[int, int]:
    """Raises struct.error when `head` ends too early. (0, 0) for no known format."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return _two(">II", head, 16)
    if head.startswith((b"GIF87a", b"GIF89a")):
        return _two("<HH", head, 6)
    if head.startswith(b"\xff\xd8"):
        return _read_jpeg_size(head)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _read_webp_size(head)
    return 0, 0


def _read_jpeg_size(head: bytes) -> tuple[int, int]:
    """The size stands in the first frame header (SOF, ITU-T T.81 B.2.2), behind segments of any number and length."""
    at = 2
    while True:
        marker, length = _two(">HH", head, at)
        if marker == 0xFFFF:
            at += 1
        elif 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = _two(">HH", head, at + 5)
            return width, height
        elif marker > 0xFF00:
            at += 2 + length
        else:
            return 0, 0


def _read_webp_size(head: bytes) -> tuple[int, int]:
    """Lossy, lossless and extended files say it in three ways (RFC 9649, sections 2.5 to 2.7)."""
    match head[12:16]:
        case b"VP8 ":
            width, height = _two("<HH", head, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            low, high = _two("<HH", head, 21)
            bits = low | high << 16
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            low, high = _two("<IH", head, 24)
            return (low & 0xFFFFFF) + 1, (low >> 24 | high << 8) + 1
    return 0, 0


def _two(layout: str, head: bytes, at: int) -> tuple[int, int]:
    first, second = struct.unpack_from(layout, head, at)
    return first, second
