"""Each client that a registry has, run with what `connect` printed or wrote for it, sees an answer of the gateway."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from copilotapi.cli import main
from copilotapi.cli.connect.clients import CLIENTS, Client, Machine, find
from copilotapi.simulator import Simulator
from tests.clients import claude_code, codex, node, python_packages
from tests.gateway_process import GatewayProcess

KEY = "sk-connect-key-0123456789"
ANSWER = "as played by the Copilot simulator"
# They may reach nothing but this machine.
NOWHERE = "http://127.0.0.1:9"
TURN_SECONDS = 90.0
VERSIONS = {
    "opencode": "1.18.33",
    "openai-node": "7.55.0",
    "anthropic-node": "1.11.0",
    "llm": "0.36",
    "langchain": "1.7.3",
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, API_KEYS=KEY) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def open_gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def no_settings_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env of whoever runs the tests is not read."""
    monkeypatch.chdir(tmp_path)


def _codex(programs: Path) -> Path:
    package = node.package("@openai/codex", f"{codex.VERSION}-{node.platform()}")
    [executable] = package.glob("vendor/*/bin/codex")
    return program(programs, "codex", executable)


def _claude(programs: Path) -> Path:
    package = node.package(f"@anthropic-ai/claude-code-{node.platform()}", claude_code.VERSION)
    return program(programs, "claude", package / "claude")


def _opencode(programs: Path) -> Path:
    package = node.package(f"opencode-{node.platform()}", VERSIONS["opencode"])
    return program(programs, "opencode", package / "bin" / "opencode")


def _node_library(name: str, version: str) -> Callable[[Path], Path]:
    def install(programs: Path) -> Path:
        program(programs, "node", node.node())
        return next(folder.parent for folder in node.package(name, version).parents if folder.name == "node_modules")

    return install


def _own_python(programs: Path) -> Path:
    return program(programs, "python", Path(sys.executable))


def _llm(programs: Path) -> Path:
    return program(programs, "llm", python_packages.environment("llm", VERSIONS["llm"]) / "llm")


def _langchain(programs: Path) -> Path:
    version = VERSIONS["langchain"]
    return program(programs, "python", python_packages.environment("langchain-openai", version) / "python")


def _curl(programs: Path) -> Path:
    return programs


# Makes the program that "Try it" names, and says in which folder to run it.
INSTALLED: dict[str, Callable[[Path], Path]] = {
    "claude-code": _claude,
    "codex": _codex,
    "opencode": _opencode,
    "llm": _llm,
    "langchain": _langchain,
    "openai-python": _own_python,
    "openai-node": _node_library("openai", VERSIONS["openai-node"]),
    "anthropic-python": _own_python,
    "anthropic-node": _node_library("@anthropic-ai/sdk", VERSIONS["anthropic-node"]),
    "curl": _curl,
}


def program(folder: Path, name: str, executable: Path) -> Path:
    """A script, since a Python behind a symbolic link would not find its libraries. The folder to work in is given back."""
    (folder / name).write_text(f'#!/bin/sh\nexec "{executable}" "$@"\n')
    (folder / name).chmod(0o755)
    return folder


def connected(client: Client, gateway: GatewayProcess, home: Path, *, key: str) -> str:
    """What is printed, once the client's file is where it looks for it."""
    environment: dict[str, str | None] = dict.fromkeys(os.environ)
    environment |= {"HOME": str(home), "PATH": os.defpath, "COPILOTAPI_HOME": str(home / "none")}
    if key:
        environment["API_KEYS"] = key
    is_written = client.file is not None and client.file.writable
    mode = ["--write", "--yes"] if is_written else []
    command = ["connect", client.name, "--url", gateway.url, "--shell", "bash", *mode]
    result = CliRunner().invoke(main, command, env=environment)
    assert result.exit_code == 0, result.output
    assert not key or key not in result.output
    if client.file is not None and client.file.where is not None and not is_written:
        path = client.file.where(Machine({}, home, sys.platform))
        path.parent.mkdir(parents=True)
        path.write_text("".join(line for line in result.stdout.splitlines(True) if not line.startswith("#")))
    return result.stdout


def tried(printed: str, key: str, home: Path, programs: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The variables as a shell reads them, then the line that is there to try it."""
    lines = printed.splitlines()
    [try_it] = [line.removeprefix("# Try it: ") for line in lines if line.startswith("# Try it: ")]
    # Agents bring tools along, which the simulator would call.
    try_it = try_it.replace("Say hello", "[[simulate: answer tools=none]] Say hello")
    variables = [line.replace("your-key", key) for line in lines if line.startswith("export ")]
    return subprocess.run(
        ["sh", "-c", "\n".join([*variables, try_it])],
        cwd=folder,
        env={
            "PATH": f"{programs}{os.pathsep}{os.defpath}",
            "HOME": str(home),
            "HTTPS_PROXY": NOWHERE,
            "NO_PROXY": "127.0.0.1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TURN_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("name", [name for name in INSTALLED if name != "llm"])
def test_a_client_is_answered_by_a_gateway_that_wants_a_key(gateway: GatewayProcess, tmp_path: Path, name: str) -> None:
    check_that_it_answers(name, gateway, tmp_path, KEY)


@pytest.mark.parametrize("name", ["claude-code", "codex", "llm", "curl"])
def test_a_client_is_answered_by_a_gateway_without_keys(
    open_gateway: GatewayProcess, tmp_path: Path, name: str
) -> None:
    check_that_it_answers(name, open_gateway, tmp_path, "")


def check_that_it_answers(name: str, gateway: GatewayProcess, tmp_path: Path, key: str) -> None:
    client = find(name)
    assert client is not None
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    folder = INSTALLED[name](programs)
    done = tried(connected(client, gateway, home, key=key), key, home, programs, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ANSWER in done.stdout
    files = [path for path in home.rglob("*") if path.is_file() and "copilotapi" in path.name]
    assert all(KEY not in path.read_text() for path in files)


def test_claude_code_sends_a_key_of_the_shell_in_place_of_the_one_it_was_told(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    client = find("claude-code")
    assert client is not None
    _claude(tmp_path)
    printed = connected(client, gateway, tmp_path, key=KEY) + "export ANTHROPIC_AUTH_TOKEN='another'\n"
    assert "401 The API key is not known here" in tried(printed, KEY, tmp_path, tmp_path, tmp_path).stdout


def test_a_client_is_called_tried_where_one_is_run_here() -> None:
    assert {client.name for client in CLIENTS if client.tried} == set(INSTALLED)
