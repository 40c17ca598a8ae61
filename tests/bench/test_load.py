"""The upstream and the load generator as they run: processes, with what they tell each other over sockets."""

import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.gateways import DIRECT, Running, running
from bench.ground import Ground, ground
from bench.job import Job, Target
from bench.measure import measure
from bench.wire import WHOLE, Plan, burst
from tests.raw_server import RawServer, read_request

BURST = Plan("stream", 50)


@pytest.fixture(scope="module")
def base() -> Iterator[Ground]:
    with ground(python=Path(sys.executable)) as base:
        yield base


@pytest.fixture
def upstream(base: Ground) -> Iterator[Running]:
    with running(DIRECT, base) as upstream:
        yield upstream


def closed(plan: Plan) -> Job:
    return Job("closed", plan, callers=2, seconds=0.3, warm_up_seconds=0)


def told_by(base: Ground, frames: Sequence[bytes], *, ends: bool = True) -> dict[str, int]:
    """The failures of one stream that a gateway passed on in this form."""

    def script(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for frame in frames:
            connection.sendall(b"%x\r\n%s\r\n" % (len(frame), frame))
        if ends:
            connection.sendall(b"0\r\n\r\n")
            connection.recv(1)
        connection.close()

    with RawServer(script) as server:
        gateway = Running("a lossy one", Target(int(server.url.rpartition(":")[2])), None)
        return dict(measure(base, gateway, Job("streams", BURST, streams=1, limit_seconds=10)).result.failures)


def test_what_the_load_generator_counts_is_what_the_upstream_counted(base: Ground, upstream: Running) -> None:
    before = base.upstream_counts()["requests"]
    result = measure(base, upstream, closed(Plan())).result
    assert result.requests == base.upstream_counts()["requests"] - before > 0
    assert result.failures == {}
    assert 0 < result.first_byte_ms["p50"] <= result.latency_ms["p50"] <= result.latency_ms["max"]


def test_each_chunk_of_a_burst_is_counted(base: Ground, upstream: Running) -> None:
    result = measure(base, upstream, closed(BURST)).result
    assert result.requests > 0
    assert (result.chunks, result.failures) == (result.requests * 50, {})


def test_paced_streams_are_held_together_and_their_chunks_timed(base: Ground, upstream: Running) -> None:
    job = Job("streams", Plan("stream", 20, 20), streams=30, ramp_per_second=500)
    seen_held = []
    result = measure(base, upstream, job, lambda: seen_held.append(base.upstream_counts()["open_streams"])).result
    assert (result.requests, result.chunks, result.held, result.failures) == (30, 600, 30, {})
    assert seen_held == [30]
    assert result.seconds >= 0.4
    assert 0 < result.transit_ms["p50"] <= result.transit_ms["p99"]


def test_callers_who_hang_up_leave_aborted_streams_upstream(base: Ground, upstream: Running) -> None:
    job = Job("aborts", Plan("stream", 1000, 20), callers=5, streams=40)
    before = base.upstream_counts()["aborted_streams"]
    assert measure(base, upstream, job).result.requests == 40
    end = time.monotonic() + 20
    while base.upstream_counts()["open_streams"]:
        assert time.monotonic() < end
    assert base.upstream_counts()["aborted_streams"] - before == 40


def test_a_stream_passed_on_whole_is_no_failure(base: Ground) -> None:
    assert told_by(base, list(burst(50, tells_usage=True))) == {}


def test_a_gateway_that_loses_a_chunk_is_found_out(base: Ground) -> None:
    frames = list(burst(50, tells_usage=True))
    del frames[25]
    assert told_by(base, frames) == {"a chunk is missing or out of order": 1}


def test_a_gateway_that_ends_early_but_cleanly_is_found_out(base: Ground) -> None:
    assert told_by(base, list(burst(50, tells_usage=True))[:25]) == {"no [DONE]": 1}


def test_a_gateway_that_breaks_off_is_found_out(base: Ground) -> None:
    assert told_by(base, list(burst(50, tells_usage=True))[:25], ends=False) == {"the connection was closed": 1}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [(429, WHOLE, "status 429"), (200, WHOLE.replace(b"word007", b"word070"), "the answer's bytes differ")],
)
def test_an_answer_that_is_refused_or_changed_is_a_failure(base: Ground, status: int, body: bytes, reason: str) -> None:
    def script(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))

    with RawServer(script) as server:
        gateway = Running("a false one", Target(int(server.url.rpartition(":")[2])), None)
        result = measure(base, gateway, closed(Plan())).result
    assert set(result.failures) == {reason}
    assert result.failed == result.requests
