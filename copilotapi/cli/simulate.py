"""`copilotapi simulate`: runs the stand-in for GitHub and Copilot until Ctrl-C. Knows nothing of the gateway."""

import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import click

from copilotapi.cli.terminal import reason

_TICK_SECONDS = 0.5
_EPILOG = """\b
Examples:
  copilotapi simulate
  copilotapi simulate --scenario flaky --port 9000
  copilotapi simulate --port 0 --ready-file simulator.url &
"""


@click.command(epilog=_EPILOG, short_help="Run a stand-in for GitHub and Copilot.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--scenario", default="normal", show_default=True, help="How GitHub and Copilot behave; see --list.")
@click.option(
    "--ready-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file to write the address into once it is served; removed at the end.",
)
@click.option("--list", "lists", is_flag=True, help="List the scenarios and stop.")
def simulate(host: str, port: int, scenario: str, ready_file: Path | None, lists: bool) -> None:
    """Run a stand-in for GitHub and Copilot, to try the gateway or your own client without an account."""
    # Only this command needs it: the others must start without loading it.
    from copilotapi.simulator import SCENARIOS, Simulator  # noqa: PLC0415

    if lists:
        width = max(map(len, SCENARIOS))
        for one in SCENARIOS.values():
            click.echo(f"{one.name:{width}}  {one.description}")
        return
    try:
        simulator = Simulator(host=host, port=port, scenario=scenario).start()
    except ValueError as exc:
        raise click.ClickException(f"{exc}. `copilotapi simulate --list` describes them.") from exc
    except OSError as exc:
        raise click.ClickException(
            f"cannot listen on {host} port {port}: {reason(exc)}. Try another --port, or look at --host."
        ) from exc
    ended = _end_on_signals()
    with simulator, _told_in(ready_file, _reachable(simulator.url)):
        click.echo(_how_to_reach(_reachable(simulator.url), f"{scenario}: {SCENARIOS[scenario].description}"))
        # Bounded: a signal that another thread took up does not wake this one.
        while not ended.wait(_TICK_SECONDS):
            pass


@contextmanager
def _told_in(ready_file: Path | None, url: str) -> Iterator[None]:
    """The address in that file, whole from its first moment on, for the time of the block."""
    if ready_file is None:
        yield
        return
    try:
        with tempfile.NamedTemporaryFile("w", dir=ready_file.parent, prefix=".copilotapi-", delete=False) as written:
            written.write(f"{url}\n")
        os.replace(written.name, ready_file)
    except OSError as exc:
        raise click.ClickException(f"{ready_file} cannot be written: {reason(exc)}.") from exc
    try:
        yield
    finally:
        with suppress(FileNotFoundError):
            ready_file.unlink()


def _reachable(url: str) -> str:
    return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _how_to_reach(reachable: str, scenario: str) -> str:
    return f"""\
Copilot simulator at {reachable}
Scenario {scenario}

Point the gateway, or your own client, at it:
  GITHUB_URL={reachable}
  GITHUB_API_URL={reachable}
  GITHUB_COPILOT_TOKEN=anything

What was asked of it: {reachable}/_simulator/requests
Another scenario: curl -d '{{"scenario": "flaky"}}' {reachable}/_simulator/reset
Ctrl-C stops it."""


def _end_on_signals() -> threading.Event:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return ended
