"""docs/benchmarks.md, from a report."""

from collections.abc import Iterable, Iterator, Sequence

from bench.density import FEW, MANY, interval_ms, steady_cost
from bench.figures import Spread, added, latency_p50, latency_p99, ratio, spread
from bench.gateways import (
    AIOHTTP,
    COPILOT_API,
    DIRECT,
    LITELLM,
    NGINX,
    OWN,
    OWN_FREE,
    OWN_REDIS,
    OWN_TLS,
    STOCK,
    STOCK_TLS,
)
from bench.goals import Goal, goals
from bench.held import Held
from bench.report import Report
from bench.scenarios import ROUNDS, SLOPES

_COSTS = ("small", "p100k", "s200", "paced")
_GATEWAYS = (OWN, OWN_FREE, OWN_REDIS, OWN_TLS, STOCK, STOCK_TLS, AIOHTTP, NGINX, COPILOT_API, LITELLM)
_BARE = (OWN, STOCK, AIOHTTP, NGINX, COPILOT_API, LITELLM)

_HEAD = """\
# Benchmarks

Written by `make bench`; do not edit. What this gateway costs beside others that do the same job, measured on one machine
in one run. Absolute times change with the machine and its neighbours: **compare by the ratios**.

{date} · {machine} · {rounds} rounds · up to {descriptors:,} descriptors a process

![CPU for each request or chunk](benchmarks.svg)

## Who is measured

- **CopilotAPI**: as it is shipped, one gunicorn worker unless said: keys, limit per address (in memory), request log to a
  file, metrics, usage counts, heartbeats, deadlines. Nothing is switched off. *no quota*: `RATE_LIMIT_PER_MINUTE=0`;
  *Redis*: limit, counts and token in a Redis on the same machine, whose own CPU is not counted; *TLS*: to the upstream.
- **stock**: the same job as the manuals of Flask, gunicorn, gevent and requests say (`bench/relays/stock.py`): one Session,
  the request's bytes passed on, `iter_content(None)`; no keys, no limit, no log.
- **aiohttp**: the same on aiohttp and uvloop (`bench/relays/aiohttp_relay.py`).
- **nginx**: a plain reverse proxy, one worker, no buffering: the limit of what a proxy can reach.
- **copilot-api on Bun** and **LiteLLM** (one worker, with a key): the published packages.
"""

_METHOD = """\
## How it is measured

- The upstream is a program that answers as Copilot does and knows no model. Upstream, load generator and gateways share
  the machine; all keep their connections.
- CPU is user and system time of all processes of a gateway, from the kernel's clock of each process, while the load
  runs, divided by the requests or chunks.
- Rounds are interleaved: in each, every scenario goes through the gateways in a shuffled order. A ratio is the median
  of the ratios within a round; so neighbours on the machine weigh on both sides.
- Each streamed chunk has its number and the time it was sent; the last one bears a checksum. A stream counts as whole
  when all chunks came in order, unchanged, with `[DONE]`.
- Streams' chunks are spread evenly over their interval, as those of callers who know nothing of each other. Upstream and
  load generator collect no garbage: their pauses would count as the gateway's.
- Prompts are source code (of Python's argparse, repeated), as coding assistants send.
- A burst leaves the upstream in pieces of about 1,400 bytes, each of several chunks, as a network would deliver it.
- LiteLLM gets fewer streams (16 paced, 200 held), since it cannot keep up with more on one core.
"""

_TAIL = """\
## Repeat it

    make bench          # everything, and writes this page; what it needs is installed into .cache/bench
    make bench-quick    # stock and nginx only, under 3 minutes; prints, writes nothing

`.venv/bin/python -m bench --help` has the choices; `--gateway-root` measures another checkout. The raw figures of a run
stay in `.cache/bench/results-*.json`. It needs Linux; nginx, npm and redis-server from the machine, and names what is
absent.

## What it does not show

- Nothing about Copilot itself: its answers take seconds, and no gateway changes that.
- One machine, loopback, no packet loss, no other clients. The load generator and the upstream compete for the same cores.
- The gateways differ in what they do for a request: nginx checks nothing, copilot-api counts the prompt's tokens,
  LiteLLM serves many providers. The cost of a feature is not its worth.
- LiteLLM with several workers, with a database, or tuned; HTTP/2; streams of hours.
"""


def page(report: Report) -> str:
    parts = [
        _HEAD.format(date=report.date, machine=report.machine, rounds=report.rounds, descriptors=report.descriptors),
        _absent(report),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in report.versions.items()) + ".\n",
        _METHOD,
        _costs(report),
        _ratios(report),
        _latency(report),
        _streams("Streams held at once", "1,000 streams, two chunks a second each, in a fresh process.", report.held),
        _streams("The most streams", "One chunk a second each; all open for 10 s at once.", report.many),
        _slopes(report),
        _density(report),
        _leaving(report),
        _failures(report),
        _goals(report),
        _TAIL,
    ]
    return "\n".join(part for part in parts if part)


def summary(report: Report) -> str:
    """For the terminal: costs and ratios of what was measured."""
    return "\n".join(part for part in (_costs(report), _ratios(report), _failures(report)) if part)


def _absent(report: Report) -> str:
    if not report.absent:
        return ""
    return (
        "Absent or failed in this run: " + "; ".join(f"{name} ({why})" for name, why in report.absent.items()) + ".\n"
    )


def _costs(report: Report) -> str:
    meanings = "".join(f"- **{each.name}**: {each.meaning}\n" for each in ROUNDS if each.name in _COSTS)
    rows = [
        [name, *(_microseconds(spread(report.rows, scenario, name)) for scenario in _COSTS), _megabytes(report, name)]
        for name in _GATEWAYS
        if any(row.gateway == name for row in report.rows)
    ]
    table = _table(["gateway", *_COSTS, "MB, warm"], rows)
    return f"## CPU\n\n{meanings}\nMicroseconds of CPU, median (lowest to highest); memory is PSS, all processes.\n\n{table}"


def _ratios(report: Report) -> str:
    rows = [
        [name, *(_times(ratio(report.rows, (scenario, name), (scenario, OWN))) for scenario in _COSTS)]
        for name in _BARE[1:]
        if any(row.gateway == name for row in report.rows)
    ]
    if not rows:
        return ""
    return (
        "## CPU, as a multiple of this gateway's\n\nAbove 1 this gateway is cheaper. Median of the ratios within a round "
        f"(lowest to highest).\n\n{_table(['gateway', *_COSTS], rows)}"
    )


def _latency(report: Report) -> str:
    direct = ("latency", DIRECT)
    rows = []
    for name in _BARE:
        p50 = added(report.rows, ("latency", name), direct, latency_p50)
        p99 = added(report.rows, ("latency", name), direct, latency_p99)
        if p50 and p99:
            rows.append([name, f"{p50.median:.2f}", f"{p99.median:.2f}"])
    if not rows:
        return ""
    return f"## Added latency\n\nOne caller, small; ms more than without a gateway.\n\n{_table(['gateway', 'p50', 'p99'], rows)}"


def _streams(title: str, meaning: str, held: Sequence[Held]) -> str:
    if not held:
        return ""
    head = ["gateway", "streams", "most at once", "not whole", "first byte p50 / p99, ms", "transit p50 / p99, ms"]
    rows = [
        [
            each.gateway,
            f"{each.streams:,}",
            f"{each.held:,}",
            f"{sum(each.failures.values()):,}",
            _pair(each.first_byte_ms.get("p50"), each.first_byte_ms.get("p99")),
            _pair(each.transit_ms.get("p50"), each.transit_ms.get("p99")),
            f"{each.cpu_us:.0f}",
            "" if each.kb_per_stream is None else f"{each.kb_per_stream:.0f}",
        ]
        for each in held
    ]
    table = _table([*head, "CPU per chunk, µs", "KB per stream"], rows)
    return f"## {title}\n\n{meaning} Transit is from the upstream's send to the caller's receipt.\n\n{table}"


def _slopes(report: Report) -> str:
    rows = [
        [name, each.meaning, _microseconds(found)]
        for each in SLOPES
        for name in each.gateways
        if (found := spread(report.rows, each.name, name)) is not None
    ]
    return f"## Slopes of this gateway\n\n{_table(['gateway', 'load', 'CPU per request, µs'], rows)}" if rows else ""


def _density(report: Report) -> str:
    if not report.density:
        return ""
    rows = [
        [f"{streams:,}", f"{interval_ms(streams):,}", _microseconds(found)]
        for streams in (FEW, MANY)
        if (found := steady_cost(report.density, streams)) is not None
    ]
    return (
        "## The same chunks in few streams and in many\n\n5,000 chunks a second; while all streams are open, so without "
        f"the requests' own share.\n\n{_table(['streams', 'one chunk each, ms', 'CPU per chunk, µs'], rows)}"
    )


def _leaving(report: Report) -> str:
    rows = [
        [each.gateway, each.phase, "over 11" if each.seconds is None else f"{each.seconds:.2f}"]
        for each in report.releases
    ]
    lines = []
    if rows:
        lines.append(f"{_table(['gateway', 'caller gone', 'upstream released after, s'], rows)}")
    if leak := report.leak:
        lines.append(
            f"After {leak.aborted:,} streams whose callers hung up this gateway had {leak.descriptors_after} descriptors "
            f"open (before: {leak.descriptors_before}) and {leak.pss_kb_after / 1024:.0f} MB "
            f"(before: {leak.pss_kb_before / 1024:.0f}).\n"
        )
    if fair := report.fairness:
        lines.append(
            f"60 streams at 20 ms, transit p99: {fair.alone_ms:.1f} ms alone, {fair.beside_ms:.1f} ms beside a client that "
            "posts 1 MB prompts without pause.\n"
        )
    return "## Callers who leave, and callers who take much\n\n" + "\n".join(lines) if lines else ""


def _failures(report: Report) -> str:
    faults = [
        f"- {row.gateway}, {row.scenario}, round {row.round}: {_reasons(row.failures.items())} of {row.requests:,} requests"
        for row in report.rows
        if row.failures
    ]
    faults += [
        f"- {each.gateway}, {each.streams:,} streams: {_reasons(each.failures.items())}"
        for each in (*report.held, *report.many)
        if each.failures
    ]
    faults += [
        f"- {OWN}, {each.streams:,} streams, round {each.round}: {_reasons(each.failures.items())}"
        for each in report.density
        if each.failures
    ]
    if not faults:
        return ""
    meaning = "Where more than 1% failed in a round, the round gives no figure: what is refused is cheap."
    return f"## Answers that were not whole\n\n{meaning}\n\n" + "\n".join(faults) + "\n"


def _goals(report: Report) -> str:
    measured = [goal for goal in goals(report) if goal.value is not None]
    if not measured:
        return ""
    rows = [
        [goal.what, _figure(goal, goal.value), *_verdict(goal, goal.gate), *_verdict(goal, goal.aim)]
        for goal in measured
    ]
    table = _table(["figure", "measured", "gate", "", "aim", ""], rows)
    return f"## Goals\n\nThe gate is what must hold, the aim what we are after. This gateway by the other.\n\n{table}"


def _verdict(goal: Goal, limit: float | None) -> Iterator[str]:
    holds = goal.holds(limit)
    yield "" if limit is None else f"≤ {_figure(goal, limit)}"
    yield {None: "", True: "holds", False: "**missed**"}[holds]


def _figure(goal: Goal, value: float | None) -> str:
    if value is None:
        return ""
    if value and abs(value) < 0.2 and not goal.unit:
        return f"1/{1 / value:.0f}" if value > 0 else f"{value:.2f}"
    return f"{value:,.0f}{goal.unit}" if value >= 100 or value == int(value) else f"{value:.2f}{goal.unit}"


def _microseconds(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:,.0f} ({found.low:,.0f}–{found.high:,.0f})"


def _times(found: Spread | None) -> str:
    return "" if found is None else f"{found.median:.2f} ({found.low:.2f}–{found.high:.2f})"


def _pair(one: float | None, other: float | None) -> str:
    return "" if one is None or other is None else f"{one:,.2f} / {other:,.2f}"


def _megabytes(report: Report, name: str) -> str:
    held = report.memory_kb.get(name)
    return f"{held['pss'] / 1024:.0f}" if held else ""


def _reasons(failures: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in failures)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
