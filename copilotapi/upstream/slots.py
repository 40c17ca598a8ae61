"""How many may do something at once. Knows nothing of what they do."""

import threading


class Slots:
    """A semaphore whose release costs next to nothing while nobody waits.

    The standard library's gives the loop a turn at each release under gevent 26.9: its condition asks whether its lock is
    held by trying to take it, and gevent lets others run when that fails (gevent/thread.py).
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting = 0
        self._mutex = threading.Lock()
        self._freed = threading.Condition(self._mutex)

    def acquire(self, timeout_seconds: float) -> bool:
        """False when none came free in time."""
        with self._mutex:
            if not self._free:
                self._waiting += 1
                try:
                    self._freed.wait_for(lambda: self._free > 0, timeout_seconds)
                finally:
                    self._waiting -= 1
            if not self._free:
                return False
            self._free -= 1
            return True

    def release(self) -> None:
        with self._mutex:
            self._free += 1
            if self._waiting:
                self._freed.notify()
