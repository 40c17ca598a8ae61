"""The upstream and the load generator as they run: processes, with what they tell each other over sockets."""

import asyncio
import gc
import itertools
import re
import socket
import sys
import time
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from bench.caller import Address, connect
from bench.gateways import DIRECT, Running, running
from bench.ground import Ground, ground
from bench.job import Job, Target
from bench.load import http_request
from bench.measure import measure, prepared
from bench.mock import Counts, Upstream, phase
from bench.wire import WHOLE, Plan, burst, request_body
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


END = b"0\r\n\r\n"


def in_chunks(frames: Sequence[bytes]) -> bytes:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(frame), frame) for frame in frames)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def played(server: RawServer, keys: Sequence[str] = ()) -> Running:
    return Running("a played one", Target(int(server.url.rpartition(":")[2]), keys=keys), None)


def told_by(base: Ground, frames: Sequence[bytes], *, ends: bool = True) -> dict[str, int]:
    """The failures of one stream that a gateway passed on in this form."""

    def script(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(in_chunks(frames) + (END if ends else b""))
        if ends:
            connection.recv(1)
        connection.close()

    with RawServer(script) as server:
        gateway = played(server)
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


def test_while_all_streams_are_open_their_chunks_are_counted_apart(base: Ground, upstream: Running) -> None:
    job = Job("streams", Plan("stream", 30, 20), streams=10, ramp_per_second=50)
    said: list[str] = []
    with prepared(base, upstream, job) as load:
        load.go()
        result = load.result({word: lambda word=word: said.append(word) for word in ("held", "ending")})
    assert said == ["held", "ending"]
    # The last of them comes after 0.2 s, the first of them ends after 0.6.
    assert 0 < result.steady_chunks < result.chunks == 300


@pytest.mark.parametrize("streams_in_a_row", [10, 100, 5000])
@pytest.mark.parametrize("first", [0, 1, 12345])
def test_chunks_of_streams_in_a_row_are_due_evenly_spread(first: int, streams_in_a_row: int) -> None:
    phases = sorted(phase(first + number) for number in range(streams_in_a_row))
    gaps = [after - before for before, after in itertools.pairwise([*phases, phases[0] + 1])]
    assert max(gaps) < 3 / streams_in_a_row


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_caller_keeps_its_connection_over_many_answers(base: Ground, is_streamed: bool) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE)
    answer = in_chunks(list(burst(50, tells_usage=True))) + END if is_streamed else whole

    def script(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            connection.sendall(answer)

    with RawServer(script) as server:
        result = measure(base, played(server), closed(BURST if is_streamed else Plan())).result
    assert result.failures == {}
    assert result.requests > server.accepted == 2


def test_each_request_bears_the_next_key(base: Ground) -> None:
    seen: list[bytes] = []

    def script(connection: socket.socket, number: int) -> None:
        while request := read_request(connection):
            seen.extend(re.findall(rb"Authorization: Bearer (\S+)", request))
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(WHOLE), WHOLE))

    keys = tuple(f"key-{number}" for number in range(3))
    job = Job("closed", Plan(), callers=1, seconds=0.1, warm_up_seconds=0)
    with RawServer(script) as server:
        assert measure(base, played(server, keys), job).result.failures == {}
    assert len(seen) > 3
    assert seen == [keys[number % 3].encode() for number in range(len(seen))]


def test_what_a_connection_leaves_behind_needs_no_garbage_collection() -> None:
    """The load generator and the upstream run without any."""

    async def left_behind() -> list[object]:
        loop = asyncio.get_running_loop()
        ends: list[weakref.ref[object]] = []

        def accepted() -> Upstream:
            connection = Upstream(Counts(), loop, is_tls=False)
            ends.append(weakref.ref(connection))
            return connection

        server = await loop.create_server(accepted, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for plan in (Plan(), BURST, Plan("stream", 5, 1)):
            caller = await connect(Address("127.0.0.1", port))
            ends.append(weakref.ref(caller))
            request = http_request(Target(port), request_body(plan))
            assert (await caller.ask(request, streamed=plan.kind != "whole")).fault == ""
            caller.leave()
            del caller
        async with asyncio.timeout(5):
            while any(end() for end in ends):
                await asyncio.sleep(0.01)
        server.close()
        return [end() for end in ends]

    gc.disable()
    try:
        assert not any(asyncio.run(left_behind()))
    finally:
        gc.enable()


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
        result = measure(base, played(server), closed(Plan())).result
    assert set(result.failures) == {reason}
    assert result.failed == result.requests
