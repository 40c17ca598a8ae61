"""What the simulator was asked: every request as it came, and a way to wait until something was. It keeps secrets as
they are in memory and shows them as fingerprints in JSON."""

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_KEPT_REQUESTS = 10_000
_KEPT_AFTER_DROPPING = 9_000
_KEPT_BODY_BYTES = 128 * 1024 * 1024
_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie", "copilot-session-token"})


@dataclass(slots=True, eq=False)
class Recorded:
    """One request. `at` and `client_gone_at` are time.monotonic() seconds; header names are lower case.

    `client_gone_at` is set when the client left before its answer was complete. `status` is None until answered.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)
    endpoint: str
    at: float
    status: int | None = None
    client_gone_at: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "path": self.path,
            "headers": {name: _shown(name, value) for name, value in self.headers.items()},
            "body": self.body.decode("utf-8", "replace"),
            "endpoint": self.endpoint,
            "at": self.at,
            "status": self.status,
            "client_gone_at": self.client_gone_at,
        }


class Recorder:
    """`requests` is the live list, oldest first, at least of the last 9,000, fewer when their bodies exceed 128 MiB."""

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self._changed = threading.Condition(threading.RLock())
        self._dropped: Counter[str] = Counter()
        self._body_bytes = 0

    def counts(self) -> Counter[str]:
        """How many requests each endpoint has had, dropped ones too; one that had none counts 0."""
        with self._changed:
            return Counter(request.endpoint for request in self.requests) + self._dropped

    def to(self, endpoint: str) -> list[Recorded]:
        """The requests to one endpoint, oldest first."""
        with self._changed:
            return [request for request in self.requests if request.endpoint == endpoint]

    def wait_for(self, predicate: Callable[[], bool], timeout_seconds: float) -> bool:
        """Waits until `predicate()` is true, looking again after each recorded event. False when the time is up."""
        with self._changed:
            return self._changed.wait_for(predicate, timeout_seconds)

    def add(self, request: Recorded) -> None:
        with self._changed:
            self.requests.append(request)
            self._body_bytes += len(request.body)
            if len(self.requests) > _KEPT_REQUESTS or self._body_bytes > _KEPT_BODY_BYTES:
                self._drop_the_oldest()
            self._changed.notify_all()

    def answered(self, request: Recorded, status: int) -> None:
        with self._changed:
            request.status = status
            self._changed.notify_all()

    def gone(self, request: Recorded) -> None:
        with self._changed:
            request.client_gone_at = time.monotonic()
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self.requests.clear()
            self._dropped.clear()
            self._changed.notify_all()

    def _drop_the_oldest(self) -> None:
        self._body_bytes = sum(len(request.body) for request in self.requests)
        while len(self.requests) > _KEPT_AFTER_DROPPING or self._body_bytes > _KEPT_BODY_BYTES:
            oldest = self.requests.pop(0)
            self._dropped[oldest.endpoint] += 1
            self._body_bytes -= len(oldest.body)


def _shown(name: str, value: str) -> str:
    if name not in _SECRET_HEADERS:
        return value
    scheme, blank, secret = value.rpartition(" ")
    return f"{scheme}{blank}sha256:{hashlib.sha256(secret.encode()).hexdigest()[:12]}"
