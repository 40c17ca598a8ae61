"""How things are written in Redis: names, times, and values with their generation. No connection, no clock.

A value lies there as "v1:<generation>:<crc32>:<value>"; the checksum is what lets a damaged one count as absent.
"""

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from redis.exceptions import ResponseError

from copilotapi.store.memory import Stored

PREFIX = "copilotapi:"
_LONGEST_SECONDS = 3650 * 86_400.0
_FRAME = re.compile(rb"v1:([0-9]{1,18}):([0-9a-f]{8}):(.*)", re.DOTALL)
_WHOLE_NUMBER = re.compile(rb"-?[0-9]{1,19}")


def encode_key(key: str) -> bytes:
    return encode_text(PREFIX + key)


def encode_text(text: str) -> bytes:
    return text.encode(errors="replace")


def encode_seconds(ttl_seconds: float) -> int:
    """In whole milliseconds, and no more of them than Redis takes."""
    return max(1, int(min(ttl_seconds, _LONGEST_SECONDS) * 1000))


def encode_value(stored: Stored) -> bytes:
    return b"v1:%d:%08x:%s" % (stored.generation, _checksum(stored), stored.value)


def decode_value(framed: object) -> Stored | None:
    """None for whatever `encode_value` did not write."""
    match = _FRAME.fullmatch(framed) if isinstance(framed, bytes) else None
    if match is None:
        return None
    stored = Stored(int(match[1]), match[3])
    return stored if _checksum(stored) == int(match[2], 16) else None


def decode_counters(fields: Mapping[bytes, bytes]) -> dict[str, int]:
    """Those fields of a hash that are counters."""
    return {name.decode(errors="replace"): int(text) for name, text in fields.items() if is_counter(text)}


def is_counter(text: object) -> bool:
    return isinstance(text, bytes) and _WHOLE_NUMBER.fullmatch(text) is not None


def unless_wrong_type(ask: Callable[[], Any]) -> Any:
    """None where the key holds another type than asked for. ResponseError for every other refusal.

    redis-py has no class for this one. The first word of an error reply is its code (Redis protocol, "Simple errors").
    """
    try:
        return ask()
    except ResponseError as exc:
        if not str(exc).startswith("WRONGTYPE "):
            raise
        return None


def _checksum(stored: Stored) -> int:
    return zlib.crc32(stored.value, zlib.crc32(b"%d" % stored.generation))
