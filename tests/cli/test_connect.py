"""`copilotapi connect` as people type it: what is printed where, what is asked, what is refused, and no key anywhere."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest
import yaml
from click.testing import CliRunner, Result

from copilotapi.cli import main
from copilotapi.cli.connect import page
from copilotapi.cli.connect.clients import CLIENTS, Machine, find
from copilotapi.cli.connect.shells import SHELLS, usual_shell
from copilotapi.simulator import Fault, Simulator
from tests.gateway_process import GITHUB_TOKEN, ROOT, GatewayProcess, free_port

KEY = "sk-canary-0123456789abcdef"
STOP_SECONDS = 20.0
WRITTEN = [client.name for client in CLIENTS if client.file and client.file.writable]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyed_gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, API_KEYS=KEY, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


class User:
    """Somebody with an empty home, and nothing else in the environment."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {"HOME": str(home), "PATH": os.defpath, "PYTHONPATH": str(ROOT), **environment}

    def types(self, *arguments: str) -> Result:
        others: dict[str, str | None] = dict.fromkeys(os.environ)
        result = CliRunner().invoke(main, ["connect", *arguments], env=others | self.environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result


@pytest.fixture(autouse=True)
def no_settings_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env of whoever runs the tests is not read."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def user(tmp_path: Path, gateway: GatewayProcess) -> User:
    return User(tmp_path, HOST="127.0.0.1", PORT=str(gateway.port))


def only_line(result: Result) -> str:
    """What a refused command says at last, and its exit code."""
    assert result.exit_code == 1
    assert result.stdout == ""
    *_, line = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line


def commented(text: str) -> list[str]:
    return [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]


def content(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith(("# ", "export ")))


# Printing.


def test_standard_output_is_the_file_its_place_and_a_line_to_try_it(user: User, gateway: GatewayProcess) -> None:
    result = user.types("codex")
    assert (result.exit_code, result.stderr) == (0, "")
    place, try_it = commented(result.stdout)
    assert place == str(user.home / ".codex" / "config.toml")
    assert try_it == 'Try it: codex exec --skip-git-repo-check "Say hello"'
    settings = tomllib.loads(content(result.stdout))
    assert settings["model"] == "gpt-5.5"
    assert settings["model_providers"]["copilotapi"]["base_url"] == f"{gateway.url}/v1"
    assert list(user.home.iterdir()) == []


@pytest.mark.parametrize("name", [client.name for client in CLIENTS if client.file])
def test_what_is_printed_is_what_the_clients_parser_reads(user: User, gateway: GatewayProcess, name: str) -> None:
    client = find(name)
    assert client is not None
    assert client.file is not None
    text = content(user.types(name, "--shell", "bash").stdout)
    read = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}[client.file.format](text)
    assert gateway.url in json.dumps(read)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_printed_is_what_is_written(user: User, name: str) -> None:
    printed = content(user.types(name, "--model", "gpt-4.1").stdout)
    assert user.types(name, "--model", "gpt-4.1", "--write", "--yes", "--no-probe").exit_code == 0
    client = find(name)
    assert client is not None
    assert client.file is not None
    assert client.file.where is not None
    assert client.file.where(Machine({}, user.home, sys.platform)).read_text().strip() == printed.strip()


@pytest.mark.parametrize("name", [client.name for client in CLIENTS])
def test_no_real_key_is_shown_or_written(keyed_gateway: GatewayProcess, tmp_path: Path, name: str) -> None:
    user = User(tmp_path, PORT=str(keyed_gateway.port), API_KEYS=KEY, GITHUB_COPILOT_TOKEN=GITHUB_TOKEN)
    mode = ["--write", "--yes"] if name in WRITTEN else []
    result = user.types(name, "--model", "gpt-4.1", *mode)
    assert result.exit_code == 0, result.output
    files = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    everything = "".join([result.output, *files])
    assert KEY not in everything
    assert GITHUB_TOKEN not in everything
    assert re.search("COPILOTAPI_API_KEY|your-key|docs/editors.md|llm keys set", everything)


def test_a_key_is_asked_for_only_where_the_gateway_wants_one(
    user: User, keyed_gateway: GatewayProcess, tmp_path: Path
) -> None:
    assert "COPILOTAPI_API_KEY" not in user.types("codex").output
    keyed = User(tmp_path, PORT=str(keyed_gateway.port), API_KEYS=KEY).types("codex").output
    assert 'env_key = "COPILOTAPI_API_KEY"' in keyed
    assert "export COPILOTAPI_API_KEY='your-key'" in keyed
    without = User(tmp_path, PORT=str(keyed_gateway.port)).types("codex")
    assert "API key" in only_line(without)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("claude-code", "claude-sonnet-4.6"),
        ("codex", "gpt-5.5"),
        ("opencode", "gpt-5.4"),
        ("curl", "gpt-4.1"),
        ("anthropic-node", "claude-sonnet-4.6"),
    ],
)
def test_a_model_of_the_account_that_suits_the_client_is_taken(user: User, name: str, model: str) -> None:
    assert model in user.types(name).stdout


def test_a_model_is_named_as_the_gateway_understands_names(user: User) -> None:
    assert '"claude-opus-4.6"' in user.types("codex", "--model", "claude-opus-4-6").stdout
    near = only_line(user.types("codex", "--model", "gpt-5.6"))
    assert "'gpt-5.6' does not exist" in near
    assert "gpt-5.5" in near
    assert "not a model that chats" in only_line(user.types("codex", "--model", "text-embedding-3-small"))


def test_every_client_is_listed_once(user: User) -> None:
    rows = user.types("--list").stdout.splitlines()[1:]
    assert [re.split(r",|\s", row)[0] for row in rows] == [client.name for client in CLIENTS]
    assert {row.split()[0].rstrip(",") for row in rows if row.rstrip().endswith("yes")} == set(WRITTEN)


def test_an_unknown_client_is_one_line_and_none_at_all_is_a_question(user: User) -> None:
    assert "clod is not known here" in only_line(user.types("clod"))
    assert user.types().exit_code == 2


def test_help_shows_an_example(user: User) -> None:
    assert "copilotapi connect codex" in user.types("--help").stdout


# Shells.

AWKWARD = 'it\'s a \\ $HOME `x` %PATH% "q"'
PROGRAMS = {"bash": ["sh", "-c"], "fish": ["fish", "-c"], "powershell": ["pwsh", "-NoProfile", "-Command"]}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_shell_reads_the_very_value(name: str) -> None:
    if shutil.which(PROGRAMS[name][0]) is None:
        pytest.skip(f"there is no {PROGRAMS[name][0]}")
    show = f"{sys.executable} -c \"import os; print(os.environ['A_NAME'], end='')\""
    script = "\n".join([*SHELLS[name].lines({"A_NAME": AWKWARD}), ("& " if name == "powershell" else "") + show])
    done = subprocess.run([*PROGRAMS[name], script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == AWKWARD


def test_variables_have_the_form_of_the_shell_that_is_asked_for(user: User, gateway: GatewayProcess) -> None:
    forms = {name: user.types("openai-node", "--shell", name).stdout.splitlines() for name in SHELLS}
    url = f"{gateway.url}/v1"
    assert forms["bash"][0] == f"export OPENAI_BASE_URL='{url}'"
    assert forms["fish"][0] == f"set -gx OPENAI_BASE_URL '{url}'"
    assert forms["powershell"][0] == f"$env:OPENAI_BASE_URL = '{url}'"
    assert forms["cmd"][0] == f'set "OPENAI_BASE_URL={url}"'
    assert forms["cmd"][-1].startswith("REM Try it: ")


def test_the_shell_in_use_is_taken_unless_another_is_asked_for() -> None:
    assert usual_shell({"SHELL": "/usr/bin/fish"}, "linux").name == "fish"
    assert usual_shell({"SHELL": "/bin/zsh"}, "darwin").name == "bash"
    assert usual_shell({}, "win32").name == "powershell"


def test_what_is_printed_for_a_library_can_be_evaluated(user: User, gateway: GatewayProcess) -> None:
    printed = user.types("anthropic-python", "--shell", "bash").stdout
    done = subprocess.run(
        ["sh", "-c", 'eval "$1"; echo "$ANTHROPIC_BASE_URL $ANTHROPIC_API_KEY"', "sh", printed],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"{gateway.url} unused\n"


# Places.


@pytest.mark.parametrize(
    ("name", "environ", "platform", "place"),
    [
        ("codex", {}, "linux", "home/.codex/config.toml"),
        ("codex", {"CODEX_HOME": "/c"}, "linux", "/c/config.toml"),
        ("claude-code", {"CLAUDE_CONFIG_DIR": "/c"}, "darwin", "/c/settings.json"),
        ("opencode", {"XDG_CONFIG_HOME": "/x"}, "linux", "/x/opencode/opencode.json"),
        ("continue", {"CONTINUE_GLOBAL_DIR": "/c"}, "linux", "/c/config.yaml"),
        ("aider", {}, "win32", "home/.aider.conf.yml"),
        ("zed", {}, "darwin", "home/.config/zed/settings.json"),
        ("zed", {"APPDATA": "/a"}, "win32", "/a/Zed/settings.json"),
        ("vscode", {}, "darwin", "home/Library/Application Support/Code/User/settings.json"),
        ("vscode", {"XDG_CONFIG_HOME": "/x"}, "linux", "/x/Code/User/settings.json"),
        ("llm", {"LLM_USER_PATH": "/l"}, "linux", "/l/extra-openai-models.yaml"),
        ("llm", {}, "win32", "home/AppData/Roaming/io.datasette.llm/extra-openai-models.yaml"),
    ],
)
def test_a_file_lies_where_the_client_looks_for_it(
    name: str, environ: dict[str, str], platform: str, place: str
) -> None:
    client = find(name)
    assert client is not None
    assert client.file is not None
    assert client.file.where is not None
    assert PurePosixPath(client.file.where(Machine(environ, Path("home"), platform))) == PurePosixPath(place)


def test_opencodes_file_with_comments_is_taken_where_it_is_the_one_there(user: User) -> None:
    folder = user.home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.jsonc").write_text("{}")
    assert commented(user.types("opencode").stdout)[0] == str(folder / "opencode.jsonc")
    (folder / "opencode.json").write_text("{}")
    assert commented(user.types("opencode").stdout)[0] == str(folder / "opencode.json")


# Writing.


def test_writing_tries_the_model_shows_the_change_and_tells_the_way_back(user: User, simulator: Simulator) -> None:
    path = user.home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text('model = "o3"\n')
    simulator.recorder.clear()
    result = user.types("codex", "--write", "--yes")
    assert result.exit_code == 0, result.output
    assert "Trying gpt-5.5 with one tiny request" in result.stderr
    assert [request.path for request in simulator.recorder.requests if request.method == "POST"] == ["/responses"]
    assert '-model = "o3"' in result.stderr
    assert '+model = "gpt-5.5"' in result.stderr
    assert "\x1b" not in result.output
    [backup] = path.parent.glob("*.bak")
    assert str(backup) in result.stderr
    assert "copilotapi connect codex --undo" in result.stderr
    undone = user.types("codex", "--undo")
    assert (undone.exit_code, undone.stdout) == (0, f"{path} is as it was before.\n")
    assert path.read_text() == 'model = "o3"\n'
    assert "nothing to undo" in only_line(user.types("codex", "--undo"))


def test_a_second_run_says_that_nothing_was_changed(user: User) -> None:
    first, second = (user.types("aider", "--write", "--yes", "--no-probe") for _ in range(2))
    assert "Wrote " in first.stderr
    assert "nothing was changed" in second.stderr
    assert "Trying" not in first.stderr + second.stderr


def test_a_model_that_does_not_answer_gives_way_to_the_next(user: User, simulator: Simulator) -> None:
    simulator.faults.push(Fault("status", "responses", status=400))
    result = user.types("codex", "--write", "--yes")
    simulator.faults.clear()
    assert "gpt-5.5 does not answer: " in result.stderr
    assert tomllib.loads((user.home / ".codex" / "config.toml").read_text())["model"] != "gpt-5.5"


def test_nothing_is_written_when_no_model_answers(user: User) -> None:
    line = only_line(user.types("codex", "--model", "claude-sonnet-5", "--write", "--yes"))
    assert "Nothing was written" in line
    assert not (user.home / ".codex").exists()


def test_without_a_terminal_or_yes_nothing_is_asked_or_spent(user: User, simulator: Simulator) -> None:
    simulator.recorder.clear()
    assert "add --yes" in only_line(user.types("codex", "--write"))
    assert [request for request in simulator.recorder.requests if request.method == "POST"] == []


@pytest.mark.parametrize("mode", ["--write", "--undo"])
def test_a_client_whose_file_is_not_written_is_told(user: User, mode: str) -> None:
    assert "does not write Zed's settings" in only_line(user.types("zed", mode))


def test_a_broken_file_is_one_line_that_names_it_before_anything_is_spent(user: User, simulator: Simulator) -> None:
    simulator.recorder.clear()
    path = user.home / ".codex" / "config.toml"
    path.parent.mkdir()
    path.write_text("model = \n")
    assert f"{path}, line 1: " in only_line(user.types("codex", "--write", "--yes"))
    assert path.read_text() == "model = \n"
    assert [request for request in simulator.recorder.requests if request.method == "POST"] == []


def test_json_with_comments_is_left_and_what_to_paste_is_printed(user: User) -> None:
    path = user.home / ".claude" / "settings.json"
    path.parent.mkdir()
    path.write_text('{\n  // mine\n  "model": "opus"\n}\n')
    result = user.types("claude-code", "--write", "--yes", "--no-probe")
    assert result.exit_code == 1
    assert "has comments or trailing commas (line 2)" in result.stderr.splitlines()[-1]
    assert "ANTHROPIC_BASE_URL" in json.loads(result.stdout)["env"]
    assert "// mine" in path.read_text()


def test_a_key_that_stands_in_the_file_is_not_shown_with_the_change(user: User) -> None:
    path = user.home / ".aider.conf.yml"
    path.write_text(f"openai-api-key: {KEY}\nanthropic-api-key: '{KEY}'\n")
    result = user.types("aider", "--write", "--yes", "--no-probe")
    assert KEY not in result.output
    assert "-openai-api-key: (hidden)" in result.stderr
    assert "+openai-api-key: unused" in result.stderr


def test_a_terminal_is_asked_and_no_means_no(user: User) -> None:
    path = user.home / ".codex" / "config.toml"
    assert "Write this? [y/N]: " in answered(user, b"n\n", exit_code=1)
    assert not path.exists()
    shown = answered(user, b"y\n", exit_code=0)
    assert path.exists()
    assert "\x1b[32m+model = " in shown
    assert "Traceback" not in shown


def answered(user: User, answer: bytes, *, exit_code: int) -> str:
    """What a terminal shows of `connect codex --write` when this is typed at the question."""
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-c", "from copilotapi.cli import main; main()", "connect", "codex", "--write"]
    environment = {**user.environment, "TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*command, "--no-probe"], env=environment, cwd=user.home, stdin=its_end, stdout=its_end, stderr=its_end
    )
    os.close(its_end)
    try:
        shown = read_terminal(terminal, b"Write this")
        os.write(terminal, answer)
        shown += read_terminal(terminal, None)
        assert process.wait(STOP_SECONDS) == exit_code
    finally:
        process.kill()
        process.wait()
        os.close(terminal)
    return shown


def read_terminal(terminal: int, until: bytes | None) -> str:
    """Up to `until`, else up to the end of the other side."""
    received = b""
    deadline = time.monotonic() + STOP_SECONDS
    while until is None or until not in received:
        ready, _, _ = select.select([terminal], [], [], max(deadline - time.monotonic(), 0))
        assert ready, received
        try:
            received += os.read(terminal, 65_536)
        except OSError:
            # Linux's way to say that the other side is closed.
            assert until is None, received
            break
    return received.decode()


# The gateway.


def test_where_no_gateway_runs_the_address_of_the_settings_is_given(tmp_path: Path, simulator: Simulator) -> None:
    port = free_port()
    alone = User(
        tmp_path,
        PORT=str(port),
        GITHUB_COPILOT_TOKEN=GITHUB_TOKEN,
        GITHUB_URL=simulator.url,
        GITHUB_API_URL=simulator.url,
        API_KEYS=KEY,
    )
    result = alone.types("codex", "--write", "--yes")
    assert result.exit_code == 0, result.output
    assert f"No gateway runs at http://127.0.0.1:{port} now; start it with: copilotapi serve" in result.stderr
    provider = tomllib.loads((tmp_path / ".codex" / "config.toml").read_text())["model_providers"]["copilotapi"]
    assert (provider["base_url"], provider["env_key"]) == (f"http://127.0.0.1:{port}/v1", "COPILOTAPI_API_KEY")
    assert KEY not in result.output


def test_without_a_sign_in_one_line_says_so(tmp_path: Path) -> None:
    line = only_line(User(tmp_path, PORT=str(free_port())).types("codex"))
    assert "copilotapi login" in line


def test_a_gateway_elsewhere_is_given_by_its_address_with_v1_or_without(user: User, gateway: GatewayProcess) -> None:
    nowhere = User(user.home, PORT=str(free_port()))
    first, second = (nowhere.types("codex", "--url", f"{gateway.url}{path}").stdout for path in ("", "/v1/"))
    assert first == second
    assert f'base_url = "{gateway.url}/v1"' in first


def test_nothing_at_the_address_is_one_line(user: User) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert url in only_line(user.types("codex", "--url", url))


# The page.


def test_the_page_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "clients.md").read_text() == page.page()


def test_the_page_has_a_section_for_every_client() -> None:
    titles = re.findall(r"^## (.+) \((?:tried|from documentation)\)$", page.page(), re.M)
    assert titles == [client.title for client in CLIENTS]
