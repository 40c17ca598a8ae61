"""Workers that die, that are told to end, that share what they count, and that speak TLS to the far end."""

import ipaddress
import json
import os
import signal
import socket
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509

from copilotapi.simulator import Simulator
from tests.authority import Authority
from tests.beside import begun_with_the_module
from tests.faults.played_copilot import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    Chat,
    PlayedCopilot,
    answered,
    chunk,
    event,
    saying,
)
from tests.faults.processes import eventually, worker_serving
from tests.faults.raw_caller import RawCaller
from tests.gateway_process import GatewayProcess
from tests.redis_server import RedisServer


@pytest.fixture
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


def open_streams(gateway: GatewayProcess, copilot: PlayedCopilot, count: int) -> list[tuple[RawCaller, Chat]]:
    """Streams whose callers have read their first event; the rest is up to the test."""
    opened = []
    for number in range(count):
        caller = RawCaller(gateway, f"stream {number}")
        chat = copilot.next_chat()
        chat.send(STREAM_HEAD, chunk(event("one")))
        caller.read_until(b"one")
        opened.append((caller, chat))
    return opened


def complete(chat: Chat) -> None:
    chat.send(chunk(event("two")), chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)


def test_a_killed_worker_takes_only_its_own_streams_along_and_is_replaced(copilot: PlayedCopilot) -> None:
    with GatewayProcess(copilot.url, WEB_CONCURRENCY="3", RATE_LIMIT_PER_MINUTE="0") as gateway:
        assert eventually(lambda: len(gateway.worker_pids()) == 3)
        streams = open_streams(gateway, copilot, 3)
        while len({worker_serving(gateway, caller.port) for caller, _ in streams}) < 2:
            streams += open_streams(gateway, copilot, 3)
        workers = [worker_serving(gateway, caller.port) for caller, _ in streams]
        killed = workers[0]
        os.kill(killed, signal.SIGKILL)
        for worker, (caller, chat) in zip(workers, streams, strict=True):
            if worker == killed:
                assert chat.seconds_until_gone() < 1
                received = caller.read_to_the_end()
                assert LAST_CHUNK not in received
                assert b"[DONE]" not in received
            else:
                complete(chat)
                assert b"two" in caller.read_until(LAST_CHUNK)
            caller.leave()
        assert eventually(lambda: len(gateway.worker_pids()) == 3 and killed not in gateway.worker_pids(), 2)
        copilot.play(saying(answered()))
        assert {gateway.chat().status for _ in range(6)} == {200}


def end_with_open_streams() -> None:
    """Waits until callers who ask nothing any more are let go."""
    with (
        PlayedCopilot() as copilot,
        GatewayProcess(copilot.url, WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="0") as gateway,
    ):
        process = gateway.process
        assert process is not None
        streams = open_streams(gateway, copilot, 20)
        process.terminate()
        assert eventually(lambda: is_refused(gateway))
        for caller, chat in streams:
            complete(chat)
            assert b"[DONE]" in caller.read_until(LAST_CHUNK)
        # The callers keep their connections, as SDKs do: that must not hold up the end.
        assert process.wait(5) == 0
        for caller, _ in streams:
            caller.leave()


def end_with_idle_connections() -> None:
    """Waits for the same."""
    with (
        PlayedCopilot(saying(answered())) as copilot,
        GatewayProcess(copilot.url) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port)) as fresh,
    ):
        process = gateway.process
        assert process is not None
        caller = RawCaller(gateway, stream=False)
        caller.read_until(b"Hello")
        process.terminate()
        assert process.wait(5) == 0
        assert fresh.recv(1) == b""
        assert "Traceback" not in gateway.log
        caller.leave()


ending_with_streams = begun_with_the_module(
    end_with_open_streams, "test_open_streams_are_completed_when_the_gateway_is_told_to_end"
)
ending_with_idle = begun_with_the_module(end_with_idle_connections, "test_idle_connections_do_not_hold_up_the_end")


def test_each_request_is_told_once_in_the_log_when_workers_end(copilot: PlayedCopilot, tmp_path: Path) -> None:
    log_file = tmp_path / "gateway.log"
    with GatewayProcess(copilot.url, WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="0", LOG_FILE=str(log_file)) as gateway:
        process = gateway.process
        assert process is not None
        streams = open_streams(gateway, copilot, 4)
        process.terminate()
        assert eventually(lambda: is_refused(gateway))
        for caller, chat in streams:
            complete(chat)
            caller.read_until(LAST_CHUNK)
            caller.leave()
        assert process.wait(10) == 0
        lines = [json.loads(line) for line in log_file.read_text().splitlines()]
    told = [line["request_id"] for line in lines if line["event"] == "request" and line["route"] != "unmatched"]
    assert len(told) == len(set(told)) == len(streams)
    assert sum("Worker exiting" in line["event"] for line in lines) == 2
    assert sum("Shutting down" in line["event"] for line in lines) == 1


def test_workers_end_when_their_master_was_killed(copilot: PlayedCopilot) -> None:
    gateway = GatewayProcess(copilot.url, WEB_CONCURRENCY="2").start()
    process = gateway.process
    assert process is not None
    process.kill()
    process.wait()
    try:
        assert eventually(lambda: is_refused(gateway), 5)
    finally:
        gateway.stop()


@pytest.mark.redis
def test_three_workers_count_as_one(simulator: Simulator, redis_server: RedisServer) -> None:
    with GatewayProcess(
        simulator.url, WEB_CONCURRENCY="3", REDIS_URL=redis_server.patient_url, RATE_LIMIT_PER_MINUTE="0"
    ) as gateway:
        assert eventually(lambda: len(gateway.worker_pids()) == 3)
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda number: gateway.chat(f"Hello {number}"), range(24)))
        tokens = sum(reply.json["usage"]["total_tokens"] for reply in replies)
        for _ in range(8):
            total = gateway.request("GET", "/v1/usage").json["total"]
            assert total["requests"] == 24
            assert total["input_tokens"] + total["output_tokens"] == tokens
            assert metric(gateway, 'copilotapi_requests_total{method="POST",route="/v1/chat/completions"') == 24
            assert metric(gateway, "copilotapi_tokens_total") == tokens


# TLS.


def test_workers_speak_tls_and_only_to_whom_the_certificate_names(copilot: PlayedCopilot, tmp_path: Path) -> None:
    folders = [tmp_path / "ours", tmp_path / "theirs"]
    for folder in folders:
        folder.mkdir()
    ours, theirs = map(Authority, folders)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    refused = [
        theirs.server(loopback),
        ours.server(x509.DNSName("copilot.example")),
        ours.server(loopback, days=-1),
    ]
    url = copilot.url.replace("http:", "https:")
    copilot.tls = refused[0]
    gateway = GatewayProcess(url, REQUESTS_CA_BUNDLE=str(ours.bundle))
    try:
        gateway.start(wait_for="/health")
        for context in refused:
            copilot.tls = context
            renew_worker(gateway)
            reply = gateway.chat()
            assert (reply.status, "certificate" in reply.json["error"]["message"]) == (503, True)
        assert copilot.requests == []
        copilot.tls = ours.server(loopback)
        copilot.play(saying(answered()))
        renew_worker(gateway)
        assert gateway.chat().status == 200
        copilot.play(*[saying(STREAM_HEAD, chunk(event("one")), chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)])
        assert b"[DONE]" in gateway.chat(stream=True).body
    finally:
        gateway.stop()


def test_a_caller_who_leaves_closes_a_tls_upstream_too(copilot: PlayedCopilot, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    copilot.tls = authority.server(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    with GatewayProcess(copilot.url.replace("http:", "https:"), REQUESTS_CA_BUNDLE=str(authority.bundle)) as gateway:
        [(caller, chat)] = open_streams(gateway, copilot, 1)
        caller.leave()
        assert chat.seconds_until_gone() < 1
        chat.close()


# What was begun first.


def test_open_streams_are_completed_when_the_gateway_is_told_to_end(ending_with_streams: Future[None]) -> None:
    ending_with_streams.result()


def test_idle_connections_do_not_hold_up_the_end(ending_with_idle: Future[None]) -> None:
    ending_with_idle.result()


def renew_worker(gateway: GatewayProcess) -> None:
    """So that nothing is remembered of earlier refusals."""
    [worker] = gateway.worker_pids()
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: worker not in gateway.worker_pids())


def is_refused(gateway: GatewayProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def metric(gateway: GatewayProcess, start: str) -> float:
    lines = gateway.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))
