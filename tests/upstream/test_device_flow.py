"""Every answer of GitHub's device sign-in, over real HTTP, on a clock that only the flow's own waiting moves."""

import json
import logging
from collections.abc import Iterator
from urllib.parse import parse_qs, urlencode

import pytest

from copilotapi.simulator import Fault, Settings, Simulator
from copilotapi.upstream.device_flow import DeviceCode, DeviceFlow, DeviceFlowFailed
from copilotapi.upstream.transport import Transport
from tests.gateway_process import free_port
from tests.raw_server import RawServer, answering

CODE = DeviceCode("ABCD-1234", "https://github.com/login/device", 900, 5, "c0de")
CANARY = "ghu_canary_0123456789"
GRANTED = {"access_token": CANARY, "token_type": "bearer", "scope": "read:user"}


class Waits:
    """A clock that stands still but for `sleep`, which takes no time."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.seconds: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.now += seconds


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


def http(body: bytes, status: int = 200, content_type: str = "application/json; charset=utf-8") -> bytes:
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def said(answer: object, status: int = 200) -> bytes:
    return http(json.dumps(answer).encode(), status)


def pending(**more: object) -> bytes:
    return said({"error": "authorization_pending", "error_description": "still pending"} | more)


def refused(error: str, **more: object) -> bytes:
    return said({"error": error, "error_uri": "https://docs.github.com"} | more)


def poll(transport: Transport, waits: Waits, *answers: bytes, code: DeviceCode = CODE) -> str:
    with RawServer(answering(*answers)) as server:
        return DeviceFlow(transport, server.url, "client").poll(code, waits.sleep, waits.clock)


def begin(transport: Transport, answer: bytes) -> DeviceCode:
    with RawServer(answering(answer)) as server:
        return DeviceFlow(transport, server.url, "client").begin()


def granted_by(simulator: Simulator, transport: Transport, waits: Waits) -> str:
    flow = DeviceFlow(transport, simulator.url, "client")
    return flow.poll(flow.begin(), waits.sleep, waits.clock)


def test_a_code_is_fetched_and_polled_until_the_user_has_agreed(transport: Transport, waits: Waits) -> None:
    settings = Settings(device_interval_seconds=0, device_pending_polls=3)
    with Simulator(settings=settings, github_tokens=frozenset()) as simulator:
        flow = DeviceFlow(transport, simulator.url, "the-app")
        code = flow.begin()
        assert code.verification_uri == f"{simulator.url}/login/device"
        assert (code.expires_in_seconds, code.interval_seconds) == (899, 0)
        assert flow.poll(code, waits.sleep, waits.clock).startswith("ghu_")
        first, *polls = simulator.recorder.requests
    assert waits.seconds == [1, 1, 1, 1]
    assert parse_qs(first.body.decode()) == {"client_id": ["the-app"], "scope": ["read:user"]}
    assert len(polls) == 4
    assert {one.headers["accept"] for one in (first, *polls)} == {"application/json"}
    assert parse_qs(polls[0].body.decode()) == {
        "client_id": ["the-app"],
        "device_code": [code.device_code],
        "grant_type": ["urn:ietf:params:oauth:grant-type:device_code"],
    }


@pytest.mark.parametrize(("outcome", "told"), [("denied", "was declined"), ("expired", "code expired")])
def test_a_user_who_declines_or_is_too_late_ends_it(
    transport: Transport, waits: Waits, outcome: str, told: str
) -> None:
    settings = Settings(device_interval_seconds=0, device_outcome=outcome)
    with Simulator(settings=settings) as simulator, pytest.raises(DeviceFlowFailed, match=told):
        granted_by(simulator, transport, waits)


def test_the_simulators_slow_down_is_obeyed(transport: Transport, waits: Waits) -> None:
    settings = Settings(device_interval_seconds=200, device_pending_polls=9, device_life_seconds=700)
    with Simulator(settings=settings) as simulator, pytest.raises(DeviceFlowFailed, match="code expired"):
        granted_by(simulator, transport, waits)
    assert waits.seconds == [201, 201, 206, 92]


def test_a_dropped_connection_is_polled_again(transport: Transport, waits: Waits) -> None:
    settings = Settings(device_interval_seconds=0, device_pending_polls=3)
    with Simulator(settings=settings) as simulator:
        # The first hits the kept-alive connection, which the transport replaces by itself.
        simulator.faults.push(Fault("reset", "access_token", times=3))
        assert granted_by(simulator, transport, waits).startswith("ghu_")
    assert waits.seconds == [1, 1, 1]


def test_each_wait_is_the_interval_and_a_second(transport: Transport, waits: Waits) -> None:
    assert poll(transport, waits, pending(), pending(), said(GRANTED)) == CANARY
    assert waits.seconds == [6, 6, 6]


@pytest.mark.parametrize(
    ("answer", "next_wait"),
    [
        (refused("slow_down"), 11),
        (refused("slow_down", interval=12), 13),
        (refused("slow_down", interval="12"), 13),
        (refused("slow_down", interval=1), 11),
        (refused("slow_down", interval=-3), 11),
        (refused("slow_down", interval=True), 11),
        (refused("slow_down", interval=None), 11),
        (http(b"whoa", 429, "text/plain"), 11),
    ],
)
def test_slow_down_slows_for_good(transport: Transport, waits: Waits, answer: bytes, next_wait: int) -> None:
    poll(transport, waits, answer, pending(), said(GRANTED))
    assert waits.seconds == [6, next_wait, next_wait]


def test_slow_down_adds_up(transport: Transport, waits: Waits) -> None:
    poll(transport, waits, refused("slow_down"), refused("slow_down"), said(GRANTED))
    assert waits.seconds == [6, 11, 16]


def test_an_endless_pending_ends_when_the_code_expires(transport: Transport, waits: Waits) -> None:
    with pytest.raises(DeviceFlowFailed, match="code expired"):
        poll(transport, waits, pending())
    assert sum(waits.seconds) == CODE.expires_in_seconds
    assert waits.now == 1_900.0


def test_a_github_that_cannot_be_reached_is_asked_until_the_code_expires(transport: Transport, waits: Waits) -> None:
    flow = DeviceFlow(transport, f"http://127.0.0.1:{free_port()}", "client")
    with pytest.raises(DeviceFlowFailed, match=r"code expired .*GitHub gave no answer: Could not connect"):
        flow.poll(CODE, waits.sleep, waits.clock)
    assert len(waits.seconds) == 150


@pytest.mark.parametrize(
    "trouble",
    [
        http(b"<html>a proxy's page</html>", 200, "text/html"),
        http(b"<html>bad gateway</html>", 502, "text/html"),
        said({"error": "server_error"}, 500),
        said([]),
        said({}),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
    ],
)
def test_what_is_no_answer_is_asked_for_again(transport: Transport, waits: Waits, trouble: bytes) -> None:
    assert poll(transport, waits, trouble, trouble, said(GRANTED)) == CANARY
    assert waits.seconds == [6, 6, 6]


@pytest.mark.parametrize("status", [200, 400])
def test_the_status_of_an_answer_does_not_matter(transport: Transport, waits: Waits, status: int) -> None:
    still = said({"error": "authorization_pending"}, status)
    assert poll(transport, waits, still, said(GRANTED)) == CANARY
    with pytest.raises(DeviceFlowFailed, match="declined"):
        poll(transport, waits, said({"error": "access_denied"}, status))


def test_a_form_is_read_as_well(transport: Transport, waits: Waits) -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    slower = http(urlencode({"error": "slow_down", "interval": "20"}).encode(), content_type=form)
    assert poll(transport, waits, slower, http(urlencode(GRANTED).encode(), content_type=form)) == CANARY
    assert waits.seconds == [6, 21]
    told = {"device_code": "c0de", "user_code": "AB-12", "verification_uri": "https://x.example/", "expires_in": "60"}
    assert begin(transport, http(urlencode(told).encode(), content_type=form)) == DeviceCode(
        "AB-12", "https://x.example/", 60, 5, "c0de"
    )


@pytest.mark.parametrize(
    "error", ["incorrect_device_code", "incorrect_client_credentials", "device_flow_disabled", "unsupported_grant_type"]
)
def test_another_error_is_told_in_githubs_own_words(transport: Transport, waits: Waits, error: str) -> None:
    with pytest.raises(DeviceFlowFailed) as caught:
        poll(transport, waits, refused(error, error_description="The\n\x1b[31mreason."))
    assert str(caught.value) == f"GitHub refused the sign-in: The [31mreason. ({error})"
    assert len(waits.seconds) == 1


def test_an_error_without_words_is_told_by_its_name(transport: Transport, waits: Waits) -> None:
    with pytest.raises(DeviceFlowFailed, match=r"no reason given \(device_flow_disabled\)"):
        poll(transport, waits, refused("device_flow_disabled"))


def test_a_refusal_without_an_answer_ends_it(transport: Transport, waits: Waits) -> None:
    with pytest.raises(DeviceFlowFailed, match="GitHub answered 403"):
        poll(transport, waits, http(b"forbidden", 403, "text/plain"))


@pytest.mark.parametrize("github_token", ["", "two words", "gho_x\r\nX-Evil: 1", 7, None])
def test_what_cannot_be_a_token_is_refused(transport: Transport, waits: Waits, github_token: object) -> None:
    with pytest.raises(DeviceFlowFailed, match="no usable token"):
        poll(transport, waits, said({"access_token": github_token}))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (said({"error": "Not Found"}, 404), "Check GITHUB_CLIENT_ID"),
        (said({"error": "device_flow_disabled", "error_description": "Switched off."}), r"Switched off\."),
        (http(b"", 301, "text/html"), "Check GITHUB_URL"),
        (http(b"", 429, "text/html"), "Try again in a few minutes"),
        (http(b"<html>", 200, "text/html"), "GitHub answered 200 without a sign-in code"),
        (http(b"<html>", 503, "text/html"), "GitHub answered 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "GitHub gave no answer"),
    ],
)
def test_no_code_is_told_plainly(transport: Transport, answer: bytes, told: str) -> None:
    with pytest.raises(DeviceFlowFailed, match=told) as caught:
        begin(transport, answer)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"user_code": "\x1b[2J"},
        {"user_code": ""},
        {"verification_uri": "javascript:alert(1)"},
        {"verification_uri": "https://github.com/\x1b[2J"},
        {"expires_in": 0},
        {"expires_in": "soon"},
        {"device_code": ""},
    ],
)
def test_a_code_that_cannot_be_shown_or_used_is_refused(transport: Transport, bad: dict[str, object]) -> None:
    good = {"device_code": "c0de", "user_code": "A-1", "verification_uri": "https://x.example/", "expires_in": 60}
    assert begin(transport, said(good)).user_code == "A-1"
    with pytest.raises(DeviceFlowFailed, match="no usable code"):
        begin(transport, said(good | bad))


def test_absurd_numbers_are_bounded(transport: Transport) -> None:
    absurd = {"device_code": "c", "user_code": "A", "verification_uri": "https://x/", "expires_in": 10**9 - 1}
    assert begin(transport, said(absurd | {"interval": -1})).expires_in_seconds == 3600
    assert begin(transport, said(absurd | {"interval": -1})).interval_seconds == 5


def test_neither_code_nor_token_is_logged(transport: Transport, waits: Waits, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    code = DeviceCode("ABCD-1234", "https://x.example/", 900, 5, "dev1ce-c0de-canary")
    assert poll(transport, waits, http(b"", 502), refused("slow_down"), said(GRANTED), code=code) == CANARY
    assert "device_poll_failed" in caplog.text
    assert CANARY not in caplog.text
    assert code.device_code not in caplog.text + repr(code)
