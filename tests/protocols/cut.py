"""Stored streams in pieces, and what the codecs make of them."""

import random
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from copilotapi.errors import UpstreamFailed
from copilotapi.protocols.conversation import Usage
from copilotapi.sse import reading
from tests.protocols.pairs import CLIENTS
from tests.protocols.stored import stored, upstream_of

# With nothing in them to repair: what goes in comes out.
CLEAN = (
    "clean",
    "crlf",
    "gpt-escapes",
    "messages-clean",
    "messages-crlf",
    "messages-escapes",
    "responses-clean",
    "responses-custom",
    "responses-escapes",
    "completions-clean",
)
REPAIRED = (
    "gpt-text",
    "gpt-tools",
    "claude-split",
    "claude-escapes",
    "gemini-reasoning",
    "gemini-escapes",
    "chat-mixed",
    "messages-tools",
    "messages-redacted",
    "responses-rotating",
    "completions-ghost",
)
NAMES = (*CLEAN, *REPAIRED)
TERMINAL = re.compile(rb"^(?:data: \[DONE\]|event: message_stop|event: response\.completed)", re.MULTILINE)
LINE_ENDS = {"LF": b"\n", "CRLF": b"\r\n", "CR": b"\r"}
_ESTIMATE = Usage(7, 8, estimated=True)
_RANDOM_CUTS = 30
_RANDOM_SEED = 20261127


@dataclass
class Came:
    """What came out, and what is known of it when it is over."""

    sent: bytes = b""
    failure: UpstreamFailed | None = None
    facts: tuple[Any, ...] = field(default=())


def relay(name: str, blocks: Iterable[bytes]) -> Came:
    codec = CLIENTS[upstream_of(name)]
    tally = codec.new_tally(answer_id="ours", model="asked-model", created=5)
    # Who wants usage where none came is given an estimate.
    wants_usage = b'"usage":{' in stored(name)
    pieces = codec.repair_stream(
        reading(blocks), tally, choice_count=1, wants_usage=wants_usage, estimate=lambda: _ESTIMATE
    )
    came, sent = Came(), []
    try:
        sent.extend(piece for piece in pieces if piece)
    except UpstreamFailed as exc:
        came.failure = exc
    came.sent = b"".join(sent)
    came.facts = (tally.usage, tally.answer_id, tally.model, tally.is_complete)
    return came


def with_line_ends(name: str, line_ends: str) -> bytes:
    """`mixed`: each line its own, so that a frame may end in CRLF and LF."""
    lines = stored(name).replace(b"\r\n", b"\n").split(b"\n")
    kinds = [b"\n", b"\r\n", b"\r\n", b"\n", b"\n"] if line_ends == "mixed" else [LINE_ENDS[line_ends]]
    return b"".join(line + kinds[number % len(kinds)] for number, line in enumerate(lines[:-1]))


def cut_at(stream: bytes, places: Iterable[int]) -> Iterator[bytes]:
    for start, end in pairwise((0, *places, len(stream))):
        yield stream[start:end]


def at_random(stream: bytes) -> Iterator[list[int]]:
    """Few pieces, and many."""
    dice = random.Random(_RANDOM_SEED)
    for _ in range(_RANDOM_CUTS):
        count = dice.choice([2, 3, 5, 20, 200])
        yield sorted(dice.sample(range(1, len(stream)), min(count, len(stream) - 1)))
