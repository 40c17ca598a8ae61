"""What the load generator is told, and what it tells: JSON lines between two processes."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from bench.wire import Plan


@dataclass(frozen=True, slots=True)
class Target:
    """Where a gateway answers, and what its callers must say: `headers`, and of `keys` each the next."""

    port: int
    path: str = "/v1/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict)
    host: str = "127.0.0.1"
    keys: Sequence[str] = ()


def bearer(keys: Sequence[str]) -> dict[str, str]:
    """The header of the first of them, if there is one."""
    return {"Authorization": f"Bearer {keys[0]}"} if keys else {}


@dataclass(frozen=True, slots=True)
class Job:
    """`kind`: closed, each of `callers` asks again as soon as it is answered, for `seconds`; streams, `streams` callers
    arrive at `ramp_per_second` and ask once; aborts, `streams` callers hang up after the first byte, `callers` at once.
    """

    kind: str
    plan: Plan
    prompt_bytes: int = 60
    callers: int = 1
    seconds: float = 1.0
    warm_up_seconds: float = 0.2
    streams: int = 0
    ramp_per_second: float = 500.0
    limit_seconds: float = 60.0

    @property
    def is_streamed(self) -> bool:
        return self.plan.kind != "whole"


@dataclass(frozen=True, slots=True)
class Result:
    """`requests` and `chunks` count what came whole as well as what did not; `failures` counts by reason.

    Milliseconds at p50, p99, p999 and max; empty where there was nothing to time. `held` is the most answers that were
    under way at once. A first byte that never came counts with the time it was waited for. `steady_chunks` came while all
    streams were open.
    """

    requests: int
    chunks: int
    seconds: float
    failures: Mapping[str, int]
    latency_ms: Mapping[str, float]
    first_byte_ms: Mapping[str, float]
    transit_ms: Mapping[str, float]
    held: int = 0
    steady_chunks: int = 0

    @property
    def failed(self) -> int:
        return sum(self.failures.values())


def order(target: Target, job: Job) -> str:
    return json.dumps({"target": asdict(target), "job": asdict(job)})


def read_order(line: str) -> tuple[Target, Job]:
    told = json.loads(line)
    job = Job(**told["job"])
    return Target(**told["target"]), replace(job, plan=Plan(**told["job"]["plan"]))


def report(result: Result) -> str:
    return json.dumps(asdict(result))


def read_report(line: str) -> Result:
    return Result(**json.loads(line))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Nearest-rank quantiles."""
    if not values:
        return {}
    ordered = sorted(values)
    quantiles = {"p50": 0.5, "p99": 0.99, "p999": 0.999, "max": 1.0}
    return {name: round(ordered[math.ceil(share * len(ordered)) - 1], 4) for name, share in quantiles.items()}
