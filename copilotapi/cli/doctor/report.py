"""What the doctor says: for people on a terminal, line by line elsewhere, as JSON for programs. Looks at nothing."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from copilotapi.cli.doctor.findings import Finding, Result, printable
from copilotapi.cli.terminal import is_plain

Named = tuple[str, Finding]

_STYLES: dict[Result, str] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_RESULT_COLUMNS = 7
# Every problem of the settings has to fit.
_MOST_CHARS = 10_000


def overall(findings: Iterable[Named]) -> Result:
    """failed, else warning, else ok: what is skipped is neither good nor bad."""
    results = {finding.result for _, finding in findings}
    return "failed" if "failed" in results else "warning" if "warning" in results else "ok"


def show(named: Named, console: Console, name_columns: int) -> None:
    """One finding: a line of words off a terminal and on a narrow one, else columns and colour."""
    name, finding = named
    reason, remedy = _clean(finding)
    if is_plain(console):
        click.echo(
            f"{finding.result:{_RESULT_COLUMNS}}  {name:{name_columns}}  {f'{reason} -> {remedy}' if remedy else reason}"
        )
        return
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=_RESULT_COLUMNS)
    row.add_column(width=name_columns)
    row.add_column()
    told = Text(reason, style="dim" if finding.result == "skipped" else "")
    if remedy:
        told.append(f"\n-> {remedy}", style="" if finding.result == "failed" else "dim")
    row.add_row(Text(finding.result, style=_STYLES[finding.result]), name, told)
    console.print(row)


def show_sum(findings: Iterable[Named], console: Console) -> None:
    """The last line, for people."""
    count = Counter(finding.result for _, finding in findings)
    parts = [f"{count[result]} {result}" for result in _STYLES if count[result]]
    console.print(Text(f"\n{', '.join(parts)}.", style="bold"))


def as_json(findings: Iterable[Named]) -> str:
    """{"status", "checks": [{"name", "result", "reason", "remedy"}]}; an empty remedy is ""."""
    listed = list(findings)
    checks = [
        {"name": name, "result": finding.result} | dict(zip(("reason", "remedy"), _clean(finding), strict=True))
        for name, finding in listed
    ]
    return json.dumps({"status": overall(listed), "checks": checks}, indent=2)


def _clean(finding: Finding) -> tuple[str, str]:
    return printable(finding.reason, _MOST_CHARS), printable(finding.remedy, _MOST_CHARS)


@contextmanager
def progress(console: Console) -> Iterator["Progress"]:
    """Tells on a terminal what is being looked at; elsewhere nothing."""
    if is_plain(console):
        yield Progress(None)
        return
    with console.status("Looking.") as status:
        yield Progress(status)


class Progress:
    def __init__(self, status: Status | None) -> None:
        self._status = status

    def begins(self, name: str) -> None:
        if self._status is not None:
            self._status.update(f"Looking at {name}.")
