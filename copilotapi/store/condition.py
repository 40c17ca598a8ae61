"""What is wrong with Redis, in words that are fit for everyone, and told to the log once. Decides nothing."""

import logging
import threading
from collections.abc import Callable

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)

log = logging.getLogger(__name__)

CONNECTION = "connection"
_REMINDER_SECONDS = 60.0
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


class Condition:
    """Troubles by the place where they show: CONNECTION, or the name of an operation.

    Logs each change of the sentence, and the sentence again once a minute while trouble lasts.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._phrases: dict[str, str] = {}
        self._told: str | None = None
        self._told_at = 0.0

    @property
    def sentence(self) -> str | None:
        # Asked for every request, nearly always in vain.
        if not self._phrases:
            return None
        with self._mutex:
            return self._sentence()

    @property
    def places(self) -> list[str]:
        with self._mutex:
            return list(self._phrases)

    def note(self, place: str, exc: Exception) -> None:
        """Takes the class of `exc` only: texts may hold an address or, in a pipeline, the arguments of the command."""
        phrases = (phrase for kinds, phrase in _PHRASES if isinstance(exc, kinds))
        with self._mutex:
            self._phrases[place] = next(phrases, "gives answers that cannot be read")
            is_due = self._is_due()
            sentence = self._sentence()
        if is_due:
            log.warning("store_degraded", extra={"reason": sentence})

    def clear(self, place: str) -> bool:
        """True when that was the last trouble."""
        with self._mutex:
            is_last = self._phrases.pop(place, None) is not None and not self._phrases
            if is_last:
                self._told = None
        if is_last:
            log.info("store_recovered")
        return is_last

    def _is_due(self) -> bool:
        sentence, now = self._sentence(), self._clock()
        is_due = sentence != self._told or now - self._told_at >= _REMINDER_SECONDS
        if is_due:
            self._told, self._told_at = sentence, now
        return is_due

    def _sentence(self) -> str | None:
        for place in (CONNECTION, *self._phrases):
            if phrase := self._phrases.get(place):
                where = "" if place == CONNECTION else f" ({place})"
                return f"Redis {phrase}{where}; this worker keeps its own values meanwhile."
        return None
