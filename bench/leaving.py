"""Callers who leave: how soon the upstream is let go, and whether anything stays behind."""

import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.gateways import OWN, Running, running
from bench.ground import Ground
from bench.job import Job, Target
from bench.load import http_request
from bench.measure import measure
from bench.wire import SILENT, Plan, request_body

_LIMIT_SECONDS = 11.0
_REPEATS = 5
_ABORTS = Job("aborts", Plan("stream", 1000, 50), callers=50, streams=10_000, limit_seconds=300)
_FIRST_ABORTS = Job("aborts", Plan("stream", 1000, 50), callers=50, streams=500, limit_seconds=60)
_PHASES = {"before the head": Plan(SILENT), "within the stream": Plan("stream", 1000, 50)}


@dataclass(frozen=True, slots=True)
class Release:
    """The longest of a few tries, in seconds; None when the upstream was held longer than 11 s."""

    gateway: str
    phase: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Leak:
    """Open descriptors and PSS of all processes, before and after 10,000 streams whose callers hung up."""

    aborted: int
    failures: Mapping[str, int]
    descriptors_before: int
    descriptors_after: int
    pss_kb_before: int
    pss_kb_after: int


def releases(ground: Ground, name: str) -> list[Release]:
    """Raises Absent."""
    with running(name, ground) as gateway:
        repeats = _REPEATS if name == OWN else 1
        return [
            Release(name, phase, _longest([_release_seconds(ground, gateway.target, plan) for _ in range(repeats)]))
            for phase, plan in _PHASES.items()
        ]


def leak(ground: Ground) -> Leak:
    """Raises Absent, LoadFailed, ProcessEnded. The first 500 are not counted: they fill the pools."""
    with running(OWN, ground) as gateway:
        measure(ground, gateway, _FIRST_ABORTS)
        _settled(ground)
        before = _holdings(gateway)
        sample = measure(ground, gateway, _ABORTS)
        _settled(ground)
        after = _holdings(gateway)
    return Leak(sample.result.requests, sample.result.failures, before[0], after[0], before[1], after[1])


def _holdings(gateway: Running) -> tuple[int, int]:
    return gateway.tree.open_descriptors(), gateway.tree.memory_kb()["pss"]


def _settled(ground: Ground) -> None:
    _seconds_until(lambda: ground.upstream_counts()["open_streams"] == 0)
    # The gateway's side of the last hang-ups.
    time.sleep(1.0)


def _release_seconds(ground: Ground, target: Target, plan: Plan) -> float | None:
    if _seconds_until(lambda: ground.upstream_counts()["open_streams"] == 0) is None:
        return None
    with socket.create_connection((target.host, target.port), timeout=_LIMIT_SECONDS) as caller:
        caller.sendall(http_request(target, request_body(plan)))
        _seconds_until(lambda: ground.upstream_counts()["open_streams"] == 1)
        if plan.kind == "stream":
            caller.recv(1)
    return _seconds_until(lambda: ground.upstream_counts()["open_streams"] == 0)


def _seconds_until(is_so: Callable[[], bool]) -> float | None:
    began = time.monotonic()
    while not is_so():
        if time.monotonic() - began > _LIMIT_SECONDS:
            return None
        time.sleep(0.005)
    return time.monotonic() - began


def _longest(tries: list[float | None]) -> float | None:
    came = [seconds for seconds in tries if seconds is not None]
    return max(came) if len(came) == len(tries) else None
