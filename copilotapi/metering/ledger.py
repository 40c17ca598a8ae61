"""Tokens used, by day, key and model. Kept in the store so that all workers share one account of it."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from copilotapi.protocols.conversation import Usage
from copilotapi.store import Store

_KEPT_DAYS = 62
_DAY_SECONDS = 86_400
_SEPARATOR = "|"
_COUNTERS = ("requests", "errors", "input_tokens", "output_tokens", "cached_tokens", "estimated_requests")


class Ledger:
    """`known_keys` are the ids the administrator's view goes through; no prompt and no key is ever kept."""

    def __init__(self, store: Store, known_keys: Iterable[str], clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._known_keys = tuple(known_keys)
        self._clock = clock
        self._day = (-1, "")

    def record(self, key_id: str, model: str, usage: Usage | None, *, failed: bool) -> None:
        """Counts one request. `usage` is None where nothing was used or nothing is known."""
        counts: tuple[int, ...] = (1, int(failed))
        if usage is not None:
            counts += (usage.input_tokens, usage.output_tokens, usage.cached_tokens, int(usage.estimated))
        named = {f"{model}{_SEPARATOR}{name}": count for name, count in zip(_COUNTERS, counts, strict=False) if count}
        self._store.add(self._key(self._today(), key_id), named, _KEPT_DAYS * _DAY_SECONDS)

    def usage_of(self, key_id: str, days: int) -> list[dict[str, Any]]:
        """Rows `{day, key, model, requests, errors, input_tokens, …}` of the last `days` days, newest first.

        They hold whatever was recorded before this was asked, by any worker.
        """
        self._store.catch_up()
        rows = []
        for day in self._days(days):
            rows += self._rows(day, key_id)
        return rows

    def usage_of_all(self, days: int) -> list[dict[str, Any]]:
        """The same for every key this gateway knows."""
        self._store.catch_up()
        return [row for day in self._days(days) for key_id in self._known_keys for row in self._rows(day, key_id)]

    def _rows(self, day: str, key_id: str) -> list[dict[str, Any]]:
        by_model: dict[str, dict[str, int]] = {}
        for name, count in self._store.increment(self._key(day, key_id), {}, _KEPT_DAYS * _DAY_SECONDS).items():
            model, _, counter = name.rpartition(_SEPARATOR)
            by_model.setdefault(model, dict.fromkeys(_COUNTERS, 0))[counter] = count
        return [{"day": day, "key": key_id, "model": model, **counts} for model, counts in sorted(by_model.items())]

    def _days(self, days: int) -> list[str]:
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        return [(today - timedelta(days=back)).isoformat() for back in range(min(days, _KEPT_DAYS))]

    def _today(self) -> str:
        now = self._clock()
        if (day := int(now // _DAY_SECONDS)) != self._day[0]:
            self._day = (day, datetime.fromtimestamp(now, UTC).date().isoformat())
        return self._day[1]

    def _key(self, day: str, key_id: str) -> str:
        return f"usage:{day}:{key_id}"
