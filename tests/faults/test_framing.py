"""What only a real server and raw bytes can show: requests framed wrongly, too large, too slow, and what they leave."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from copilotapi.simulator import Simulator
from tests.blueprints.test_admin import spellings
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient, RawReply, chunked, head

KEY, ADMIN_KEY = "client-key-0123456789", "admin-key-0123456789"
JSON = "application/json"
GOOD = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}).encode()
LIMIT_BYTES = 10_485_760
GAP_SECONDS = 10.0


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyed_gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    settings = {
        "RATE_LIMIT_PER_MINUTE": "0",
        "API_KEYS": KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "ALLOWED_HOSTS": "copilot.example",
    }
    with GatewayProcess(simulator.url, **settings) as gateway:
        yield gateway


@pytest.fixture(scope="module", autouse=True)
def stalled(gateway: GatewayProcess) -> Iterator[list[Future[tuple[RawReply, float]]]]:
    """Callers who stop in the middle of their bodies, at once so that the other tests run while their clock does."""
    starts = [head(Content_Type=JSON, Content_Length="1000"), head(Content_Type=JSON, Transfer_Encoding="chunked")]
    bodies = [b"", GOOD[:20], b"3e8\r\n", b"3e8\r\n" + GOOD[:20]]
    with ThreadPoolExecutor(8) as callers:
        yield [callers.submit(_stall, gateway.port, start + body) for start in starts for body in bodies]


def _stall(port: int, sent: bytes) -> tuple[RawReply, float]:
    """The answer to `sent`, after which the connection must close, and the seconds it took."""
    started = time.monotonic()
    with RawClient(port) as caller:
        caller.send(sent)
        reply, seconds = caller.reply(), time.monotonic() - started
        assert caller.is_closed()
    return reply, seconds


def ask(gateway: GatewayProcess, request: bytes, *, half_close: bool = False) -> RawReply:
    with RawClient(gateway.port) as client:
        client.send(request)
        if half_close:
            client.socket.shutdown(socket.SHUT_WR)
        return client.reply()


def post(body: bytes, **headers: str) -> bytes:
    return head(Content_Type=JSON, Content_Length=str(len(body)), **headers) + body


def post_chunked(body: bytes) -> bytes:
    """`body` with its chunk sizes."""
    return head(Content_Type=JSON, Transfer_Encoding="chunked") + body


def code(reply: RawReply) -> str | None:
    """Of an error in OpenAI's shape, with the headers of every answer."""
    assert reply.headers["content-type"] == JSON
    assert reply.headers["x-request-id"]
    assert "no-store" in reply.headers["cache-control"]
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    found: str | None = error["code"]
    return found


def assert_healthy(gateway: GatewayProcess) -> None:
    assert ask(gateway, head("GET", "/health")).status == 200
    assert not re.search(r"Traceback|request_failed|WORKER TIMEOUT", gateway.log)


@pytest.mark.parametrize(
    "body",
    [
        chunked(GOOD),
        chunked(*(GOOD[at : at + 1] for at in range(len(GOOD)))),
        chunked(GOOD[:9], GOOD[9:]).replace(b"9\r\n", b"0009;name=value;flag\r\n", 1),
        chunked(GOOD).removesuffix(b"\r\n") + b"X-Trailer: 1\r\n\r\n",
        chunked(GOOD, b" " * (LIMIT_BYTES - len(GOOD))),
    ],
    ids=["one", "bytes", "extension", "trailer", "just the limit"],
)
def test_a_chunked_body_passes_whole(gateway: GatewayProcess, body: bytes) -> None:
    assert ask(gateway, post_chunked(body)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"0x3\r\n{ }\r\n0\r\n\r\n",
        b"-3\r\n{ }\r\n0\r\n\r\n",
        b"+3\r\n{ }\r\n0\r\n\r\n",
        b" 3\r\n{ }\r\n0\r\n\r\n",
        b"3_0\r\n{ }\r\n0\r\n\r\n",
        b"zz\r\n{ }\r\n0\r\n\r\n",
        b"\r\n{ }\r\n0\r\n\r\n",
        b";x\r\n{ }\r\n0\r\n\r\n",
        b"3;\x00\r\n{ }\r\n0\r\n\r\n",
        b"3\r\n{ }XX0\r\n\r\n",
        b"2\r\n{ }\r\n0\r\n\r\n",
        b"2\r\n{}\r\n0\r\nno trailer\r\n\r\n",
        b"2\r\n{}\r\n0\r\nbad name: 1\r\n\r\n",
        b"f" * 9000,
    ],
)
def test_broken_chunks_are_a_400_and_end_the_connection(gateway: GatewayProcess, body: bytes) -> None:
    with RawClient(gateway.port) as client:
        client.send(post_chunked(body) + head("GET", "/v1/models"))
        reply = client.reply()
        assert (reply.status, code(reply)) == (400, None)
        assert client.is_closed()
    assert_healthy(gateway)


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(Content_Type=JSON, Content_Length="1000") + GOOD,
        post_chunked(b"5\r\nab"),
        post_chunked(b"5\r\nabcde\r\n"),
        post_chunked(b"5\r\nabcde\r\n0\r\n"),
        post_chunked(b"ffffffffffffffff\r\nabc"),
        post_chunked(b""),
    ],
)
def test_a_body_that_ends_too_early_is_a_400(gateway: GatewayProcess, request_bytes: bytes) -> None:
    reply = ask(gateway, request_bytes, half_close=True)
    assert (reply.status, code(reply)) == (400, None)


@pytest.mark.parametrize("coding", ["gzip, chunked", "identity, chunked", "deflate, chunked"])
def test_a_transfer_coding_that_others_might_undo_is_refused(gateway: GatewayProcess, coding: str) -> None:
    reply = ask(gateway, head(Content_Type=JSON, Transfer_Encoding=coding) + chunked(GOOD))
    assert reply.status == 400


@pytest.mark.parametrize(
    "request_bytes",
    [
        head(Content_Type=JSON, Transfer_Encoding="chunked", Content_Length="5") + chunked(GOOD),
        head(Content_Type=JSON, Transfer_Encoding="unknown") + chunked(GOOD),
        head(Content_Type=JSON, Transfer_Encoding="chunked, chunked") + chunked(GOOD),
        head(Content_Type=JSON, Transfer_Encoding="\x0bchunked") + chunked(GOOD),
        head(Content_Type=JSON, Content_Length="+5") + GOOD,
        head(Content_Type=JSON, Content_Length="-5") + GOOD,
        head(Content_Type=JSON, Content_Length="5, 5") + GOOD,
        head(Content_Type=JSON, Content_Length="five") + GOOD,
        head("GET", "/health").replace(b"Host: localhost", b"Host: localhost\r\nHost: localhost"),
        head("GET", "/health").replace(b"Host: ", b"Host : "),
        head("GET", "/health", X_A="a\x00b"),
        head("GET", "/health", X_A="a\rb"),
        head("get", "/health"),
        head("GET", "/health").replace(b"HTTP/1.1", b"HTTP/9.9"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"no http at all\r\n\r\n",
        head("GET", "/health", X_A="a" * 9000),
        head("GET", "/health", **{f"X_{number}": "a" for number in range(150)}),
        head("GET", "/" + "a" * 8000),
        head(Content_Type=JSON, Content_Length="2", Expect="something") + b"{}",
    ],
)
def test_what_the_server_itself_refuses_is_a_4xx_and_reaches_nothing(
    gateway: GatewayProcess, simulator: Simulator, request_bytes: bytes
) -> None:
    chats = simulator.recorder.counts()["chat"]
    with RawClient(gateway.port) as client:
        client.send(request_bytes)
        reply = client.reply()
        assert 400 <= reply.status < 500
        assert code(reply)
        assert client.is_closed()
    assert simulator.recorder.counts()["chat"] == chats
    assert_healthy(gateway)


@pytest.mark.parametrize(
    "request_bytes",
    [
        head("GET", "/health", Host=""),
        head("GET", "/health", Host="").replace(b"HTTP/1.1", b"HTTP/1.0"),
        head("GET", "/health", Host="evil.example"),
        head("GET", "/v1/token/refresh", Host="copilot.example.evil"),
        head("GET", "http://evil.example/health"),
        head("GET", "http://evil.example/v1/token/refresh"),
        head("GET", "HTTP://localhost@evil.example/health"),
        head("GET", "http://localhost/health", Host="evil.example"),
    ],
)
def test_a_request_to_another_host_is_misdirected(gateway: GatewayProcess, request_bytes: bytes) -> None:
    reply = ask(gateway, request_bytes)
    assert (reply.status, code(reply)) == (421, "misdirected_request")


@pytest.mark.parametrize("fold", [b"\r\n folded", b"\r\n\tX-Real-IP: 1"])
def test_a_folded_header_is_refused(gateway: GatewayProcess, fold: bytes) -> None:
    with RawClient(gateway.port) as client:
        client.send(head("GET", "/health").replace(b"Host: localhost", b"Host: localhost" + fold))
        assert client.reply().status == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "[::1]:8000", "copilot.example", "Copilot.Example:443"])
def test_a_request_to_a_host_of_ours_is_served(keyed_gateway: GatewayProcess, host: str) -> None:
    assert ask(keyed_gateway, head("GET", "/health", Host=host)).status == 200
    assert ask(keyed_gateway, head("GET", f"http://{host}/health", Host=host)).status == 200


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X_Forwarded_For", "Forwarded", "X-Real-IP", "X-Forwarded-Protocol"]
)
def test_without_keys_a_proxied_request_is_refused_by_the_real_server_too(gateway: GatewayProcess, header: str) -> None:
    request_bytes = head("GET", "/v1/models").replace(b"\r\n\r\n", f"\r\n{header}: ssl\r\n\r\n".encode())
    reply = ask(gateway, request_bytes)
    # gunicorn drops names with underscores, so that such a header is none.
    assert reply.status == (200 if "_" in header else 401)


def test_a_script_name_from_outside_moves_nothing(gateway: GatewayProcess) -> None:
    for name in ("SCRIPT_NAME", "Script-Name"):
        request_bytes = head("GET", "/health").replace(b"\r\n\r\n", f"\r\n{name}: /health\r\n\r\n".encode())
        assert ask(gateway, request_bytes).status == 200


@pytest.mark.parametrize("upgrade", ["websocket", "h2c"])
def test_no_connection_is_upgraded(gateway: GatewayProcess, upgrade: str) -> None:
    reply = ask(gateway, head("GET", "/health", Connection="Upgrade", Upgrade=upgrade, HTTP2_Settings="AAMAAABk"))
    assert reply.status in (200, 400)


def test_no_spelling_of_an_admin_path_gets_past_the_real_server(
    keyed_gateway: GatewayProcess, simulator: Simulator
) -> None:
    before = simulator.recorder.counts()["token_exchange"]
    for path in ("/v1/token/refresh", "/token/refresh"):
        for spelling in spellings(path):
            for method in ("GET", "POST"):
                target = spelling.encode("utf-8").decode("latin-1")
                reply = ask(keyed_gateway, head(method, target, Content_Length="0"))
                assert reply.status in (400, 401, 403, 404, 405, 421), (method, spelling)
    assert simulator.recorder.counts()["token_exchange"] == before


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b" " * 11_000_000),
        post(GOOD.ljust(LIMIT_BYTES + 1)),
        post_chunked(chunked(b" " * 11_000_000)),
        post_chunked(chunked(GOOD, *[b" " * 1000] * 11_000)),
        post_chunked(chunked(GOOD.ljust(LIMIT_BYTES + 1))),
        # The first ten megabytes are a good request: cut there, it would pass.
        post_chunked(chunked(GOOD.ljust(LIMIT_BYTES), b"garbage")),
    ],
    ids=["declared", "declared by one", "chunked", "small chunks", "chunked by one", "good and garbage"],
)
def test_a_body_over_the_limit_is_a_413_that_can_be_read(gateway: GatewayProcess, request_bytes: bytes) -> None:
    with RawClient(gateway.port) as client:
        client.send(request_bytes)
        reply = client.reply()
        assert (reply.status, code(reply)) == (413, "request_too_large")
        client.send(head("GET", "/health"))
        assert client.reply().status == 200


def test_a_413_comes_before_the_body_has_been_sent(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port, timeout_seconds=5) as client:
        client.send(head(Content_Type=JSON, Content_Length="11000000") + b"{")
        assert client.reply().status == 413


@pytest.mark.parametrize("status", [401, 404, 415, 421])
def test_any_other_refusal_can_be_read_by_a_caller_still_sending(keyed_gateway: GatewayProcess, status: int) -> None:
    headers = {
        401: head(Content_Type=JSON, Content_Length="5000000"),
        404: head(target="/nowhere", Content_Length="5000000"),
        415: head(Content_Type="text/plain", Content_Length="5000000", x_api_key=KEY),
        421: head(Host="evil.example", Content_Length="5000000"),
    }
    with RawClient(keyed_gateway.port) as client:
        client.send(headers[status] + b" " * 5_000_000)
        assert client.reply().status == status
        client.send(head("GET", "/health"))
        assert client.reply().status == 200


def test_a_caller_who_never_stops_sending_is_given_up_and_holds_no_one_up(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        client.send(head(Content_Type=JSON, Content_Length=str(10**15)))
        assert client.reply().status == 413
        ended = threading.Event()

        def send_for_ever() -> None:
            block = b" " * 1_000_000
            try:
                while True:
                    client.send(block)
            except OSError:
                ended.set()

        threading.Thread(target=send_for_ever, daemon=True).start()
        slowest = 0.0
        while not ended.wait(0.05):
            started = time.monotonic()
            assert ask(gateway, head("GET", "/health")).status == 200
            slowest = max(slowest, time.monotonic() - started)
        assert slowest < 2.0


def test_requests_one_after_the_other_on_a_connection_are_all_answered_in_order(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        paths = ["/health", "/nowhere", "/v1/models", "/v1/chat/completions"] * 5
        client.send(b"".join(head("GET", path, X_Request_Id=f"r{number}") for number, path in enumerate(paths)))
        replies = [client.reply() for _ in paths]
    assert [reply.status for reply in replies] == [200, 404, 200, 405] * 5
    assert [reply.headers["x-request-id"] for reply in replies] == [f"r{number}" for number in range(len(paths))]


def test_each_of_many_requests_on_a_connection_counts_for_the_limit(simulator: Simulator) -> None:
    with GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="5") as gateway, RawClient(gateway.port) as client:
        client.send(head("GET", "/") * 10)
        statuses = [client.reply().status for _ in range(10)]
    assert statuses == [200] * 5 + [429] * 5


def test_a_caller_may_wait_for_leave_to_send(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        client.send(head(Content_Type=JSON, Content_Length=str(len(GOOD)), Expect="100-continue"))
        assert client.reply().status == 100
        client.send(GOOD)
        assert client.reply().status == 200


def test_the_connection_serves_on_after_a_refused_body(gateway: GatewayProcess) -> None:
    with RawClient(gateway.port) as client:
        for body, status in ((b"{", 400), (b"[]", 400), (GOOD, 200), (b'{"model": NaN}', 400), (GOOD, 200)):
            client.send(post(body))
            assert client.reply().status == status


def test_a_header_of_a_caller_never_splits_an_answer_or_a_log_line(gateway: GatewayProcess) -> None:
    reply = ask(gateway, head("GET", "/health", X_Request_Id="a\tb", User_Agent='{"forged": 1}'))
    assert len(reply.headers["x-request-id"]) == 32
    assert "forged" not in gateway.log


def test_keys_of_every_kind_are_never_logged(keyed_gateway: GatewayProcess) -> None:
    canary = "canary-in-a-key-0123456789"
    for name in ("Authorization", "x-api-key", "Proxy-Authorization", "Cookie"):
        ask(keyed_gateway, head("GET", f"/v1/models?key={canary}", **{name.replace("-", "_"): f"Bearer {canary}"}))
    ask(keyed_gateway, head("GET", f"/{canary}"))
    ask(keyed_gateway, head("GET", "/health", X_A=f"{canary}\x00"))
    ask(keyed_gateway, head(Content_Type=JSON, x_api_key=KEY, Content_Length="30") + canary.encode().ljust(30))
    assert canary not in keyed_gateway.log
    assert KEY not in keyed_gateway.log
    assert ADMIN_KEY not in keyed_gateway.log


def test_a_stalled_body_is_a_408_by_its_clock(
    gateway: GatewayProcess, stalled: list[Future[tuple[RawReply, float]]]
) -> None:
    for answered in stalled:
        reply, seconds = answered.result()
        assert (reply.status, code(reply)) == (408, "request_timeout")
        assert GAP_SECONDS - 0.5 <= seconds < GAP_SECONDS + 5
    assert_healthy(gateway)


def test_the_gateway_listens_on_this_machine_only(gateway: GatewayProcess) -> None:
    listening = "0A"
    addresses = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == listening and int(local.rpartition(":")[2], 16) == gateway.port:
                addresses.append(local.rpartition(":")[0])
    assert addresses == ["0100007F"]


def test_an_address_others_can_reach_needs_a_key_to_start(simulator: Simulator) -> None:
    gateway = GatewayProcess(simulator.url, HOST="0.0.0.0")
    try:
        with pytest.raises(AssertionError, match=r"ended with 78:\n(?s:.*)HOST.*API_KEYS") as ended:
            gateway.start()
    finally:
        gateway.stop()
    assert "Traceback" not in str(ended.value)


def test_a_handler_that_cannot_be_had_is_one_line_at_the_start(simulator: Simulator) -> None:
    gateway = GatewayProcess(simulator.url, COMPLETION_HANDLER="no.such.module:f")
    try:
        with pytest.raises(AssertionError, match=r"ended with 78:\n(?s:.*)COMPLETION_HANDLER.*no\.such") as ended:
            gateway.start()
    finally:
        gateway.stop()
    assert "Traceback" not in str(ended.value)
