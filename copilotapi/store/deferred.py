"""Counts that go to Redis together, beside those who made them. Knows neither what they mean nor how they are written."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from copilotapi.store.counts import RedisCounters
from copilotapi.store.link import Away, RedisLink
from copilotapi.store.wire import encode_key, encode_seconds, encode_text, unless_wrong_type

Aside: TypeAlias = Callable[[Callable[[], None]], object]

_INTERVAL_SECONDS = 0.02
_WRITERS, _WRITERS_SECONDS = "writers", 60.0
_WRITES_FOR_EACH_TTL = 256
_LOOKS, _LOOK_SECONDS = 200, 0.01


@dataclass(slots=True)
class _Pending:
    ttl_seconds: float
    by: dict[str, int] = field(default_factory=dict)


class DeferredCounts:
    """Writes at once what comes alone, and together, each 20 ms, what comes faster than that.

    So that a reader misses nothing, a process puts nothing off before Redis lists it as a writer: a field of the hash
    "writers", whose number grows with each write, and which goes when 20 ms brought nothing to write. `catch_up` waits
    until each field that it found has grown by two, for the write under way may have begun too early, or is gone: that
    holds for a slow process too, where a pause would not. One that has not got there in two seconds was killed, or stands
    still; it is taken from the list until it writes again.
    Nothing is put off without `aside`, which runs a function beside its caller; nor while anything is wrong with Redis.
    """

    def __init__(
        self, counters: RedisCounters, link: RedisLink, aside: Aside | None, clock: Callable[[], float]
    ) -> None:
        self._counters = counters
        self._link = link
        self._aside = aside
        self._clock = clock
        self._mutex = threading.Lock()
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._pending: dict[str, _Pending] = {}
        self._written_at = clock() - _INTERVAL_SECONDS
        self._is_beginning = False
        self._writer: str | None = None

    def add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> None:
        with self._mutex:
            if self._writer is not None:
                pending = self._pending.get(key)
                if pending is None:
                    pending = self._pending[key] = _Pending(ttl_seconds)
                for name, count in by.items():
                    pending.by[name] = pending.by.get(name, 0) + count
                return
        aside = self._aside
        if aside is not None and self._is_to_begin():
            aside(self._write_until_quiet)
        self._counters.increment(key, by, ttl_seconds)

    def catch_up(self) -> None:
        """Returns when all shows that any process had added before. Does not wait for a Redis that is away."""
        own = self._writer
        self._write_pending()
        goals = {name: count + 2 for name, count in self._writers().items() if name != own}
        for _ in range(_LOOKS):
            if not goals:
                return
            time.sleep(_LOOK_SECONDS)
            writers = self._writers()
            goals = {name: goal for name, goal in goals.items() if writers.get(name, goal) < goal}
        for name in goals:
            self._withdraw(name)

    def close(self) -> None:
        """Writes what was put off. What is added from now on is written at once."""
        with self._mutex:
            self._aside = None
            writer, self._writer = self._writer, None
        self._closing.set()
        self._write_pending()
        if writer is not None:
            self._withdraw(writer)

    def try_again(self) -> None:
        """What is otherwise asked of Redis only when much is to be counted."""
        writer = _new_name()
        self._tell_of_a_write(writer)
        self._withdraw(writer)

    def _is_to_begin(self) -> bool:
        now = self._clock()
        with self._mutex:
            is_alone = now - self._written_at >= _INTERVAL_SECONDS
            self._written_at = now
            if is_alone or self._is_beginning or self._link.condition.sentence is not None:
                return False
            self._is_beginning = True
            return True

    def _write_until_quiet(self) -> None:
        writer = _new_name()
        try:
            is_told = self._tell_of_a_write(writer)
            with self._mutex:
                if is_told and self._aside is not None:
                    self._writer = writer
            while self._writer == writer:
                self._closing.wait(_INTERVAL_SECONDS)
                self._write_or_end(writer)
        finally:
            with self._mutex:
                self._is_beginning = False
                if self._writer == writer:
                    self._writer = None
            self._write_pending()
            self._withdraw(writer)

    def _write_or_end(self, writer: str) -> None:
        with self._mutex:
            if not self._pending:
                self._writer = None
                return
        self._write_pending()
        if not self._tell_of_a_write(writer):
            with self._mutex:
                self._writer = None

    def _write_pending(self) -> None:
        """One at a time: who waited for the write under way knows that all of it is written."""
        with self._writing:
            with self._mutex:
                taken, self._pending = self._pending, {}
            for key, pending in taken.items():
                self._counters.increment(key, pending.by, pending.ttl_seconds)

    def _tell_of_a_write(self, writer: str) -> bool:
        try:
            self._link.ask("list writer", lambda: self._list(encode_key(_WRITERS), encode_text(writer)))
        except Away:
            return False
        return True

    def _list(self, name: bytes, writer: bytes) -> None:
        client = self._link.client
        count = unless_wrong_type(lambda: client.hincrby(name, writer, 1))
        if count is None:
            client.delete(name)
            count = client.hincrby(name, writer, 1)
        if count % _WRITES_FOR_EACH_TTL == 1:
            client.pexpire(name, encode_seconds(_WRITERS_SECONDS))

    def _writers(self) -> dict[str, int]:
        return self._counters.increment(_WRITERS, {}, _WRITERS_SECONDS)

    def _withdraw(self, writer: str) -> None:
        name, client = encode_key(_WRITERS), self._link.client
        with suppress(Away):
            self._link.ask("unlist writer", lambda: unless_wrong_type(lambda: client.hdel(name, encode_text(writer))))


def _new_name() -> str:
    return secrets.token_hex(8)
