"""How many answers one worker streams at a time (MAX_STREAMS)."""

import json
from http.client import HTTPConnection

from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess


def open_stream(gateway: GatewayProcess) -> HTTPConnection:
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    prompt = "[[simulate: stall after_events=3]]"
    body = {"model": "gpt-4.1", "stream": True, "messages": [{"role": "user", "content": prompt}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
    return connection


def test_streams_over_the_limit_are_refused_at_once_and_admitted_when_one_has_gone(simulator: Simulator) -> None:
    with GatewayProcess(simulator.url, MAX_STREAMS="2") as gateway:
        opened = [open_stream(gateway) for _ in range(2)]
        for connection in opened:
            assert connection.getresponse().read1()
        refused = gateway.chat("Hello", stream=True)
        assert (refused.status, refused.json["error"]["code"]) == (429, "gateway_streams_full")
        assert refused.headers["Retry-After"] == "5"
        assert gateway.chat("Hello").status == 200
        assert gateway.request("GET", "/health").status == 200
        assert "copilotapi_open_streams 2.0" in gateway.request("GET", "/metrics").body.decode()
        for connection in opened:
            connection.close()
        assert simulator.recorder.wait_for(
            lambda: sum(bool(request.client_gone_at) for request in simulator.recorder.requests) == 2, timeout_seconds=5
        )
        statuses = [gateway.chat("Hello", stream=True).status for _ in range(20)]
        assert statuses[-1] == 200
        assert "copilotapi_open_streams 0.0" in gateway.request("GET", "/metrics").body.decode()


def test_a_field_of_any_name_is_told_as_lost_without_breaking_the_head(simulator: Simulator) -> None:
    body = {"x\r\nEvil: 1": 1, "☃": 2, "y" * 5000: 3, "seed": 4}
    with GatewayProcess(simulator.url) as gateway:
        for stream in (False, True):
            reply = gateway.chat("Hello", model="gpt-5.1-codex", stream=stream, **body)
            assert reply.status == 200
            assert "Evil" not in reply.headers
            assert reply.headers["X-CopilotAPI-Warnings"].startswith("dropped:")
