"""The Copilot token when GitHub is slow, refuses, lies, or the worker that fetches it dies: few exchanges, plain words."""

import itertools
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from copilotapi.simulator import Simulator
from tests.beside import begun_with_the_module
from tests.faults.played_copilot import PlayedCopilot, answered, exchanged, refused, response, saying
from tests.faults.processes import eventually, worker_connected_to
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, Reply
from tests.raw_server import RawServer
from tests.redis_server import RedisServer, require_redis

NO_SEAT = {
    "message": "Resource not accessible by integration",
    "error_details": {"message": "No access to GitHub Copilot found.", "notification_id": "no_copilot_access"},
}


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def alone(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    """One worker without Redis: all it knows of the token dies with it."""
    with GatewayProcess(copilot.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture
def begin_again(alone: GatewayProcess, copilot: PlayedCopilot) -> Callable[[Callable[[int], bytes]], GatewayProcess]:
    """The gateway with a fresh worker, in front of a GitHub that answers exchanges so."""

    def begin(exchange: Callable[[int], bytes]) -> GatewayProcess:
        [worker] = alone.worker_pids()
        # The next worker asks as soon as it has begun.
        copilot.exchange = exchange
        copilot.play(saying(answered()))
        os.kill(worker, signal.SIGKILL)
        assert eventually(lambda: worker not in alone.worker_pids())
        return alone

    return begin


def chat_at_once(gateway: GatewayProcess, count: int) -> list[Reply]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda number: gateway.chat(f"Hello {number}"), range(count)))


def statuses(replies: list[Reply]) -> set[int]:
    return {reply.status for reply in replies}


# One exchange for all.


def test_twenty_chats_at_a_cold_start_make_one_exchange(simulator: Simulator) -> None:
    simulator.faults.push({"kind": "delay", "path": "token", "delay_seconds": 0.5})
    with GatewayProcess(simulator.url) as gateway:
        assert statuses(chat_at_once(gateway, 20)) == {200}
    assert simulator.recorder.counts()["token_exchange"] == 1


@pytest.mark.redis
def test_three_workers_at_a_cold_start_make_one_exchange(simulator: Simulator, redis_server: RedisServer) -> None:
    simulator.faults.push({"kind": "delay", "path": "token", "delay_seconds": 0.5})
    gateway = GatewayProcess(simulator.url, WEB_CONCURRENCY="3", REDIS_URL=redis_server.patient_url)
    try:
        gateway.start(wait_for="/health")
        assert statuses(chat_at_once(gateway, 20)) == {200}
        assert simulator.recorder.counts()["token_exchange"] == 1
    finally:
        gateway.stop()


@pytest.mark.redis
def test_tokens_that_expire_under_fifty_chats_cost_no_error_and_one_exchange(
    simulator: Simulator, redis_server: RedisServer
) -> None:
    with GatewayProcess(
        simulator.url, WEB_CONCURRENCY="3", REDIS_URL=redis_server.patient_url, RATE_LIMIT_PER_MINUTE="0"
    ) as gateway:
        with ThreadPoolExecutor(50) as pool:
            chats = [pool.submit(gateway.chat, f"Hello {number}") for number in range(150)]
            assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["chat"] >= 50, 10)
            simulator.expire_copilot_tokens()
            replies = [chat.result() for chat in chats]
        assert statuses(replies) == {200}
        assert simulator.recorder.counts()["token_exchange"] == 2
        assert 401 in {chat.status for chat in simulator.recorder.to("chat")}


def take_over() -> None:
    """Waits until the lock of a dead worker has expired."""
    require_redis()
    with Simulator() as simulator, RedisServer() as redis_server:
        simulator.faults.push({"kind": "hang", "path": "token"})
        gateway = GatewayProcess(simulator.url, WEB_CONCURRENCY="3", REDIS_URL=redis_server.patient_url)
        try:
            gateway.start(wait_for="/health")
            assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["token_exchange"] == 1, 10)
            leader = worker_connected_to(gateway, int(simulator.url.rpartition(":")[2]))
            os.kill(leader, signal.SIGKILL)
            assert eventually(lambda: leader not in gateway.worker_pids())
            # Its lock stays until it expires: whoever asks meanwhile waits for that.
            assert statuses(chat_at_once(gateway, 9)) == {200}
            assert simulator.recorder.counts()["token_exchange"] == 2
        finally:
            gateway.stop()


taking_over = begun_with_the_module(
    take_over, "test_when_the_worker_that_fetches_the_token_is_killed_another_takes_over"
)


# Refused.


@pytest.mark.parametrize(
    ("answer", "code", "words", "most_exchanges"),
    [
        (response(401, b'{"message":"Bad credentials"}'), "copilot_sign_in_required", "GITHUB_COPILOT_TOKEN", 1),
        (response(403, json.dumps(NO_SEAT).encode()), "copilot_access_refused", "No access to GitHub Copilot", 1),
        (response(404, b'{"message":"Not Found"}'), "copilot_access_refused", "no Copilot", 1),
        (response(429, b"{}", "Retry-After: 120"), "copilot_token_unavailable", "limits", 1),
        (response(403, b'{"message":"API rate limit exceeded for user"}'), "copilot_token_unavailable", "limits", 2),
        (response(500, b"<html>page-of-github</html>"), "copilot_token_unavailable", "500", 2),
        (response(200, b"<html>page-of-github</html>"), "copilot_token_unavailable", "not JSON", 2),
        (response(200, b'{"token":null}'), "copilot_token_unavailable", "no usable token", 2),
        (exchanged("a\r\nX-Evil: 1"), "copilot_token_unavailable", "no usable token", 2),
        (exchanged("x" * 70_000), "copilot_token_unavailable", "", 2),
        (exchanged(endpoints={"api": "https://evil.example"}), "copilot_access_refused", "evil.example", 2),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{", "copilot_token_unavailable", "GitHub", 2),
        (b"", "copilot_token_unavailable", "GitHub", 2),
    ],
    ids=[
        "401",
        "403 no seat",
        "404",
        "429",
        "403 rate limit",
        "500",
        "a page",
        "no token",
        "a line break in the token",
        "a huge token",
        "a foreign endpoint",
        "cut",
        "nothing",
    ],
)
def test_a_refused_exchange_is_a_503_that_says_what_to_do_and_is_not_repeated_at_once(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess],
    copilot: PlayedCopilot,
    answer: bytes,
    code: str,
    words: str,
    most_exchanges: int,
) -> None:
    gateway = begin_again(lambda number: answer)
    for _ in range(8):
        reply = gateway.chat()
        error = reply.json["error"]
        assert (reply.status, error["code"]) == (503, code)
        assert words in error["message"]
        assert b"page-of-github" not in reply.body
        assert int(reply.headers["Retry-After"]) >= 1
    assert 1 <= copilot.exchange_count <= most_exchanges
    assert copilot.chat_count == 0
    ready = gateway.request("GET", "/ready")
    assert (ready.status, ready.json["status"]) == (503, "unready")
    assert ready.json["reasons"][0]["name"] == code


def test_githubs_own_wait_is_told_to_the_caller(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess],
) -> None:
    gateway = begin_again(lambda number: response(429, b"{}", "Retry-After: 120"))
    assert 60 < int(gateway.chat().headers["Retry-After"]) <= 120


def test_a_github_that_recovers_is_asked_again(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess], copilot: PlayedCopilot
) -> None:
    gateway = begin_again(lambda number: exchanged() if number else response(503, b""))
    assert gateway.chat().status == 503
    assert eventually(lambda: gateway.chat().status == 200)
    assert copilot.exchange_count == 2


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_of_the_exchange_is_not_followed(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess], status: int
) -> None:
    with RawServer(lambda connection, number: None) as elsewhere:
        answer = response(status, b"", f"Location: {elsewhere.url}/copilot_internal/v2/token")
        assert begin_again(lambda number: answer).chat().status == 503
        assert elsewhere.accepted == 0


def test_a_github_token_that_github_echoes_is_not_shown(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess],
) -> None:
    told = {"error_details": {"message": f"refused {GITHUB_TOKEN}"}, "message": GITHUB_TOKEN}
    gateway = begin_again(lambda number: response(403, json.dumps(told).encode()))
    for path in ("/v1/models", "/ready"):
        assert GITHUB_TOKEN.encode() not in gateway.request("GET", path).body
    assert GITHUB_TOKEN.encode() not in gateway.chat().body


def test_tokens_that_copilot_never_takes_make_no_storm(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess], copilot: PlayedCopilot
) -> None:
    gateway = begin_again(lambda number: exchanged(f"fresh-copilot-token-{number}"))
    copilot.play(saying(refused(401, message="unauthorized: token expired")))
    for _ in range(8):
        reply = gateway.chat()
        assert (reply.status, reply.json["error"]["code"]) == (503, "copilot_sign_in_required")
    assert copilot.exchange_count <= 2
    assert copilot.chat_count <= 9


def test_one_rejected_token_is_replaced_and_the_call_repeated_once(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess], copilot: PlayedCopilot
) -> None:
    numbers = itertools.count()
    gateway = begin_again(lambda number: exchanged(f"fresh-copilot-token-{next(numbers)}"))
    assert gateway.chat().status == 200
    copilot.play(saying(refused(401)), saying(answered()))
    assert gateway.chat().status == 200
    first, second = (request for request in copilot.requests if b"/chat/completions" in request)
    assert b"Bearer fresh-copilot-token-0" in first
    assert b"Bearer fresh-copilot-token-" in second
    assert b"Bearer fresh-copilot-token-0" not in second
    assert initiator(first) == initiator(second)
    assert copilot.exchange_count == 1


def initiator(request: bytes) -> bytes:
    return next(line for line in request.split(b"\r\n") if line.lower().startswith(b"x-initiator:"))


# The operator's refresh.


def refresh() -> None:
    """Waits until another exchange is allowed."""
    with PlayedCopilot() as copilot:
        copilot.exchange = lambda number: exchanged()
        copilot.play(saying(answered()))
        with GatewayProcess(copilot.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
            assert gateway.chat().status == 200
            first = gateway.request("GET", "/v1/token/refresh")
            assert (first.status, first.json["status"], first.json["generation"]) == (200, "unchanged", 1)
            assert copilot.exchange_count == 1

            def is_refreshed() -> bool:
                return bool(gateway.request("POST", "/v1/token/refresh").json["status"] == "refreshed")

            assert eventually(is_refreshed, 8)
            second = gateway.request("GET", "/token/refresh").json
            assert set(second) == {"status", "generation", "expires_in", "refresh_in"}
            assert second["generation"] == 2
            assert 1550 < second["expires_in"] <= 1560
            assert 1370 < second["refresh_in"] <= 1380
            assert copilot.exchange_count == 2


refreshing = begun_with_the_module(refresh, "test_the_operators_refresh_exchanges_and_tells_the_times_left")


def test_an_operators_refresh_that_fails_is_a_503_with_the_reason(
    begin_again: Callable[[Callable[[int], bytes]], GatewayProcess], copilot: PlayedCopilot
) -> None:
    gateway = begin_again(lambda number: response(401, b'{"message":"Bad credentials"}'))
    started = time.monotonic()
    for method in ("GET", "POST", "GET"):
        reply = gateway.request(method, "/v1/token/refresh")
        assert (reply.status, reply.json["error"]["code"]) == (503, "copilot_sign_in_required")
    assert copilot.exchange_count <= 2
    assert time.monotonic() - started < 5


# What was begun first.


def test_the_operators_refresh_exchanges_and_tells_the_times_left(refreshing: Future[None]) -> None:
    refreshing.result()


@pytest.mark.redis
def test_when_the_worker_that_fetches_the_token_is_killed_another_takes_over(taking_over: Future[None]) -> None:
    taking_over.result()
