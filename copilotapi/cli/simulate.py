"""`copilotapi simulate`: runs the stand-in for GitHub and Copilot until Ctrl-C. Knows nothing of the gateway."""

import signal
import threading
from types import FrameType

import click

_TICK_SECONDS = 0.5
_EPILOG = """\b
Examples:
  copilotapi simulate
  copilotapi simulate --scenario flaky --port 9000
"""


@click.command(epilog=_EPILOG)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--scenario", default="normal", show_default=True, help="How GitHub and Copilot behave; see --list.")
@click.option("--list", "lists", is_flag=True, help="List the scenarios and stop.")
def simulate(host: str, port: int, scenario: str, lists: bool) -> None:
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
        raise click.ClickException(f"cannot listen on {host} port {port}: {exc.strerror}. Try another --port.") from exc
    with simulator:
        click.echo(_how_to_reach(simulator.url, f"{scenario}: {SCENARIOS[scenario].description}"))
        _wait_for_the_end()


def _how_to_reach(url: str, scenario: str) -> str:
    reachable = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    return f"""\
Copilot simulator at {reachable}
Scenario {scenario}

Point the gateway, or your own client, at it:
  GITHUB_URL={reachable}
  GITHUB_API_URL={reachable}
  GITHUB_COPILOT_TOKEN=anything

What was asked of it: {reachable}/_simulator/requests
Ctrl-C stops it."""


def _wait_for_the_end() -> None:
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    # Bounded: a signal that another thread took up does not wake this one.
    while not ended.wait(_TICK_SECONDS):
        pass
