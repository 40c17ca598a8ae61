"""Interleaved rounds: in each, each scenario goes through its gateways in a shuffled order."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.gateways import OWN_REDIS, Running, running
from bench.ground import Ground
from bench.install import Absent
from bench.job import Job
from bench.measure import LoadFailed, measure
from bench.processes import ProcessEnded
from bench.scenarios import Scenario
from bench.shared_store import redis
from bench.wire import Plan

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `cost_us` is CPU per unit of the scenario, of all processes of the gateway."""

    round: int
    scenario: str
    gateway: str
    cost_us: float
    requests: int
    latency_ms: Mapping[str, float]
    transit_ms: Mapping[str, float]
    failures: Mapping[str, int]


def run_rounds(
    ground: Ground, scenarios: Sequence[Scenario], gateways: Iterable[str], count: int, say: Say
) -> tuple[list[Row], dict[str, str], dict[str, dict[str, int]]]:
    """The rows; the gateways that are absent, with the reason; and what each held in memory when it was warm."""
    wanted = [name for name in gateways if any(name in scenario.gateways for scenario in scenarios)]
    with ExitStack() as stack:
        started, absent = _start(ground, wanted, stack, say)
        memory = {name: each.processes.memory_kb() for name, each in started.items() if each.processes}
        rows = [
            row
            for number in range(1, count + 1)
            for scenario in scenarios
            for row in _pass(ground, scenario, started, number, count, say)
        ]
    return rows, absent, memory


def _start(
    ground: Ground, wanted: Sequence[str], stack: ExitStack, say: Say
) -> tuple[dict[str, Running], dict[str, str]]:
    started, absent = {}, {}
    for name in wanted:
        say(f"starting {name}")
        try:
            if name == OWN_REDIS:
                stack.enter_context(redis(ground))
            gateway = stack.enter_context(running(name, ground))
            _warm(ground, gateway)
            started[name] = gateway
        except (Absent, LoadFailed) as exc:
            absent[name] = str(exc)
            say(f"{name} is absent: {exc}")
    return started, absent


def _warm(ground: Ground, gateway: Running) -> None:
    for plan in (Plan(), Plan("stream", 200)):
        measure(ground, gateway, Job("closed", plan, callers=4, seconds=0.7))


def _pass(
    ground: Ground, scenario: Scenario, started: Mapping[str, Running], number: int, count: int, say: Say
) -> Iterable[Row]:
    names = [name for name in scenario.gateways if name in started]
    random.shuffle(names)
    for name in names:
        try:
            sample = measure(ground, started[name], scenario.job_for(name))
        except (LoadFailed, ProcessEnded) as exc:
            say(f"round {number}/{count}  {scenario.name:8} {name:22} failed: {exc}")
            continue
        cost_us = scenario.cost_us(sample)
        result = sample.result
        failed = f"  FAILED {dict(result.failures)}" if result.failures else ""
        say(f"round {number}/{count}  {scenario.name:8} {name:22} {cost_us:10.1f} µs{failed}")
        yield Row(
            number, scenario.name, name, cost_us, result.requests, result.latency_ms, result.transit_ms, result.failures
        )
