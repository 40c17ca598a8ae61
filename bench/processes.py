"""A gateway's processes: start, stop, and what they used. Reads /proc, so Linux only."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STOP_SECONDS = 10.0
_KB_PER_MB = 1024


class ProcessEnded(Exception):
    """A process that was being measured is not there any more."""


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads, ended ones too, to the nanosecond. ProcessEnded.

    The clock's number is made of the pid as clock_getcpuclockid(3) does it.
    """
    scheduled = 2
    try:
        return time.clock_gettime((~pid << 3) | scheduled)
    except OSError as exc:
        raise ProcessEnded(f"process {pid} has ended") from exc


def tree(pid: int) -> list[int]:
    """The process and everything below it."""
    found = [pid]
    for parent in found:
        for task in _listed(Path(f"/proc/{parent}/task")):
            with contextlib.suppress(OSError):
                children = Path(f"/proc/{parent}/task/{task}/children").read_text()
                found += [int(child) for child in children.split()]
    return found


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


class ProcessTree:
    """A command in a session of its own, with its output in a file."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        stop_seconds: float = _STOP_SECONDS,
    ) -> None:
        self.log_path = log
        self._stop_seconds = stop_seconds
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                cwd=folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pids(self) -> list[int]:
        return tree(self._process.pid)

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def cpu(self) -> dict[int, float]:
        """Seconds of each process."""
        return {pid: cpu_seconds(pid) for pid in self.pids}

    def cpu_since(self, before: Mapping[int, float]) -> float:
        """Seconds that all processes used since then. ProcessEnded when one of them is gone: its share is unknown."""
        now = self.cpu()
        if lost := before.keys() - now.keys():
            raise ProcessEnded(f"a process ended during the measurement: {sorted(lost)}")
        return sum(seconds - before.get(pid, 0.0) for pid, seconds in now.items())

    def memory_kb(self) -> dict[str, int]:
        """`rss` and `pss` of all processes together."""
        total = {"rss": 0, "pss": 0}
        for pid in self.pids:
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                name, _, rest = line.partition(":")
                if name.lower() in total:
                    total[name.lower()] += int(rest.split()[0])
        return total

    def open_descriptors(self) -> int:
        return sum(len(_listed(Path(f"/proc/{pid}/fd"))) for pid in self.pids)

    def stop(self) -> None:
        if self.is_running:
            self._process.terminate()
            try:
                self._process.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
