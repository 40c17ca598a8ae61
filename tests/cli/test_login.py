"""Signing in and out as a user does it, against the simulator, with a token that must show up nowhere but in its file."""

import importlib
import logging
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from copilotapi.app import build_credentials
from copilotapi.cli import main
from copilotapi.metering.metrics import Metrics
from copilotapi.settings import Settings as GatewaySettings
from copilotapi.simulator import Fault, Settings, Simulator
from copilotapi.store import MemoryStore
from copilotapi.token_file import load, path_in, save
from copilotapi.upstream.transport import Transport
from tests.gateway_process import GatewayProcess, free_port
from tests.raw_server import RawServer, read_request

ROOT = Path(__file__).parents[2]
CANARY = "gho_canary_0123456789abcdef"
AT_ONCE = Settings(device_interval_seconds=0, device_pending_polls=0)
NEVER = Settings(device_interval_seconds=0, device_pending_polls=10_000)
STOP_SECONDS = 20.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def user(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> "User":
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    for name in ("HTTPS_PROXY", "https_proxy", "GITHUB_COPILOT_TOKEN", "GITHUB_URL", "GITHUB_API_URL", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    return User({"COPILOTAPI_HOME": str(home)})


class User:
    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def at(self, url: str) -> "User":
        return User({**self.environment, "GITHUB_URL": url, "GITHUB_API_URL": url})

    def types(self, *arguments: str, stdin: str = "") -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, env=self.environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result


def only_line(result: Result) -> str:
    """What a refused command says, which is one line of standard error and exit code 1."""
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip()


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator(settings=AT_ONCE, github_tokens=frozenset({CANARY})) as simulator:
        yield simulator


def test_a_sign_in_stores_the_token_and_says_whose_it_is(
    user: User, home: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    result = user.at(simulator.url).types("login")
    assert result.exit_code == 0, result.output
    github_token = load(home)
    assert github_token is not None
    assert github_token.startswith("ghu_")
    assert "Signed in as octocat, Copilot plan individual." in result.output
    assert str(path_in(home)) in result.output
    assert github_token not in result.output + caplog.text
    assert stat.S_IMODE(path_in(home).stat().st_mode) == 0o600


def test_the_warning_comes_before_the_code_and_the_code_on_a_line_of_its_own(user: User, simulator: Simulator) -> None:
    output = user.at(simulator.url).types("login").output
    warning = output.index("Unofficial: it may break at any time, and using it may be against the terms")
    code = re.search(r"^Enter  [0-9A-F]{4}-[0-9A-F]{4}$", output, re.MULTILINE)
    assert code is not None
    assert warning < output.index(f"Open   {simulator.url}/login/device") < code.start()
    assert "\x1b" not in output


def test_a_token_is_taken_from_standard_input(
    user: User, home: Path, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    result = user.at(simulator.url).types("login", "--with-token", stdin=f"\ufeff{CANARY}\r\n")
    assert result.exit_code == 0, result.output
    assert load(home) == CANARY
    assert "Signed in as octocat" in result.output
    assert CANARY not in result.output + caplog.text


@pytest.mark.parametrize(
    ("stdin", "told"),
    [
        ("", "held no GitHub token"),
        (" \n", "held no GitHub token"),
        (f"{CANARY}\n{CANARY}\n", "The GitHub token must not hold blanks"),
        ("ghp_0123456789", "is a classic token"),
        ("your-github-token", "still holds an example value"),
        ("tid=1;exp=2:3", "is a Copilot token"),
        (f"{CANARY}ü", "non-ASCII"),
    ],
)
def test_input_that_cannot_be_a_github_token_is_not_sent_anywhere(
    user: User, home: Path, simulator: Simulator, stdin: str, told: str
) -> None:
    asked = len(simulator.recorder.requests)
    result = user.at(simulator.url).types("login", "--with-token", stdin=stdin)
    assert told in only_line(result)
    assert CANARY not in result.output
    assert len(simulator.recorder.requests) == asked
    assert not home.exists()


def test_a_token_as_an_argument_is_refused_and_not_repeated(user: User, home: Path) -> None:
    result = user.types("login", "--with-token", CANARY)
    assert "from standard input only" in only_line(result)
    assert CANARY not in result.output


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault("status", "copilot_user", status=401), "GitHub does not accept the GitHub token"),
        (Fault("status", "copilot_user", status=503), "GitHub answered 503"),
        (Fault("status", "token_exchange", status=401), "GitHub does not accept the GitHub token"),
        (Fault("reset", "copilot_user", times=5), "GitHub gave no answer"),
    ],
)
def test_a_token_that_github_does_not_confirm_is_not_stored(user: User, home: Path, fault: Fault, told: str) -> None:
    save(home, "gho_earlier")
    with Simulator(settings=AT_ONCE) as simulator:
        simulator.faults.push(fault)
        result = user.at(simulator.url).types("login", "--with-token", stdin=CANARY)
    line = only_line(result)
    assert told in line
    assert line.endswith("Nothing was stored.")
    assert load(home) == "gho_earlier"


def test_an_account_without_copilot_is_told_at_once(user: User, home: Path) -> None:
    with Simulator(settings=AT_ONCE, scenario="no-seat") as simulator:
        line = only_line(user.at(simulator.url).types("login", "--with-token", stdin=CANARY))
    assert "GitHub refuses Copilot to this account" in line
    assert not home.exists()


def test_a_token_that_copilot_takes_directly_is_stored(user: User, home: Path) -> None:
    with Simulator(settings=AT_ONCE, scenario="direct-only") as simulator:
        result = user.at(simulator.url).types("login", "--with-token", stdin=CANARY)
    assert result.exit_code == 0, result.output
    assert load(home) == CANARY


def test_a_declined_sign_in_is_one_line(user: User, home: Path) -> None:
    settings = Settings(device_interval_seconds=0, device_pending_polls=0, device_outcome="denied")
    with Simulator(settings=settings) as simulator:
        assert only_line(user.at(simulator.url).types("login")) == "Error: The sign-in was declined at GitHub."
    assert not home.exists()


def test_no_network_is_one_line(user: User, home: Path) -> None:
    line = only_line(user.at(f"http://127.0.0.1:{free_port()}").types("login"))
    assert "GitHub gave no answer: Could not connect to 127.0.0.1" in line
    assert not home.exists()


def test_a_home_that_cannot_be_written_is_told_before_github_is_asked(
    user: User, tmp_path: Path, simulator: Simulator
) -> None:
    (tmp_path / "file").write_text("")
    nowhere = User({"COPILOTAPI_HOME": str(tmp_path / "file" / "home")})
    asked = len(simulator.recorder.requests)
    line = only_line(nowhere.at(simulator.url).types("login"))
    assert "cannot be written" in line
    assert "set COPILOTAPI_HOME" in line
    assert len(simulator.recorder.requests) == asked


def test_bad_settings_are_told(user: User) -> None:
    bad = User({**user.environment, "GITHUB_URL": "http://github.example"})
    for command in ("login", "logout"):
        result = bad.types(command)
        assert result.exit_code == os.EX_CONFIG
        assert result.stderr.startswith("copilotapi: GITHUB_URL: must be https://")
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--host", "acme.ghe.com"], "acme.ghe.com"),
        (["--host", "https://ACME.ghe.com/"], "acme.ghe.com"),
        (["--host", "acme.ghe.com", "--with-token"], "api.acme.ghe.com"),
        (["--host", "github.com", "--with-token"], "api.github.com"),
    ],
)
def test_an_enterprise_host_is_asked_at_its_own_names(user: User, arguments: list[str], asked: str) -> None:
    lines: list[str] = []

    def refuse(connection: socket.socket, number: int) -> None:
        lines.append(read_request(connection).split(b"\r\n")[0].decode())
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
        connection.close()

    with RawServer(refuse) as proxy:
        behind = User({**user.environment, "HTTPS_PROXY": proxy.url})
        line = only_line(behind.types("login", *arguments, stdin=CANARY))
    assert lines == [f"CONNECT {asked}:443 HTTP/1.1"]
    assert asked in line


@pytest.mark.parametrize(
    "host", ["acme", "ghe.com", "api.acme.ghe.com", "github.example.com", "http://acme.ghe.com", ""]
)
def test_a_wrong_host_is_told_with_the_way_out(user: User, host: str) -> None:
    line = only_line(user.types("login", "--host", host))
    assert "such as acme.ghe.com" in line
    assert "GITHUB_API_URL" in line


def test_an_enterprise_sign_in_says_which_settings_the_gateway_needs(
    user: User, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module("copilotapi.cli.login")
    monkeypatch.setattr(module, "_GITHUB", (simulator.url, simulator.url))
    output = user.types("login", "--host", "github.com", "--with-token", stdin=CANARY).output
    assert f"  GITHUB_URL={simulator.url}\n  GITHUB_API_URL={simulator.url}\n" in output
    assert "GITHUB_URL=" not in user.at(simulator.url).types("login", "--with-token", stdin=CANARY).output


def test_a_token_in_the_settings_that_wins_is_named(user: User, simulator: Simulator) -> None:
    both = User({**user.environment, "GITHUB_COPILOT_TOKEN": CANARY}).at(simulator.url)
    output = both.types("login", "--with-token", stdin=CANARY).output
    assert "GITHUB_COPILOT_TOKEN is set as well" in output
    assert CANARY not in output


def test_signing_out_forgets_the_token_once(user: User, home: Path) -> None:
    save(home, CANARY)
    first, second = user.types("logout"), user.types("logout")
    assert (first.exit_code, second.exit_code) == (0, 0)
    assert f"Forgot the GitHub token in {path_in(home)}" in first.output
    assert "https://github.com/settings/applications" in first.output
    assert second.output == f"No GitHub token is stored in {home}.\n"
    assert load(home) is None


def test_a_token_that_cannot_be_forgotten_is_one_line(user: User, home: Path) -> None:
    path_in(home).mkdir(parents=True)
    assert "cannot be removed" in only_line(user.types("logout"))


@pytest.mark.parametrize("command", ["login", "logout"])
def test_help_shows_an_example(user: User, command: str) -> None:
    result = user.types(command, "--help")
    assert result.exit_code == 0
    assert f"copilotapi {command}" in result.output
    assert "xample" in result.output


# As processes of their own.


def command(user: User, url: str) -> dict[str, str]:
    return {"PATH": os.defpath, "TERM": "xterm", "PYTHONPATH": str(ROOT), **user.at(url).environment}


ARGUMENTS = [sys.executable, "-c", "from copilotapi.cli import main; main()", "login"]


def test_standard_input_to_stored_file_in_a_process_of_its_own(user: User, home: Path, simulator: Simulator) -> None:
    process = subprocess.run(
        [*ARGUMENTS, "--with-token"],
        input=CANARY + "\n",
        env=command(user, simulator.url),
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS,
    )
    assert process.returncode == 0, process.stderr
    assert process.stderr == ""
    assert CANARY not in process.stdout
    assert load(home) == CANARY


def test_a_refused_sign_in_is_one_line_without_a_log_beside_it(user: User, home: Path) -> None:
    with Simulator(scenario="no-seat") as simulator:
        process = subprocess.run(
            [*ARGUMENTS, "--with-token"],
            input=CANARY,
            env=command(user, simulator.url),
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS,
        )
    assert process.returncode == 1
    assert re.fullmatch(r"Error: GitHub refuses Copilot to this account.*\n", process.stderr)
    assert not home.exists()


def test_a_terminal_shows_the_code_in_a_box_counts_down_and_ctrl_c_ends_quietly(user: User, home: Path) -> None:
    with Simulator(settings=NEVER) as simulator:
        terminal, its_end = pty.openpty()
        process = subprocess.Popen(
            ARGUMENTS, env=command(user, simulator.url), stdin=its_end, stdout=its_end, stderr=its_end
        )
        os.close(its_end)
        try:
            shown = read_terminal(terminal, until=rb"14:5[0-8] left")
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_SECONDS) == 130
            shown += read_terminal(terminal)
        finally:
            process.kill()
            process.wait()
            os.close(terminal)
    assert "Sign in to GitHub" in shown
    assert "╭" in shown
    assert re.search(r"[0-9A-F]{4}-[0-9A-F]{4}", shown)
    assert f"{simulator.url}/login/device" in shown
    assert "Traceback" not in shown
    assert "Aborted" not in shown
    assert shown.rstrip().endswith("\x1b[?25h") or shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    assert not home.exists()


def read_terminal(terminal: int, until: bytes | None = None) -> str:
    """What was written, up to a match of `until`, else up to the end of the other side."""
    received = b""
    deadline = time.monotonic() + STOP_SECONDS
    while until is None or not re.search(until, received):
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, received
        try:
            received += os.read(terminal, 65_536)
        except OSError:
            # Linux's way to say that the other side is closed.
            assert until is None, received
            break
    return received.decode()


# What the gateway makes of it.


def test_an_app_built_in_python_uses_the_stored_token_of_its_home(home: Path) -> None:
    save(home, CANARY)
    accounts = {
        build_credentials(settings, Transport(), MemoryStore(), Metrics()).account
        for settings in (GatewaySettings(copilotapi_home=home), GatewaySettings(github_copilot_token=CANARY))
    }
    assert len(accounts) == 1
    assert build_credentials(GatewaySettings(), Transport(), MemoryStore(), Metrics()).account not in accounts


def test_the_gateway_signs_in_with_the_stored_token(home: Path, simulator: Simulator) -> None:
    save(home, CANARY)
    asked = len(simulator.recorder.requests)
    gateway = GatewayProcess(simulator.url, COPILOTAPI_HOME=str(home), GITHUB_COPILOT_TOKEN="")
    with gateway:
        assert gateway.request("GET", "/v1/models").status == 200
        log = gateway.log
    exchanges = [one for one in simulator.recorder.requests[asked:] if one.endpoint == "token_exchange"]
    assert {one.headers["authorization"] for one in exchanges} == {f"token {CANARY}"}
    assert CANARY not in log


@pytest.mark.parametrize(
    "arguments", [["-m", "gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"], [*ARGUMENTS[1:3], "serve"]]
)
def test_a_stored_token_that_others_can_read_stops_the_start_in_one_line(
    user: User, home: Path, arguments: list[str]
) -> None:
    save(home, CANARY)
    path_in(home).chmod(0o644)
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=command(user, "http://127.0.0.1:1"),
        capture_output=True,
        text=True,
        timeout=STOP_SECONDS,
    )
    assert process.returncode == os.EX_CONFIG
    assert process.stderr.count("\n") == 1
    assert f"copilotapi: COPILOTAPI_HOME: {path_in(home)} can be read" in process.stderr
    assert CANARY not in process.stdout + process.stderr
