"""What the figures were taken on: size of the machine and versions; nothing that names it."""

import datetime
import json
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.ground import Ground, python_of
from bench.install import Absent, program

_OF_GATEWAY = (
    "flask",
    "gunicorn",
    "gunicorn_h1c",
    "gevent",
    "requests",
    "flask-limiter",
    "orjson",
    "httptools",
    "redis",
)
_OF_TOOLS = ("aiohttp", "uvloop")
_KB_PER_GB = 1024 * 1024


def today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def size() -> str:
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = round(int(memory[1]) / _KB_PER_GB) if memory else 0
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{os.cpu_count()} cores ({model[1] if model else platform.machine()}), {gigabytes} GB"


def versions(ground: Ground) -> dict[str, str]:
    """Of everything that is installed; what is not has no entry."""
    found = {"Linux": platform.release().partition("-")[0], "CopilotAPI": _own_version(ground.gateway_root)}
    found["Python"] = platform.python_version()
    found |= _packages(python_of(ground.gateway_root), _OF_GATEWAY)
    found |= _packages(ground.python, _OF_TOOLS)
    found |= _packages(ground.cache / "litellm" / "bin" / "python", ("litellm",))
    for package in ("copilot-api", "bun"):
        described = ground.cache / "node" / "node_modules" / package / "package.json"
        if described.exists():
            found[package] = json.loads(described.read_text())["version"]
    for name, argument in (("nginx", "-v"), ("redis-server", "--version")):
        if said := _said(name, argument):
            found[name] = said
    return found


def _own_version(root: Path) -> str:
    told = re.search(r'VERSION = "(.*)"', (root / "copilotapi" / "version.py").read_text())
    return told[1] if told else "unknown"


def _packages(python: Path, names: Sequence[str]) -> dict[str, str]:
    if not python.exists():
        return {}
    code = (
        "import json, sys; from importlib.metadata import version, PackageNotFoundError\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([str(python), "-c", code, *names], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _said(name: str, argument: str) -> str:
    try:
        done = subprocess.run([program(name), argument], capture_output=True, text=True, check=False)
    except Absent:
        return ""
    number = re.search(r"\d+\.\d+\.\d+", done.stdout + done.stderr)
    return number[0] if number else ""
