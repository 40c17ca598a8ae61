"""Commands where things around them are not as they should be: no traceback, one line, nothing half-written."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from copilotapi.simulator import Simulator
from tests.cli.terminal_user import ROOT, SECRETS, STOP_SECONDS, TerminalUser, only_line
from tests.gateway_process import free_port

ASCII_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
READING_SETTINGS = (
    ("serve",),
    ("models",),
    ("usage",),
    ("chat", "Hello"),
    ("connect", "codex"),
    ("login", "--with-token"),
    ("logout",),
    ("vocabularies",),
)


def shell(user: TerminalUser, script: str, **environment: str) -> "subprocess.CompletedProcess[bytes]":
    """`script` in sh, with COPILOTAPI in it standing for the command."""
    command = shlex.join([sys.executable, "-c", "from copilotapi.cli import main; main(prog_name='copilotapi')"])
    surroundings = {"PATH": os.defpath, "TERM": "xterm", "PYTHONPATH": str(ROOT), **user.environment, **environment}
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", script.replace("COPILOTAPI", command)],
        env=surroundings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=STOP_SECONDS,
    )
    assert b"Traceback" not in done.stdout + done.stderr, done.stderr.decode(errors="replace")
    assert not [secret for secret in SECRETS if secret.encode() in done.stdout + done.stderr]
    return done


def error_line(done: "subprocess.CompletedProcess[bytes]") -> str:
    told = done.stderr.decode()
    assert done.returncode == 1
    assert re.fullmatch(r"Error: [^\n]+\n", told), told
    return told


def interrupt(process: "subprocess.Popen[bytes]") -> None:
    """As often as it takes: a signal between the prompt and the wait for an answer wakes nobody from that wait."""
    deadline = time.monotonic() + STOP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)


def test_what_an_encoding_lacks_is_a_question_mark(user: TerminalUser) -> None:
    models = shell(user, "COPILOTAPI models", PYTHONIOENCODING="ascii")
    assert models.returncode == 0
    assert re.search(rb"^gpt-5\.1-codex-mini .*\?0\.33", models.stdout, re.M)
    chat = shell(user, "COPILOTAPI chat Hello", PYTHONIOENCODING="latin-1")
    assert chat.returncode == 0
    assert chat.stdout.startswith(b"You said: ?Hello?.")


@pytest.mark.parametrize("command", ["models --json", "chat --json 'äöü'"])
def test_json_is_ascii_and_so_fits_any_encoding(user: TerminalUser, command: str) -> None:
    done = shell(user, f"COPILOTAPI {command}", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert done.stdout.isascii()


def test_a_prompt_is_sent_as_it_was_typed_whatever_the_locale(user: TerminalUser) -> None:
    done = shell(user, "COPILOTAPI chat 'Grüße ✓' --system 'Ä'", **ASCII_LOCALE)
    assert done.returncode == 0
    assert "“Grüße ✓”" in done.stdout.decode()


def test_a_prompt_that_is_no_text_is_told(user: TerminalUser) -> None:
    assert "not UTF-8" in error_line(shell(user, r"COPILOTAPI chat $'\xff'"))


@pytest.mark.parametrize("command", ["models", "chat '[[simulate: answer words=2000]]'", "doctor"])
def test_a_reader_that_leaves_ends_the_command_quietly(user: TerminalUser, command: str) -> None:
    done = shell(user, f"COPILOTAPI {command} | head -c 1")
    assert len(done.stdout) == 1
    assert b"Error" not in done.stderr


def test_a_closed_output_is_no_failure(user: TerminalUser) -> None:
    assert shell(user, "COPILOTAPI chat Hello >&-").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", ["models", "models --json", "chat Hello", "--help"])
def test_a_full_disk_behind_the_output_is_one_line(user: TerminalUser, command: str) -> None:
    assert "could not be written: No space left" in error_line(shell(user, f"COPILOTAPI {command} > /dev/full"))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("chat", "Give a PROMPT"),
        ("login --with-token", "Standard input is closed"),
        ("connect codex --write", "add --yes"),
    ],
)
def test_without_an_input_a_command_that_needs_one_says_so(user: TerminalUser, command: str, words: str) -> None:
    assert words in error_line(shell(user, f"COPILOTAPI {command} <&-", HOME=user.environment["COPILOTAPI_HOME"]))


def test_a_narrow_terminal_wraps_lines_and_cuts_nothing(user: TerminalUser) -> None:
    narrow = user.having(COLUMNS="20", LINES="4")
    with narrow.at_a_terminal("models") as terminal:
        shown = terminal.reads()
    assert "gpt-5.1-codex-mini " in shown
    assert "vendor" not in shown
    with narrow.at_a_terminal("usage") as terminal:
        assert "more is allowed, and billed" in terminal.reads()
    with narrow.at_a_terminal("doctor") as terminal:
        assert "127.0.0.1 at 127.0.0.1, plain http." in terminal.reads()


def test_no_color_is_honoured_on_a_terminal(user: TerminalUser) -> None:
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]")
    with user.at_a_terminal("doctor") as terminal:
        assert coloured.search(terminal.reads())
    with user.having(NO_COLOR="1").at_a_terminal("doctor") as terminal:
        assert not coloured.search(terminal.reads())


@pytest.mark.parametrize(
    "arguments", [("models",), ("usage",), ("doctor",), ("connect", "--list"), ("serve", "--help")]
)
def test_off_a_terminal_there_is_nothing_but_text(user: TerminalUser, arguments: tuple[str, ...]) -> None:
    result = user.having(FORCE_COLOR="1").types(*arguments)
    assert result.exit_code == 0, result.stderr
    assert not set("\x1b━─│") & set(result.output)


@pytest.mark.parametrize("arguments", READING_SETTINGS, ids=" ".join)
def test_a_broken_env_file_is_a_line_for_each_problem(user: TerminalUser, arguments: tuple[str, ...]) -> None:
    Path(".env").write_text("NO_SUCH_SETTING=1\nnot a line\n")
    result = user.types(*arguments)
    assert result.exit_code == os.EX_CONFIG
    assert not result.stdout
    assert [line[:24] for line in result.stderr.splitlines()] == [
        "copilotapi: .env line 1:",
        "copilotapi: .env line 2:",
    ]


def test_redis_that_is_away_keeps_nobody_from_asking(user: TerminalUser) -> None:
    result = user.having(REDIS_URL=f"redis://127.0.0.1:{free_port()}").types("chat", "Hello")
    assert result.exit_code == 0, result.stderr
    assert "“Hello”" in result.stdout


def test_a_home_where_nothing_can_be_written_is_told_and_left_alone(user: TerminalUser, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    nowhere = user.having(HOME=str(tmp_path / "file"), COPILOTAPI_HOME=str(tmp_path / "file" / "home"))
    nowhere.environment["CODEX_HOME"] = str(tmp_path / "file" / ".codex")
    assert "Nothing was written." in only_line(nowhere.types("connect", "codex", "--write", "--yes"))
    assert "cannot be written" in only_line(nowhere.types("login", "--with-token", stdin="gho_anything"))
    assert (tmp_path / "file").read_text() == "as it was"


def test_ctrl_c_where_it_asks_writes_nothing(user: TerminalUser, tmp_path: Path) -> None:
    home = tmp_path / "codex"
    with user.having(CODEX_HOME=str(home)).at_a_terminal("connect", "codex", "--write", "--no-probe") as terminal:
        terminal.reads(rb"Write this\?")
        interrupt(terminal.process)
        assert terminal.process.returncode == 1
        assert terminal.reads().endswith("Aborted!\r\n")
    assert not home.exists()


def test_a_limit_says_when_to_ask_again(user: TerminalUser) -> None:
    with Simulator(scenario="rate-limited") as simulator:
        limited = user.having(GITHUB_URL=simulator.url, GITHUB_API_URL=simulator.url)
        assert only_line(limited.types("chat", "Hello")).endswith(" Try again in 2 s.")


def test_a_network_that_is_away_is_told_with_who_looks_further(user: TerminalUser, tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    offline = user.having(GITHUB_URL=nowhere, GITHUB_API_URL=nowhere)
    for arguments in (("models",), ("chat", "Hello"), ("usage",), ("login",)):
        line = only_line(offline.types(*arguments))
        assert "Could not connect to 127.0.0.1" in line
        assert "copilotapi doctor" in line


def test_every_command_is_told_in_a_line_and_has_an_example_in_its_help(user: TerminalUser) -> None:
    listed = user.types("--help").stdout.partition("Commands:")[2]
    assert "..." not in listed
    commands = re.findall(r"^  ([a-z]+)  ", listed, re.M)
    assert {"serve", "demo", "doctor", "connect", "vocabularies"} <= set(commands)
    for command in commands:
        assert f"copilotapi {command}" in user.types(command, "--help").stdout.partition("--help")[2], command
