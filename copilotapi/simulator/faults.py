"""What can be made to go wrong, how it is written down, and the queue that decides which request it happens to.

A fault is a mapping: {"kind": "status", "path": "chat", "times": 1, "status": 429, …}. KINDS lists every kind with the
fields it knows besides `path`, `model`, `times`, `every` and `delay_seconds`, which all know. It must not know HTTP.
"""

import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, get_args

from copilotapi.simulator.endpoints import aim, hits

_POINT = frozenset({"after_events", "after_bytes"})

KINDS: Mapping[str, frozenset[str]] = {
    "status": frozenset({"status", "code", "message", "retry_after", "bucket", "text", "content_type"}),
    "delay": frozenset(),
    "hang": frozenset(),
    "reset": _POINT,
    "cut": _POINT,
    "stall": _POINT | {"stall_seconds"},
    "end": frozenset({"after_events"}),
    "garbage": frozenset({"after_events", "text"}),
    "error": frozenset({"after_events", "code", "message"}),
    "drip": frozenset({"piece_bytes", "pause_seconds"}),
    "split_utf8": frozenset({"pause_seconds"}),
    "crlf": frozenset(),
    "comments": frozenset(),
    "close_delimited": frozenset(),
    "expire": frozenset(),
    "token_life": frozenset({"expires_in_seconds", "refresh_in_seconds"}),
    "answer": frozenset({"words", "text", "chunk_delay_seconds", "finish_reason", "tools"}),
}
COMMON_FIELDS = frozenset({"kind", "path", "model", "times", "every", "delay_seconds"})
_NEEDED = {"status": "status", "delay": "delay_seconds"}
_TOOLS = ("auto", "none", "one", "all")


class FaultError(ValueError):
    """A fault or a directive that cannot be understood; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing to go wrong. Raises FaultError when it makes no sense.

    `times` is how many matching requests it happens to (0 = all), `every` picks each n-th of them. `after_events` and
    `after_bytes` say where in the body; without them a stream breaks after 3 events, a whole answer in its middle.
    """

    kind: str
    path: str = "*"
    model: str | None = None
    times: int = 1
    every: int = 1
    delay_seconds: float = 0.0
    status: int | None = None
    code: str | None = None
    message: str | None = None
    retry_after: int | str | None = None
    bucket: str | None = None
    text: str | None = None
    content_type: str | None = None
    after_events: int | None = None
    after_bytes: int | None = None
    stall_seconds: float | None = None
    piece_bytes: int | None = None
    pause_seconds: float | None = None
    expires_in_seconds: int | None = None
    refresh_in_seconds: int | None = None
    words: int | None = None
    chunk_delay_seconds: float | None = None
    finish_reason: str | None = None
    tools: str | None = None

    def __post_init__(self) -> None:
        _check_kind(self)
        _check_values(self)
        aimed = aim(self.path)
        if aimed is None:
            raise FaultError(f"no endpoint or group is called {self.path!r}")
        object.__setattr__(self, "path", aimed)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in _set_fields(self).items() if value is not None}


def fault_from(wire: Mapping[str, Any]) -> Fault:
    """The fault that a JSON object describes. Raises FaultError."""
    if not isinstance(wire, Mapping):
        raise FaultError("a fault is a JSON object")
    unknown = sorted(set(wire) - set(FIELD_TYPES))
    if unknown:
        raise FaultError(f"unknown field {unknown[0]!r}; known are {', '.join(sorted(FIELD_TYPES))}")
    if "kind" not in wire:
        raise FaultError(f"a fault needs a kind, one of {', '.join(KINDS)}")
    return Fault(**wire)


class FaultQueue:
    """Faults waiting for requests that match them, oldest first. Safe to use from any thread."""

    def __init__(self, standing: Iterable[Fault] = ()) -> None:
        self._lock = threading.Lock()
        self._waiting = [_Waiting(fault) for fault in standing]

    def push(self, fault: Fault | Mapping[str, Any]) -> Fault:
        """Adds a fault for the next matching requests. Raises FaultError."""
        added = fault if isinstance(fault, Fault) else fault_from(fault)
        with self._lock:
            self._waiting.append(_Waiting(added))
        return added

    def clear(self) -> None:
        """Forgets every fault, those of the scenario too."""
        self.replace(())

    def replace(self, faults: Iterable[Fault]) -> None:
        with self._lock:
            self._waiting = [_Waiting(fault) for fault in faults]

    def waiting(self) -> list[Fault]:
        with self._lock:
            return [waiting.fault for waiting in self._waiting]

    def take(self, endpoint: str, request_path: str, model: str | None) -> list[Fault]:
        """The faults of one request. At most one of a kind that decides the whole answer: the others wait."""
        taken: list[Fault] = []
        with self._lock:
            for waiting in self._waiting:
                if any(fault.kind == waiting.fault.kind for fault in taken):
                    continue
                if waiting.matches(endpoint, request_path, model) and waiting.due():
                    taken.append(waiting.fault)
            self._waiting = [waiting for waiting in self._waiting if not waiting.spent]
        return taken


class _Waiting:
    """A fault and how often it has met a matching request."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._met = 0
        self._happened = 0

    @property
    def spent(self) -> bool:
        return 0 < self.fault.times <= self._happened

    def matches(self, endpoint: str, request_path: str, model: str | None) -> bool:
        return hits(self.fault.path, endpoint, request_path) and self.fault.model in (None, model)

    def due(self) -> bool:
        self._met += 1
        if self._met % self.fault.every:
            return False
        self._happened += 1
        return True


def _field_types() -> dict[str, tuple[type, ...]]:
    kinds = {field.name: get_args(field.type) or (field.type,) for field in fields(Fault)}
    return {name: tuple(kind for kind in of if kind is not NoneType) for name, of in kinds.items()}


FIELD_TYPES: Mapping[str, tuple[type, ...]] = _field_types()


def _set_fields(fault: Fault) -> dict[str, Any]:
    return {name: getattr(fault, name) for name in FIELD_TYPES}


def _check_kind(fault: Fault) -> None:
    if not isinstance(fault.kind, str) or fault.kind not in KINDS:
        raise FaultError(f"unknown kind {fault.kind!r}; known are {', '.join(KINDS)}")
    needed = _NEEDED.get(fault.kind)
    if needed and not getattr(fault, needed):
        raise FaultError(f"{fault.kind!r} needs {needed}")
    known = KINDS[fault.kind] | COMMON_FIELDS
    for name, value in _set_fields(fault).items():
        if value is not None and name not in known:
            raise FaultError(f"{fault.kind!r} has no field {name!r}")


def _check_values(fault: Fault) -> None:
    optional = {"model"} | (set(FIELD_TYPES) - COMMON_FIELDS)
    for name, value in _set_fields(fault).items():
        if value is None and name in optional:
            continue
        if not _is_of_type(value, FIELD_TYPES[name]):
            raise FaultError(f"{name} must be {_described(name)}, not {value!r}")
        if not isinstance(value, str) and value < 0 and name != "expires_in_seconds":
            raise FaultError(f"{name} must not be negative")
    _check_ranges(fault)


def _is_of_type(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, float):
        return float in kinds and math.isfinite(value)
    return not isinstance(value, bool) and (isinstance(value, kinds) or (isinstance(value, int) and float in kinds))


def _described(name: str) -> str:
    return " or ".join(
        "a number" if kind is float else {int: "an integer", str: "text"}[kind] for kind in FIELD_TYPES[name]
    )


def _check_ranges(fault: Fault) -> None:
    if fault.every < 1:
        raise FaultError("every must be 1 or more")
    if fault.status is not None and not 200 <= fault.status <= 599:
        raise FaultError("status must be between 200 and 599")
    if fault.piece_bytes == 0:
        raise FaultError("piece_bytes must be 1 or more")
    if fault.tools is not None and fault.tools not in _TOOLS:
        raise FaultError(f"tools must be one of {', '.join(_TOOLS)}")
    if any("\r" in text or "\n" in text for text in _header_values(fault)):
        raise FaultError("retry_after, bucket and content_type go into headers: no line breaks")


def _header_values(fault: Fault) -> list[str]:
    return [str(value) for value in (fault.retry_after, fault.bucket, fault.content_type) if value is not None]
