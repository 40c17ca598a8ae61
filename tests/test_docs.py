"""The documents say what the program does: names both ways, commands as they stand, links that lead somewhere."""

import ast
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from copilotapi.cli import main
from copilotapi.cli.connect.clients import find
from copilotapi.metering.metrics import Metrics
from copilotapi.settings import Settings
from copilotapi.simulator import SCENARIOS, Simulator
from tests.gateway_process import GatewayProcess

ROOT = Path(__file__).parent.parent
PAGES = sorted(path for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if not path.name.startswith("_"))
OPERATIONS = ROOT / "docs" / "operations.md"
_LOG_METHODS = ("debug", "info", "warning", "error", "exception", "critical")


@cache
def trees() -> tuple[ast.Module, ...]:
    """Every module of the gateway; the simulator speaks for GitHub and Copilot, not for us."""
    paths = [path for path in (ROOT / "copilotapi").rglob("*.py") if "simulator" not in path.parts]
    return tuple(ast.parse(path.read_text()) for path in paths)


def calls() -> Iterator[ast.Call]:
    return (node for tree in trees() for node in ast.walk(tree) if isinstance(node, ast.Call))


def log_events() -> set[str]:
    events: set[str] = set()
    for call in calls():
        match call:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr="log"), args=[_, event, *_]):
                events.update(_strings(event))
            case ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "logger"), attr=method), args=[event, *_]):
                events.update(_strings(event) if method in _LOG_METHODS else ())
            case ast.Call(func=ast.Name(id="FactRecord"), args=[_, _, event, *_]):
                events.update(_strings(event))
            case ast.Call(func=ast.Attribute(attr="makeLogRecord"), args=[ast.Dict(keys=keys, values=values)]):
                events.update(*(_strings(v) for k, v in zip(keys, values, strict=True) if "msg" in _strings(k)))
    return events


def error_codes() -> set[str]:
    """What stands behind `code=`, and the code of each meaning that a refusal can have."""
    named = [keyword.value for call in calls() for keyword in call.keywords if keyword.arg == "code"]
    meant = [call.args[2] for call in calls() if isinstance(call.func, ast.Name) and call.func.id == "_Meaning"]
    return {code for value in [*named, *meant] for code in _strings(value)} - {""}


def exchange_codes() -> set[str]:
    refusals = [call for call in calls() if isinstance(call.func, ast.Name) and call.func.id == "ExchangeRefused"]
    return {
        code
        for call in refusals
        for keyword in call.keywords
        if keyword.arg == "code"
        for code in _strings(keyword.value)
    }


def ready_reasons() -> set[str]:
    """The names in readiness(), and the codes of refusals, which it passes on."""
    [function] = (
        node
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name == "readiness"
    )
    names = {node.value for node in ast.walk(function) if isinstance(node, ast.Constant)}
    return {name for name in names if isinstance(name, str) and re.fullmatch(r"[a-z]+(_[a-z]+)+", name)} | (
        exchange_codes()
    )


def metric_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    names = set(re.findall(r"^# HELP (\S+)", Metrics().text().decode(), re.M))
    return {name for name in names if not name.endswith("_created")}


def _strings(value: ast.expr | None) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(code)):
            yield code
        case ast.BoolOp(values=values):
            for one in values:
                yield from _strings(one)
        case ast.IfExp(body=body, orelse=orelse):
            yield from _strings(body)
            yield from _strings(orelse)


def documented(heading: str) -> set[str]:
    """The names in the first column of the tables under that heading of the operations page."""
    _, _, rest = OPERATIONS.read_text().partition(f"\n## {heading}\n")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.M)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row.split("|")[1])}


def test_every_reason_of_ready_is_explained() -> None:
    assert documented("Reasons of /ready") == ready_reasons()


def test_every_metric_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    assert documented("Metrics") == metric_names(monkeypatch)


def test_every_log_event_is_explained() -> None:
    assert documented("Log events") == log_events()


def test_every_error_code_is_explained() -> None:
    assert documented("Error codes") == error_codes()


def test_the_lists_are_not_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"copilot_sign_in_required", "redis_unavailable", "copilot_token_pending"} <= ready_reasons()
    assert {"copilotapi_requests_total", "copilotapi_store_up"} <= metric_names(monkeypatch)
    assert {"request", "token_refreshed", "store_degraded", "request_failed"} <= log_events()
    assert {"invalid_api_key", "insufficient_quota", "upstream_error", "model_not_found"} <= error_codes()


def links() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if not re.match(r"[a-z]+:", target)
    ]


def test_every_link_inside_the_project_leads_somewhere() -> None:
    assert [
        (page, target)
        for page, target in links()
        if not (ROOT / page).parent.joinpath(target.partition("#")[0] or Path(page).name).exists()
    ] == []


def _anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation gone, spaces to dashes."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_anchor_inside_the_project_exists() -> None:
    wanted = [(page, target) for page, target in links() if "#" in target]
    assert [
        (page, target)
        for page, target in wanted
        if target.partition("#")[2]
        not in _anchors((ROOT / page).parent / (target.partition("#")[0] or Path(page).name))
    ] == []


def _settings_named_in(page: Path) -> set[str]:
    named = set(re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?:=[^`]*)?`", page.read_text()))
    return {name if name in SETTINGS else name.removesuffix("_FILE") for name in named}


SETTINGS = {name.upper() for name in Settings.model_fields} | {"REDIS_URL"}
NO_SETTINGS = {
    "CLOCK_BOOTTIME",
    "REQUIRE_REDIS",
    "DEMO_PORT",
    "PROMETHEUS_MULTIPROC_DIR",
    "NAME",
    "MAY_IMPORT",
    "MAY_IMPORT_LATE",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_MODEL",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_setting_that_is_named_exists(page: Path) -> None:
    assert _settings_named_in(page) - SETTINGS - NO_SETTINGS == set()


def test_settings_are_found_in_the_pages() -> None:
    assert {"GITHUB_COPILOT_TOKEN", "API_KEYS", "REDIS_URL"} <= _settings_named_in(ROOT / "README.md")


def code_blocks(page: Path) -> list[str]:
    """Fenced and indented blocks."""
    text = page.read_text()
    fenced = re.findall(r"^```[a-z]*\n(.*?)^```$", text, re.M | re.S)
    indented = re.findall(r"(?:^    .*\n)+", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), re.M)
    return [*fenced, *(re.sub(r"^    ", "", block, flags=re.M) for block in indented)]


def readme_curls() -> list[str]:
    joined = [block.replace("\\\n", " ") for block in code_blocks(ROOT / "README.md")]
    return [line for block in joined for line in block.splitlines() if line.startswith("curl ")]


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with Simulator() as simulator, GatewayProcess(simulator.url) as gateway:
        yield gateway


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
@pytest.mark.parametrize("command", readme_curls())
def test_the_readmes_curl_works_as_it_stands_without_a_key(gateway: GatewayProcess, command: str) -> None:
    words = [word.replace("localhost:8000", f"localhost:{gateway.port}") for word in shlex.split(command)]
    done = subprocess.run([*words, "--fail", "--silent"], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    if "stream" in command:
        assert done.stdout.endswith("data: [DONE]\n\n")
    elif "chat" in command:
        assert '"finish_reason":"stop"' in done.stdout.replace(" ", "")
    else:
        assert done.stdout.startswith("{")


def test_the_readme_shows_the_plain_forms() -> None:
    paths = {word.partition("8000")[2] for command in readme_curls() for word in command.split() if "8000" in word}
    assert {"/v1/chat/completions", "/v1/models", "/v1/token/refresh"} <= paths


def test_the_readmes_python_works_as_it_stands(gateway: GatewayProcess) -> None:
    [snippet] = [block for block in code_blocks(ROOT / "README.md") if "from openai import" in block]
    shown: list[object] = []
    code = snippet.replace("localhost:8000", f"localhost:{gateway.port}")
    exec(code + "\nclient.close()", {"print": shown.append})
    assert "gpt-4.1" in str(shown)


def test_the_readme_warns_before_it_shows_anything() -> None:
    before = (ROOT / "README.md").read_text().partition("\n## ")[0]
    for words in (
        "unofficial",
        "break",
        "against the terms",
        "One seat is one person",
        "No bulk jobs",
        "official road",
    ):
        assert words in before


def test_every_path_the_readme_names_is_served(gateway: GatewayProcess) -> None:
    named = set(re.findall(r"`(/[a-z/0-9.]+)`", (ROOT / "README.md").read_text()))
    assert {"/ready", "/metrics", "/v1/usage", "/docs"} <= named
    assert {path: gateway.request("GET", path).status for path in named} == dict.fromkeys(named, 200)


def commands_named() -> list[tuple[str, tuple[str, ...]]]:
    """The words after `copilotapi` on the pages: in code at the start of a line or after a sign of the shell, and in line."""
    found: list[tuple[str, tuple[str, ...]]] = []
    for page in PAGES:
        text = page.read_text()
        lines = [line for block in code_blocks(page) for line in block.replace("\\\n", " ").splitlines()]
        in_code = [told for line in lines for told in re.findall(r"(?:^\s*|[|&(;/]\s*)copilotapi (\w.*)$", line)]
        in_line = re.findall(
            r"`(?:\.venv/bin/)?copilotapi ([^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        )
        for told in (*in_code, *in_line):
            words = shlex.split(re.split(r"\)|&|\|| [<>2]", told)[0], comments=True)
            found.append((str(page.relative_to(ROOT)), tuple(words)))
    return found


def test_every_command_on_the_pages_exists_with_its_options() -> None:
    unknown = []
    for page, (name, *words) in commands_named():
        command = main.commands.get(name)
        options = {one for parameter in command.params for one in parameter.opts} if command else set()
        unknown += [(page, name)] if command is None else []
        unknown += [(page, name, word) for word in words if word.startswith("--") and word not in {*options, "--help"}]
    assert unknown == []
    assert {"login", "serve", "doctor", "connect", "models", "usage", "chat", "simulate"} <= {
        words[0] for _, words in commands_named()
    }


def test_every_client_and_scenario_in_a_command_on_the_pages_exists() -> None:
    clients = {words[1] for _, words in commands_named() if words[0] == "connect" and words[1:]}
    assert {name for name in clients if not name.startswith("--") and name != "CLIENT" and find(name) is None} == set()
    named = {words[words.index("--scenario") + 1] for _, words in commands_named() if "--scenario" in words}
    assert named - set(SCENARIOS) == set()
    assert clients
    assert named


def test_the_map_names_every_part_and_only_those_there_are() -> None:
    tree = code_blocks(ROOT / "docs" / "architecture.md")[0]
    there = {path.stem for path in (ROOT / "copilotapi").iterdir() if path.suffix == ".py" or path.is_dir()}
    there -= {"__init__", "__pycache__"}
    named = set(re.findall(r"[a-z_]+", tree))
    assert there - named == set()
    first_words = set(re.findall(r"^  ([a-z_]+)/?  ", tree, re.M))
    assert first_words - there == set()
    assert len(first_words) > 10


def test_the_map_names_functions_that_there_are() -> None:
    named = set(
        re.findall(r"`([A-Za-z_]+(?:\.[A-Za-z_]+)*)(?:\([^`]*\))?`", (ROOT / "docs/architecture.md").read_text())
    )
    sources = [ast.parse((ROOT / name).read_text()) for name in ("gunicorn.conf.py", "wsgi.py")]
    nodes = [node for tree in (*trees(), *sources) for node in ast.walk(tree)]
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    modules = {path.stem for path in (ROOT / "copilotapi").rglob("*")} | {"gunicorn.conf.py"}
    last_words = {name: name.rpartition(".")[2] for name in named - {"gunicorn.conf.py"} - SETTINGS - NO_SETTINGS}
    unknown = {name for name, word in last_words.items() if word not in defined | modules | {"None"}}
    assert {name for name in unknown if not name.endswith("_")} == set()
    assert {"Gateway.complete", "Relay.open", "Guard._admit"} <= named


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    named = {name for page in PAGES for name in re.findall(r"(?:`|^    )make ([a-z]+)", page.read_text(), re.M)}
    assert named - targets == set()
    assert {"demo", "test", "run", "check"} <= named


def test_the_readme_is_read_in_three_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) < 750
    assert len(text.splitlines()) < 110


def test_the_changelog_has_a_place_for_what_is_unreleased() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert (
        text.index("## [Unreleased]") < text.find("## [", text.index("## [Unreleased]") + 1) or text.count("## [") == 1
    )
    kinds = set(re.findall(r"^### (.+)$", text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert kinds


def test_nobody_waits_for_a_page_that_was_promised() -> None:
    """A page under docs that no other page leads to is read by nobody."""
    reached = {((ROOT / page).parent / target.partition("#")[0]).resolve() for page, target in links()}
    pages = [page for page in PAGES if "decisions" not in page.parts and page.parent != ROOT]
    assert [str(page.relative_to(ROOT)) for page in pages if page.resolve() not in reached] == []
