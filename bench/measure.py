"""One measurement: the load generator's order is done while the gateway's CPU clocks are read before and after."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

from bench.gateways import Running
from bench.ground import Ground, plain_environment
from bench.job import Job, Result, order, read_report


class LoadFailed(Exception):
    """The load generator ended without a result; says what it said last."""


@dataclass(frozen=True, slots=True)
class Sample:
    """`cpu_us` is what all processes of the gateway used, in microseconds; None without a gateway."""

    result: Result
    cpu_us: float | None

    @property
    def cpu_per_request_us(self) -> float:
        return (self.cpu_us or 0.0) / max(1, self.result.requests)

    @property
    def cpu_per_chunk_us(self) -> float:
        return (self.cpu_us or 0.0) / max(1, self.result.chunks)

    @property
    def cpu_per_steady_chunk_us(self) -> float:
        """Of what `measure_steady` measured."""
        return (self.cpu_us or 0.0) / max(1, self.result.steady_chunks)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A load that is warm and waits for `go`."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        _in(self.process).write("go\n")
        _in(self.process).flush()

    def result(self, when: Mapping[str, Callable[[], None]] = MappingProxyType({})) -> Result:
        """Waits for the end. Calls what stands under `held` and `ending` when the load generator says so. LoadFailed."""
        for line in _out(self.process):
            if line.startswith("{"):
                return read_report(line)
            when.get(line.strip(), lambda: None)()
        raise LoadFailed(f"the load generator ended with {self.process.wait()}: see its own message above")


@contextmanager
def prepared(ground: Ground, running: Running, job: Job) -> Iterator[UnderWay]:
    command = [str(ground.python), "-m", "bench.load"]
    with subprocess.Popen(
        command, cwd=ground.root, env=plain_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            _in(process).write(order(running.target, job) + "\n")
            _in(process).flush()
            if _out(process).readline() != "ready\n":
                raise LoadFailed(f"the load generator did not get ready for {running.name}: see its own message above")
            yield UnderWay(process)
        finally:
            process.kill()


def measure(ground: Ground, running: Running, job: Job, when_held: Callable[[], None] | None = None) -> Sample:
    """Raises LoadFailed, ProcessEnded."""
    with prepared(ground, running, job) as load:
        before = running.processes.cpu() if running.processes else {}
        load.go()
        result = load.result({"held": when_held} if when_held else {})
        used = running.processes.cpu_since(before) * 1e6 if running.processes else None
    return Sample(result, used)


def measure_steady(ground: Ground, running: Running, job: Job) -> Sample:
    """Counts only the time in which all streams are open: no request's own share. Raises LoadFailed, ProcessEnded."""
    before: dict[int, float] = {}
    used: list[float] = []
    with prepared(ground, running, job) as load:
        load.go()
        result = load.result(
            {
                "held": lambda: before.update(running.tree.cpu()),
                "ending": lambda: used.append(running.tree.cpu_since(before) * 1e6),
            }
        )
    if not used or not result.steady_chunks:
        raise LoadFailed(f"{running.name} never had all {job.streams:,} streams open")
    return Sample(result, used[0])


def _in(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
