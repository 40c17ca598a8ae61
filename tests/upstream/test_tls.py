"""TLS in memory, over real sockets: however its records come, whatever the far end leaves out. All of it with and without
gevent.
"""

import ipaddress
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from copilotapi.errors import UpstreamFailed
from copilotapi.loop import Arrivals, Sweeper, is_cooperative
from copilotapi.upstream.connections import Network
from copilotapi.upstream.tls import TlsStream
from copilotapi.upstream.transport import Clocks, SocketExchange, Transport
from tests.authority import Authority
from tests.gateway_process import ROOT
from tests.raw_server import RawServer
from tests.upstream.far_end import FarEnd, far_ends

CLOCKS = Clocks(connect_seconds=5, first_byte_seconds=5, idle_seconds=5, total_seconds=20)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_LOCALHOST = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
_ALL_BYTES = 65_536


class Near:
    """Our end of a session and the far end, on one pair of sockets and one thread."""

    def __init__(self, server: ssl.SSLContext, client: ssl.SSLContext) -> None:
        self._ours, theirs = socket.socketpair()
        self._arrivals = Arrivals(self._ours, Sweeper())
        self.stream = TlsStream(self._ours, self._arrivals, client, "127.0.0.1")
        self.far = FarEnd(theirs, server)
        with ThreadPoolExecutor(1) as aside:
            tickets = aside.submit(self.far.shake_hands)
            self.stream.shake_hands(5)
            self.send(tickets.result())

    def send(self, raw: bytes) -> None:
        self.far.connection.sendall(raw)

    def received(self, size: int) -> bytes:
        """As many bytes, in as many reads as it takes."""
        received = b""
        while len(received) < size:
            block = self.stream.recv(_ALL_BYTES, 5)
            assert block, "it ended too early"
            received += block
        return received

    def close(self) -> None:
        self._arrivals.close()
        self._ours.close()
        self.far.connection.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority(folder)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def server_side(request: pytest.FixtureRequest, authority: Authority) -> ssl.SSLContext:
    context = authority.server(_LOCALHOST)
    context.minimum_version = context.maximum_version = request.param
    return context


@pytest.fixture
def near(server_side: ssl.SSLContext, authority: Authority) -> Iterator[Near]:
    near = Near(server_side, ssl.create_default_context(cafile=authority.bundle))
    try:
        yield near
    finally:
        near.close()


@pytest.fixture
def transport(authority: Authority) -> Iterator[Transport]:
    transport = Transport(Network(ca_bundle=str(authority.bundle)), CLOCKS)
    try:
        yield transport
    finally:
        transport.close()


def begin(transport: Transport, server: RawServer, body: bytes = b"", clocks: Clocks | None = None) -> SocketExchange:
    url = server.url.replace("http:", "https:")
    return transport.start("POST" if body else "GET", url, {}, body, clocks)


def whole(exchange: SocketExchange) -> bytes:
    """A body to its end. The exchange is closed in any case."""
    try:
        while exchange.wait_head(5) is None:
            pass
        return b"".join(iter(exchange.read1, b""))
    finally:
        exchange.close()


@pytest.mark.skipif(is_cooperative(), reason="this is gevent already")
def test_all_of_it_holds_on_gevents_loop() -> None:
    script = "from gevent import monkey; monkey.patch_all(); import pytest, sys; sys.exit(pytest.main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", script, "-q", "-p", "no:cacheprovider", __file__],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stdout


def test_records_may_be_cut_anywhere(near: Near) -> None:
    said = [b"one", b"two" * 10, b"3"]
    cut = 0
    while True:
        raw = b"".join(map(near.far.record, said))
        if (cut := cut + 1) == len(raw):
            break
        near.send(raw[:cut])
        received = near.stream.poll(_ALL_BYTES) or b""
        assert b"".join(said).startswith(received)
        near.send(raw[cut:])
        assert received + near.received(34 - len(received)) == b"".join(said), cut


def test_a_wait_goes_on_over_half_a_record_and_over_what_only_the_session_means(near: Near) -> None:
    raw = near.far.record(b"whole")
    near.send(raw[:-1])
    with pytest.raises(TimeoutError):
        near.stream.recv(_ALL_BYTES, 0.05)
    near.send(raw[-1:])
    assert near.stream.recv(_ALL_BYTES, 5) == b"whole"


def test_records_that_came_together_are_given_out_together(near: Near) -> None:
    near.stream.poll(_ALL_BYTES)
    pieces = [bytes([number]) * 100 for number in range(200)]
    near.send(b"".join(map(near.far.record, pieces)))
    assert near.stream.recv(_ALL_BYTES, 5) == b"".join(pieces)


def test_more_than_one_read_takes_is_lost_nowhere(near: Near) -> None:
    said = bytes(range(256)) * 700
    with ThreadPoolExecutor(1) as aside:
        sent = aside.submit(lambda: near.send(near.far.record(said)))
        assert near.received(len(said)) == said
        sent.result()


@pytest.mark.parametrize("data", [b"", b"the last"], ids=["alone", "behind data"])
def test_the_sessions_end_is_told_although_the_connection_stays_open(near: Near, data: bytes) -> None:
    near.stream.poll(_ALL_BYTES)
    near.send((near.far.record(data) if data else b"") + near.far.end())
    received = near.stream.recv(_ALL_BYTES, 5)
    assert received == data
    assert near.stream.recv(_ALL_BYTES, 5) == b""
    assert near.stream.recv(_ALL_BYTES, 5) == b""


@pytest.mark.parametrize("cut", [0, 1], ids=["between records", "inside one"])
def test_an_end_that_nobody_announced_is_an_end(near: Near, cut: int) -> None:
    near.send(near.far.record(b"data") + near.far.record(b"more")[:-1] * cut)
    near.far.connection.close()
    assert near.received(4) == b"data"
    assert near.stream.recv(_ALL_BYTES, 5) == b""


def test_what_came_before_a_failure_is_given_out_before_it(near: Near) -> None:
    near.stream.poll(_ALL_BYTES)
    spoilt = bytearray(near.far.record(b"data") + near.far.record(b"more"))
    spoilt[-1] ^= 1
    near.send(bytes(spoilt))
    assert near.stream.recv(_ALL_BYTES, 5) == b"data"
    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            near.stream.recv(_ALL_BYTES, 5)
    # The far end is told.
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.record.mac"):
        near.far.read()


def test_an_alert_is_never_taken_for_an_end(near: Near) -> None:
    near.stream.poll(_ALL_BYTES)
    near.send(near.far.record(b"data") + near.far.alert())
    near.far.connection.shutdown(socket.SHUT_WR)
    assert near.stream.recv(_ALL_BYTES, 5) == b"data"
    for _ in range(2):
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            near.stream.recv(_ALL_BYTES, 5)


def test_a_look_at_an_idle_session_tells_of_its_end_and_of_nothing_else(near: Near) -> None:
    # Of TLS 1.3, its tickets lie here.
    assert near.stream.poll(_ALL_BYTES) is None
    assert near.stream.poll(_ALL_BYTES) is None
    near.send(near.far.end())
    assert near.stream.poll(_ALL_BYTES) == b""


def test_a_handshake_may_be_cut_anywhere(server_side: ssl.SSLContext, authority: Authority) -> None:
    def dribbled(connection: socket.socket, number: int) -> None:
        far_end = FarEnd(connection, server_side)

        def send(raw: bytes) -> None:
            cut = number * 50 % max(len(raw), 1)
            connection.sendall(raw[:cut])
            connection.sendall(raw[cut:])

        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        send(far_end.shake_hands(send))
        while far_end.read_request():
            connection.sendall(far_end.record(OK))

    with RawServer(dribbled) as server:
        for _ in range(20):
            transport = Transport(Network(ca_bundle=str(authority.bundle)), CLOCKS)
            assert whole(begin(transport, server)) == b"ok"
            transport.close()


def test_a_connection_serves_again(server_side: ssl.SSLContext, transport: Transport) -> None:
    def kept(far_end: FarEnd, number: int) -> None:
        while far_end.read_request():
            far_end.connection.sendall(far_end.record(OK))

    with far_ends(server_side, kept) as server:
        for _ in range(3):
            assert whole(begin(transport, server)) == b"ok"
        assert server.accepted == 1


@pytest.mark.parametrize("says_so", [True, False], ids=["announced", "unannounced"])
def test_an_idle_connection_that_the_far_end_closed_is_replaced(
    server_side: ssl.SSLContext, transport: Transport, says_so: bool
) -> None:
    closed = threading.Event()

    def one_each(far_end: FarEnd, number: int) -> None:
        far_end.read_request()
        far_end.connection.sendall(far_end.record(OK) + (far_end.end() if says_so else b""))
        far_end.connection.shutdown(socket.SHUT_WR)
        closed.set()

    with far_ends(server_side, one_each) as server:
        for number in range(1, 4):
            assert whole(begin(transport, server)) == b"ok"
            assert closed.wait(5)
            closed.clear()
            assert server.accepted == number


def test_large_bodies_come_through_both_ways(server_side: ssl.SSLContext, transport: Transport) -> None:
    sent, got = bytes(range(251)) * 12_000, bytes(range(249)) * 12_000
    taken: list[bytes] = []

    def exchange(far_end: FarEnd, number: int) -> None:
        _, _, body = far_end.read_request().partition(b"\r\n\r\n")
        while len(body) < len(sent):
            body += far_end.read()
        taken.append(body)
        far_end.connection.sendall(far_end.record(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got) + got))

    with far_ends(server_side, exchange) as server:
        assert whole(begin(transport, server, sent)) == got
    assert taken == [sent]


def test_what_many_threads_read_at_once_is_each_ones_own(server_side: ssl.SSLContext, transport: Transport) -> None:
    def own(far_end: FarEnd, number: int) -> None:
        while asked := far_end.read_request():
            mark = asked[len(b"GET /") : len(b"GET /m")]
            raw = far_end.record(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n")
            for _ in range(80):
                far_end.connection.sendall(raw)
                raw = far_end.record(mark * 5000)
            far_end.connection.sendall(raw)

    with far_ends(server_side, own) as server, ThreadPoolExecutor(6) as pool:
        url = server.url.replace("http:", "https:")

        def ask(mark: str) -> bool:
            return whole(transport.start("GET", f"{url}/{mark}", {}, b"")) == mark.encode() * 400_000

        assert all(pool.map(ask, "abcdefghijkl"))


@pytest.mark.parametrize("sends", [b"", b"\x16\x03\x03"], ids=["silent", "dripping"])
def test_a_handshake_that_stalls_ends_in_time(transport: Transport, sends: bytes) -> None:
    over = threading.Event()

    def stalled(connection: socket.socket, number: int) -> None:
        connection.recv(_ALL_BYTES)
        for byte in sends:
            connection.sendall(bytes([byte]))
        over.wait(5)

    with RawServer(stalled) as server:
        started = time.monotonic()
        with pytest.raises(UpstreamFailed) as caught:
            begin(transport, server, clocks=replace(CLOCKS, connect_seconds=0.2))
        over.set()
        assert 0.2 <= time.monotonic() - started < 2
    assert (caught.value.status, caught.value.code, caught.value.nothing_received) == (504, "upstream_timeout", True)


def test_a_far_end_that_nobody_vouches_for_is_told_so(server_side: ssl.SSLContext, tmp_path: Path) -> None:
    told: list[str | None] = []
    is_told = threading.Event()

    def unknown(connection: socket.socket, number: int) -> None:
        far_end = FarEnd(connection, server_side)
        try:
            far_end.shake_hands()
            far_end.read()
        except ssl.SSLError as exc:
            told.append(exc.reason)
        is_told.set()

    with RawServer(unknown) as server:
        with pytest.raises(UpstreamFailed) as caught:
            begin(Transport(Network(ca_bundle=str(Authority(tmp_path).bundle)), CLOCKS), server)
        assert is_told.wait(5)
    assert caught.value.code == "upstream_tls_failed"
    assert told[0] is not None
    assert "ALERT" in told[0]


def test_a_far_end_without_tls_is_no_far_end(transport: Transport) -> None:
    def plain(connection: socket.socket, number: int) -> None:
        connection.recv(_ALL_BYTES)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with RawServer(plain) as server, pytest.raises(UpstreamFailed) as caught:
        begin(transport, server)
    assert caught.value.code == "upstream_unreachable"
