"""The parts of a run that come after the rounds: each starts its gateways fresh."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from bench.density import density
from bench.gateways import NGINX, OWN, OWN_TWO
from bench.ground import Ground
from bench.held import fairness, hold, hold_many
from bench.leaving import leak, releases
from bench.report import Report

PARTS = ("held", "many", "density", "fairness", "gone", "aborts")
_MANY = ((OWN, 5000), (NGINX, 5000), (OWN_TWO, 10_000))
_FAIRNESS_REPEATS = 3
_DENSITY_ROUNDS = 3

Step = tuple[str, Callable[[], None]]


def steps(base: Ground, report: Report, parts: Collection[str], gateways: Sequence[str]) -> Iterator[Step]:
    """What to do, one by one, each with its name. A step adds to the report; raises Absent, LoadFailed, ProcessEnded."""
    if "held" in parts:
        for name in gateways:
            yield f"streams held by {name}", partial(_hold, base, report, name)
    if "many" in parts:
        for name, streams in _MANY:
            if name in (*gateways, OWN_TWO):
                yield f"{streams:,} streams held by {name}", partial(_hold_many, base, report, name, streams)
    if "density" in parts:
        yield "as many chunks in few streams and in many", partial(_thin_out, base, report)
    if "fairness" in parts:
        yield "streams beside a client of large prompts", partial(_be_fair, base, report)
    if "gone" in parts:
        for name in gateways:
            yield f"callers who leave {name}", partial(_let_go, base, report, name)
    if "aborts" in parts:
        yield "10,000 aborted streams", partial(_abort, base, report)


def _hold(base: Ground, report: Report, name: str) -> None:
    report.held.append(hold(base, name))


def _hold_many(base: Ground, report: Report, name: str, streams: int) -> None:
    report.many.append(hold_many(base, name, streams))


def _thin_out(base: Ground, report: Report) -> None:
    report.density.extend(density(base, _DENSITY_ROUNDS))


def _be_fair(base: Ground, report: Report) -> None:
    report.fairness = fairness(base, _FAIRNESS_REPEATS)


def _let_go(base: Ground, report: Report, name: str) -> None:
    report.releases += releases(base, name)


def _abort(base: Ground, report: Report) -> None:
    report.leak = leak(base)
