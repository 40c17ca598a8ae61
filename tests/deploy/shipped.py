"""The shipped files, read as the programs read them that they are made for."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from copilotapi.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SETTINGS = frozenset(row.name for row in Settings.documentation())
# Python's own, and where every program puts its temporary files.
NO_SETTINGS = frozenset({"PYTHONDONTWRITEBYTECODE", "TMPDIR"})


def unknown_settings(names: set[str]) -> set[str]:
    return {name for name in names - NO_SETTINGS if name not in SETTINGS and name.removesuffix("_FILE") not in SETTINGS}


def documents(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all(DEPLOY / name))


class Instruction(NamedTuple):
    """One of a Dockerfile: its name, its text with continued lines joined, and the stage it belongs to."""

    name: str
    text: str
    stage: int


def dockerfile() -> list[Instruction]:
    lines = [line for line in (DEPLOY / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    found: list[Instruction] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        if line.strip():
            name, _, text = line.partition(" ")
            stage = sum(earlier.name == "FROM" for earlier in found)
            found.append(Instruction(name, text.strip(), stage))
    return found


def of(name: str) -> list[Instruction]:
    return [instruction for instruction in dockerfile() if instruction.name == name]


def image_environment() -> dict[str, str]:
    [env] = of("ENV")
    return dict(word.split("=", 1) for word in shlex.split(env.text))


def image_command(name: str) -> list[str]:
    """The list in CMD or HEALTHCHECK."""
    [instruction] = of(name)
    command: list[str] = json.loads(instruction.text[instruction.text.index("[") :])
    return command


def unit() -> dict[str, list[str]]:
    """The unit's keys with all their values; no key of it is in two sections."""
    found: dict[str, list[str]] = {}
    for line in unit_path().read_text().splitlines():
        if "=" in line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def unit_path() -> Path:
    return DEPLOY / "copilotapi@.service"


def unit_environment() -> Iterator[tuple[str, str]]:
    for assignment in unit()["Environment"]:
        name, _, value = assignment.partition("=")
        yield name, value
