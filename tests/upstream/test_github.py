"""What GitHub's answers mean, by copilot-wire 2.2 to 2.6, over real sockets."""

import email.utils
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from copilotapi.upstream.github import EXCHANGE_CLOCKS, ExchangedToken, ExchangeRefused, GitHub
from copilotapi.upstream.headers import Identification
from copilotapi.upstream.transport import Transport
from tests.raw_server import RawServer, answering, read_request

IDENTIFICATION = Identification("vscode/1", "copilot-chat/1", "vscode-chat", "2026-06-01")
GITHUB_TOKEN = "gho_of_a_test"
COPILOT_TOKEN = "tid=1;exp=1893456000;sku=s:" + "0" * 64
DATE = "Sat, 21 Nov 2026 10:00:00 GMT"
ANSWERED_AT = email.utils.parsedate_to_datetime(DATE).timestamp()


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport()
    yield transport
    transport.close()


def http(status: int, body: bytes | dict[str, Any], **headers: str) -> bytes:
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Length": str(len(payload)), "Date": DATE, **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + payload


def exchange(transport: Transport, answer: bytes) -> ExchangedToken:
    with RawServer(answering(answer)) as server:
        return GitHub(transport, server.url, IDENTIFICATION).exchange(GITHUB_TOKEN)


def refused(transport: Transport, answer: bytes) -> ExchangeRefused:
    with pytest.raises(ExchangeRefused) as caught:
        exchange(transport, answer)
    return caught.value


def test_an_exchange_gives_token_life_and_hosts(transport: Transport) -> None:
    endpoints = {"api": "https://api.individual.githubcopilot.com"}
    answer = {"token": COPILOT_TOKEN, "refresh_in": 1500, "expires_at": 1, "endpoints": endpoints, "sku": "yearly"}
    assert exchange(transport, http(200, answer)) == ExchangedToken(COPILOT_TOKEN, 1560.0, endpoints, "yearly")


def test_the_request_is_the_one_that_github_knows(transport: Transport) -> None:
    asked: list[bytes] = []

    def script(connection: Any, number: int) -> None:
        asked.append(read_request(connection))
        connection.sendall(http(200, {"token": COPILOT_TOKEN}))

    with RawServer(script) as server:
        GitHub(transport, server.url, IDENTIFICATION).exchange(GITHUB_TOKEN)
    assert asked[0].startswith(b"GET /copilot_internal/v2/token HTTP/1.1\r\n")
    assert f"Authorization: token {GITHUB_TOKEN}\r\n".encode() in asked[0]


@pytest.mark.parametrize(
    ("told", "life_seconds"),
    [
        ({"refresh_in": 1500}, 1560.0),
        ({"refresh_in": 1500, "expires_at": ANSWERED_AT - 9999}, 1560.0),
        ({"refresh_in": 0, "expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"refresh_in": -5, "expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"refresh_in": True, "expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"refresh_in": "1500", "expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"refresh_in": 10**9, "expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"expires_at": ANSWERED_AT + 1800}, 1800.0),
        ({"expires_at": (ANSWERED_AT + 1800) * 1000}, 3600.0),
        ({"expires_at": ANSWERED_AT - 1}, 30.0),
        ({"expires_at": True}, 30.0),
        ({}, 30.0),
    ],
)
def test_the_life_is_counted_by_githubs_clock_not_by_ours(
    transport: Transport, told: dict[str, Any], life_seconds: float
) -> None:
    assert exchange(transport, http(200, {"token": COPILOT_TOKEN, **told})).life_seconds == life_seconds


NO_SEAT = {
    "error_details": {"message": "No access to Copilot.", "url": "https://github.com/signup", "notification_id": "x"},
    "message": "Resource not accessible by integration",
}


@pytest.mark.parametrize(
    ("answer", "code", "temporary", "text"),
    [
        (http(401, {"message": "Bad credentials"}), "copilot_sign_in_required", False, "GITHUB_COPILOT_TOKEN"),
        (http(403, NO_SEAT), "copilot_access_refused", False, "No access to Copilot. See https://github.com/signup"),
        (http(200, NO_SEAT), "copilot_access_refused", False, "No access to Copilot."),
        (
            http(403, {"message": "Resource not accessible by personal access token"}),
            "copilot_access_refused",
            False,
            "personal access token",
        ),
        (http(403, b"<html>"), "copilot_access_refused", False, "refuses Copilot to this account."),
        (http(403, {"error_details": ["odd"]}), "copilot_access_refused", False, "refuses Copilot"),
        (
            http(403, {"message": "API rate limit exceeded for user ID 1."}),
            "copilot_token_unavailable",
            True,
            "limits the requests",
        ),
        (http(404, {"message": "Not Found"}), "copilot_access_refused", False, "no Copilot for this account"),
        (http(429, b""), "copilot_token_unavailable", True, "limits the requests"),
        (http(302, b"", Location="https://evil.example"), "copilot_token_unavailable", True, "redirect"),
        (http(500, b"oops"), "copilot_token_unavailable", True, "answered 500"),
        (http(200, b"no json"), "copilot_token_unavailable", True, "not JSON"),
        (http(200, b"[]"), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {"token": 7}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {"token": ""}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {"token": "a\r\nX-Injected: 1"}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {"token": "tökén"}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, {"token": "t" * 20_000}), "copilot_token_unavailable", True, "no usable token"),
        (http(200, b'{"token": "' + b"t" * 1_100_000 + b'"}'), "copilot_token_unavailable", True, "too long"),
        (http(200, b"\x1f\x8b", Content_Encoding="gzip"), "copilot_token_unavailable", True, "compressed"),
        (http(200, {"token": COPILOT_TOKEN})[:-5], "copilot_token_unavailable", True, "GitHub gave no answer"),
        (b"", "copilot_token_unavailable", True, "GitHub gave no answer"),
    ],
)
def test_every_other_answer_is_a_refusal_that_says_what_to_do(
    transport: Transport, answer: bytes, code: str, temporary: bool, text: str
) -> None:
    refusal = refused(transport, answer)
    assert (refusal.code, refusal.temporary) == (code, temporary)
    assert text in refusal.message
    assert "\n" not in refusal.message
    assert "Copilot closed" not in refusal.message


@pytest.mark.parametrize(
    "page", ["https://github.com/signup?editor={EDITOR}", "javascript:alert(1)", "https://a\nb", 7]
)
def test_an_address_nobody_can_open_is_not_shown(transport: Transport, page: object) -> None:
    answer = {"error_details": {"message": "No access.", "url": page}}
    assert refused(transport, http(403, answer)).message == "GitHub refuses Copilot to this account: No access."


@pytest.mark.parametrize(
    ("retry_after", "pause_seconds"),
    [("7", 7.0), ("0", 1.0), ("-9", 1.0), ("99999", 3600.0), ("inf", 3600.0), ("nan", None), ("soon", None)],
)
def test_githubs_wish_for_a_pause_is_kept_within_an_hour(
    transport: Transport, retry_after: str, pause_seconds: float | None
) -> None:
    assert refused(transport, http(429, b"", Retry_After=retry_after)).pause_seconds == pause_seconds


def test_a_pause_may_be_told_as_a_date(transport: Transport) -> None:
    until = email.utils.formatdate(time.time() + 600, usegmt=True)
    assert refused(transport, http(429, b"", Retry_After=until)).pause_seconds == pytest.approx(600, abs=5)


def test_an_answer_in_drips_does_not_hold_the_exchange_for_ever(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert EXCHANGE_CLOCKS.total_seconds == 10
    monkeypatch.setattr(
        "copilotapi.upstream.github.EXCHANGE_CLOCKS", type(EXCHANGE_CLOCKS)(1, 0.5, 0.5, total_seconds=0.5)
    )
    over = threading.Event()

    def drip(connection: Any, number: int) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while not over.wait(0.1):
            connection.sendall(b"X-Drip: 1\r\n")

    with RawServer(drip) as server:
        started = time.monotonic()
        with pytest.raises(ExchangeRefused) as caught:
            GitHub(transport, server.url, IDENTIFICATION).exchange(GITHUB_TOKEN)
        over.set()
    assert caught.value.temporary
    assert time.monotonic() - started < 5


def test_the_account_is_told_as_github_tells_it(transport: Transport) -> None:
    with RawServer(answering(http(200, {"copilot_plan": "individual"}))) as server:
        assert GitHub(transport, server.url, IDENTIFICATION).user(GITHUB_TOKEN) == {"copilot_plan": "individual"}
    with RawServer(answering(http(401, b""))) as server, pytest.raises(ExchangeRefused):
        GitHub(transport, server.url, IDENTIFICATION).user(GITHUB_TOKEN)


@pytest.mark.parametrize(("status", "accepts"), [(200, True), (401, False), (403, False), (404, False)])
def test_a_token_works_directly_if_copilot_lists_models_for_it(
    transport: Transport, status: int, accepts: bool
) -> None:
    asked: list[bytes] = []

    def script(connection: Any, number: int) -> None:
        asked.append(read_request(connection))
        connection.sendall(http(status, {"data": []}))

    with RawServer(script) as server:
        github = GitHub(transport, "http://127.0.0.1:1", IDENTIFICATION)
        assert github.accepts_directly(GITHUB_TOKEN, server.url) is accepts
    assert asked[0].startswith(b"GET /models HTTP/1.1\r\n")
    assert f"Authorization: Bearer {GITHUB_TOKEN}\r\n".encode() in asked[0]
