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
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial, reduce
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


# What can be wrong with Redis, what is said about it, and who may talk to it.

_REMINDER_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _NEXT_PAUSE_SECONDS = 2.0, 5.0
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
    def places(self) -> list[str]:
        with self._mutex:
            return list(self._troubles)

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
            if is_last:
                self._told = None
        if is_last:
            log.info("store_recovered")
        return is_last

    def _sentence(self) -> str | None:
        for place in (_CONNECTION, *self._troubles):
            if phrase := self._troubles.get(place):
                where = "" if place == _CONNECTION else f" ({place})"
                return f"Redis {phrase}{where}; this worker keeps its own values meanwhile."
        return None


class _Breaker:
    """Opens at the first failure of the connection. Then, after a pause, one thread at a time may try again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._is_open = False
        self._retry_at = 0.0
        self._trying: int | None = None

    def admits(self) -> bool:
        """Whether this thread may talk to Redis now. Each call is answered by one of `leave`."""
        with self._mutex:
            if self._is_open and self._trying is None and self._clock() >= self._retry_at:
                self._trying = threading.get_ident()
            return not self.shuts_out()

    def is_trial(self) -> bool:
        return self._is_open and not self.shuts_out()

    def shuts_out(self) -> bool:
        return self._is_open and self._trying != threading.get_ident()

    def open(self) -> bool:
        """Whether it was closed. The failure of a trial makes the pause longer; any other while it is open is old news."""
        with self._mutex:
            is_new = not self._is_open
            if not self.shuts_out():
                pause_seconds = _FIRST_PAUSE_SECONDS if is_new else _NEXT_PAUSE_SECONDS
                self._is_open, self._retry_at = True, self._clock() + pause_seconds
            return is_new

    def close(self) -> None:
        with self._mutex:
            self._is_open = False

    def leave(self) -> None:
        with self._mutex:
            if self._trying == threading.get_ident():
                self._trying = None


class _Connections(queue.LifoQueue[Any]):
    """The pool's free connections; None stands for one not made yet. Gives none out to whom the breaker shuts out.

    Without that, whoever waited for a connection would try a frozen Redis in turn, each in a quarter second of its own.
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
        """Those that are free. The pool's own disconnect() may close one that another thread has just taken."""
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
    """Counts to add once. `nonce` names the mark in Redis that says they were."""

    key: str
    by: Mapping[str, int]
    ttl_seconds: float
    nonce: str


class _KeptCounts:
    """Counts that wait for Redis. What it never saw is merged, so that a long outage takes no more room than its keys."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._unseen: dict[str, _Batch] = {}
        self._in_doubt: list[_Batch] = []

    def keep(self, batch: _Batch, *, in_doubt: bool) -> None:
        with self._mutex:
            if in_doubt:
                self._in_doubt.append(batch)
                return
            earlier = self._unseen.get(batch.key)
            self._unseen[batch.key] = replace(batch, by=_sum(earlier.by, batch.by)) if earlier else batch

    def take(self) -> _Batch | None:
        with self._mutex:
            if self._in_doubt:
                return self._in_doubt.pop()
            return self._unseen.popitem()[1] if self._unseen else None

    def of(self, key: str) -> dict[str, int]:
        with self._mutex:
            kept = [batch.by for batch in (*self._in_doubt, *self._unseen.values()) if batch.key == key]
        return reduce(_sum, kept, {})


# Redis itself.

_CONNECT_SECONDS = _ANSWER_SECONDS = 0.25
_POOL_SIZE, _POOL_WAIT_SECONDS = 32, 2.0
_MARK_SECONDS = 900.0
_MOST_CONFLICTS = 64
_PROBE, _PROBE_SECONDS = "probe", 1.0
# PTTL's answer for a key that stays for ever.
_NO_EXPIRY = -1
_WHOLE = re.compile(rb"-?[0-9]{1,19}")
_LONGEST_TTL_SECONDS = 3650 * 86_400.0


class RedisStore:
    """Shares through Redis while it answers, and never raises for its failures. ValueError for a URL it cannot use.

    When Redis is away (unreachable, silent for 250 ms, loading, refusing the password), every operation acts on this
    process's memory, at once. The first failure opens the breaker; after 2 s, then every 5 s, one caller tries again
    while the others do not wait. When Redis is back it counts, and what memory held is forgotten.
    When it answers but refuses an operation (a replica, out of memory, denied by an ACL), that operation acts on memory
    and is tried again each time; `get` then takes the newer generation of the two.
    Increments that Redis did not take are kept and added when it does; until then only this process sees them. One
    whose answer was lost is added unless its mark, which lasts 15 minutes, says that it was.
    A key of a wrong type, or a damaged value, counts as absent and is replaced.
    Nothing connects before the first use, and a forked process makes connections of its own.
    Options in the URL's query are redis-py's, and win over the limits here.
    """

    def __init__(self, url: str, *, password: str | None = None, clock: Callable[[], float] = time.monotonic) -> None:
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
        """For `limits` and Flask-Limiter, together with `limits_options`; holds no address and no password."""
        return "redis://"

    @property
    def limits_options(self) -> dict[str, Any]:
        """Shares the connections of this store. Failures come as limits.errors.StorageError."""
        return {"connection_pool": self._pool, "wrap_exceptions": True, "key_prefix": f"{_PREFIX}limits"}

    def probe(self) -> bool:
        """Tries a small write, and whatever Redis refused last; True if nothing is degraded after that.

        A PING would not do: a replica and a full server answer it well. In the breaker's pause this asks nothing.
        """
        self.set(_PROBE, b"", _PROBE_SECONDS)
        for place in self._condition.places:
            self._try_again(place)
        return self.degraded is None

    def get(self, key: str) -> bytes | None:
        name = _name(key)
        try:
            shared = _unframe(self._ask("get", lambda: _unless_wrong_type(lambda: self._redis.get(name))))
        except _Away:
            return self._memory.get(key)
        own = self._memory.find(key) if self.degraded else None
        if own and (shared is None or own.generation >= shared.generation):
            return own.value
        return shared.value if shared else None

    def set(self, key: str, value: bytes, ttl_seconds: float) -> None:
        name, framed, px = _name(key), _frame(_Stored(0, value)), _milliseconds(ttl_seconds)
        try:
            self._ask("set", lambda: self._redis.set(name, framed, px=px))
        except _Away:
            self._memory.set(key, value, ttl_seconds)

    def delete(self, key: str) -> None:
        name = _name(key)
        try:
            self._ask("delete", lambda: self._redis.delete(name))
        except _Away:
            self._memory.delete(key)

    @contextmanager
    def lock(self, key: str, ttl_seconds: float) -> Iterator[bool]:
        name, owner, px = _name(key), secrets.token_hex(16).encode(), _milliseconds(ttl_seconds)
        held: AbstractContextManager[bool]
        try:
            is_acquired = self._ask("lock", lambda: self._acquire(name, owner, px))
            held = self._held(name, owner) if is_acquired else nullcontext(False)
        except _Away:
            held = self._memory.lock(key, ttl_seconds)
        with held as is_ours:
            yield is_ours

    def compare_and_set(self, key: str, value: bytes, generation: int, ttl_seconds: float) -> bool:
        name, framed, px = _name(key), _frame(_Stored(generation, value)), _milliseconds(ttl_seconds)

        def is_older(found: object) -> bool:
            stored = _unframe(found)
            return stored is None or stored.generation < generation

        try:
            return self._ask(
                "compare_and_set",
                lambda: self._act_if(name, ("GET", name), is_older, ("SET", name, framed, "PX", px)),
            )
        except _Away:
            return self._memory.compare_and_set(key, value, generation, ttl_seconds)

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        batch = _Batch(key, dict(by), ttl_seconds, secrets.token_hex(8))
        shared = self._added(batch) if by else self._counted(key)
        return _sum(shared, self._kept.of(key))

    def _ask(self, place: str, talk: Callable[[], T]) -> T:
        """The one place where Redis is talked to and its failures are met: _Away when it did not do what was asked."""
        if not self._breaker.admits():
            raise _Away(in_doubt=False)
        try:
            if self._breaker.is_trial():
                self._come_back()
            answer = talk()
        except ResponseError as exc:
            self._refused(place, exc)
            raise _Away(in_doubt=False) from exc
        # ValueError: redis-py reads the numbers in a reply with int(); a UnicodeDecodeError is one too.
        except (RedisError, OSError, ValueError) as exc:
            self._lost(exc)
            raise _Away(in_doubt=True) from exc
        finally:
            self._breaker.leave()
        self._settle(place)
        return answer

    def _come_back(self) -> None:
        """A PING before anything else, so that a Redis still silent leaves nothing in doubt. A refusal is an answer."""
        with suppress(ResponseError):
            self._redis.ping()
        self._breaker.close()
        self._settle(_CONNECTION)
        self._add_kept()

    def _lost(self, exc: Exception) -> None:
        if self._breaker.shuts_out():
            return
        if self._breaker.open():
            self._pool.pool.disconnect_all()
        self._condition.note(_CONNECTION, _phrase(exc))

    def _refused(self, place: str, exc: ResponseError) -> None:
        # After a failover the address may lead to a new master, while old connections stay with the replica it became.
        if isinstance(exc, ReadOnlyError):
            self._pool.pool.disconnect_all()
        self._condition.note(place, _phrase(exc))

    def _settle(self, place: str) -> None:
        if self._condition.clear(place):
            self._memory.clear()

    def _try_again(self, place: str) -> None:
        match place:
            case "get":
                self.get(_PROBE)
            case "delete":
                self.delete(_PROBE)
            case "lock":
                with self.lock(f"{_PROBE}:lock", _PROBE_SECONDS):
                    pass
            case "compare_and_set":
                self.compare_and_set(_PROBE, b"", 1, _PROBE_SECONDS)
            case "increment":
                self._add_kept()
            case "count":
                self._counted(_PROBE)

    def _acquire(self, name: bytes, owner: bytes, px: int) -> bool:
        if self._redis.set(name, owner, nx=True, px=px):
            return True
        if self._redis.pttl(name) != _NO_EXPIRY:
            return False
        # Every lock of ours ends by itself. What never ends is something else, and would bar the way for ever.
        return self._act_if(name, ("PTTL", name), lambda left: left == _NO_EXPIRY, ("SET", name, owner, "PX", px))

    @contextmanager
    def _held(self, name: bytes, owner: bytes) -> Iterator[bool]:
        try:
            yield True
        finally:
            with suppress(_Away):
                self._ask(
                    "lock", lambda: self._act_if(name, ("GET", name), lambda found: found == owner, ("DEL", name))
                )

    def _act_if(
        self, name: bytes, question: tuple[Any, ...], allows: Callable[[Any], bool], act: tuple[Any, ...]
    ) -> bool:
        """Does `act` if the answer to `question` allows it and the key has not changed in between; else False.

        By WATCH and not by a script, so that an ACL without scripting is enough. Not by redis-py's Pipeline: when a
        timeout has cut its connection that one reconnects to say UNWATCH, and if that times out too the pool has lost
        a connection for good (seen with redis-py 8.1).
        """
        connection: Any = self._pool.get_connection()
        try:
            for _ in range(_MOST_CONFLICTS):
                _say(connection, "WATCH", name)
                if not allows(_unless_wrong_type(partial(_say, connection, *question))):
                    _say(connection, "UNWATCH")
                    return False
                _say(connection, "MULTI")
                _say(connection, *act)
                if _say(connection, "EXEC") is not None:
                    return True
            return False
        except ResponseError:
            connection.disconnect()
            raise
        finally:
            self._pool.release(connection)

    def _added(self, batch: _Batch) -> dict[str, int]:
        try:
            counters = self._ask("increment", lambda: self._add(batch))
        except _Away as away:
            self._kept.keep(batch, in_doubt=away.in_doubt)
            return {}
        self._add_kept()
        return counters

    def _counted(self, key: str) -> dict[str, int]:
        name = _name(key)
        try:
            return _counters(self._ask("count", lambda: _unless_wrong_type(lambda: self._redis.hgetall(name))))
        except _Away:
            return {}

    def _add_kept(self) -> None:
        while (batch := self._kept.take()) is not None:
            try:
                self._ask("increment", partial(self._add_unless_marked, batch))
            except _Away:
                self._kept.keep(batch, in_doubt=True)
                return

    def _add_unless_marked(self, batch: _Batch) -> None:
        if not self._redis.exists(_mark(batch)):
            self._add(batch)

    def _add(self, batch: _Batch) -> dict[str, int]:
        answers = self._send(batch, batch.by)
        bad = [name for name, answer in zip(batch.by, answers[1:], strict=False) if isinstance(answer, ResponseError)]
        if bad:
            self._remove_what_is_no_counter(_name(batch.key), bad)
            answers = self._send(batch, {name: batch.by[name] for name in bad})
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return _counters(answers[-1])

    def _send(self, batch: _Batch, by: Mapping[str, int]) -> list[Any]:
        """In one transaction; the answers are those of the mark, of each counter, of the TTL and all counters."""
        name = _name(batch.key)
        pipe = self._redis.pipeline()
        pipe.set(_mark(batch), b"", px=_milliseconds(_MARK_SECONDS))
        for counter, count in by.items():
            pipe.hincrby(name, _utf8(counter), count)
        pipe.pexpire(name, _milliseconds(batch.ttl_seconds))
        pipe.hgetall(name)
        return pipe.execute(raise_on_error=False)

    def _remove_what_is_no_counter(self, name: bytes, counters: list[str]) -> None:
        if self._redis.type(name) != b"hash":
            self._redis.delete(name)
            return
        for counter in map(_utf8, counters):
            if not _WHOLE.fullmatch(self._redis.hget(name, counter) or b""):
                self._redis.hdel(name, counter)


def _open_pool(
    url: str, password: str | None, queue_class: Callable[[int], _Connections]
) -> redis.BlockingConnectionPool:
    limits = {
        "max_connections": _POOL_SIZE,
        "timeout": _POOL_WAIT_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_timeout": _ANSWER_SECONDS,
    }
    ours = {
        "queue_class": queue_class,
        # A second attempt doubles what a frozen Redis costs, and could count twice; the breaker is what retries.
        "retry": Retry(NoBackoff(), 0, supported_errors=()),
        # redis-py's check is a PING before the command: without retries it fails just as the command would.
        "health_check_interval": 0,
        "decode_responses": False,
        "protocol": 2,
        "driver_info": None,
    }
    try:
        given = ({"password": password} if password else {}) | parse_url(url)
        pool = redis.BlockingConnectionPool(**(limits | given | ours))
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        # Their texts may repeat parts of the URL.
        raise ValueError("the URL of Redis has a bad port, or an option that redis-py does not take") from None
    return pool


def _say(connection: Any, *command: object) -> Any:
    connection.send_command(*command)
    return connection.read_response()


def _unless_wrong_type(ask: Callable[[], Any]) -> Any:
    """None where the key holds another type. redis-py has no class for it; the first word of an error is its code."""
    try:
        return ask()
    except ResponseError as exc:
        if not str(exc).startswith("WRONGTYPE "):
            raise
        return None


def _counters(found: Mapping[bytes, bytes] | None) -> dict[str, int]:
    return {name.decode(errors="replace"): int(n) for name, n in (found or {}).items() if _WHOLE.fullmatch(n)}


def _name(key: str) -> bytes:
    return _utf8(_PREFIX + key)


def _mark(batch: _Batch) -> bytes:
    return _name(f"{batch.key}:added:{batch.nonce}")


def _utf8(text: str) -> bytes:
    return text.encode(errors="replace")


def _milliseconds(ttl_seconds: float) -> int:
    return max(1, int(min(ttl_seconds, _LONGEST_TTL_SECONDS) * 1000))
