"""Gets what the measurements need into .cache/bench: two Python environments and one of Node. Nothing outside it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_STEP_SECONDS = 900
_TOOLS = ("uvloop", "httptools", "aiohttp", "pygal")
_LITELLM = ("litellm[proxy]",)
_NODE = ("copilot-api", "bun")


class Absent(Exception):
    """A part cannot be had here; the message says why, in one line."""


def tools_python(cache: Path) -> Path:
    """The environment of the upstream, the load generator, the aiohttp relay and the plot. Raises Absent."""
    return _python_with(cache / "tools", _TOOLS)


def litellm_command(cache: Path) -> Path:
    return _python_with(cache / "litellm", _LITELLM).with_name("litellm")


def copilot_api_on_bun(cache: Path) -> tuple[Path, Path]:
    """bun and copilot-api's program. Raises Absent."""
    npm = program("npm")
    folder = cache / "node"
    bun = folder / "node_modules" / ".bin" / "bun"
    main = folder / "node_modules" / "copilot-api" / "dist" / "main.js"
    if not (bun.exists() and main.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--prefix", str(folder), "--no-fund", "--no-audit", "--loglevel=error", *_NODE])
    _run([str(bun), "--version"])
    return bun, main


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Absent(f"{name} is not on PATH")
    return found


def _python_with(folder: Path, packages: Sequence[str]) -> Path:
    python = folder / "bin" / "python"
    wanted = "\n".join(packages)
    mark = folder / "installed"
    if not mark.exists() or mark.read_text() != wanted:
        _run([sys.executable, "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages])
        mark.write_text(wanted)
    return python


def _run(command: Sequence[str]) -> None:
    what = f"{Path(command[0]).name} {' '.join(command[1:3])}"
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_STEP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Absent(f"`{what} …` did not run: {exc}") from exc
    if done.returncode != 0:
        complaint = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise Absent(f"`{what} …` failed: {complaint}".replace(os.path.expanduser("~"), "~"))
