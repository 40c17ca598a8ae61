"""Programs and libraries from PyPI for client tests, each in a virtual environment of its own, kept in .cache/python.

Where one of them cannot be had a test is skipped by name; with CI=true that is a failure.
"""

import fcntl
import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway_process import ROOT

_CACHE = ROOT / ".cache" / "python"
_INSTALL_SECONDS = 240.0


def environment(name: str, version: str) -> Path:
    """The `bin` folder of an environment that has this package, made at the first call."""
    folder = _CACHE / f"{name}-{version}"
    if problem := _problem_of_installing(folder, f"{name}=={version}"):
        raise pytest.fail.Exception(problem) if os.environ.get("CI") == "true" else pytest.skip.Exception(problem)
    return folder / "environment" / "bin"


@functools.cache
def _problem_of_installing(folder: Path, wanted: str) -> str | None:
    """None once it is there. Tried once in a test run; other runs wait for the one that is at it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / "complete").exists():
            return None
        try:
            _install(folder / "environment", wanted)
        except (OSError, subprocess.SubprocessError) as exc:
            return f"{wanted} could not be installed from PyPI: {type(exc).__name__}"
        (folder / "complete").touch()
    return None


def _install(environment: Path, wanted: str) -> None:
    _uv("venv", "--clear", "--python", sys.executable, str(environment))
    _uv("pip", "install", "--python", str(environment / "bin" / "python"), wanted)


def _uv(*arguments: str) -> None:
    command = [sys.executable, "-m", "uv", *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=_INSTALL_SECONDS)
