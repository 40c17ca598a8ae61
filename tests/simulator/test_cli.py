"""`copilotapi simulate`."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from copilotapi.cli.simulate import simulate
from copilotapi.simulator import SCENARIOS, Simulator

COMMAND = [sys.executable, "-c", "from copilotapi.cli.simulate import simulate; simulate()"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and what it printed until it told how to stop it."""
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    printed = ""
    try:
        for line in process.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        yield process, printed
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_tells_how_to_reach_it_and_stops_when_told(how: signal.Signals) -> None:
    with running("--port", "0", "--scenario", "flaky") as (process, printed):
        address = re.findall(r"^  GITHUB_URL=(http://127\.0\.0\.1:\d+)$", printed, re.MULTILINE)
        assert f"GITHUB_API_URL={address[0]}" in printed
        assert "GITHUB_COPILOT_TOKEN=anything" in printed
        assert f"Scenario flaky: {SCENARIOS['flaky'].description}" in printed
        with urllib.request.urlopen(f"{address[0]}/_simulator/scenarios", timeout=10) as response:
            assert json.load(response)["scenario"] == "flaky"
        process.send_signal(how)
        assert process.wait(10) == 0


def test_a_ready_file_tells_the_address_as_long_as_it_is_served(tmp_path: Path) -> None:
    ready = tmp_path / "simulator.url"
    with running("--port", "0", "--ready-file", str(ready)) as (process, _):
        with urllib.request.urlopen(f"{ready.read_text().strip()}/_simulator/scenarios", timeout=10) as response:
            assert json.load(response)["scenario"] == "normal"
        process.terminate()
        assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_ready_file_that_cannot_be_written_is_one_line_and_exit_1(tmp_path: Path) -> None:
    run = CliRunner().invoke(simulate, ["--port", "0", "--ready-file", str(tmp_path / "none" / "simulator.url")])
    assert run.exit_code == 1
    assert run.output.startswith("Error: ")
    assert run.output.endswith("simulator.url cannot be written: No such file or directory.\n")
    assert run.output.count("\n") == 1


def test_a_taken_port_is_one_line_and_exit_1(simulator: Simulator) -> None:
    run = CliRunner().invoke(simulate, ["--port", simulator.url.rpartition(":")[2]])
    assert run.exit_code == 1
    assert re.fullmatch(
        r"Error: cannot listen on 127\.0\.0\.1 port \d+: [\w ]+\. Try another --port, or look at --host\.\n", run.output
    )


def test_an_unknown_scenario_is_one_line_and_exit_1() -> None:
    run = CliRunner().invoke(simulate, ["--scenario", "nowhere"])
    assert run.exit_code == 1
    assert run.output.startswith("Error: unknown scenario 'nowhere'; known are normal, ")
    assert run.output.count("\n") == 1


def test_the_list_describes_every_scenario() -> None:
    run = CliRunner().invoke(simulate, ["--list"])
    assert run.exit_code == 0
    told = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in run.output.splitlines())
    assert told == {name: scenario.description for name, scenario in SCENARIOS.items()}


def test_help_has_an_example_and_loads_no_simulator() -> None:
    run = CliRunner().invoke(simulate, ["--help"])
    assert "copilotapi simulate --scenario flaky" in run.output
    lazy = "import sys, copilotapi.cli.simulate; sys.exit('copilotapi.simulator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", lazy], timeout=30).returncode == 0
