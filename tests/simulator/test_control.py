"""The controls under /_simulator/, and the record they show."""

import threading
import time
from typing import Any

import pytest

from copilotapi.simulator import SCENARIOS, Recorded, Simulator, recorder
from tests.simulator.client import Client


def test_the_record_has_all_of_a_request(simulator: Simulator, client: Client) -> None:
    before = time.monotonic()
    client.chat("mark-42")
    (chat,) = simulator.recorder.to("chat")
    assert (chat.method, chat.path, chat.endpoint) == ("POST", "/chat/completions", "chat")
    assert chat.headers["editor-version"] == "vscode/1.104.1"
    assert chat.headers["authorization"].startswith("Bearer tid=")
    assert b"mark-42" in chat.body
    assert before <= chat.at <= time.monotonic()
    assert simulator.recorder.wait_for(lambda: chat.status == 200, 5)


def test_counts_know_every_endpoint_and_zero(simulator: Simulator, client: Client) -> None:
    client.chat()
    client.chat()
    client.send("GET", "/nowhere")
    assert simulator.recorder.counts() == {"token_exchange": 1, "chat": 2, "unknown": 1}
    assert simulator.recorder.counts()["models"] == 0


def test_wait_for_returns_when_it_happens_and_false_when_not(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push({"kind": "hang", "path": "chat", "times": 0})
    waited: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["chat"] == 1, 10)
        waited.append(time.monotonic() - began)

    waiting = threading.Thread(target=wait)
    waiting.start()
    with client.raw("/chat/completions", {}):
        waiting.join()
    assert waited[0] < 5
    assert not simulator.recorder.wait_for(lambda: False, 0.01)


def test_the_record_is_bounded_and_its_counts_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_KEPT_BODY_BYTES", 100)
    kept = recorder.Recorder()
    for number in range(12_000):
        kept.add(Recorded("POST", "/", {}, b"x" * 60 if number % 5_000 == 0 else b"", "chat", 0.0))
    assert len(kept.requests) <= 10_000
    assert sum(len(one.body) for one in kept.requests) <= 100
    assert kept.counts() == {"chat": 12_000}


def test_requests_are_shown_without_credentials(simulator: Simulator, client: Client) -> None:
    client.chat("mark-42")
    got = client.send("GET", "/_simulator/requests?endpoint=chat")
    (shown,) = got.json()["requests"]
    assert shown["path"] == "/chat/completions"
    assert "mark-42" in shown["body"]
    assert shown["headers"]["authorization"].startswith("Bearer sha256:")
    whole = client.send("GET", "/_simulator/requests").text
    assert str(client.bearer) not in whole
    assert client.github_token not in whole
    assert len(client.send("GET", "/_simulator/requests").json()["requests"]) == 2


def test_controls_are_not_recorded_and_no_fault_hits_them(simulator: Simulator, client: Client) -> None:
    simulator.faults.push({"kind": "status", "status": 503, "times": 0})
    assert client.send("GET", "/_simulator/counts").json() == {}


def test_faults_are_pushed_shown_and_forgotten(simulator: Simulator, client: Client) -> None:
    fault = {"kind": "status", "path": "chat", "status": 503}
    got = client.send("POST", "/_simulator/faults", [fault, {"kind": "crlf"}])
    assert [one["kind"] for one in got.json()["faults"]] == ["status", "crlf"]
    assert client.chat().status == 503
    assert [one["kind"] for one in client.send("GET", "/_simulator/faults").json()["faults"]] == []
    client.send("POST", "/_simulator/faults", fault)
    assert client.send("DELETE", "/_simulator/faults").json() == {"faults": []}
    assert client.chat().status == 200


@pytest.mark.parametrize(
    "wire", [{"kind": "explode"}, [{"kind": "crlf"}, {"kind": "cut", "times": -1}], 7, b"{nonsense"]
)
def test_a_malformed_fault_is_a_400_and_none_is_taken(simulator: Simulator, client: Client, wire: Any) -> None:
    got = client.send("POST", "/_simulator/faults", wire)
    assert got.status == 400
    assert got.json()["error"]
    assert simulator.faults.waiting() == []


def test_tokens_can_be_expired(client: Client) -> None:
    client.headers()
    assert client.send("POST", "/_simulator/expire").status == 200
    assert client.chat().status == 401


def test_reset_starts_over_and_keeps_tokens(simulator: Simulator, client: Client) -> None:
    client.ask("POST", "/models/claude-sonnet-5/policy", {"state": "enabled"})
    simulator.faults.push({"kind": "status", "status": 503, "times": 0})
    assert client.send("POST", "/_simulator/reset").json() == {"scenario": "normal"}
    assert simulator.recorder.requests == []
    assert client.chat().status == 200
    assert client.chat(model="claude-sonnet-5").status == 400


def test_reset_can_change_the_scenario(simulator: Simulator, client: Client) -> None:
    client.headers()
    assert client.send("POST", "/_simulator/reset", {"scenario": "rate-limited"}).json() == {"scenario": "rate-limited"}
    assert client.chat().status == 429
    told = client.send("GET", "/_simulator/scenarios").json()
    assert told["scenario"] == "rate-limited"
    assert told["scenarios"].keys() == SCENARIOS.keys()
    assert client.send("POST", "/_simulator/reset", {"scenario": "nowhere"}).status == 400
    assert client.send("POST", "/_simulator/reset", {"scene": "flaky"}).status == 400


def test_unknown_controls_and_wrong_methods_are_refused(client: Client) -> None:
    assert client.send("GET", "/_simulator/nowhere").status == 404
    got = client.send("PUT", "/_simulator/faults")
    assert (got.status, got.headers["allow"]) == (405, "GET, POST, DELETE")
