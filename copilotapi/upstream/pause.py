"""The pause after a refused exchange: nobody asks GitHub again before it is over. Shared by all workers."""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import orjson

from copilotapi.errors import SignInFailed
from copilotapi.store import Store
from copilotapi.upstream.github import ExchangeRefused

log = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS = 1.0, 60.0
_FIRST_BLOCK_SECONDS, _LAST_BLOCK_SECONDS = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no newer token, and until when (unix time) nobody need ask again. `failures` counts them in a row."""

    message: str
    code: str
    refused_at: float
    until: float
    failures: int

    def as_error(self, now: float) -> SignInFailed:
        return SignInFailed(self.message, code=self.code, retry_after_seconds=max(self.until - now, 1.0))


class ExchangePause:
    """`key` is where the store keeps the refusal. Any thread may call any method."""

    def __init__(self, store: Store, key: str, wall_clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._key = key
        self._wall_clock = wall_clock
        self.refusal: Refusal | None = None

    def begin(self, refused: ExchangeRefused) -> SignInFailed:
        """Notes the refusal for everyone and returns the error to raise."""
        failures = (self.refusal.failures if self.refusal else 0) + 1
        pause_seconds = refused.pause_seconds or _pause_seconds(failures, refused.temporary)
        now = self._wall_clock()
        self.refusal = Refusal(refused.message, refused.code, now, now + pause_seconds, failures)
        self._store.set(self._key, orjson.dumps(asdict(self.refusal)), pause_seconds)
        log.warning("token_exchange_refused", extra={"code": refused.code, "reason": refused.message})
        return self.refusal.as_error(now)

    def end(self) -> None:
        if self.refusal is not None:
            self.refusal = None
            self._store.delete(self._key)

    def is_on(self) -> bool:
        """By this process's own knowledge: no look into the store."""
        return self.refusal is not None and self._is_in_force(self.refusal)

    def check(self) -> None:
        """SignInFailed while the pause lasts, whichever worker began it."""
        refusal = self.refusal if self.is_on() else self._shared()
        if refusal is not None and self._is_in_force(refusal):
            self.refusal = refusal
            raise refusal.as_error(self._wall_clock())

    def check_operator(self, gap_seconds: float) -> None:
        """An operator may cut a pause short, but not repeat what failed less than `gap_seconds` ago."""
        now = self._wall_clock()
        if self.refusal is not None and 0 <= now - self.refusal.refused_at < gap_seconds:
            raise self.refusal.as_error(now)

    def _is_in_force(self, refusal: Refusal) -> bool:
        return 0 < refusal.until - self._wall_clock() <= _LAST_BLOCK_SECONDS

    def _shared(self) -> Refusal | None:
        shared = self._store.get(self._key)
        if shared is None:
            return None
        try:
            return Refusal(**orjson.loads(shared))
        except (orjson.JSONDecodeError, TypeError):
            return None


def _pause_seconds(failures: int, temporary: bool) -> float:
    """1, 2, 4 … 60 s for a passing trouble, 1, 2, 4 … 60 min for a refused account; jittered so that hosts spread."""
    first, last = (
        (_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS) if temporary else (_FIRST_BLOCK_SECONDS, _LAST_BLOCK_SECONDS)
    )
    return float(min(first * 2.0 ** min(failures - 1, 12), last) * random.uniform(0.75, 1.0))
