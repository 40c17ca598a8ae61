"""The store of one process. Also what stands in for Redis while that is away. Knows no other store."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

_PURGE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Stored:
    generation: int
    value: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """`content` is a Stored, a dict of counters or the owner of a lock."""

    expires: float
    content: object


class MemoryStore:
    """`clock` gives seconds and never runs back."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._purge_at = clock() + _PURGE_SECONDS
        self._mutex = threading.Lock()

    @property
    def degraded(self) -> None:
        return None

    def get(self, key: str) -> bytes | None:
        found = self.find(key)
        return found.value if found else None

    def find(self, key: str) -> Stored | None:
        """The value together with its generation."""
        with self._mutex:
            content = self._content(key)
        return content if isinstance(content, Stored) else None

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        with self._mutex:
            self._put(key, Stored(0, value), ttl_seconds)

    def delete(self, key: str) -> None:
        with self._mutex:
            self._entries.pop(key, None)

    def clear(self) -> None:
        with self._mutex:
            self._entries.clear()

    @contextmanager
    def lock(self, key: str, ttl_seconds: float) -> Iterator[bool]:
        owner = object()
        with self._mutex:
            is_ours = self._content(key) is None
            if is_ours:
                self._put(key, owner, ttl_seconds)
        try:
            yield is_ours
        finally:
            with self._mutex:
                if self._content(key) is owner:
                    del self._entries[key]

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        with self._mutex:
            content = self._content(key)
            if isinstance(content, Stored) and content.generation >= generation:
                return False
            self._put(key, Stored(generation, value), ttl_seconds)
            return True

    def add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> None:
        with self._mutex:
            self._add(key, by, ttl_seconds)

    def catch_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        with self._mutex:
            return dict(self._add(key, by, ttl_seconds))

    def _add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        content = self._content(key)
        counters = added(content if isinstance(content, dict) else {}, by)
        if by:
            self._put(key, counters, ttl_seconds)
        return counters

    def _content(self, key: str) -> object:
        entry = self._entries.get(key)
        return entry.content if entry and entry.expires > self._clock() else None

    def _put(self, key: str, content: object, ttl_seconds: float) -> None:
        now = self._clock()
        if now >= self._purge_at:
            self._entries = {name: entry for name, entry in self._entries.items() if entry.expires > now}
            self._purge_at = now + _PURGE_SECONDS
        self._entries[key] = _Entry(now + ttl_seconds, content)


def added(counters: Mapping[str, int], by: Mapping[str, int]) -> dict[str, int]:
    """Every counter of either, summed."""
    return {name: counters.get(name, 0) + by.get(name, 0) for name in {**counters, **by}}
