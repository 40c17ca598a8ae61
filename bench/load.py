"""The load generator: reads one order from stdin, warms up and says `ready`, waits for a line, then does it and prints
the result. While streams are under way, `held` is printed when all of them have their first byte, and `ending` when the
first of them ends after that.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import cycle

from bench.caller import Address, Caller, OnFirstByte, Outcome, connect, ignored
from bench.event_loop import run
from bench.job import Job, Result, Target, bearer, read_order, report, spread
from bench.limits import raise_descriptor_limit
from bench.wire import StreamReader, request_body

_DRAIN_SECONDS = 60.0
_MANY_FAILURES = 50


@dataclass
class Tally:
    requests: int = 0
    chunks: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    latencies_ms: list[float] = field(default_factory=list)
    first_bytes_ms: list[float] = field(default_factory=list)
    transits_ms: list[float] = field(default_factory=list)
    open_streams: dict[int, StreamReader] = field(default_factory=dict)
    held: int = 0
    steady_since: int | None = None
    steady_chunks: int = 0

    def opened(self, number: int, stream: StreamReader, expected: int) -> None:
        self.open_streams[number] = stream
        self.held = max(self.held, len(self.open_streams))
        if self.held == expected and self.steady_since is None:
            self.steady_since = self._chunks_so_far()
            print("held", flush=True)

    def ended(self, number: int) -> None:
        if self.steady_since is not None and not self.steady_chunks:
            self.steady_chunks = self._chunks_so_far() - self.steady_since
            print("ending", flush=True)
        self.open_streams.pop(number, None)

    def _chunks_so_far(self) -> int:
        return self.chunks + sum(stream.chunk_count for stream in self.open_streams.values())

    def add(self, outcome: Outcome) -> None:
        self.requests += 1
        if outcome.fault:
            self.failures[outcome.fault] += 1
        elif outcome.latency_ms is not None:
            self.latencies_ms.append(outcome.latency_ms)
        if outcome.first_byte_ms is not None:
            self.first_bytes_ms.append(outcome.first_byte_ms)
        if outcome.stream is not None:
            self.chunks += outcome.stream.chunk_count
            self.transits_ms += outcome.stream.transits_ms

    def result(self, seconds: float) -> Result:
        return Result(
            requests=self.requests,
            chunks=self.chunks,
            seconds=round(seconds, 4),
            failures=dict(self.failures),
            latency_ms=spread(self.latencies_ms),
            first_byte_ms=spread(self.first_bytes_ms),
            transit_ms=spread(self.transits_ms),
            held=self.held,
            steady_chunks=self.steady_chunks,
        )


class Load:
    def __init__(self, target: Target, job: Job) -> None:
        self._address = Address(target.host, target.port)
        self._job = job
        body = request_body(job.plan, job.prompt_bytes)
        self._requests = cycle([http_request(target, body, key) for key in target.keys or ("",)])
        self._connections: list[Caller | None] = [None] * job.callers

    async def warm_up(self) -> None:
        job = self._job
        seconds = job.warm_up_seconds if job.kind == "closed" else 0.0
        if seconds:
            await self._closed(Tally(), seconds)

    async def run(self) -> Result:
        tally = Tally()
        began = time.monotonic()
        match self._job.kind:
            case "closed":
                await self._closed(tally, self._job.seconds)
            case "streams":
                await self._streams(tally)
            case "aborts":
                await self._aborts(tally)
            case kind:
                raise ValueError(f"unknown kind of job: {kind}")
        return tally.result(time.monotonic() - began)

    async def _closed(self, tally: Tally, seconds: float) -> None:
        end = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for place in range(self._job.callers):
                group.create_task(self._asks_until(end, place, tally))

    async def _asks_until(self, end: float, place: int, tally: Tally) -> None:
        while time.monotonic() < end and tally.failures.total() < _MANY_FAILURES:
            caller = self._connections[place]
            if caller is None or not caller.is_open:
                caller = await connect(self._address)
                self._connections[place] = caller
            tally.add(await self._answer(caller, _DRAIN_SECONDS))

    async def _answer(self, caller: Caller, limit_seconds: float, on_first_byte: OnFirstByte = ignored) -> Outcome:
        """As far as it came, when the time is over."""
        answer = caller.ask(next(self._requests), on_first_byte, streamed=self._job.is_streamed)
        try:
            async with asyncio.timeout(limit_seconds):
                return await answer
        except TimeoutError:
            so_far = replace(caller.outcome or Outcome(), fault="not finished in time")
            caller.leave()
            return so_far

    async def _streams(self, tally: Tally) -> None:
        end = time.monotonic() + self._job.limit_seconds
        tasks = set()
        async with asyncio.TaskGroup() as group:
            began = time.monotonic()
            for number in range(self._job.streams):
                if (early := began + number / self._job.ramp_per_second - time.monotonic()) > 0.001:
                    await asyncio.sleep(early)
                tasks.add(group.create_task(self._stream(number, end, tally)))

    async def _stream(self, number: int, end: float, tally: Tally) -> None:
        began = time.monotonic()
        caller = await connect(self._address)

        def opened(outcome: Outcome) -> None:
            if outcome.stream is not None:
                tally.opened(number, outcome.stream, self._job.streams)

        outcome = await self._answer(caller, max(0.0, end - time.monotonic()), opened)
        if outcome.first_byte_ms is None:
            outcome.first_byte_ms = (time.monotonic() - began) * 1000
        tally.ended(number)
        tally.add(outcome)
        caller.leave()

    async def _aborts(self, tally: Tally) -> None:
        left = iter(range(self._job.streams))
        async with asyncio.TaskGroup() as group:
            for _ in range(self._job.callers):
                group.create_task(self._hangs_up(left, tally))

    async def _hangs_up(self, left: Iterator[int], tally: Tally) -> None:
        for number in left:
            caller = await connect(self._address)
            first: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
            answer = caller.ask(next(self._requests), first.set_result, streamed=True)
            done, _ = await asyncio.wait((answer, first), timeout=_DRAIN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            first.cancel()
            tally.add(Outcome(fault="" if first in done else "no first byte"))
            caller.leave(rudely=number % 2 == 1)


def http_request(target: Target, body: bytes, key: str = "") -> bytes:
    headers = {
        "Host": f"{target.host}:{target.port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **target.headers,
        **bearer([key] if key else []),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {target.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def work(target: Target, job: Job) -> None:
    load = Load(target, job)
    await load.warm_up()
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    print(report(await load.run()), flush=True)


def main() -> None:
    raise_descriptor_limit()
    run(work(*read_order(sys.stdin.readline())))


if __name__ == "__main__":
    main()
