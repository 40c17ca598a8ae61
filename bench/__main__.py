"""`python -m bench`: measures this gateway beside others, prints the table, and writes docs/benchmarks.md if asked."""

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from bench.figures import spread
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
    STOCK,
    STOCK_TLS,
)
from bench.ground import ROOT, Ground, ground, plain_environment
from bench.install import Absent
from bench.limits import raise_descriptor_limit
from bench.machine import size, today, versions
from bench.measure import LoadFailed
from bench.page import page, summary
from bench.parts import PARTS, steps
from bench.processes import ProcessEnded
from bench.report import Report, read_report
from bench.rounds import run_rounds
from bench.scenarios import ROUNDS, SLOPES, Scenario

_PEERS = {"stock": STOCK, "nginx": NGINX, "aiohttp": AIOHTTP, "copilot-api": COPILOT_API, "litellm": LITELLM}
_IN_ROUNDS = tuple(scenario.name for scenario in ROUNDS)
_PARTS = (*_IN_ROUNDS, "slopes", *PARTS)
_QUICK_PARTS = ("small", "p100k", "s200", "paced")
_QUICK_PEERS = ("stock", "nginx")
_SLOPE_ROUNDS = 3


class _Names(click.ParamType[tuple[str, ...]]):
    """A list of known names, separated by commas."""

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        names = value if isinstance(value, tuple) else tuple(str(value).split(","))
        if unknown := [name for name in names if name not in self._known]:
            self.fail(f"unknown: {', '.join(unknown)}; there are {', '.join(self._known)}", param, ctx)
        return names


@click.command(epilog="Example: python -m bench --peers stock,nginx --scenarios small,paced --rounds 3")
@click.option("--peers", type=_Names(tuple(_PEERS)), help=f"Whom to measure beside this gateway: {', '.join(_PEERS)}.")
@click.option("--scenarios", type=_Names(_PARTS), help=f"What to measure: {', '.join(_PARTS)}.")
@click.option("--rounds", type=click.IntRange(1, 50), help="Interleaved rounds; 5 if not said, 3 with --quick.")
@click.option(
    "--gateway-root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=ROOT,
    help="The checkout of the gateway to measure, with its .venv if it has one.",
)
@click.option("--quick", is_flag=True, help="The four costs against stock and nginx only, under three minutes.")
@click.option("--write", is_flag=True, help="Write docs/benchmarks.md and docs/benchmarks.svg.")
@click.option(
    "--from",
    "stored",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing; take a results-*.json of an earlier run.",
)
def main(
    peers: tuple[str, ...] | None,
    scenarios: tuple[str, ...] | None,
    rounds: int | None,
    gateway_root: Path,
    quick: bool,
    write: bool,
    stored: Path | None,
) -> None:
    """Measure what this gateway costs beside others that do the same job, on this machine."""
    if quick and write:
        raise click.UsageError("--quick measures too little for the page: leave --write away.")
    peers = peers or (_QUICK_PEERS if quick else tuple(_PEERS))
    parts = scenarios or (_QUICK_PARTS if quick else _PARTS)
    names = _gateways(peers, parts, with_variants=not quick)
    try:
        report = read_report(stored) if stored else _measured(names, parts, rounds or (3 if quick else 5), gateway_root)
        click.echo(summary(report))
        if write:
            _write(report)
    except (Absent, LoadFailed, ProcessEnded, OSError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc


def _gateways(peers: Sequence[str], parts: Sequence[str], *, with_variants: bool) -> list[str]:
    names = [OWN, *(_PEERS[peer] for peer in peers)]
    if "latency" in parts:
        names.append(DIRECT)
    if with_variants:
        names += [OWN_FREE, OWN_REDIS]
        names += [OWN_KEYS] if "slopes" in parts else []
        names += [OWN_TLS, STOCK_TLS] if STOCK in names else []
    return names


def _measured(names: Sequence[str], parts: Sequence[str], rounds: int, gateway_root: Path) -> Report:
    began = time.monotonic()

    def say(line: str) -> None:
        click.echo(f"{time.monotonic() - began:6.0f} s  {line}", err=True)

    say("installing what is missing into .cache/bench")
    with ground(gateway_root.resolve()) as base:
        report = Report(today(), size(), raise_descriptor_limit(), {}, rounds)
        _rounds(base, report, [each for each in ROUNDS if each.name in parts], names, rounds, say)
        if "slopes" in parts:
            own = [name for name in (OWN, OWN_REDIS, OWN_KEYS) if name in names]
            _rounds(base, report, SLOPES, own, min(rounds, _SLOPE_ROUNDS), say)
        peers = [name for name in names if name in (OWN, *_PEERS.values()) and name not in report.absent]
        for what, step in steps(base, report, parts, peers):
            say(what)
            try:
                step()
            except (Absent, LoadFailed, ProcessEnded, OSError) as exc:
                say(f"{what} failed: {exc}")
                report.absent[what] = str(exc)
        report.versions = versions(base)
    path = ROOT / ".cache" / "bench" / f"results-{time.strftime('%Y%m%d-%H%M%S')}.json"
    report.write(path)
    say(f"raw figures are in {path.relative_to(ROOT)}")
    return report


def _rounds(
    base: Ground,
    report: Report,
    scenarios: Sequence[Scenario],
    names: Sequence[str],
    count: int,
    say: Callable[[str], None],
) -> None:
    rows, absent, memory = run_rounds(base, scenarios, names, count, say)
    report.rows += rows
    report.absent |= absent
    report.memory_kb = memory | report.memory_kb


def _write(report: Report) -> None:
    scenarios = ("small", "p100k", "s200", "paced")
    series = {
        name: [found.median if (found := spread(report.rows, each, name)) else None for each in scenarios]
        for name in (OWN, *_PEERS.values())
    }
    drawn = json.dumps({"scenarios": scenarios, "series": series})
    python = ROOT / ".cache" / "bench" / "tools" / "bin" / "python"
    command = [str(python), "-m", "bench.plot", str(ROOT / "docs" / "benchmarks.svg")]
    done = subprocess.run(
        command, input=drawn, text=True, cwd=ROOT, env=plain_environment(), capture_output=True, check=False
    )
    if done.returncode != 0:
        raise click.ClickException(f"the picture was not drawn: {done.stderr.strip().splitlines()[-1]}")
    (ROOT / "docs" / "benchmarks.md").write_text(page(report))
    click.echo("docs/benchmarks.md and docs/benchmarks.svg are written.")


if __name__ == "__main__":
    main()
