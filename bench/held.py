"""Many streams at once: what each costs in memory, how soon the first byte comes, and how late the chunks."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from bench.gateways import LITELLM, OWN, Running, running
from bench.ground import Ground
from bench.job import Job, Result
from bench.measure import measure, prepared
from bench.wire import Plan

_HELD = Job("streams", Plan("stream", 20, 500), streams=1000, ramp_per_second=250, limit_seconds=30)
# It takes a millisecond of CPU for each chunk: with the load of the others it would only show that.
_HELD_LITELLM = Job("streams", Plan("stream", 10, 2000), streams=200, ramp_per_second=20, limit_seconds=45)
_FAIR = Job("streams", Plan("stream", 200, 20), streams=60, ramp_per_second=200, limit_seconds=30)
_BIG_PROMPTS = Job("closed", Plan(), prompt_bytes=1_000_000, callers=1, seconds=6, warm_up_seconds=0.5)
_HOLD_SECONDS = 10
_RAMP_PER_SECOND = 500


@dataclass(frozen=True, slots=True)
class Held:
    """`kb_per_stream` is the growth of PSS (of what is not shared) since the start; None when never all were open at
    once. `cpu_us` is per chunk.
    """

    gateway: str
    streams: int
    held: int
    first_byte_ms: Mapping[str, float]
    transit_ms: Mapping[str, float]
    failures: Mapping[str, int]
    cpu_us: float
    start_kb: Mapping[str, int]
    kb_per_stream: float | None = None


@dataclass(frozen=True, slots=True)
class Fairness:
    """Transit p99 in ms of 60 paced streams: alone, and beside a client of 1 MB prompts; medians of the repeats."""

    alone_ms: float
    beside_ms: float
    ratio: float
    failures: Mapping[str, int]


def hold(ground: Ground, name: str) -> Held:
    """1,000 streams in a fresh process, two chunks a second. Raises Absent, LoadFailed, ProcessEnded."""
    with running(name, ground) as gateway:
        _warm(ground, gateway)
        memory = [gateway.tree.memory_kb()]
        job = _HELD_LITELLM if name == LITELLM else _HELD
        sample = measure(ground, gateway, job, lambda: memory.append(gateway.tree.memory_kb()))
        growth = (memory[1]["pss"] - memory[0]["pss"]) / job.streams if len(memory) > 1 else None
        return _told(name, job, sample.result, sample.cpu_per_chunk_us, memory[0], growth)


def hold_many(ground: Ground, name: str, streams: int) -> Held:
    """One chunk a second each, for 10 s after the last has come. Raises as `hold` does."""
    ramp_seconds = streams // _RAMP_PER_SECOND
    plan = Plan("stream", ramp_seconds + _HOLD_SECONDS, 1000)
    job = Job("streams", plan, streams=streams, ramp_per_second=_RAMP_PER_SECOND, limit_seconds=3.0 * plan.chunk_count)
    with running(name, ground) as gateway:
        _warm(ground, gateway)
        memory = gateway.tree.memory_kb()
        sample = measure(ground, gateway, job)
        return _told(name, job, sample.result, sample.cpu_per_chunk_us, memory, None)


def fairness(ground: Ground, repeats: int) -> Fairness:
    """What one client with large prompts does to the others of this gateway. Raises as `hold` does."""
    alone, beside = [], []
    with running(OWN, ground) as gateway:
        _warm(ground, gateway)
        for _ in range(repeats):
            alone.append(measure(ground, gateway, _FAIR).result)
            with prepared(ground, gateway, _BIG_PROMPTS) as big:
                big.go()
                beside.append(measure(ground, gateway, _FAIR).result)
                big.result()
    pairs = [(one.transit_ms["p99"], two.transit_ms["p99"]) for one, two in zip(alone, beside, strict=True)]
    return Fairness(
        alone_ms=statistics.median(one for one, _ in pairs),
        beside_ms=statistics.median(two for _, two in pairs),
        ratio=statistics.median(two / one for one, two in pairs),
        failures=_failures(alone + beside),
    )


def _told(
    name: str, job: Job, result: Result, cpu_us: float, start_kb: Mapping[str, int], growth: float | None
) -> Held:
    return Held(
        gateway=name,
        streams=job.streams,
        held=result.held,
        first_byte_ms=result.first_byte_ms,
        transit_ms=result.transit_ms,
        failures=result.failures,
        cpu_us=cpu_us,
        start_kb=start_kb,
        kb_per_stream=growth,
    )


def _failures(results: list[Result]) -> dict[str, int]:
    total: dict[str, int] = {}
    for result in results:
        for reason, count in result.failures.items():
            total[reason] = total.get(reason, 0) + count
    return total


def _warm(ground: Ground, gateway: Running) -> None:
    for plan in (Plan(), Plan("stream", 20)):
        measure(ground, gateway, Job("closed", plan, callers=4, seconds=0.5))
