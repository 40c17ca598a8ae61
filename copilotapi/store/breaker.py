"""Who may talk to Redis at all. Knows threads and time, and nothing of Redis."""

import threading
from collections.abc import Callable

_FIRST_PAUSE_SECONDS, _NEXT_PAUSE_SECONDS = 2.0, 5.0


class Breaker:
    """Opens at the first failure. Then, after a pause, one thread at a time may try again; the others are shut out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._mutex = threading.Lock()
        self._is_open = False
        self._retry_at = 0.0
        self._trying: int | None = None

    def admits(self) -> bool:
        """Whether this thread may talk now. Whoever was admitted says `leave` in the end."""
        with self._mutex:
            if self._is_open and self._trying is None and self._clock() >= self._retry_at:
                self._trying = threading.get_ident()
            return not self.shuts_out()

    def is_trial(self) -> bool:
        return self._is_open and not self.shuts_out()

    def shuts_out(self) -> bool:
        return self._is_open and self._trying != threading.get_ident()

    def open(self) -> bool:
        """After a failure. Whether it was closed until now. The failure of a trial makes the pause the longer one."""
        with self._mutex:
            was_closed = not self._is_open
            if not self.shuts_out():
                pause_seconds = _FIRST_PAUSE_SECONDS if was_closed else _NEXT_PAUSE_SECONDS
                self._is_open, self._retry_at = True, self._clock() + pause_seconds
            return was_closed

    def close(self) -> None:
        with self._mutex:
            self._is_open = False

    def leave(self) -> None:
        with self._mutex:
            if self._trying == threading.get_ident():
                self._trying = None
