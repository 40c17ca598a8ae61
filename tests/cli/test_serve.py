"""Starting the gateway: the block an operator reads, and what stops a start in one line before gunicorn begins."""

import os
import re
import signal
import socket
import time
from http.client import HTTPConnection
from pathlib import Path

import pytest
from click.testing import Result

import copilotapi.cli.asking as asking_module
import copilotapi.cli.overview as overview_module
from copilotapi.simulator import Fault, Simulator
from copilotapi.token_file import path_in, save
from tests.cli.terminal_user import ADMIN_KEY, API_KEY, STOP_SECONDS, TerminalUser, only_line
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, free_port
from tests.redis_server import RedisServer

KEYLESS = {"API_KEYS": ""}


class Started(dict[str, str]):
    """The environment that gunicorn was given; empty when it never came to that."""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """gunicorn is not really started."""
    environment = Started()
    monkeypatch.setattr(os, "execve", lambda path, arguments, given: environment.update(given))
    return environment


def block(result: Result) -> dict[str, str]:
    """The text of each line by its label, warnings joined."""
    assert result.exit_code == 0, result.stderr
    told: dict[str, str] = {}
    for line in result.stdout.splitlines():
        if found := re.fullmatch(r"(\w+) {2,}(.*?) *", line):
            told[found[1]] = "\n".join(filter(None, [told.get(found[1]), found[2]]))
    return told


def test_the_block_says_where_for_whom_and_with_what(user: TerminalUser, upstream: Simulator, started: Started) -> None:
    result = user.having(**KEYLESS).types("serve")
    port = user.environment["PORT"]
    told = block(result)
    assert told.pop("Warning").startswith("No vocabulary o200k_base, cl100k_base: ")
    assert told == {
        "Gateway": f"http://127.0.0.1:{port}/v1",
        "Callers": "programs on this machine that call directly, no key needed",
        "Account": f"octocat, Copilot plan individual, {upstream.url} with the token in GITHUB_COPILOT_TOKEN",
        "Models": "33, default gpt-4.1",
        "Store": "memory of each worker; nothing is shared",
    }
    assert result.stdout.endswith("\nCtrl-C stops it once the answers under way are complete.\n")
    assert started["PORT"] == port


@pytest.mark.parametrize(
    ("settings", "callers"),
    [
        ({}, "whoever sends one API key, on this machine only"),
        ({"API_KEYS": f"{API_KEY},other-key"}, "whoever sends one of 2 API keys, on this machine only"),
        ({"API_KEYS": "", "ADMIN_KEY": ADMIN_KEY}, "whoever sends ADMIN_KEY, on this machine only"),
        ({"TRUSTED_PROXY_COUNT": "1"}, "whoever sends one API key, behind 1 proxy"),
        ({"TRUSTED_PROXY_COUNT": "2", "HOST": "0.0.0.0"}, "whoever sends one API key, behind 2 proxies"),
        ({"HOST": "0.0.0.0"}, "whoever sends one API key"),
    ],
)
def test_it_says_who_may_connect(user: TerminalUser, started: Started, settings: dict[str, str], callers: str) -> None:
    told = block(user.having(**settings, COMPLETION_HANDLER="x:y").types("serve"))
    assert told["Callers"] == callers
    everywhere = ", and every other address of this machine"
    assert (everywhere in told["Gateway"]) == (settings.get("HOST") == "0.0.0.0")


def test_a_proxy_without_keys_is_warned_of(user: TerminalUser, started: Started) -> None:
    told = block(user.having(**KEYLESS, TRUSTED_PROXY_COUNT="1").types("serve"))
    assert "No API_KEYS: whatever comes through the proxy is refused." in told["Warning"]


def test_no_token_is_a_warning_with_the_way_out(user: TerminalUser, upstream: Simulator, started: Started) -> None:
    asked = len(upstream.recorder.requests)
    told = block(user.having(GITHUB_COPILOT_TOKEN="").types("serve"))
    assert told["Account"] == "none"
    assert "NO TOKEN: run `copilotapi login`, or set GITHUB_COPILOT_TOKEN." in told["Warning"]
    assert len(upstream.recorder.requests) == asked
    assert started


def test_the_stored_sign_in_is_named(user: TerminalUser, started: Started) -> None:
    home = Path(user.environment["COPILOTAPI_HOME"])
    save(home, GITHUB_TOKEN)
    told = block(user.having(GITHUB_COPILOT_TOKEN="").types("serve"))
    assert told["Account"].endswith(f"with the stored sign-in ({path_in(home)})")
    assert told["Account"].startswith("octocat, ")


@pytest.mark.parametrize(
    ("settings", "who"),
    [
        ({"COMPLETION_HANDLER": "package.module:answer"}, "COMPLETION_HANDLER package.module:answer"),
        ({"LOCAL_MODEL_URL": "http://127.0.0.1:9/v1", "LOCAL_MODEL": "qwen"}, "LOCAL_MODEL qwen"),
    ],
)
def test_where_something_else_answers_no_account_is_asked(
    user: TerminalUser, upstream: Simulator, started: Started, settings: dict[str, str], who: str
) -> None:
    asked = len(upstream.recorder.requests)
    told = block(user.having(**settings).types("serve"))
    assert told["Account"] == f"not asked: {who} answers"
    assert "NO TOKEN" not in told["Warning"]
    assert len(upstream.recorder.requests) == asked


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("token-refused", "GitHub does not accept the GitHub token"),
        ("github-down", "GitHub answered 503"),
        ("no-seat", "GitHub refuses Copilot to this account"),
        ("models-down", "Copilot was asked for its models: "),
    ],
)
def test_an_account_that_cannot_be_used_now_is_a_warning(
    user: TerminalUser, started: Started, scenario: str, words: str
) -> None:
    with Simulator(scenario=scenario) as simulator:
        told = block(user.having(GITHUB_URL=simulator.url, GITHUB_API_URL=simulator.url).types("serve"))
    warnings = told["Warning"].splitlines()
    assert len(warnings) == 2
    assert words in warnings[0]
    assert told["Models"] == "not known yet"
    assert started


def test_no_network_is_a_warning(user: TerminalUser, started: Started) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    told = block(user.having(GITHUB_URL=nowhere, GITHUB_API_URL=nowhere).types("serve"))
    assert told["Account"].startswith("unknown, ")
    assert "Could not connect to 127.0.0.1" in told["Warning"]
    assert started


def test_a_github_that_is_silent_holds_up_nobody(
    user: TerminalUser, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview_module, "_LOOK_SECONDS", 0.3)
    with Simulator() as simulator:
        simulator.faults.push(Fault("hang", "github", times=0))
        begun = time.monotonic()
        told = block(user.having(GITHUB_URL=simulator.url, GITHUB_API_URL=simulator.url).types("serve"))
        assert time.monotonic() - begun < 10
    assert "GitHub was asked for the account: " in told["Warning"]
    assert "0.3 s" in told["Warning"]


def test_a_redis_that_answers_is_named_without_its_password(user: TerminalUser, started: Started) -> None:
    password = "canary-password-of-redis"
    with RedisServer("--requirepass", password) as server:
        url = server.patient_url.replace("redis://", f"redis://:{password}@")
        result = user.having(REDIS_URL=url, COMPLETION_HANDLER="x:y").types("serve")
    assert block(result)["Store"] == f"Redis at 127.0.0.1:{server.port}/0"
    assert password not in result.output


def test_a_redis_that_is_away_is_a_warning_only_where_somebody_wants_it(user: TerminalUser, started: Started) -> None:
    port = str(free_port())
    handled = user.having(COMPLETION_HANDLER="x:y", REDIS_URL="")
    wanted = block(handled.having(REDIS_URL=f"redis://127.0.0.1:{port}").types("serve"))
    assert wanted["Store"] == f"memory of each worker, until 127.0.0.1:{port} answers"
    assert "Redis cannot be reached" in wanted["Warning"]


def test_a_taken_port_is_one_line_before_gunicorn_starts(
    user: TerminalUser, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking_module, "_LOOK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        line = only_line(user.having(PORT=str(port)).types("serve"))
    assert line == f"Error: Port {port} is taken by another program. Take another with --port."
    assert not started


def test_a_gateway_that_runs_already_is_named(user: TerminalUser, running: GatewayProcess, started: Started) -> None:
    line = only_line(user.types("serve", "--port", str(running.port)))
    assert f"is taken by the gateway that runs at {running.url}." in line
    assert not started


def test_an_address_of_another_machine_is_one_line(user: TerminalUser, started: Started) -> None:
    line = only_line(user.types("serve", "--host", "192.0.2.1"))
    assert "Cannot listen on 192.0.2.1" in line
    assert "Look at HOST and PORT" in line


@pytest.mark.parametrize(
    ("settings", "arguments", "words"),
    [
        ({"WEB_CONCURRENCY": "x"}, [], "WEB_CONCURRENCY: "),
        ({"API_KEYS": ""}, ["--host", "0.0.0.0"], "HOST: is reachable from other machines; set API_KEYS"),
        ({}, ["--host", "http://x"], "HOST: must be a host name"),
    ],
)
def test_settings_that_cannot_be_used_stop_the_start_in_one_line(
    user: TerminalUser, started: Started, settings: dict[str, str], arguments: list[str], words: str
) -> None:
    result = user.having(**settings).types("serve", *arguments)
    assert result.exit_code == os.EX_CONFIG
    assert result.stderr.startswith(f"copilotapi: {words}")
    assert result.stderr.count("\n") == 1
    assert not started


def test_options_win_over_the_environment_and_over_files(user: TerminalUser, started: Started, tmp_path: Path) -> None:
    (tmp_path / "port").write_text("1\n")
    handled = user.having(COMPLETION_HANDLER="x:y", PORT="", PORT_FILE=str(tmp_path / "port"))
    port = str(free_port())
    told = block(handled.types("serve", "--host", "localhost", "--port", port))
    assert told["Gateway"] == f"http://localhost:{port}/v1"
    assert (started["HOST"], started["PORT"]) == ("localhost", port)
    assert "PORT_FILE" not in started


@pytest.mark.parametrize(("given", "passed"), [("", None), ("3", "3")])
def test_gunicorn_gets_a_number_of_workers_that_it_can_read(
    user: TerminalUser, started: Started, given: str, passed: str | None
) -> None:
    block(user.having(COMPLETION_HANDLER="x:y", WEB_CONCURRENCY=given).types("serve"))
    assert started.get("WEB_CONCURRENCY") == passed


def test_a_free_port_is_the_logs_to_name(user: TerminalUser, started: Started) -> None:
    told = block(user.types("serve", "--port", "0"))
    assert told["Gateway"] == "a free port of 127.0.0.1; the log names it"


def test_it_serves_until_it_is_told_to_stop(user: TerminalUser) -> None:
    port = int(user.environment["PORT"])
    with user.having(WEB_CONCURRENCY="1").starts("serve") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(7)]
        _await_ready(port)
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=STOP_SECONDS)
    assert process.returncode == 0
    assert lines[3].startswith("Models    33, default gpt-4.1")
    assert lines[-1].startswith("Ctrl-C stops it")
    assert not [secret for secret in (GITHUB_TOKEN, API_KEY) if secret in "".join(lines) + rest + log]


def _await_ready(port: int) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    raise AssertionError("the gateway did not get ready")


def test_help_shows_examples(user: TerminalUser) -> None:
    assert "copilotapi login && copilotapi serve" in user.types("serve", "--help").output
