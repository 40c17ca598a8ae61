"""What this gateway wants to reach beside the others, and whether a run reached it.

`gate` is what must hold, `aim` what we are after. Each goal compares one figure with a limit from above.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bench.density import FEW, MANY, slope
from bench.figures import Spread, added, latency_p50, ratio
from bench.gateways import (
    AIOHTTP,
    COPILOT_API,
    DIRECT,
    LITELLM,
    NGINX,
    OWN,
    OWN_FREE,
    OWN_KEYS,
    OWN_REDIS,
    OWN_TLS,
    OWN_TWO,
    STOCK,
    STOCK_TLS,
)
from bench.held import Held
from bench.report import Report

_MAX_TRANSIT_MS = 10.0
_SPARE_DESCRIPTORS = 10


@dataclass(frozen=True, slots=True)
class Goal:
    """`value` is None when the run has not measured it. Values up to the limit are fine."""

    what: str
    value: float | None
    gate: float | None
    aim: float | None = None
    unit: str = ""

    def holds(self, limit: float | None) -> bool | None:
        return None if limit is None or self.value is None else self.value <= limit


# Peer -> scenario -> (gate, aim): CPU of this gateway by the peer's.
COST: Mapping[str, Mapping[str, tuple[float, float | None]]] = MappingProxyType(
    {
        LITELLM: {
            "small": (1 / 15, 1 / 20),
            "p100k": (1 / 15, 1 / 20),
            "s200": (1 / 80, 1 / 120),
            "paced": (1 / 15, 1 / 20),
        },
        COPILOT_API: {"small": (4.5, 4), "p100k": (1 / 4.5, 1 / 5), "s200": (1 / 1.6, 1 / 2), "paced": (1, 1 / 1.2)},
        STOCK: {
            "small": (1 / 2, 1 / 2.2),
            "p100k": (1 / 1.9, 1 / 2),
            "s200": (1 / 3, 1 / 3.5),
            "paced": (1 / 1.5, 1 / 1.6),
        },
        AIOHTTP: {"small": (3.1, None), "p100k": (1.9, None), "s200": (1.25, None), "paced": (1.15, None)},
        NGINX: {"small": (30, 25), "p100k": (9, 8), "s200": (3, 2.5), "paced": (3.2, 2.6)},
    }
)
_OVER_TLS = {"small": 1 / 2, "s200": 1 / 1.6, "paced": 1 / 1.4}
_SLOPES = {
    ("c256", "c4"): 1.15,
    ("c1024", "c4"): 1.3,
    ("c4 100 KB", "c4"): 1.6,
    ("c4 1 MB", "c4"): 8.0,
    ("c1 10 MB", "c4"): 120.0,
}


def goals(report: Report) -> list[Goal]:
    return [
        *_cost(report),
        *_latency(report),
        *_held(report),
        *_many(report),
        *_slopes(report),
        *_others(report),
    ]


def _cost(report: Report) -> Iterator[Goal]:
    for peer, scenarios in COST.items():
        for scenario, (gate, aim) in scenarios.items():
            found = ratio(report.rows, (scenario, OWN), (scenario, peer))
            yield Goal(f"{scenario}: cost / {peer}", _median(found), gate, aim)
    for scenario, gate in _OVER_TLS.items():
        found = ratio(report.rows, (scenario, OWN_TLS), (scenario, STOCK_TLS))
        yield Goal(f"{scenario} over TLS: cost / stock", _median(found), gate)
    for what, own, other, gate in (
        ("quota in memory: small request / without quota", OWN, OWN_FREE, 1.12),
        ("all in Redis: small request / in memory", OWN_REDIS, OWN, 1.5),
    ):
        found = ratio(report.rows, ("small", own), ("small", other))
        yield Goal(what, _median(found), gate)


def _latency(report: Report) -> Iterator[Goal]:
    direct = ("latency", DIRECT)
    own = added(report.rows, ("latency", OWN), direct, latency_p50)
    for peer, gate in ((LITELLM, 1 / 15), (STOCK, 0.7)):
        other = added(report.rows, ("latency", peer), direct, latency_p50)
        value = own.median / other.median if own and other and other.median > 0 else None
        yield Goal(f"added latency, one caller, p50 / {peer}", value, gate)


def _held(report: Report) -> Iterator[Goal]:
    by_name = {held.gateway: held for held in report.held}
    own = by_name.get(OWN)
    growth = own.kb_per_stream if own else None
    yield Goal("memory of a held stream", growth, 30, 25, " KB")
    for peer, gate in ((STOCK, 0.7), (LITELLM, 1 / 10)):
        other = by_name.get(peer)
        yield Goal(f"memory of a held stream / {peer}", _by(growth, other.kb_per_stream if other else None), gate)
    bun = by_name.get(COPILOT_API)
    value = _by(own.first_byte_ms["p99"] if own else None, bun.first_byte_ms["p99"] if bun else None)
    yield Goal("1,000 streams held: first byte p99 / copilot-api on Bun", value, 1 / 100, 1 / 100)
    yield Goal("1,000 streams held: not whole", _lost(own), 0, 0)
    memory = {name: kb["pss"] / 1024 for name, kb in report.memory_kb.items()}
    yield Goal("memory when warm and idle", memory.get(OWN), 110, None, " MB")
    yield Goal("memory when warm and idle / LiteLLM", _by(memory.get(OWN), memory.get(LITELLM)), 1 / 3)


def _many(report: Report) -> Iterator[Goal]:
    by_name = {held.gateway: held for held in report.many}
    for name, what in ((OWN, "5,000 streams on one worker"), (OWN_TWO, "10,000 streams on two workers")):
        held = by_name.get(name)
        yield Goal(f"{what}: not whole", _lost(held), 0, 0)
        yield Goal(f"{what}: transit p99", _p99(held), _MAX_TRANSIT_MS, _MAX_TRANSIT_MS, " ms")
    yield Goal("5,000 streams: transit p99 / nginx", _by(_p99(by_name.get(OWN)), _p99(by_name.get(NGINX))), 8)


def _slopes(report: Report) -> Iterator[Goal]:
    for (one, other), gate in _SLOPES.items():
        found = ratio(report.rows, (one, OWN), (other, OWN))
        yield Goal(f"cost of a request: {one} / {other}", _median(found), gate)
    found = ratio(report.rows, ("keys", OWN_KEYS), ("keys", OWN))
    yield Goal("cost of a request: 10,000 keys / 1 key", _median(found), 1.1)
    yield Goal(f"cost of a chunk of {MANY:,} streams / of {FEW} with as many a second", slope(report.density), 1.3)
    failed = [sum(row.failures.values()) for row in report.rows if row.scenario == "c512"]
    yield Goal("512 callers with Redis: not whole", float(sum(failed)) if failed else None, 0)


def _others(report: Report) -> Iterator[Goal]:
    fair = report.fairness
    yield Goal("60 streams beside 1 MB prompts: transit p99 / alone", fair.ratio if fair else None, 3)
    own = [release for release in report.releases if release.gateway == OWN]
    for release in own:
        seconds = release.seconds if release.seconds is not None else float("inf")
        yield Goal(f"caller gone {release.phase}: upstream released", seconds, 0.5, None, " s")
    if leak := report.leak:
        grown = leak.descriptors_after - leak.descriptors_before
        yield Goal("descriptors left by 10,000 aborted streams", grown, _SPARE_DESCRIPTORS)


def _median(found: Spread | None) -> float | None:
    return found.median if found else None


def _by(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _lost(held: Held | None) -> float | None:
    return float(sum(held.failures.values())) if held else None


def _p99(held: Held | None) -> float | None:
    return held.transit_ms.get("p99") if held else None
