"""The simulator as a server: connections, limits, clients that leave, the end."""

import http.client
import json
import socket
import threading
import time

import pytest

from copilotapi.simulator import Fault, Settings, Simulator
from tests.simulator.client import Client, read_until

HELLO = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def connect(simulator: Simulator) -> socket.socket:
    host, _, port = simulator.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def exchange_raw(simulator: Simulator, data: bytes) -> bytes:
    with connect(simulator) as sock:
        sock.sendall(data)
        received = b""
        while part := sock.recv(65_536):
            received += part
        return received


def test_a_connection_serves_one_request_after_another(simulator: Simulator, client: Client) -> None:
    connection = http.client.HTTPConnection(client.address, timeout=10)
    headers = {name.replace("_", "-"): value for name, value in client.headers().items()}
    for _ in range(3):
        connection.request("POST", "/chat/completions", json.dumps(HELLO), headers)
        sock = connection.sock
        assert b"[DONE]" in connection.getresponse().read()
        assert connection.sock is sock
    connection.close()


def test_pipelined_requests_are_answered_in_order(simulator: Simulator) -> None:
    one = b"GET /login/device HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = exchange_raw(simulator, one + one + last)
    assert [received.count(status) for status in (b" 200 OK", b" 404 Not Found")] == [2, 1]
    assert received.index(b" 404 ") > received.rindex(b" 200 ")


def test_a_chunked_request_is_read(simulator: Simulator, client: Client) -> None:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in client.headers().items())
    body = json.dumps(HELLO | {"stream": False}).encode()
    chunked = b"%x;ext=1\r\n%b\r\n5\r\n%b\r\n0\r\nTrailer: x\r\n\r\n" % (len(body[:-5]), body[:-5], body[-5:])
    start = (
        f"POST /chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n{head}\r\n"
    )
    assert b" 200 OK" in exchange_raw(simulator, start.encode() + chunked)


def test_an_http_1_0_stream_ends_with_the_connection(simulator: Simulator, client: Client) -> None:
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in client.headers().items())
    body = json.dumps(HELLO).encode()
    start = f"POST /chat/completions HTTP/1.0\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode()
    received = exchange_raw(simulator, start + body)
    assert b"transfer-encoding" not in received
    assert received.endswith(b"data: [DONE]\n\n")


def test_expect_100_continue_is_answered(simulator: Simulator) -> None:
    with connect(simulator) as sock:
        sock.sendall(b"POST /telemetry HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert read_until(sock, b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"{}")
        assert read_until(sock, b"\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad name: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX-Request-Id: a\nb: c\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffff0\r\n", 413),
    ],
)
def test_what_cannot_be_read_is_refused_and_the_connection_closed(
    simulator: Simulator, data: bytes, status: int
) -> None:
    with connect(simulator) as sock:
        sock.sendall(data)
        received = b""
        while part := sock.recv(65_536):
            received += part
    assert received.startswith(b"HTTP/1.1 %d " % status)
    assert b"x-github-request-id: " in received


def test_a_body_above_the_limit_is_a_413_that_a_client_still_sending_can_read() -> None:
    with Simulator(settings=Settings(body_limit_bytes=100_000)) as simulator:
        client = Client(simulator)
        assert client.chat("x" * 50_000).status == 200
        got = client.chat("x" * 30_000_000)
    assert (got.status, got.code) == (413, "")
    assert got.headers["connection"] == "close"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("stall", "chat", after_events=1),
        Fault("hang", "chat"),
        Fault("delay", "chat", delay_seconds=30),
        Fault("drip", "chat", piece_bytes=1, pause_seconds=30),
        Fault("answer", "chat", words=9, chunk_delay_seconds=30),
    ],
)
def test_a_client_that_leaves_is_noticed_at_once(simulator: Simulator, client: Client, fault: Fault) -> None:
    client.headers()
    simulator.faults.push(fault)
    with client.raw("/chat/completions", HELLO):
        assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["chat"] == 1, 5)
        left_at = time.monotonic()
    (chat,) = simulator.recorder.to("chat")
    assert simulator.recorder.wait_for(lambda: chat.client_gone_at is not None, 5)
    assert chat.client_gone_at is not None
    assert 0 <= chat.client_gone_at - left_at < 1


def test_a_client_that_leaves_a_busy_stream_is_noticed(simulator: Simulator, client: Client) -> None:
    body = HELLO | {"messages": [{"role": "user", "content": "[[simulate: words=2000000]]"}]}
    with client.raw("/chat/completions", body) as sock:
        read_until(sock, b"data: ")
    (chat,) = simulator.recorder.to("chat")
    assert simulator.recorder.wait_for(lambda: chat.client_gone_at is not None, 5)


def test_a_client_that_stays_is_not_gone(simulator: Simulator, client: Client) -> None:
    client.stream()
    (chat,) = simulator.recorder.to("chat")
    assert simulator.recorder.wait_for(lambda: chat.status == 200, 5)
    assert chat.client_gone_at is None


def test_many_streams_run_at_once(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("answer", "chat", times=0, words=5, chunk_delay_seconds=0.05))
    ended: list[bool] = []
    threads = [
        threading.Thread(target=lambda: ended.append(client.stream().text.endswith("data: [DONE]\n\n")))
        for _ in range(40)
    ]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert ended == [True] * 40
    assert time.monotonic() - began < 8


def test_stop_ends_every_connection_within_two_seconds() -> None:
    # Other tests may keep a simulator of their own running.
    before = threading.enumerate()
    simulator = Simulator().start()
    client = Client(simulator)
    client.headers()
    simulator.faults.push(Fault("stall", "chat", times=0))
    with client.raw("/chat/completions", HELLO) as stalled, connect(simulator) as idle:
        read_until(stalled, b"data: ")
        idle.sendall(b"GET /login/device HTTP/1.1\r\nHost: x\r\n\r\n")
        read_until(idle, b"wait.\n")
        began = time.monotonic()
        simulator.stop()
        assert time.monotonic() - began < 2
        while stalled.recv(65_536):
            pass
        assert idle.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(simulator)
    simulator.stop()
    assert simulator.recorder.to("chat")[0].client_gone_at is None
    started = [thread for thread in threading.enumerate() if thread not in before]
    assert not [thread for thread in started if thread.name.startswith("simulator")]


def test_it_comes_back_on_the_same_port() -> None:
    simulator = Simulator()
    with simulator:
        url = simulator.url
    with simulator:
        assert simulator.url == url
        assert Client(simulator).chat().status == 200
        assert simulator.start() is simulator


def test_a_taken_port_is_an_error(simulator: Simulator) -> None:
    with pytest.raises(OSError, match="in use"):
        Simulator(port=int(simulator.url.rpartition(":")[2])).start()


def test_an_unknown_scenario_is_an_error(simulator: Simulator) -> None:
    with pytest.raises(ValueError, match="unknown scenario 'nowhere'"):
        Simulator(scenario="nowhere")
    with pytest.raises(ValueError, match="unknown scenario 'nowhere'"):
        simulator.reset("nowhere")


def test_settings_and_arguments_go_together() -> None:
    with Simulator(settings=Settings(direct=True), github_tokens=frozenset({"gho_a"})) as simulator:
        client = Client(simulator, "gho_a")
        assert client.ask("GET", "/models", Authorization="Bearer gho_a").status == 200
        assert client.ask("GET", "/models", Authorization="Bearer gho_b").status == 401
