"""What workers share: a few values, locks and counters, in Redis or in memory. Knows nothing of what the values mean.

A value has a generation, and whoever keeps secrets here encrypts them first. Keys in Redis begin with "copilotapi:".
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from copilotapi.store.deferred import Aside
from copilotapi.store.memory import MemoryStore
from copilotapi.store.redis_store import RedisStore

__all__ = ["MemoryStore", "RedisStore", "Store", "open_store"]


class Store(Protocol):
    """Any thread may call any method, and none raises because a server is away. Everything kept here expires."""

    def get(self, key: str) -> bytes | None:
        """What `set` or `compare_and_set` stored last; None for anything else, and for anything damaged."""

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Stores under generation 0, over whatever is there."""

    def delete(self, key: str) -> None:
        """Does nothing if nothing is there."""

    def lock(self, key: str, ttl_seconds: float) -> AbstractContextManager[bool]:
        """Never waits: yields whether the lock is ours. It ends with the block or its TTL; another's is left alone."""

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        """Stores, and answers True, only if nothing or an older generation (0 or more) is there."""

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        """Adds to the named counters under `key` and answers all of them. An empty `by` only reads."""

    def add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> None:
        """The same without an answer: for what is counted often. `increment` may show it after `catch_up` only."""

    def catch_up(self) -> None:
        """Returns when `increment` shows all that was added before, here or by others who share this store."""

    def close(self) -> None:
        """Before the process ends. The store stays of use, and puts nothing off any more."""

    @property
    def degraded(self) -> str | None:
        """Why values are not shared at present, in one sentence without secrets; None while all is well."""


def open_store(url: str, *, password: str | None = None, aside: Aside | None = None) -> Store:
    """The store that `url` names: memory://, redis://, rediss:// or unix://. Connects to nothing yet.

    `password` is used when the URL holds none. `aside` runs a function beside its caller: with it `add` writes to Redis
    there, and many counts together. ValueError, which never repeats the URL, when it cannot be used.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(url, password=password, aside=aside)
    raise ValueError("the store must be memory://, or a URL that begins with redis://, rediss:// or unix://")
