"""A gateway that is told to end loses nobody; two of them behind nginx are renewed without anybody noticing."""

import json
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.deploy.nginx_process import NAME, NginxProcess, asked, two_gateways
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
from tests.faults.raw_caller import RawCaller, post
from tests.gateway_process import GatewayProcess

API_KEY = "canary-api-key-of-the-drain"
KEY = {"Authorization": f"Bearer {API_KEY}"}
_MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT = json.dumps({"model": "gpt-4.1", "messages": _MESSAGES}).encode()
STREAM = json.dumps({"model": "gpt-4.1", "messages": _MESSAGES, "stream": True}).encode()


@pytest.fixture
def copilot() -> Iterator[PlayedCopilot]:
    """Answers whole chats at once; streams are the test's own."""
    with PlayedCopilot() as copilot:
        copilot.play(lambda chat: copilot.chats.put(chat) if chat.body.get("stream") else saying(answered())(chat))
        yield copilot


def test_a_request_that_comes_in_time_on_a_kept_connection_is_answered(copilot: PlayedCopilot) -> None:
    with GatewayProcess(copilot.url) as gateway, RawCaller(gateway) as streaming:
        # The stream keeps the worker alive while the other two are looked at.
        chat = copilot.next_chat()
        chat.send(STREAM_HEAD, chunk(event("one")))
        streaming.read_until(b"one")
        with RawCaller(gateway, stream=False) as kept, socket.create_connection(("127.0.0.1", gateway.port)) as fresh:
            kept.read_until(b"Hello")
            assert gateway.process is not None
            gateway.process.terminate()
            assert eventually(lambda: "Handling signal: term" in gateway.log)
            assert select.select([kept.socket, fresh], [], [], 0.3) == ([], [], [])
            for connection in (kept.socket, fresh):
                connection.settimeout(10)
                connection.sendall(post(CHAT))
                answer = connection.recv(65536)
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"\r\nConnection: close\r\n" in answer
        chat.send(chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)
        streaming.read_until(LAST_CHUNK)


def test_whoever_the_kernel_has_let_in_is_answered(copilot: PlayedCopilot) -> None:
    with GatewayProcess(copilot.url, WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="0") as gateway:
        assert gateway.process is not None
        workers = workers_that_serve(gateway, 2)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        callers = [RawCaller(gateway, stream=False) for _ in range(12)]
        gateway.process.terminate()
        assert eventually(lambda: "Handling signal: term" in gateway.log)
        # A worker looks once a second whether it is to end; when it goes on, that second must be over.
        time.sleep(1.1)
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        for caller in callers:
            assert caller.read_until(b"Hello").startswith(b"HTTP/1.1 200 ")
            caller.leave()
        assert gateway.process.wait(10) == 0
        assert "Traceback" not in gateway.log


def workers_that_serve(gateway: GatewayProcess, count: int) -> set[int]:
    """All of them, once each has answered: before that a signal may find one that is not yet itself."""
    found: set[int] = set()
    for _ in range(500):
        if len(found) == count:
            return found
        with RawCaller(gateway, stream=False) as caller:
            caller.read_until(b"Hello")
            found.add(worker_serving(gateway, caller.port))
    raise AssertionError(f"only {found} of {count} workers serve")


class Load:
    """Chats without a pause on connections that are kept, by two callers, until the block ends."""

    def __init__(self, nginx: NginxProcess) -> None:
        self.failures: list[str] = []
        self.answer_count = 0
        self._nginx = nginx
        self._has_ended = threading.Event()
        self._callers = [threading.Thread(target=self._call) for _ in range(2)]

    def __enter__(self) -> "Load":
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._has_ended.set()
        for caller in self._callers:
            caller.join(30)

    def await_more_answers(self) -> None:
        earlier = self.answer_count
        assert eventually(lambda: self.answer_count > earlier)

    def _call(self) -> None:
        connection = self._nginx.connection()
        while not self._has_ended.is_set():
            try:
                reply = asked(connection, "POST", "/v1/chat/completions", CHAT, KEY)
            except OSError as problem:
                self.failures.append(repr(problem))
                connection = self._nginx.connection()
                continue
            self.answer_count += 1
            if reply.status != 200:
                self.failures.append(f"{reply.status} {reply.body!r}")
        connection.close()


@contextmanager
def open_stream(nginx: NginxProcess, copilot: PlayedCopilot) -> Iterator[Chat]:
    """One that has begun; at the end of the block it is completed, and has lost nothing."""
    connection = nginx.connection()
    connection.request(
        "POST", "/v1/chat/completions", STREAM, {**KEY, "Host": NAME, "Content-Type": "application/json"}
    )
    chat = copilot.next_chat()
    chat.send(STREAM_HEAD, chunk(event("one")))
    response = connection.getresponse()
    assert b"one" in response.readline()
    yield chat
    chat.send(chunk(event("two")), chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)
    rest = response.read()
    assert b"two" in rest
    assert rest.endswith(b"data: [DONE]\n\n")
    connection.close()


def stream_count(gateway: GatewayProcess) -> float:
    lines = gateway.request("GET", "/metrics").body.decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("copilotapi_open_streams"))


def is_refused(gateway: GatewayProcess) -> bool:
    try:
        socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_two_gateways_are_renewed_under_load_without_a_failed_request_or_a_cut_stream(copilot: PlayedCopilot) -> None:
    with (
        two_gateways(copilot.url, API_KEYS=API_KEY, WEB_CONCURRENCY="2") as gateways,
        NginxProcess((gateways[0].port, gateways[1].port)) as nginx,
        Load(nginx) as load,
    ):
        for gateway in gateways:
            renew(gateway, nginx, copilot)
            load.await_more_answers()
        assert load.failures == []
    assert load.failures == []
    assert load.answer_count > 100


def renew(gateway: GatewayProcess, nginx: NginxProcess, copilot: PlayedCopilot) -> None:
    """As `systemctl restart` does, while it has streams open; returns when it is ready again."""
    process = gateway.process
    assert process is not None
    with ExitStack() as streams:
        # In turn to the one and the other, unless a chat of the load comes in between: enough that both have some.
        for _ in range(6):
            streams.enter_context(open_stream(nginx, copilot))
        assert stream_count(gateway) > 0
        process.terminate()
        assert eventually(lambda: is_refused(gateway))
        assert process.poll() is None
        assert nginx.request("POST", "/v1/chat/completions", CHAT, KEY).status == 200
    assert process.wait(20) == 0
    gateway.start()
