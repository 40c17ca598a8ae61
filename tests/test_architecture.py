"""The rules of the house, read from the source: who may import whom, who may use which library, and habits.

The same table, for people: docs/architecture.md.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import copilotapi

ROOT = Path(__file__).parent.parent
PACKAGE = "copilotapi"
EVERYTHING = ("",)

# Module or folder -> what of ours it may import; the longest row that fits a module counts. Names lack "copilotapi.".
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # Edges: they make Settings, call create_app and own the process; or are loaded by gunicorn.
    "cli": (
        "cli",
        "app",
        "settings",
        "store",
        "token_file",
        "logs",
        "vocabularies",
        "version",
        "errors",
        "metering",
        "redaction",
        "sse",
        "upstream",
    ),
    "proxy": ("app", "settings", "handlers", "threaded_server", "logs", "protocols.conversation"),
    "threaded_server": ("loop",),
    "logs": ("settings", "redaction", "loop"),
    "token_file": ("settings",),
    "server": ("server", "loop"),
    # Wiring.
    "app": EVERYTHING,
    # In: HTTP and the clock.
    "blueprints": (
        "blueprints",
        "gateway",
        "relay",
        "reply",
        "upstream",
        "metering",
        "protocols",
        "openapi",
        "store",
        "settings",
        "logs",
        "loop",
        "redaction",
        "sse",
        "errors",
    ),
    "refresher": ("upstream",),
    # Decide: the only place where protocols and upstream meet.
    "gateway": ("relay", "reply", "composed", "handlers", "token_count", "protocols", "upstream", "metering", "errors"),
    "relay": ("token_count", "protocols.conversation", "upstream", "sse", "errors"),
    "reply": ("relay", "errors"),
    "composed": ("relay", "token_count", "protocols.conversation", "upstream", "errors"),
    "handlers": ("protocols.conversation", "protocols.cursor", "loop", "errors"),
    "local_model": ("protocols", "sse"),
    "token_count": ("protocols.conversation", "vocabularies"),
    # What all of it looks like from outside: data, with errors in the protocols' own envelopes.
    "openapi": ("openapi", "protocols", "errors"),
    # Mean: pure, each protocol by itself. The parts of one may import each other (see _allowed).
    "protocols": ("protocols.conversation", "protocols.openai_errors", "sse", "errors"),
    "protocols.conversation": (),
    # Out.
    "upstream": ("upstream", "store", "redaction", "loop", "version", "errors"),
    # Keep.
    "metering": ("metering", "store", "settings", "protocols.conversation", "errors"),
    "store": ("store",),
    # Leaves.
    "sse": ("errors",),
    "settings": ("settings",),
    "errors": (),
    "redaction": (),
    "vocabularies": (),
    "loop": (),
    "version": (),
    # The island.
    "simulator": ("simulator",),
}
_ISLAND = "simulator"
# An import inside a function: a command loads what only it needs, so that the others start fast.
MAY_IMPORT_LATE: dict[str, tuple[str, ...]] = {"cli": (_ISLAND, "app", "proxy", "cli.doctor", "metering.metrics")}

# Library -> who may import it. One without a row may be imported by nobody.
LIBRARIES: dict[str, tuple[str, ...]] = {
    "apscheduler": ("refresher",),
    "click": ("cli",),
    "cryptography": ("upstream.sealed", "metering.editor_tokens", "cli.doctor.hosts"),
    "flask": ("app", "blueprints"),
    "flask_cors": ("app",),
    "flask_limiter": ("blueprints.quota",),
    "gevent": ("loop",),
    "gunicorn": ("loop", "server", "blueprints.body"),
    "gunicorn_h1c": ("server.requests",),
    "httptools": ("upstream.http_answer",),
    "limits": ("blueprints.quota", "metering.window_counts"),
    "orjson": EVERYTHING,
    "packaging": ("cli.doctor.machine",),
    "prometheus_client": ("metering.metrics",),
    "pydantic": ("settings", "logs", "token_file", "cli", "proxy"),
    "pydantic_settings": ("settings.fields",),
    "redis": ("store",),
    "requests": ("upstream", "app", "cli.doctor"),
    "rich": ("cli",),
    "ruamel": ("cli.connect",),
    "tiktoken": ("vocabularies", "token_count"),
    "tiktoken_ext": ("vocabularies",),
    "tomlkit": ("cli.connect",),
    "urllib3": ("upstream",),
    "werkzeug": ("app", "blueprints", "threaded_server"),
}
# prometheus_client itself is told by the environment whether processes share their numbers.
READS_THE_ENVIRONMENT = ("settings.model", "cli", "metering.metrics")
# `except Exception` that does not raise: the 500, before and after the first byte, and when its making failed; the worker's last
# word on a connection; a listener's code, which is not ours; and a handler's, whose failure is carried to the thread that asked.
SWALLOWS_ANYTHING = {"blueprints.http": 1, "blueprints.web_app": 2, "proxy": 1, "handlers": 1, "server.worker": 1}

_BROAD = ("Exception", "BaseException")
_EMPTY_NAME = re.compile(r"Manager|Helper|Utils?(?![a-z])|Impl(?![a-z])|^_?Base(?=[A-Z])")
_EMPTY_MODULE = re.compile(r"(?:.*_)?(?:managers?|helpers?|utils?|impl|base|common|misc)")


def problems(module: str, source: str) -> list[str]:
    """What is wrong with a module of ours, in one line each. `module` lacks "copilotapi."."""
    tree = ast.parse(source)
    return [
        *_import_problems(module, tree),
        *_environment_problems(module, tree),
        *_broad_excepts(module, tree),
        *_empty_names(module, tree),
        *_docstring_problems(module, tree),
    ]


def _import_problems(module: str, tree: ast.Module) -> Iterator[str]:
    row = _row(module)
    if row is None:
        yield f"{module}: has no row in MAY_IMPORT"
        return
    late = {id(node) for function in _functions(tree) for node in ast.walk(function)}
    for node in ast.walk(tree):
        for imported in _imported(node):
            top, _, ours = imported.partition(".")
            if top == PACKAGE and id(node) in late:
                if not _is_in(ours, MAY_IMPORT_LATE.get(row, ())):
                    yield f"{module}: imports {ours} inside a function"
            elif top == PACKAGE:
                if not _is_in(ours, _allowed(module, row)):
                    yield f"{module}: may not import {ours}"
            elif top not in sys.stdlib_module_names and not (row != _ISLAND and _is_in(module, LIBRARIES.get(top, ()))):
                yield f"{module}: may not use {top}"


def _environment_problems(module: str, tree: ast.Module) -> Iterator[str]:
    if _is_in(module, READS_THE_ENVIRONMENT):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" | "putenv"):
                yield f"{module}: reads the environment in line {node.lineno}"
            case ast.ImportFrom(module="os", names=names) if {"environ", "getenv"} & {name.name for name in names}:
                yield f"{module}: reads the environment in line {node.lineno}"


def _broad_excepts(module: str, tree: ast.Module) -> Iterator[str]:
    """Those that end in a `raise` only clean up, or say what a stranger's failure means."""
    swallowing = [getattr(node, "lineno", 0) for node in ast.walk(tree) if _swallows(node)]
    if len(swallowing) > SWALLOWS_ANYTHING.get(module, 0):
        yield f"{module}: catches everything in lines {swallowing}"


def _swallows(node: ast.AST) -> bool:
    match node:
        case ast.ExceptHandler(type=caught, body=body):
            named = caught.elts if isinstance(caught, ast.Tuple) else [caught]
            return any(_is_broad(name) for name in named) and not isinstance(body[-1], ast.Raise)
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
            return any(_is_broad(name) for name in args)
    return False


def _is_broad(name: ast.expr | None) -> bool:
    return name is None or (isinstance(name, ast.Name) and name.id in _BROAD)


def _empty_names(module: str, tree: ast.Module) -> Iterator[str]:
    if _EMPTY_MODULE.fullmatch(module.rpartition(".")[2]):
        yield f"{module}: its name says nothing"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and _EMPTY_NAME.search(node.name):
            yield f"{module}: the name {node.name} says nothing"


def _docstring_problems(module: str, tree: ast.Module) -> Iterator[str]:
    docstring = ast.get_docstring(tree)
    if docstring is None:
        yield f"{module}: does not say what it is for"
    elif len(docstring.partition("\n\n")[0].splitlines()) > 5:
        yield f"{module}: takes more than five lines to say what it is for"


def _functions(tree: ast.Module) -> Iterator[ast.AST]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))


def _imported(node: ast.AST) -> list[str]:
    """Modules as they are named; of packages of ours, their parts."""
    match node:
        case ast.Import(names=names):
            return [name.name for name in names]
        case ast.ImportFrom(level=level, names=names, module=module) if level:
            return [f"{PACKAGE}.a relative import of {module or names[0].name}"]
        case ast.ImportFrom(module=str(module), names=names) if (ROOT / module.replace(".", "/")).is_dir():
            return [f"{module}.{name.name}" for name in names]
        case ast.ImportFrom(module=str(module)):
            return [module]
    return []


def _allowed(module: str, row: str) -> tuple[str, ...]:
    """What the row says; for a part of a protocol, the parts beside it too."""
    own_protocol = module.split(".")[:2] if row == "protocols" else []
    return (*MAY_IMPORT[row], *([".".join(own_protocol)] if len(own_protocol) == 2 else []))


def _row(module: str) -> str | None:
    rows = [row for row in MAY_IMPORT if _is_in(module, (row,))]
    return max(rows, key=len, default=None)


def _is_in(module: str, allowed: tuple[str, ...]) -> bool:
    return any(not row or module == row or module.startswith(f"{row}.") for row in allowed)


@cache
def _sources() -> dict[str, str]:
    sources = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT / PACKAGE).with_suffix("").parts)
        sources[name.removesuffix(".__init__")] = path.read_text()
    return sources


def test_every_module_keeps_the_rules() -> None:
    # copilotapi/__init__.py only names what others may use.
    modules = {name: source for name, source in _sources().items() if name != "__init__"}
    assert [problem for name, source in modules.items() for problem in problems(name, source)] == []


def test_the_package_itself_names_what_is_public_and_nothing_below() -> None:
    tree = ast.parse(_sources()["__init__"])
    ours = {name.partition(".")[2] for node in ast.walk(tree) for name in _imported(node) if name.startswith(PACKAGE)}
    public = ("app", "proxy", "settings", "handlers", "protocols.conversation", "version")
    assert {name for name in ours if not _is_in(name, public)} == set()
    assert [name for name in copilotapi.__all__ if not hasattr(copilotapi, name)] == []


@pytest.mark.parametrize("table", [MAY_IMPORT, LIBRARIES])
def test_the_tables_name_only_what_there_is(table: dict[str, tuple[str, ...]]) -> None:
    named = {name for allowed in table.values() for name in allowed} - {""}
    named |= set(MAY_IMPORT if table is MAY_IMPORT else ())
    assert sorted(name for name in named if not any(_is_in(module, (name,)) for module in _sources())) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("upstream.x", "from copilotapi.protocols import chat"),
        ("upstream.x", "from copilotapi.blueprints.http import respond"),
        ("protocols.chat.x", "from copilotapi.upstream.client import Answer"),
        ("protocols.chat.x", "from copilotapi.protocols.completions import encode"),
        ("protocols.chat.x", "from copilotapi.protocols import completions"),
        ("protocols.chat.x", "import flask"),
        ("protocols.conversation", "from copilotapi.errors import ApiError"),
        ("gateway", "from copilotapi.blueprints import http"),
        ("gateway", "from copilotapi.store import Store"),
        ("gateway", "import requests"),
        ("relay", "from copilotapi.gateway import Gateway"),
        ("metering.x", "from copilotapi.upstream.models import Model"),
        ("metering.x", "from copilotapi.protocols.chat import usage"),
        ("store.x", "from copilotapi.errors import ApiError"),
        ("errors", "import copilotapi.sse"),
        ("blueprints.x", "from copilotapi.app import create_app"),
        ("blueprints.x", "import requests.adapters"),
        ("blueprints.x", "import redis"),
        ("upstream.x", "import gevent.monkey"),
        ("simulator.x", "from copilotapi.errors import ApiError"),
        ("simulator.x", "import orjson"),
        ("app", "import redis"),
        ("app", "import attrs"),
        ("cli.x", "from copilotapi.simulator import Simulator"),
        ("cli.x", "def f():\n    from copilotapi.gateway import Gateway"),
        ("gateway", "def f():\n    from copilotapi.errors import ApiError"),
        ("gateway", "from . import relay"),
        ("gateway", "if 1:\n    import copilotapi.app"),
        ("a_new_module", ""),
        ("gateway", "import os\nos.environ['X']"),
        ("gateway", "import os\nos.getenv('X')"),
        ("gateway", "from os import environ"),
        ("gateway", "try:\n    f()\nexcept Exception:\n    pass"),
        ("gateway", "try:\n    f()\nexcept (ValueError, BaseException):\n    log()"),
        ("gateway", "try:\n    f()\nexcept:\n    pass"),
        ("gateway", "with contextlib.suppress(Exception):\n    f()"),
        ("gateway", "class TokenManager: ..."),
        ("gateway", "class BaseCodec: ..."),
        ("gateway", "def UtilFor(): ..."),
        ("upstream.helpers", ""),
        ("upstream.http_utils", ""),
    ],
)
def test_a_broken_rule_is_found(module: str, source: str) -> None:
    assert len(problems(module, f'"""Says what it is for."""\n{source}')) == 1


@pytest.mark.parametrize("docstring", ["", '"""' + "line\n" * 6 + '"""'])
def test_a_module_that_does_not_say_what_it_is_for_is_found(docstring: str) -> None:
    assert len(problems("gateway", docstring)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gateway", "import os, re\nfrom copilotapi.errors import ApiError\nfrom copilotapi.protocols import chat"),
        ("cli.x", "def f():\n    from copilotapi.simulator import Simulator"),
        ("app", "import requests\nfrom copilotapi.blueprints import http"),
        ("gateway", "try:\n    f()\nexcept BaseException:\n    close()\n    raise"),
        ("gateway", "try:\n    f()\nexcept Exception as exc:\n    raise ValueError from exc"),
        ("gateway", "def from_database(): ...\nclass Implication: ...\nclass Utility: ..."),
    ],
)
def test_what_the_rules_allow_is_let_be(module: str, source: str) -> None:
    assert problems(module, f'"""Says what it is for."""\n{source}') == []


def test_gevent_is_named_in_one_module_and_in_gunicorns_configuration() -> None:
    named = [name for name, source in _sources().items() if re.search(r"^\s*(?:from|import) gevent", source, re.M)]
    assert named == ["loop"]
    first = ast.parse((ROOT / "gunicorn.conf.py").read_text()).body[1:3]
    assert [ast.unparse(node) for node in first] == ["from gevent import monkey", "monkey.patch_all()"]


# What is published. Folders that git ignores are not.
_IGNORED_FOLDERS = {".git", ".venv", ".cache", "__pycache__", "build", "dist", "node_modules"}
_UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK")))
_MACHINE_PATH = re.compile(
    r"(?<![\w.\-/~}])/(?:" + "|".join(("work", "root", "home/(?!(?:me|somebody)\\b)\\w+", "Users/(?!me\\b)\\w+")) + ")/"
)
_REGISTRY = re.compile(
    "|".join(("index" + "-url ?[=h]", "find" + "-links", "trusted" + "-host", "//[^/ ]*:[^/ ]*@[^ ]*simple"))
)


@cache
def _published() -> dict[str, str]:
    texts = {}
    for path in sorted(ROOT.rglob("*")):
        inside = path.relative_to(ROOT)
        ignored = any(
            part in _IGNORED_FOLDERS or part.endswith((".egg-info", "_cache", ".hypothesis")) for part in inside.parts
        )
        if not ignored and inside.name != ".env" and path.is_file() and b"\0" not in (content := path.read_bytes()):
            texts[str(inside)] = content.decode(errors="replace")
    return texts


@pytest.mark.parametrize("forbidden", [_UNFINISHED, _MACHINE_PATH, _REGISTRY], ids=["unfinished", "path", "registry"])
def test_nothing_published_holds(forbidden: re.Pattern[str]) -> None:
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in _published().items()
        for number, line in enumerate(text.splitlines(), 1)
        if forbidden.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("forbidden", "text"),
    [
        (_UNFINISHED, "# TO" + "DO later"),
        (_MACHINE_PATH, "see /wo" + "rk/main/x"),
        (_MACHINE_PATH, "'/ro" + "ot/.cache'"),
        (_MACHINE_PATH, "/ho" + "me/jane/.config"),
        (_REGISTRY, "--index" + "-url http"),
        (_REGISTRY, "--extra-index" + "-url=http"),
    ],
)
def test_what_must_not_be_published_would_be_found(forbidden: re.Pattern[str], text: str) -> None:
    assert forbidden.search(text)


def test_what_is_published_was_looked_at() -> None:
    assert {
        "README.md",
        "Makefile",
        ".ci/run",
        ".env.example",
        "copilotapi/app.py",
        "tests/test_architecture.py",
    } <= set(_published())
