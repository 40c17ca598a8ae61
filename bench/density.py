"""The same number of chunks a second in few streams and in many: what holding a stream adds to each of its chunks."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.figures import Spread
from bench.gateways import OWN, running
from bench.ground import Ground
from bench.job import Job
from bench.measure import measure_steady
from bench.wire import Plan

FEW, MANY = 100, 5000
_STEADY_SECONDS = 6
_RAMP_PER_SECOND = 500
_CHUNKS_PER_SECOND = 5000


@dataclass(frozen=True, slots=True)
class Steady:
    """`cpu_us` is per chunk, while all streams are open."""

    round: int
    streams: int
    cpu_us: float
    failures: Mapping[str, int]


def interval_ms(streams: int) -> int:
    return 1000 * streams // _CHUNKS_PER_SECOND


def density(ground: Ground, rounds: int) -> Iterator[Steady]:
    """In one process of this gateway, few and many by turns. Raises Absent, LoadFailed, ProcessEnded."""
    with running(OWN, ground) as gateway:
        for number in range(1, rounds + 1):
            for streams in (FEW, MANY):
                sample = measure_steady(ground, gateway, _job(streams))
                yield Steady(number, streams, sample.cpu_per_steady_chunk_us, sample.result.failures)


def steady_cost(measured: Sequence[Steady], streams: int) -> Spread | None:
    costs = [each.cpu_us for each in measured if each.streams == streams]
    return Spread(statistics.median(costs), min(costs), max(costs)) if costs else None


def slope(measured: Sequence[Steady]) -> float | None:
    """Median of the ratios within a round; None when no round has both."""
    few, many = ({each.round: each.cpu_us for each in measured if each.streams == streams} for streams in (FEW, MANY))
    ratios = [many[number] / few[number] for number in many.keys() & few.keys()]
    return statistics.median(ratios) if ratios else None


def _job(streams: int) -> Job:
    seconds = _STEADY_SECONDS + streams / _RAMP_PER_SECOND
    plan = Plan("stream", round(1000 * seconds) // interval_ms(streams), interval_ms(streams))
    return Job("streams", plan, streams=streams, ramp_per_second=_RAMP_PER_SECOND, limit_seconds=3 * seconds)
