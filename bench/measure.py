"""One measurement: the load generator's order is done while the gateway's CPU clocks are read before and after."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A load that is warm and waits for `go`."""

    process: subprocess.Popen[str]

    def go(self) -> None:
        _in(self.process).write("go\n")
        _in(self.process).flush()

    def result(self, when_held: Callable[[], None] | None = None) -> Result:
        """Waits for the end. `when_held` is called once all streams have their first byte. LoadFailed."""
        for line in _out(self.process):
            if line.startswith("{"):
                return read_report(line)
            if line == "held\n" and when_held is not None:
                when_held()
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
        result = load.result(when_held)
        used = running.processes.cpu_since(before) * 1e6 if running.processes else None
    return Sample(result, used)


def _in(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def _out(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout
