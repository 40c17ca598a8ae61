"""Counts of limits' sliding window, in this process. limits' own memory starts a thread for each 10 ms in which it counts
(limits 5.8, storage/memory.py); this one forgets what is over when it is next asked. Knows no request.
"""

import threading
import time
from collections.abc import Callable
from math import floor

from limits.storage import Storage
from limits.storage.base import SlidingWindowCounterSupport

_PURGE_SECONDS = 60.0


class WindowCounts(Storage, SlidingWindowCounterSupport):
    """For limits' SlidingWindowCounterRateLimiter. Kept by key and number of the window: two windows of each key count."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__(None)
        self._clock = clock
        self._counts: dict[tuple[str, int], int] = {}
        self._ends: dict[tuple[str, int], float] = {}
        self._purge_at = clock() + _PURGE_SECONDS
        self._mutex = threading.Lock()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        with self._mutex:
            now = self._clock()
            window = int(now // expiry)
            count = self._counts.get((key, window), 0)
            if floor(self._earlier(key, window, expiry, now) + count) + amount > limit:
                return False
            self._add((key, window), amount, (window + 2) * expiry, now)
        return True

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """Count of the window before and the seconds it still weighs, count of this one and the seconds it does."""
        now = self._clock()
        window = int(now // expiry)
        before = self._counts.get((key, window - 1), 0)
        left_seconds = (window + 1) * expiry - now
        return before, left_seconds if before else 0.0, self._counts.get((key, window), 0), left_seconds + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.clear(key)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        with self._mutex:
            now = self._clock()
            if self._ends.get((key, 0), 0.0) <= now:
                self._counts.pop((key, 0), None)
                self._ends.pop((key, 0), None)
            return self._add((key, 0), amount, self._ends.get((key, 0), now + expiry), now)

    def get(self, key: str) -> int:
        return self._counts.get((key, 0), 0) if self.get_expiry(key) > self._clock() else 0

    def get_expiry(self, key: str) -> float:
        return self._ends.get((key, 0), self._clock())

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        with self._mutex:
            forgotten = len(self._counts)
            self._counts.clear()
            self._ends.clear()
        return forgotten

    def clear(self, key: str) -> None:
        with self._mutex:
            for known in [known for known in self._counts if known[0] == key]:
                del self._counts[known], self._ends[known]

    def _earlier(self, key: str, window: int, expiry: int, now: float) -> float:
        """What the window before still weighs: less with every second of this one."""
        before = self._counts.get((key, window - 1), 0)
        return before * ((window + 1) * expiry - now) / expiry

    def _add(self, known: tuple[str, int], amount: int, ends: float, now: float) -> int:
        if now >= self._purge_at:
            self._purge_at = now + _PURGE_SECONDS
            for over in [name for name, end in self._ends.items() if end <= now]:
                del self._counts[over], self._ends[over]
        self._counts[known] = count = self._counts.get(known, 0) + amount
        self._ends[known] = ends
        return count
