"""What each scenario does, and that the page about them tells the same."""

import http.client
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from copilotapi.simulator import SCENARIOS, Settings, Simulator
from copilotapi.simulator.directives import faults_in
from copilotapi.simulator.faults import KINDS
from tests.simulator.client import Client, spoken

PAGE = Path(__file__).parents[2] / "docs" / "simulator.md"
HELLO = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def in_scenario(name: str) -> Simulator:
    return Simulator(scenario=name, settings=Settings(device_interval_seconds=0))


def is_cut(client: Client) -> bool:
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.stream()
    return caught.value.partial.count(b"data: ") == 3


def is_silent(client: Client, after_events: int) -> bool:
    with client.raw("/chat/completions", HELLO) as sock:
        sock.settimeout(0.3)
        received = b""
        try:
            while part := sock.recv(65_536):
                received += part
        except TimeoutError:
            return received.count(b"data: ") == after_events
    return False


def every_third(client: Client, status: int) -> bool:
    return [client.chat().status for _ in range(6)] == [200, 200, status, 200, 200, status]


def third_is_reset(client: Client) -> bool:
    assert [client.chat().status for _ in range(2)] == [200, 200]
    with pytest.raises(ConnectionResetError):
        client.chat()
    return True


def refused(status: int, words: str) -> Callable[[Client], bool]:
    def check(client: Client) -> bool:
        got = client.chat()
        return got.status == status and words in got.text

    return check


def exchange_refused(status: int, words: str) -> Callable[[Client], bool]:
    def check(client: Client) -> bool:
        got = client.github("GET", "/copilot_internal/v2/token")
        return got.status == status and words in got.text

    return check


def signs_in_to(error: str) -> Callable[[Client], bool]:
    def check(client: Client) -> bool:
        code = client.send("POST", "/login/device/code", {"client_id": "x"}, Accept="application/json").json()
        body = {"device_code": code["device_code"], "grant_type": "urn:ietf:params:oauth:grant-type:device_code"}
        polls = [client.send("POST", "/login/oauth/access_token", body, Accept="application/json") for _ in range(2)]
        return bool(polls[1].json()["error"] == error)

    return check


def quota_is_out(client: Client) -> bool:
    premium = client.chat(model="claude-sonnet-4.5")
    return (premium.status, premium.code, client.chat().status) == (402, "quota_exceeded", 200)


def only_models_fail(client: Client) -> bool:
    return (client.ask("GET", "/models").status, client.chat().status) == (503, 200)


def only_the_default_fails(client: Client) -> bool:
    return (client.chat().code, client.chat(model="gpt-4o").status) == ("model_overloaded", 200)


def fifth_finds_its_token_expired(client: Client) -> bool:
    return [client.chat().status for _ in range(5)] == [200, 200, 200, 200, 401]


def works_direct(client: Client) -> bool:
    assert client.github("GET", "/copilot_internal/v2/token").status == 404
    client.bearer = client.github_token
    return client.chat().status == 200


def is_slow(client: Client) -> bool:
    began = time.monotonic()
    client.stream("[[simulate: words=4]]")
    return time.monotonic() - began > 0.2


CHECKS: dict[str, Callable[[Client], bool]] = {
    "normal": lambda client: client.chat().status == 200,
    "chunked-slowly": is_slow,
    "slow-first-byte": lambda client: (
        is_silent(client, 0) and SCENARIOS["slow-first-byte"].faults[0].delay_seconds == 5
    ),
    "hangs": lambda client: is_silent(client, 0),
    "stalls": lambda client: is_silent(client, 3),
    "cut-streams": is_cut,
    "early-end": lambda client: len(client.stream().events()) == 4,
    "error-in-stream": lambda client: "error" in client.stream().events()[3],
    "garbage": lambda client: '{"con\n\n' in client.stream().text,
    "resets": third_is_reset,
    "flaky": lambda client: every_third(client, 503),
    "crlf": lambda client: client.stream().text.endswith("\r\n\r\n"),
    "comments": lambda client: client.stream().text.startswith(":"),
    "split-utf8": lambda client: "“hello”" in spoken(client.stream().events()),
    "drip": lambda client: client.stream().events()[-1] == "[DONE]",
    "rate-limited": refused(429, "user_global_rate_limited"),
    "weekly-limit": refused(429, "user_weekly_rate_limited"),
    "model-overloaded": only_the_default_fails,
    "quota-exhausted": quota_is_out,
    "content-filter": lambda client: client.chat().json()["choices"][0]["finish_reason"] == "content_filter",
    "prompt-filtered": refused(422, "content_filter"),
    "too-large": refused(413, "failed to parse request"),
    "forbidden": refused(403, "access to this endpoint is forbidden"),
    "client-too-old": refused(466, "client version not supported"),
    "copilot-down": refused(502, "<html>"),
    "models-down": only_models_fail,
    "token-expires-fast": lambda client: client.exchange()["refresh_in"] == 4,
    "token-expired-early": fifth_finds_its_token_expired,
    "clock-skew": lambda client: client.exchange()["expires_at"] < time.time() and client.chat().status == 200,
    "no-endpoints": lambda client: (
        "endpoints" not in client.exchange() and "proxy-ep" not in client.exchange()["token"]
    ),
    "proxy-ep-only": lambda client: ";proxy-ep=127.0.0.1;" in client.exchange()["token"],
    "token-refused": exchange_refused(401, "Bad credentials"),
    "no-seat": exchange_refused(403, "no_copilot_access"),
    "no-licence": exchange_refused(404, "Not Found"),
    "github-rate-limited": exchange_refused(403, "API rate limit exceeded"),
    "github-down": exchange_refused(503, "Service Unavailable"),
    "direct-only": works_direct,
    "sign-in-denied": signs_in_to("access_denied"),
    "sign-in-expired": signs_in_to("expired_token"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_does_what_it_says(name: str) -> None:
    with in_scenario(name) as simulator:
        assert CHECKS[name](Client(simulator))


def test_the_page_lists_exactly_the_scenarios_there_are() -> None:
    table = PAGE.read_text().partition("## Scenarios")[2].partition("\n## ")[0]
    told = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (.+) \|$", table, re.MULTILINE))
    assert told == {name: scenario.description for name, scenario in SCENARIOS.items()}


def test_the_page_lists_exactly_the_kinds_and_their_fields() -> None:
    table = PAGE.read_text().partition("| Kind |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(\w+)` \| .+ \| (.*)\|$", table, re.MULTILINE)
    told = {kind: set(re.findall(r"`(\w+)`", cells.partition("(")[0])) for kind, cells in rows}
    assert told == {
        kind: set(fields) or ({"delay_seconds"} if kind == "delay" else set()) for kind, fields in KINDS.items()
    }


def test_the_examples_on_the_page_are_understood() -> None:
    examples = re.findall(r"^Hello (\[\[simulate:.+\]\])$", PAGE.read_text(), re.MULTILINE)
    assert [len(faults_in(example)) for example in examples] == [1] * 6
