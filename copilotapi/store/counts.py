"""Counters in Redis, and those that wait for it. What is counted is added once, also when an answer was lost."""

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

from redis.exceptions import ResponseError

from copilotapi.store.link import Away, RedisLink
from copilotapi.store.memory import added
from copilotapi.store.wire import (
    decode_counters,
    encode_key,
    encode_seconds,
    encode_text,
    is_counter,
    unless_wrong_type,
)

_MARK_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class _Batch:
    """Counts to add once. `nonce` names the mark in Redis that says they were."""

    key: str
    by: Mapping[str, int]
    ttl_seconds: float
    nonce: str


class _Waiting:
    """Batches that wait for Redis. What it never saw is merged: a long outage takes no more room than its keys."""

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
            self._unseen[batch.key] = replace(batch, by=added(earlier.by, batch.by)) if earlier else batch

    def take(self) -> _Batch | None:
        with self._mutex:
            if self._in_doubt:
                return self._in_doubt.pop()
            return self._unseen.popitem()[1] if self._unseen else None

    def of(self, key: str) -> dict[str, int]:
        with self._mutex:
            kept = [batch.by for batch in (*self._in_doubt, *self._unseen.values()) if batch.key == key]
        return reduce(added, kept, {})


class RedisCounters:
    """What Redis did not take shows here only, until `add_waiting` could add it."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._waiting = _Waiting()

    def increment(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        shared = self._added(key, by, ttl_seconds) if by else self._read(key)
        return added(shared, self._waiting.of(key))

    def add_waiting(self) -> bool:
        """Until none waits, or Redis fails or refuses again. Whether any was added."""
        is_any_added = False
        while (batch := self._waiting.take()) is not None:
            try:
                self._link.ask("late increment", partial(self._add_unless_marked, batch))
            except Away:
                self._waiting.keep(batch, in_doubt=True)
                break
            is_any_added = True
        return is_any_added

    def _added(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> dict[str, int]:
        batch = _Batch(key, dict(by), ttl_seconds, secrets.token_hex(8))
        try:
            counters = self._link.ask("increment", lambda: self._add(batch))
        except Away as away:
            self._waiting.keep(batch, in_doubt=away.in_doubt)
            return {}
        return self._read(batch.key) if self.add_waiting() else counters

    def _read(self, key: str) -> dict[str, int]:
        name, client = encode_key(key), self._link.client
        try:
            fields = self._link.ask("count", lambda: unless_wrong_type(lambda: client.hgetall(name)))
        except Away:
            return {}
        return decode_counters(fields or {})

    def _add_unless_marked(self, batch: _Batch) -> None:
        if not self._link.client.exists(_mark(batch)):
            self._add(batch)

    def _add(self, batch: _Batch) -> dict[str, int]:
        answers = self._send(batch, batch.by)
        bad = [name for name, answer in zip(batch.by, answers[1:], strict=False) if isinstance(answer, ResponseError)]
        if bad:
            self._remove_what_is_no_counter(encode_key(batch.key), bad)
            answers = self._send(batch, {name: batch.by[name] for name in bad})
        for answer in answers:
            if isinstance(answer, ResponseError):
                raise answer
        return decode_counters(answers[-1])

    def _send(self, batch: _Batch, by: Mapping[str, int]) -> list[Any]:
        """In one transaction. The answers: to the mark, to each counter in turn, to the TTL, and all counters."""
        name = encode_key(batch.key)
        pipe = self._link.client.pipeline()
        pipe.set(_mark(batch), b"", px=encode_seconds(_MARK_SECONDS))
        for counter, count in by.items():
            pipe.hincrby(name, encode_text(counter), count)
        pipe.pexpire(name, encode_seconds(batch.ttl_seconds))
        pipe.hgetall(name)
        return pipe.execute(raise_on_error=False)

    def _remove_what_is_no_counter(self, name: bytes, counters: list[str]) -> None:
        client = self._link.client
        if client.type(name) != b"hash":
            client.delete(name)
            return
        for counter in map(encode_text, counters):
            if not is_counter(client.hget(name, counter)):
                client.hdel(name, counter)


def _mark(batch: _Batch) -> bytes:
    return encode_key(f"{batch.key}:added:{batch.nonce}")
