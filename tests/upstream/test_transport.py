import http.client
import queue
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import requests

from copilotapi.errors import CallerGone, UpstreamFailed
from copilotapi.upstream.connections import ConnectionPool, Network, Origin
from copilotapi.upstream.transport import Clocks, SocketExchange, Transport
from tests.raw_server import RawServer, answering, read_request

CLOCKS = Clocks(connect_seconds=2, first_byte_seconds=2, idle_seconds=2, total_seconds=5)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


_opened: list[Transport | SocketExchange] = []


@pytest.fixture(autouse=True)
def _close_everything() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def begin(url: str, transport: Transport | None = None, clocks: Clocks = CLOCKS, body: bytes = b"{}") -> SocketExchange:
    transport = transport or Transport(clocks=clocks)
    _opened.append(transport)
    request = requests.Request("POST", url + "/chat", data=body, headers={"X-Mark": "1"}).prepare()
    exchange = transport.begin(request, clocks)
    _opened.append(exchange)
    return exchange


def head(exchange: SocketExchange) -> requests.Response:
    response = exchange.wait_head(10)
    assert response is not None
    return response


def whole(exchange: SocketExchange) -> bytes:
    head(exchange)
    return b"".join(iter(exchange.read1, b""))


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b""], ids=["ended", "not ended"])
def test_after_a_streams_own_end_its_connection_serves_again_unless_it_goes_on(end: bytes) -> None:
    connections: list[int] = []

    def answer(connection: socket.socket, number: int) -> None:
        connections.append(number)
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nDONE\r\n" + end)

    with RawServer(answer) as server:
        transport = Transport(clocks=CLOCKS)
        for _ in range(3):
            exchange = begin(server.url, transport)
            head(exchange)
            assert exchange.read1() == b"DONE"
            exchange.finish()
    assert len(connections) == (1 if end else 3)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (OK, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n",
            b"abcde",
        ),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", b"abc"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok"),
    ],
)
def test_each_way_to_end_a_body_is_understood(answer: bytes, body: bytes) -> None:
    with RawServer(answering(answer)) as server:
        assert whole(begin(server.url)) == body


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + OK,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"not http at all\r\n\r\n",
    ],
    ids=["two lengths", "length and chunks", "bad chunk", "upgrade", "endless interim", "endless head", "garbage"],
)
def test_framing_that_could_be_read_two_ways_is_refused(answer: bytes) -> None:
    with RawServer(answering(answer)) as server, pytest.raises(UpstreamFailed) as caught:
        whole(begin(server.url))
    assert caught.value.status == 502


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nConte",
        b"",
    ],
)
def test_a_cut_is_never_taken_for_an_end(answer: bytes) -> None:
    with RawServer(answering(answer)) as server, pytest.raises(UpstreamFailed) as caught:
        whole(begin(server.url))
    assert caught.value.code == "upstream_disconnected"
    assert caught.value.nothing_received == (answer == b"")


def test_a_connection_serves_the_next_request_too() -> None:
    with RawServer(answering(OK, close=False)) as server:
        transport = Transport(clocks=CLOCKS)
        for _ in range(3):
            assert whole(begin(server.url, transport)) == b"ok"
        assert server.accepted == 1


def test_a_kept_connection_that_the_far_end_closed_is_replaced_without_an_error() -> None:
    def one_each(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        if number == 0:
            # Reads the next request before it closes: the race of a keep-alive time-out.
            read_request(connection)
        connection.close()

    with RawServer(one_each) as server:
        transport = Transport(clocks=CLOCKS)
        assert whole(begin(server.url, transport)) == b"ok"
        assert whole(begin(server.url, transport)) == b"ok"
        assert server.accepted == 2


def test_a_fresh_connection_that_dies_is_not_retried() -> None:
    with RawServer(answering(b"")) as server:
        with pytest.raises(UpstreamFailed):
            whole(begin(server.url))
        assert server.accepted == 1


def test_a_connection_with_bytes_nobody_asked_for_is_not_used_again() -> None:
    sent = threading.Event()

    def chatty(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(OK)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        sent.set()
        read_request(connection)

    with RawServer(chatty) as server:
        transport = Transport(clocks=CLOCKS)
        assert whole(begin(server.url, transport)) == b"ok"
        assert sent.wait(5)
        assert whole(begin(server.url, transport)) == b"ok"
        assert server.accepted == 2


def silent(connection: socket.socket, number: int) -> None:
    read_request(connection)
    connection.recv(1)


def dripping_head(connection: socket.socket, number: int) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


def stalling(connection: socket.socket, number: int) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    connection.recv(1)


def dripping_body(connection: socket.socket, number: int) -> None:
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("script", "clocks"),
    [
        (silent, replace(CLOCKS, first_byte_seconds=0.3)),
        (dripping_head, replace(CLOCKS, first_byte_seconds=0.3)),
        (stalling, replace(CLOCKS, idle_seconds=0.3)),
        (dripping_body, replace(CLOCKS, total_seconds=0.5)),
    ],
    ids=["no head", "dripped head", "stalled body", "dripped body"],
)
def test_each_clock_ends_what_it_is_there_for(script: Callable[[socket.socket, int], None], clocks: Clocks) -> None:
    with RawServer(script) as server, pytest.raises(UpstreamFailed) as caught:
        whole(begin(server.url, clocks=clocks))
    assert (caught.value.status, caught.value.code) == (504, "upstream_timeout")


def test_a_tick_reports_silence_without_ending_the_exchange() -> None:
    let_go = threading.Event()

    def late(connection: socket.socket, number: int) -> None:
        read_request(connection)
        let_go.wait(5)
        connection.sendall(OK)

    with RawServer(late) as server:
        exchange = begin(server.url)
        assert exchange.wait_head(0.05) is None
        let_go.set()
        assert head(exchange).status_code == 200
        assert exchange.read(5) == b"ok"


@pytest.mark.parametrize("script", [silent, stalling], ids=["before the head", "inside the body"])
def test_an_abort_from_another_thread_wakes_the_reader_and_closes_the_socket(
    script: Callable[[socket.socket, int], None],
) -> None:
    closed = threading.Event()

    def watched(connection: socket.socket, number: int) -> None:
        script(connection, number)
        closed.set()

    with RawServer(watched) as server:
        exchange = begin(server.url)
        threading.Timer(0.1, exchange.abort).start()
        with pytest.raises(CallerGone):
            whole(exchange)
        assert closed.wait(2)


def test_bytes_are_handed_on_as_they_come_not_when_a_buffer_is_full() -> None:
    let_go = threading.Event()

    def paced(connection: socket.socket, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nfirst")
        let_go.wait(5)
        connection.sendall(b"second")
        connection.close()

    with RawServer(paced) as server:
        exchange = begin(server.url)
        head(exchange)
        assert exchange.read(5) == b"first"
        let_go.set()
        assert exchange.read(5) == b"second"
        assert exchange.read(5) == b""


def test_an_early_refusal_is_read_although_the_request_was_not_taken_whole() -> None:
    def refusing(connection: socket.socket, number: int) -> None:
        connection.recv(1024)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    with RawServer(refusing) as server:
        assert head(begin(server.url, body=b"x" * 5_000_000)).status_code == 413


def test_nobody_there_is_a_502_that_names_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UpstreamFailed, match=r"127\.0\.0\.1") as caught:
        begin(f"http://127.0.0.1:{port}")
    assert (caught.value.status, caught.value.nothing_received) == (502, True)


def test_a_line_break_in_a_header_is_not_sent() -> None:
    request = requests.PreparedRequest()
    request.method, request.url = "GET", "http://127.0.0.1:1/"
    request.headers = requests.structures.CaseInsensitiveDict({"X": "a\r\nEvil: 1"})
    with pytest.raises(ValueError, match="line break"):
        Transport().begin(request)


def test_it_serves_a_requests_session_as_any_adapter_does() -> None:
    with RawServer(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\nX-A: b\r\n\r\n" + b'{"a": 1}')) as server:
        with requests.Session() as session:
            session.mount("http://", Transport(clocks=CLOCKS))
            response = session.get(server.url + "/x", timeout=3)
        assert (response.json(), response.headers["x-a"]) == ({"a": 1}, "b")


def test_https_goes_through_the_proxy_and_only_there() -> None:
    asked: list[bytes] = []

    def proxy(connection: socket.socket, number: int) -> None:
        asked.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 403 No\r\n\r\n")

    with RawServer(proxy) as server:
        network = Network(
            https_proxy=server.url.replace("http://", "http://user:pa%20ss@"), no_proxy=("inside.example",)
        )
        with pytest.raises(UpstreamFailed, match=r"api\.example.*proxy answered 403"):
            begin("https://api.example", Transport(network, CLOCKS))
        assert asked[0].startswith(b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjpwYSBzcw==" in asked[0]
        with pytest.raises(UpstreamFailed):
            begin("https://www.inside.example", Transport(network, CLOCKS))
        assert len(asked) == 1


def test_a_proxy_that_drips_is_given_up_in_time() -> None:
    def dripping(connection: socket.socket, number: int) -> None:
        read_request(connection)
        while True:
            connection.sendall(b"H")
            time.sleep(0.05)

    with RawServer(dripping) as server:
        started = time.monotonic()
        with pytest.raises(UpstreamFailed) as caught:
            begin(
                "https://api.example",
                Transport(Network(https_proxy=server.url)),
                clocks=replace(CLOCKS, connect_seconds=0.3),
            )
        assert time.monotonic() - started < 2
    assert caught.value.code == "upstream_timeout"


class _Replay(http.client.HTTPResponse):
    """The standard library's reading of the same bytes."""


def _by_http_client(answer: bytes) -> tuple[int, bytes] | None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(answer)
        theirs.shutdown(socket.SHUT_WR)
        response = _Replay(ours)
        try:
            response.begin()
            return response.status, response.read()
        except (http.client.HTTPException, OSError, ValueError):
            return None


def _by_us(answer: bytes) -> tuple[int, bytes] | None:
    with RawServer(answering(answer)) as server:
        exchange = begin(server.url)
        try:
            return head(exchange).status_code, b"".join(iter(exchange.read1, b""))
        except UpstreamFailed:
            return None


def test_what_we_accept_the_standard_library_reads_the_same_way() -> None:
    """One way only: we may refuse what it lets pass."""
    dice = random.Random(20261121)
    seeds = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello world",
    ]
    accepted = 0
    for _ in range(150):
        mutated = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 3)):
            at = dice.randrange(9, len(mutated))
            match dice.randrange(3):
                case 0:
                    mutated[at] = dice.randrange(256)
                case 1:
                    del mutated[at]
                case _:
                    mutated.insert(at, dice.choice(b"\r\n :;0123456789abcdef"))
        ours = _by_us(bytes(mutated))
        if ours is not None:
            accepted += 1
            assert ours == _by_http_client(bytes(mutated)), bytes(mutated)
    assert accepted > 20


class Idle:
    """In the place of a connection; what `while_closing` does, another thread might do meanwhile."""

    idle_since = 0.0

    def __init__(self, host: str, while_closing: Callable[[], None] = lambda: None) -> None:
        self.origin = Origin("http", host, 80)
        self.close = while_closing


def test_a_host_may_become_known_while_idle_connections_are_closed() -> None:
    now = 1000.0
    pool = ConnectionPool(Network(), lambda: now)
    new: Any = Idle("new")
    stale: Any = Idle("old", lambda: pool.give_back(new))
    pool.give_back(stale)
    now += 60
    pool.drop_stale()
    new.is_alive = lambda: True
    assert pool.take_idle(stale.origin) is None
    assert pool.take_idle(new.origin) is new


def test_connections_idle_for_too_long_are_closed_and_the_others_serve_again() -> None:
    now = 1000.0
    ended: queue.Queue[int] = queue.Queue()

    def answer(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            connection.sendall(OK)
        ended.put(number)

    with RawServer(answer) as server:
        transport = Transport(clocks=CLOCKS, clock=lambda: now)
        patient = Clocks(connect_seconds=5, first_byte_seconds=1000, idle_seconds=1000, total_seconds=1000)
        exchanges = [begin(server.url, transport, patient) for _ in range(2)]
        assert whole(exchanges[0]) == b"ok"
        now += 30
        assert whole(exchanges[1]) == b"ok"
        now += 30
        transport.drop_stale()
        assert ended.get(timeout=5) == 0
        assert whole(begin(server.url, transport)) == b"ok"
        assert server.accepted == 2
        now += 60
        transport.drop_stale()
        assert ended.get(timeout=5) == 1
