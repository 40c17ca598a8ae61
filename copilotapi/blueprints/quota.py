"""The per-address limit: one budget over all routes and workers, counted by Flask-Limiter's strategy in one round trip."""

import logging
import math
import time
from functools import cached_property

from flask import Flask
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.strategies import RateLimiter, SlidingWindowCounterRateLimiter

from copilotapi.errors import ApiError
from copilotapi.metering.window_counts import WindowCounts
from copilotapi.store import RedisStore, Store

log = logging.getLogger(__name__)


class AddressQuota:
    """`per_minute` 0 means no limit. While Redis is away each worker allows ceil(limit / workers) of its own count."""

    def __init__(self, store: Store, per_minute: int, workers: int) -> None:
        self._store = store
        self._is_off = per_minute == 0
        self._item = RateLimitItemPerMinute(max(per_minute, 1))
        self._local_item = RateLimitItemPerMinute(max(math.ceil(per_minute / workers), 1))
        self._local = SlidingWindowCounterRateLimiter(WindowCounts())

    @cached_property
    def _limiter(self) -> Limiter:
        # Flask-Limiter's hooks cost a third of a small request again; an app of its own keeps them off ours.
        return Limiter(
            get_remote_address,
            app=Flask(__name__),
            strategy="sliding-window-counter",
            storage_uri=self._store.limits_uri if isinstance(self._store, RedisStore) else "memory://",
            storage_options=self._store.limits_options if isinstance(self._store, RedisStore) else {},
        )

    def spend(self, address: str) -> None:
        """Counts one request of `address`; ApiError 429 with Retry-After and X-RateLimit-* when none is left."""
        if not self._is_off and not self._spend_shared(address):
            _spend(self._local, self._local_item, address)

    def _spend_shared(self, address: str) -> bool:
        """False when there is no shared count to spend from."""
        if not isinstance(self._store, RedisStore) or self._store.degraded is not None:
            return False
        try:
            _spend(self._limiter.limiter, self._item, address)
        except (StorageError, OSError, UnicodeDecodeError) as exc:
            log.warning("quota_in_memory", extra={"reason": type(exc).__name__})
            self._store.probe()
            return False
        return True


def _spend(strategy: RateLimiter, item: RateLimitItemPerMinute, address: str) -> None:
    if strategy.hit(item, address):
        return
    window = strategy.get_window_stats(item, address)
    raise ApiError(
        "Too many requests from this address. Wait a moment (RATE_LIMIT_PER_MINUTE sets how many are allowed).",
        status=429,
        kind="rate_limit_error",
        code="rate_limit_exceeded",
        retry_after_seconds=max(window.reset_time - time.time(), 1.0),
        headers={
            "X-RateLimit-Limit": str(item.amount),
            "X-RateLimit-Remaining": str(window.remaining),
            "X-RateLimit-Reset": str(math.ceil(window.reset_time)),
        },
    )
