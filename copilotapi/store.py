"""What workers share: a few values, locks and counters, in Redis or in memory. Knows nothing of what the values mean.

A value travels with its generation; whoever keeps secrets here encrypts them first. Keys in Redis begin "copilotapi:".
"""

import logging
import queue
import re
import secrets
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

log = logging.getLogger(__name__)

T = TypeVar("T")

_PREFIX = "copilotapi:"
_PURGE_SECONDS = 10.0
_LONGEST_TTL_SECONDS = 3650 * 86_400.0


class Store(Protocol):
    """Every method may be called from any thread, and none raises because a server is away. Values expire."""

    def get(self, key: str) -> bytes | None:
        """What `set` or `compare_and_set` last stored; None for anything else, and for anything damaged."""

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Stores under generation 0, over whatever was there."""

    def delete(self, key: str) -> None: ...

    def lock(self, key: str, ttl_seconds: float) -> AbstractContextManager[bool]:
        """Never waits: yields whether the lock is ours. Ends with the block or the TTL; another's lock is left alone."""

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        """Stores and answers True only if nothing or an older generation (0 or more) is there."""

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        """Adds to the named counters under `key` and answers all of them. An empty `by` only reads."""

    @property
    def degraded(self) -> str | None:
        """Why values are not shared at present, in one sentence without secrets; None while all is well."""


def open_store(url: str, *, password: str | None = None) -> Store:
    """The store that `url` names: memory://, redis://, rediss:// or unix://. Connects to nothing yet.

    `password` is used when the URL holds none. ValueError, without the URL, when it cannot be understood.
    """
    if url == "memory://":
        return MemoryStore()
    if url.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(url, password=password)
    raise ValueError("the store must be memory://, or a URL that begins redis://, rediss:// or unix://")


@dataclass(frozen=True, slots=True)
class _Stored:
    generation: int
    value: bytes


@dataclass(frozen=True, slots=True)
class _Entry:
    """`content` is a _Stored, a dict of counters or a lock's owner."""

    expires: float
    content: object


class MemoryStore:
    """One process's own store. `clock` gives seconds and never runs back."""

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

    def find(self, key: str) -> _Stored | None:
        """The value with its generation."""
        with self._mutex:
            content = self._content(key)
        return content if isinstance(content, _Stored) else None

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        with self._mutex:
            self._put(key, _Stored(0, value), ttl_seconds)

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
            if isinstance(content, _Stored) and content.generation >= generation:
                return False
            self._put(key, _Stored(generation, value), ttl_seconds)
            return True

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        with self._mutex:
            content = self._content(key)
            counters = _sum(content if isinstance(content, dict) else {}, by)
            if by:
                self._put(key, counters, ttl_seconds)
            return dict(counters)

    def _content(self, key: str) -> object:
        entry = self._entries.get(key)
        return entry.content if entry and entry.expires > self._clock() else None

    def _put(self, key: str, content: object, ttl_seconds: float) -> None:
        now = self._clock()
        if now >= self._purge_at:
            self._entries = {name: entry for name, entry in self._entries.items() if entry.expires > now}
            self._purge_at = now + _PURGE_SECONDS
        self._entries[key] = _Entry(now + ttl_seconds, content)


def _sum(counters: Mapping[str, int], by: Mapping[str, int]) -> dict[str, int]:
    return {name: counters.get(name, 0) + by.get(name, 0) for name in {**counters, **by}}


# How a value lies in Redis: "v1:<generation>:<crc32>:<value>". The checksum is what makes damage count as absence.

_FRAME = re.compile(rb"v1:([0-9]{1,18}):([0-9a-f]{8}):(.*)", re.DOTALL)


def _frame(stored: _Stored) -> bytes:
    return b"v1:%d:%08x:%s" % (stored.generation, _checksum(stored), stored.value)


def _unframe(framed: object) -> _Stored | None:
    match = _FRAME.fullmatch(framed) if isinstance(framed, bytes) else None
    if match is None:
        return None
    stored = _Stored(int(match[1]), match[3])
    return stored if _checksum(stored) == int(match[2], 16) else None


def _checksum(stored: _Stored) -> int:
    return zlib.crc32(stored.value, zlib.crc32(b"%d" % stored.generation))


# What can be wrong with Redis, who may talk to it, and what is said about it.

_FIRST_PAUSE_SECONDS, _NEXT_PAUSE_SECONDS = 2.0, 5.0
_REMINDER_SECONDS = 60.0
_CONNECTION = "connection"
_PHRASES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((AuthenticationError, AuthorizationError), "does not accept the user or password"),
    ((BusyLoadingError,), "is loading its data"),
    ((redis.TimeoutError, TimeoutError), "does not answer in time"),
    ((redis.ConnectionError, OSError), "cannot be reached"),
    ((ReadOnlyError,), "is a replica that takes no writes"),
    ((OutOfMemoryError,), "is out of memory"),
    ((NoPermissionError,), "denies this user a command"),
    ((ResponseError,), "answers with an error"),
)


def _phrase(exc: Exception) -> str:
    """By class only: the texts may hold addresses, and in a pipeline the arguments of the command."""
    return next((phrase for kinds, phrase in _PHRASES if isinstance(exc, kinds)), "gives answers that cannot be read")


class _Away(Exception):
    """Redis did not do it. `in_doubt`: it may have, or may still."""

    def __init__(self, *, in_doubt: bool) -> None:
        super().__init__()
        self.in_doubt = in_doubt


class _Breaker:
    """Opens at the first failure of the connection. Then, after a pause, one thread at a time may try again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._is_open = False
        self._retry_at = 0.0
        self._trying: int | None = None

    def admits(self) -> bool:
        """Whether this thread may talk to Redis now. If so it ends with `leave`."""
        with self._mutex:
            if self._is_open and self._trying is None and self._clock() >= self._retry_at:
                self._trying = threading.get_ident()
            return not self._is_open or self._is_mine()

    def is_trial(self) -> bool:
        return self._is_open and self._is_mine()

    def shuts_out(self) -> bool:
        return self._is_open and not self._is_mine()

    def open(self) -> tuple[bool, bool]:
        """Whether that is new, and whether it is news at all: late failures of others are neither."""
        with self._mutex:
            is_first, is_trial = not self._is_open, self._is_mine()
            if is_first or is_trial:
                pause_seconds = _FIRST_PAUSE_SECONDS if is_first else _NEXT_PAUSE_SECONDS
                self._is_open, self._retry_at = True, self._clock() + pause_seconds
            return is_first, is_first or is_trial

    def close(self) -> bool:
        """Only the thread that tries closes it; an answer from before the failure proves nothing."""
        with self._mutex:
            is_healed = self._is_open and self._is_mine()
            self._is_open = self._is_open and not is_healed
            return is_healed

    def leave(self) -> None:
        with self._mutex:
            if self._is_mine():
                self._trying = None

    def _is_mine(self) -> bool:
        return self._trying == threading.get_ident()


class _Condition:
    """Redis's troubles by where they show: the connection, or one operation. Logs changes, and a reminder each minute."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._troubles: dict[str, str] = {}
        self._told: str | None = None
        self._told_at = 0.0

    @property
    def sentence(self) -> str | None:
        with self._mutex:
            return self._sentence()

    @property
    def places(self) -> set[str]:
        with self._mutex:
            return set(self._troubles)

    def note(self, place: str, phrase: str) -> None:
        with self._mutex:
            self._troubles[place] = phrase
            sentence, now = self._sentence(), self._clock()
            is_due = sentence != self._told or now - self._told_at >= _REMINDER_SECONDS
            if is_due:
                self._told, self._told_at = sentence, now
        if is_due:
            log.warning("store_degraded", extra={"reason": sentence})

    def clear(self, place: str) -> bool:
        """True when that was the last trouble."""
        with self._mutex:
            is_last = self._troubles.pop(place, None) is not None and not self._troubles
            self._told = None if is_last else self._told
        if is_last:
            log.info("store_recovered")
        return is_last

    def _sentence(self) -> str | None:
        for place in (_CONNECTION, *self._troubles):
            if phrase := self._troubles.get(place):
                where = "" if place == _CONNECTION else f" ({place})"
                return f"Redis {phrase}{where}; this worker keeps its own values meanwhile."
        return None


class _Connections(queue.LifoQueue[Any]):
    """The pool's free connections; None stands for one not yet opened. Gives none out to whom the breaker shuts out.

    Without that, whoever waited for a connection would try a frozen Redis in turn, each in its own quarter second.
    """

    def __init__(self, breaker: _Breaker, maxsize: int) -> None:
        super().__init__(maxsize)
        self._breaker = breaker

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        connection = super().get(block, timeout)
        if self._breaker.shuts_out():
            self.put_nowait(connection)
            raise queue.Empty
        return connection

    def disconnect_all(self) -> None:
        """The pool's own disconnect() may close a connection that another thread has just taken."""
        taken = []
        with suppress(queue.Empty):
            while True:
                taken.append(super().get(block=False))
        for connection in taken:
            if connection is not None:
                connection.disconnect()
            self.put_nowait(connection)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Counts to add, once. `nonce` names the mark that tells whether they were."""

    key: str
    by: Mapping[str, int]
    ttl_seconds: float
    nonce: str


class _KeptCounts:
    """Counts that wait for Redis. What it never saw is merged, so a long outage takes no more room than its keys."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._unseen: dict[str, _Batch] = {}
        self._in_doubt: list[_Batch] = []

    def __bool__(self) -> bool:
        return bool(self._unseen or self._in_doubt)

    def keep(self, batch: _Batch, *, in_doubt: bool) -> None:
        with self._mutex:
            if in_doubt:
                self._in_doubt.append(batch)
            else:
                earlier = self._unseen.get(batch.key)
                by = _sum(earlier.by, batch.by) if earlier else batch.by
                self._unseen[batch.key] = _Batch(batch.key, by, batch.ttl_seconds, batch.nonce)

    def take(self) -> _Batch | None:
        with self._mutex:
            if self._in_doubt:
                return self._in_doubt.pop()
            return self._unseen.popitem()[1] if self._unseen else None

    def of(self, key: str) -> dict[str, int]:
        with self._mutex:
            kept = [batch for batch in (*self._in_doubt, *self._unseen.values()) if batch.key == key]
        total: Counter[str] = Counter()
        for batch in kept:
            total.update(batch.by)
        return dict(total)


# Redis itself.

_CONNECT_SECONDS = _ANSWER_SECONDS = 0.25
_POOL_SIZE, _POOL_WAIT_SECONDS = 32, 2.0
_MARK_SECONDS = 900.0
_MOST_CONFLICTS = 64
_PROBE_KEY, _PROBE_SECONDS = "probe", 1.0


class RedisStore:
    """Shares through Redis while it answers; never raises for its failures. ValueError for a URL it cannot use.

    When Redis is away (unreachable, silent for 250 ms, loading, refusing the password), every operation acts on this
    process's memory, at once. The first failure opens the breaker; after 2 s, then every 5 s, one caller tries again
    and the others do not wait. When it is back, what memory held is forgotten and Redis counts.
    When Redis answers but refuses an operation (a replica, out of memory, denied by an ACL), that operation acts on
    memory and is tried again each time; reads take the newer generation of Redis's value and memory's.
    Increments that Redis did not take are kept and added when it does; until then they show in this process only. One
    whose answer was lost is added only if its mark, kept for 15 minutes, says it was not.
    A key of a wrong type, or a value that is damaged, counts as absent and is replaced.
    Nothing connects before the first use, and a forked process opens connections of its own.
    Locks and compare_and_set use WATCH, not scripts, so that an ACL without scripting is enough.
    Options in the URL's query are redis-py's, and win over the time limits here.
    """

    def __init__(
        self, url: str, *, password: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._breaker = _Breaker(clock)
        self._condition = _Condition(clock)
        self._memory = MemoryStore(clock)
        self._kept = _KeptCounts()
        self._pool = _open_pool(url, password, partial(_Connections, self._breaker))
        self._redis = redis.Redis(connection_pool=self._pool)

    @property
    def degraded(self) -> str | None:
        return self._condition.sentence

    @property
    def connection_pool(self) -> redis.BlockingConnectionPool:
        return self._pool

    @property
    def limits_uri(self) -> str:
        """For `limits` and Flask-Limiter, with `limits_options`; names no server and holds no password."""
        return "redis://"

    @property
    def limits_options(self) -> dict[str, Any]:
        """Shares this store's connections. What fails is a limits.errors.StorageError."""
        return {"connection_pool": self._pool, "wrap_exceptions": True, "key_prefix": f"{_PREFIX}limits"}

    def probe(self) -> bool:
        """Tries a small write, and whatever Redis refused before; True if nothing is degraded now.

        A PING would not do: a replica and a full server answer it well. While the breaker pauses this asks nothing.
        """
        self.set(_PROBE_KEY, b"", _PROBE_SECONDS)
        trials: dict[str, Callable[[], object]] = {
            "get": partial(self.get, _PROBE_KEY),
            "delete": partial(self.delete, _PROBE_KEY),
            "lock": self._try_lock,
            "compare_and_set": partial(self.compare_and_set, _PROBE_KEY, b"", 1, _PROBE_SECONDS),
            "increment": self._add_kept,
            "count": partial(self.increment, f"{_PROBE_KEY}:counters", {}, _PROBE_SECONDS),
        }
        for place in self._condition.places & trials.keys():
            trials[place]()
        return self.degraded is None

    def get(self, key: str) -> bytes | None:
        name = _PREFIX + key
        try:
            shared = _unframe(self._ask("get", lambda: self._read(name)))
        except _Away:
            return self._memory.get(key)
        own = self._memory.find(key) if self.degraded else None
        if own and (shared is None or own.generation >= shared.generation):
            return own.value
        return shared.value if shared else None

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        name, framed, px = _PREFIX + key, _frame(_Stored(0, value)), _milliseconds(ttl_seconds)
        try:
            self._ask("set", lambda: self._redis.set(name, framed, px=px))
        except _Away:
            self._memory.set(key, value, ttl_seconds)

    def delete(self, key: str) -> None:
        name = _PREFIX + key
        try:
            self._ask("delete", lambda: self._redis.delete(name))
        except _Away:
            self._memory.delete(key)

    @contextmanager
    def lock(self, key: str, ttl_seconds: float) -> Iterator[bool]:
        name, owner, px = _PREFIX + key, secrets.token_hex(16).encode(), _milliseconds(ttl_seconds)
        try:
            is_ours = self._ask("lock", lambda: self._acquire(name, owner, px))
        except _Away:
            is_ours = None
        if is_ours is None:
            with self._memory.lock(key, ttl_seconds) as is_ours_here:
                yield is_ours_here
            return
        try:
            yield is_ours
        finally:
            if is_ours:
                with suppress(_Away):
                    self._ask("lock", lambda: self._act_if(name, ("GET", name), owner.__eq__, ("DEL", name)))

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        name, framed, px = _PREFIX + key, _frame(_Stored(generation, value)), _milliseconds(ttl_seconds)

        def is_older(found: object) -> bool:
            stored = _unframe(found)
            return stored is None or stored.generation < generation

        put = ("SET", name, framed, "PX", px)
        try:
            return self._ask("compare_and_set", lambda: self._act_if(name, ("GET", name), is_older, put))
        except _Away:
            return self._memory.compare_and_set(key, value, generation, ttl_seconds)

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        batch = _Batch(key, dict(by), ttl_seconds, secrets.token_hex(8))
        try:
            shared = self._ask("increment", lambda: self._add(batch)) if by else self._ask("count", lambda: self._count(key))
        except _Away as away:
            shared = {}
            if by:
                self._kept.keep(batch, in_doubt=away.in_doubt)
        else:
            self._add_kept()
        return _sum(shared, self._kept.of(key))

    def _ask(self, place: str, talk: Callable[[], T]) -> T:
        """The one place where Redis is asked and its failures are met. _Away when it did not do it."""
        if not self._breaker.admits():
            raise _Away(in_doubt=False)
        try:
            if self._breaker.is_trial():
                self._ping()
            answer = talk()
        except ResponseError as exc:
            self._reached()
            self._refused(place, exc)
            raise _Away(in_doubt=False) from exc
        # redis-py turns the numbers of a reply to int by itself, and a UnicodeDecodeError is a ValueError too.
        except (RedisError, OSError, ValueError) as exc:
            self._lost(exc)
            raise _Away(in_doubt=True) from exc
        else:
            self._reached()
            self._settle(place)
            return answer
        finally:
            self._breaker.leave()

    def _ping(self) -> None:
        """Before the operation itself, so that a Redis still silent leaves nothing in doubt. A refusal is an answer."""
        with suppress(ResponseError):
            self._redis.ping()

    def _reached(self) -> None:
        if self._breaker.close():
            self._settle(_CONNECTION)
            self._add_kept()

    def _lost(self, exc: Exception) -> None:
        is_new, is_news = self._breaker.open()
        if is_new:
            self._disconnect_idle()
        if is_news:
            self._condition.note(_CONNECTION, _phrase(exc))

    def _refused(self, place: str, exc: ResponseError) -> None:
        # After a failover the address may lead to a new master; old connections stay with the one that became a replica.
        if isinstance(exc, ReadOnlyError):
            self._disconnect_idle()
        self._condition.note(place, _phrase(exc))

    def _settle(self, place: str) -> None:
        if self._condition.clear(place):
            self._memory.clear()

    def _disconnect_idle(self) -> None:
        self._pool.pool.disconnect_all()

    def _read(self, name: str) -> object:
        try:
            return self._redis.get(name)
        except ResponseError as exc:
            if _is_wrong_type(exc):
                return None
            raise

    def _acquire(self, name: str, owner: bytes, px: int) -> bool:
        if self._redis.set(name, owner, nx=True, px=px):
            return True
        # A lock always has an end; a key without one is no lock, and would bar the way for ever.
        return self._act_if(name, ("PTTL", name), (-1).__eq__, ("SET", name, owner, "PX", px))

    def _try_lock(self) -> None:
        with self.lock(f"{_PROBE_KEY}:lock", _PROBE_SECONDS):
            pass

    def _act_if(
        self, name: str, question: tuple[Any, ...], allows: Callable[[Any], bool], act: tuple[Any, ...]
    ) -> bool:
        """Does `act` if the answer to `question` allows it and the key `name` has not changed since; else False.

        On a connection of its own, not redis-py's Pipeline: that one reconnects to send UNWATCH when a timeout has cut
        its connection, and loses it to the pool when that times out as well (redis-py 8.1).
        """
        connection: Any = self._pool.get_connection()
        is_clean = False
        try:
            done = next(filter(None, (_attempt(connection, name, question, allows, act) for _ in range(_MOST_CONFLICTS))))
            is_clean = True
            return done is _Verdict.DONE
        finally:
            if not is_clean:
                connection.disconnect()
            self._pool.release(connection)
