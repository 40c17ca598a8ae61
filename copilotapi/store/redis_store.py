"""The store that all workers share, and what it does while Redis fails. Knows nothing of what the values mean."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

import redis

from copilotapi.store.counts import RedisCounters
from copilotapi.store.deferred import Aside, DeferredCounts
from copilotapi.store.link import Away, RedisLink
from copilotapi.store.memory import MemoryStore, Stored
from copilotapi.store.wire import (
    PREFIX,
    decode_value,
    encode_key,
    encode_seconds,
    encode_value,
    unless_wrong_type,
)

_PROBE, _PROBE_SECONDS = "probe", 1.0
# PTTL's answer for a key that stays for ever.
_NO_EXPIRY = -1


class RedisStore:
    """Shares through Redis while it answers, and never raises for its failures. ValueError for a URL it cannot use.

    When Redis is away (unreachable, silent for 250 ms, loading, refusing the password), every operation acts on this
    process's memory, at once. The first failure opens the breaker; after 2 s, then every 5 s, one caller tries again
    while the others do not wait. When Redis is back it counts, and what memory held is forgotten.
    When it answers but refuses an operation (a replica, out of memory, denied by an ACL), that operation acts on memory
    and is tried again each time; `get` then takes the newer generation of the two.
    Increments that Redis did not take are kept and added when it does; until then only this process sees them. One
    whose answer was lost is added unless its mark, which lasts 15 minutes, says that it was.
    What is added by `add` may be put off for 20 ms where `aside` is given; a process that is killed loses that.
    A key of a wrong type, or a damaged value, counts as absent and is replaced.
    Nothing connects before the first use, and a forked process makes connections of its own.
    Options in the URL's query are redis-py's, and win over the time limits here.
    """

    def __init__(
        self,
        url: str,
        *,
        password: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        aside: Aside | None = None,
    ) -> None:
        self._memory = MemoryStore(clock)
        self._link = RedisLink(url, password, clock, on_return=self._add_waiting, on_recovery=self._memory.clear)
        self._counters = RedisCounters(self._link)
        self._deferred = DeferredCounts(self._counters, self._link, aside, clock)

    @property
    def degraded(self) -> str | None:
        return self._link.condition.sentence

    @property
    def connection_pool(self) -> redis.BlockingConnectionPool:
        return self._link.pool

    @property
    def limits_uri(self) -> str:
        """For `limits` and Flask-Limiter, together with `limits_options`; holds no address and no password."""
        return "redis://"

    @property
    def limits_options(self) -> dict[str, Any]:
        """Shares the connections of this store. Failures come as limits.errors.StorageError."""
        return {"connection_pool": self.connection_pool, "wrap_exceptions": True, "key_prefix": f"{PREFIX}limits"}

    def probe(self) -> bool:
        """Tries a small write, and whatever Redis refused last; True if nothing is degraded after that.

        A PING would not do: a replica and a full server answer it well. In the breaker's pause this asks nothing.
        """
        self.set(_PROBE, b"", _PROBE_SECONDS)
        for place in self._link.condition.places:
            self._try_again(place)
        return self.degraded is None

    def get(self, key: str) -> bytes | None:
        name, client = encode_key(key), self._link.client
        try:
            shared = decode_value(self._link.ask("get", lambda: unless_wrong_type(lambda: client.get(name))))
        except Away:
            return self._memory.get(key)
        own = self._memory.find(key) if self.degraded else None
        if own and (shared is None or own.generation >= shared.generation):
            return own.value
        return shared.value if shared else None

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        name, framed, px = encode_key(key), encode_value(Stored(0, value)), encode_seconds(ttl_seconds)
        try:
            self._link.ask("set", lambda: self._link.client.set(name, framed, px=px))
        except Away:
            self._memory.set(key, value, ttl_seconds)
        else:
            self._memory.delete(key)

    def delete(self, key: str) -> None:
        name = encode_key(key)
        self._memory.delete(key)
        with suppress(Away):
            self._link.ask("delete", lambda: self._link.client.delete(name))

    @contextmanager
    def lock(self, key: str, ttl_seconds: float) -> Iterator[bool]:
        name, owner, px = encode_key(key), secrets.token_hex(16).encode(), encode_seconds(ttl_seconds)
        held: AbstractContextManager[bool]
        try:
            is_free = self._link.ask("lock", lambda: bool(self._link.client.set(name, owner, nx=True, px=px)))
            is_acquired = is_free or self._replaces_what_never_ends(name, owner, px)
            held = self._held(name, owner) if is_acquired else nullcontext(False)
        except Away:
            held = self._memory.lock(key, ttl_seconds)
        with held as is_ours:
            yield is_ours

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        name, framed = encode_key(key), encode_value(Stored(generation, value))
        put = ("SET", name, framed, "PX", encode_seconds(ttl_seconds))

        def is_older(found: object) -> bool:
            stored = decode_value(found)
            return stored is None or stored.generation < generation

        try:
            return self._link.ask("compare_and_set", lambda: self._link.act_if(name, ("GET", name), is_older, put))
        except Away:
            return self._memory.compare_and_set(key, value, generation, ttl_seconds)

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        return self._counters.increment(key, by, ttl_seconds)

    def add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> None:
        self._deferred.add(key, by, ttl_seconds)

    def catch_up(self) -> None:
        self._deferred.catch_up()

    def close(self) -> None:
        self._deferred.close()

    def _add_waiting(self) -> None:
        self._counters.add_waiting()

    def _replaces_what_never_ends(self, name: bytes, owner: bytes, px: int) -> bool:
        """Every lock of ours ends by itself. A key that does not is something else, and would bar the way for ever."""
        put = ("SET", name, owner, "PX", px)

        def replace() -> bool:
            if self._link.client.pttl(name) != _NO_EXPIRY:
                return False
            return self._link.act_if(name, ("PTTL", name), lambda left: bool(left == _NO_EXPIRY), put)

        try:
            return self._link.ask("relock", replace)
        except Away:
            return False

    @contextmanager
    def _held(self, name: bytes, owner: bytes) -> Iterator[bool]:
        try:
            yield True
        finally:
            with suppress(Away):
                self._link.ask("unlock", lambda: self._release(name, owner))

    def _release(self, name: bytes, owner: bytes) -> bool:
        return self._link.act_if(name, ("GET", name), lambda found: bool(found == owner), ("DEL", name))

    def _try_again(self, place: str) -> None:
        match place:
            case "get":
                self.get(_PROBE)
            case "delete":
                self.delete(_PROBE)
            case "lock" | "unlock":
                with self.lock(f"{_PROBE}:lock", _PROBE_SECONDS):
                    pass
            case "relock":
                self._replaces_what_never_ends(encode_key(_PROBE), b"", encode_seconds(_PROBE_SECONDS))
            case "compare_and_set":
                self.compare_and_set(_PROBE, b"", 1, _PROBE_SECONDS)
            case "increment":
                self.increment(f"{_PROBE}:counters", {"probes": 1}, _PROBE_SECONDS)
            case "late increment":
                self._add_waiting()
            case "list writer" | "unlist writer":
                self._deferred.try_again()
            case "count":
                self.increment(f"{_PROBE}:counters", {}, _PROBE_SECONDS)
