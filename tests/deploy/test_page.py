"""docs/deployment.md: its commands are commands, what it names is there, and no knob of gunicorn is left unexplained."""

import ast
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from tests.deploy.shipped import DEPLOY, ROOT, unit

PAGE = ROOT / "docs" / "deployment.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), re.M | re.S)


def block(first: str) -> str:
    [found] = [text for text in BLOCKS if first in text]
    return str(found)


@pytest.mark.parametrize("commands", BLOCKS, ids=lambda commands: commands.split("\n")[0])
def test_the_commands_are_a_shell_script(commands: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=commands, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_every_file_of_the_folder_is_named_and_every_one_that_is_named_is_there() -> None:
    named = set(re.findall(r"deploy/([\w@.]+\w)", PAGE.read_text())) - {"test_nginx.py"}
    assert named == {path.name for path in DEPLOY.iterdir()}


def test_the_secrets_are_made_for_root_alone_where_the_unit_looks_for_them(tmp_path: Path) -> None:
    folder = tmp_path / "copilotapi"
    commands = [line for line in block("openssl rand").splitlines() if "login" not in line]
    script = "\n".join(commands).replace("/etc/copilotapi", shlex.quote(str(folder)))
    subprocess.run(["bash", "-euc", script], check=True, timeout=30)
    paths = {value.partition(":")[2] for value in unit()["LoadCredential"]}
    # The fourth is what `copilotapi login` leaves there.
    assert {Path(path).name for path in paths} == {path.name for path in folder.iterdir()} | {"github-token"}
    assert {str(Path(path).parent) for path in paths} == {"/etc/copilotapi"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(set((folder / "api-keys").read_text().strip().split(","))) == 2


def test_every_knob_and_hook_of_gunicorn_is_explained() -> None:
    tree = ast.parse((ROOT / "gunicorn.conf.py").read_text())
    knobs = [target.id for node in tree.body if isinstance(node, ast.Assign) for target in _names(node)]
    hooks = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = {name for name in [*knobs, *hooks] if not name.startswith("_")}
    table = PAGE.read_text().partition("## What gunicorn.conf.py does")[2]
    explained = {
        name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")
    }
    assert public - explained == set()
    assert explained - {*knobs, *hooks} == {"PROMETHEUS_MULTIPROC_DIR"}


def _names(node: ast.Assign) -> list[ast.Name]:
    return [target for target in node.targets if isinstance(target, ast.Name)]
