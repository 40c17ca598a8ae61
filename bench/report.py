"""All that a run found out, as one value that goes to JSON and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.density import Steady
from bench.held import Fairness, Held
from bench.leaving import Leak, Release
from bench.rounds import Row


@dataclass
class Report:
    """`memory_kb` is what each gateway held when warm. A part that was not asked for is empty."""

    date: str
    machine: str
    descriptors: int
    versions: Mapping[str, str]
    rounds: int = 0
    rows: list[Row] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    memory_kb: dict[str, dict[str, int]] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    many: list[Held] = field(default_factory=list)
    density: list[Steady] = field(default_factory=list)
    fairness: Fairness | None = None
    releases: list[Release] = field(default_factory=list)
    leak: Leak | None = None

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))


def read_report(path: Path) -> Report:
    """Raises OSError, and ValueError for a file that holds something else."""
    try:
        return _report(json.loads(path.read_text()))
    except (KeyError, TypeError, ValueError) as exc:
        raise ValueError(f"{path.name} is not the result of a run") from exc


def _report(told: dict[str, Any]) -> Report:
    told["rows"] = [Row(**row) for row in told["rows"]]
    told["held"] = [Held(**row) for row in told["held"]]
    told["many"] = [Held(**row) for row in told["many"]]
    told["density"] = [Steady(**row) for row in told.get("density", ())]
    told["releases"] = [Release(**row) for row in told["releases"]]
    told["fairness"] = Fairness(**told["fairness"]) if told["fairness"] else None
    told["leak"] = Leak(**told["leak"]) if told["leak"] else None
    return Report(**told)
