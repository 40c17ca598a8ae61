"""From rows to figures: medians, and the median of the ratios within a round."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.rounds import Row

Value = Callable[[Row], float]
# Of the requests of a row. What is refused is cheap: a row with more of it says nothing of what an answer costs.
_MAX_FAILED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Spread:
    median: float
    low: float
    high: float


def cost(row: Row) -> float:
    return row.cost_us


def latency_p50(row: Row) -> float:
    return row.latency_ms.get("p50", 0.0)


def latency_p99(row: Row) -> float:
    return row.latency_ms.get("p99", 0.0)


def spread(rows: Sequence[Row], scenario: str, gateway: str, value: Value = cost) -> Spread | None:
    """None when it was not measured, or mostly failed."""
    values = [value(row) for row in _sound(rows) if (row.scenario, row.gateway) == (scenario, gateway)]
    return Spread(statistics.median(values), min(values), max(values)) if values else None


def ratio(rows: Sequence[Row], above: tuple[str, str], below: tuple[str, str]) -> Spread | None:
    """Cost of one (scenario, gateway) by that of another, round by round. None when no round has both."""
    return _paired(rows, above, below, cost, lambda one, other: one / other if other else None)


def added(rows: Sequence[Row], gateway: tuple[str, str], direct: tuple[str, str], value: Value) -> Spread | None:
    return _paired(rows, gateway, direct, value, lambda one, other: one - other)


def _sound(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if sum(row.failures.values()) <= _MAX_FAILED_SHARE * row.requests]


def _paired(
    rows: Sequence[Row],
    first: tuple[str, str],
    second: tuple[str, str],
    value: Value,
    combine: Callable[[float, float], float | None],
) -> Spread | None:
    by_round = {(row.round, row.scenario, row.gateway): value(row) for row in _sound(rows)}
    combined = [
        result
        for (number, *key), one in by_round.items()
        if tuple(key) == first and (other := by_round.get((number, *second))) is not None
        if (result := combine(one, other)) is not None
    ]
    return Spread(statistics.median(combined), min(combined), max(combined)) if combined else None
