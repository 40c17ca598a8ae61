"""Runs checks in their order, each within its own time, and skips those that have nothing to stand on."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from copilotapi.cli.doctor.findings import Finding, Known, failed, skipped
from copilotapi.redaction import Redactor

# The main thread never waits for long: CPython does not wake it for a signal that another thread took up.
_TICK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Check:
    """One row of the doctor's table. It runs only when none of the checks in `needs` failed or was skipped."""

    name: str
    examine: Callable[[Known], Finding]
    needs: tuple[str, ...] = ()
    limit_seconds: float = 10.0


def examined(
    checks: Iterable[Check], known: Known, begins: Callable[[str], object] = lambda name: None
) -> Iterator[tuple[str, Finding]]:
    """Each check's name and finding as it is known, without a secret. `begins` is told each name before it is looked at."""
    results: dict[str, Finding] = {}
    roots: dict[str, str] = {}
    for check in checks:
        begins(check.name)
        missing = [name for name in check.needs if results[name].result in ("failed", "skipped")]
        if missing:
            roots[check.name] = root = roots.get(missing[0], missing[0])
            finding = skipped(f"Not looked at, for {root} {_what_happened(results[root])}.")
        else:
            finding = _within_its_time(check, known)
        results[check.name] = finding
        clean = Redactor(known.secrets)
        yield check.name, Finding(finding.result, clean(finding.reason), clean(finding.remedy))


def _what_happened(finding: Finding) -> str:
    return "failed" if finding.result == "failed" else "was skipped"


def _within_its_time(check: Check, known: Known) -> Finding:
    """On a thread of its own, for a name may take the resolver minutes, and no socket's timeout bounds that."""
    found: list[Finding] = []
    thread = threading.Thread(target=lambda: found.append(check.examine(known)), name=check.name, daemon=True)
    thread.start()
    ticks = int(check.limit_seconds / _TICK_SECONDS)
    while thread.is_alive() and ticks > 0:
        thread.join(_TICK_SECONDS)
        ticks -= 1
    if found:
        return found[0]
    if thread.is_alive():
        reason = f"There was no result within {check.limit_seconds:g} s."
        return failed(reason, "Look for what is silent: the resolver of names, a proxy or a firewall.")
    return failed("The check itself broke off; its error is above.", "Report it.")
