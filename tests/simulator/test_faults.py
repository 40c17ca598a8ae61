"""What each kind of fault does to an answer on the wire."""

import http.client
import json
import socket
import time
from typing import Any

import pytest

from copilotapi.simulator import Fault, FaultError, Simulator
from tests.simulator.client import Client, read_until, spoken

HELLO = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def chunks(sock: socket.socket) -> list[bytes]:
    """The chunks of a chunked body, exactly as they were framed; b"" last when it was properly ended."""
    received = read_until(sock, b"\r\n\r\n")
    rest = received.partition(b"\r\n\r\n")[2]
    while part := sock.recv(65_536):
        rest += part
        if rest.endswith(b"0\r\n\r\n"):
            break
    found = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        found.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    return found


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ({"status": 401}, 401, "unauthorized: token expired"),
        ({"status": 402}, 402, '"code":"quota_exceeded"'),
        ({"status": 403}, 403, "access to this endpoint is forbidden"),
        ({"status": 413}, 413, '{"error":{"message":"failed to parse request","code":""}}'),
        ({"status": 422}, 422, '"code":"content_filter"'),
        ({"status": 429, "code": "model_overloaded"}, 429, '"code":"model_overloaded"'),
        ({"status": 429, "code": "extension_blocked"}, 429, '"type":"rate_limit_error"'),
        ({"status": 429, "code": "rate_limited:chat", "message": "slow"}, 429, '"message":"slow"'),
        ({"status": 466}, 466, "client version not supported"),
        ({"status": 499}, 499, "cancelled"),
        ({"status": 502}, 502, "<html>"),
        ({"status": 503}, 503, "upstream connect error"),
        ({"status": 400, "text": "off_topic"}, 400, "off_topic"),
    ],
)
def test_a_status_has_the_body_that_copilot_gives_it(
    simulator: Simulator, client: Client, fault: dict[str, Any], status: int, text: str
) -> None:
    simulator.faults.push({"kind": "status", "path": "chat"} | fault)
    got = client.chat()
    assert got.status == status
    assert text in got.text
    assert got.headers["x-github-request-id"]
    assert client.chat().status == 200


def test_a_status_may_say_when_to_come_back(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "chat", status=429, retry_after=2, bucket="user_model"))
    got = client.chat()
    assert (got.headers["retry-after"], got.headers["x-ratelimit-exceeded"]) == ("2", "user_model")
    simulator.faults.push(Fault("status", "chat", status=402, retry_after="Wed, 01 Jan 2031 00:00:00 GMT"))
    assert client.chat().headers["retry-after"].endswith("GMT")


@pytest.mark.parametrize(
    ("status", "message"),
    [(401, "Bad credentials"), (403, "API rate limit exceeded for user ID 1."), (404, "Not Found")],
)
def test_github_words_its_refusals_otherwise(simulator: Simulator, client: Client, status: int, message: str) -> None:
    simulator.faults.push(Fault("status", "token", status=status))
    got = client.github("GET", "/copilot_internal/v2/token")
    assert (got.status, got.json()["message"]) == (status, message)


def test_a_200_without_a_copilot_token_can_be_made(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "token", status=200, text="{}", content_type="application/json"))
    assert client.exchange() == {}


def test_a_delay_comes_before_the_head(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("delay", "chat", delay_seconds=0.3))
    began = time.monotonic()
    with client.raw("/chat/completions", HELLO) as sock:
        sock.recv(1)
        assert 0.25 < time.monotonic() - began < 5


def test_a_hang_never_begins(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("hang", "chat"))
    with client.raw("/chat/completions", HELLO) as sock:
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)


@pytest.mark.parametrize("after_events", [0, 1, 5])
def test_a_cut_closes_after_so_many_events_without_an_end(
    simulator: Simulator, client: Client, after_events: int
) -> None:
    client.headers()
    simulator.faults.push(Fault("cut", "chat", after_events=after_events))
    with client.raw("/chat/completions", HELLO) as sock:
        found = chunks(sock)
    assert len(found) == after_events
    assert b"" not in found


def test_a_cut_can_be_in_the_middle_of_an_event(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("cut", "chat", after_bytes=7))
    with client.raw("/chat/completions", HELLO) as sock:
        assert b"".join(chunks(sock)) == b"data: {"


def test_a_cut_beyond_the_end_takes_only_the_end(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("cut", "chat", after_events=10_000))
    with client.raw("/chat/completions", HELLO) as sock:
        found = chunks(sock)
    assert found[-1] == b"data: [DONE]\n\n"


def test_a_cut_takes_half_of_a_whole_answer(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("cut", "chat"))
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.chat()
    assert len(caught.value.partial) == pytest.approx(caught.value.expected or 0, abs=1)


@pytest.mark.parametrize("numbers", [{}, {"after_events": 2}, {"after_bytes": 0}])
def test_a_reset_is_a_tcp_reset(simulator: Simulator, client: Client, numbers: dict[str, int]) -> None:
    client.headers()
    simulator.faults.push({"kind": "reset", "path": "chat"} | numbers)
    with pytest.raises(ConnectionResetError):
        client.stream()


def test_a_stall_keeps_the_connection_and_says_nothing(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("stall", "chat", after_events=2))
    with client.raw("/chat/completions", HELLO) as sock:
        received = read_until(sock, b'"usage":null}\n\n\r\n')
        sock.settimeout(0.2)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        assert received.count(b"data: ") == 2


def test_a_stall_with_an_end_goes_on_afterwards(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("stall", "chat", after_events=2, stall_seconds=0.2))
    began = time.monotonic()
    assert client.stream().events()[-1] == "[DONE]"
    assert time.monotonic() - began > 0.15


def test_a_stalled_whole_answer_stops_in_its_middle(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("stall", "chat", stall_seconds=0.05))
    assert client.chat().json()["choices"]


def test_an_early_end_is_a_clean_one(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("end", "chat", after_events=4))
    events = client.stream().events()
    assert len(events) == 4
    assert "[DONE]" not in events


def test_an_early_end_leaves_half_of_a_whole_answer(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("end", "chat"))
    with pytest.raises(json.JSONDecodeError):
        client.chat().json()


def test_garbage_comes_between_good_events(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("garbage", "chat", after_events=2))
    records = client.stream().text.split("\n\n")
    assert json.loads(records[1][6:])
    with pytest.raises(json.JSONDecodeError):
        json.loads(records[2][6:])
    assert records[-2] == "data: [DONE]"


def test_garbage_replaces_a_whole_answer(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("garbage", "chat", text="<html>"))
    got = client.chat()
    assert (got.status, got.text) == (200, "<html>")


def test_an_error_ends_a_200(simulator: Simulator, client: Client) -> None:
    fault = Fault("error", "chat", after_events=3, code="model_overloaded", message='it is "busy"', times=2)
    simulator.faults.push(fault)
    error = {"error": {"message": 'it is "busy"', "code": "model_overloaded"}}
    assert client.stream().events()[3:] == [error]
    whole = client.chat()
    assert (whole.status, whole.json()) == (200, error)


def test_split_utf8_ends_chunks_inside_characters(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("split_utf8", "chat", times=2))
    with client.raw("/chat/completions", HELLO) as sock:
        found = chunks(sock)
    assert any(_ends_inside_a_character(chunk) for chunk in found)
    assert "“hello”" in spoken(client.stream().events())


def _ends_inside_a_character(chunk: bytes) -> bool:
    try:
        chunk.decode()
    except UnicodeDecodeError as exc:
        return exc.reason == "unexpected end of data"
    return False


def test_a_drip_is_a_few_bytes_at_a_time(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.faults.push(Fault("drip", "chat", piece_bytes=50, pause_seconds=0.0))
    with client.raw("/chat/completions", HELLO) as sock:
        found = chunks(sock)
    assert max(map(len, found)) == 50
    assert b"".join(found).endswith(b"data: [DONE]\n\n")


def test_crlf_ends_lines_otherwise(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("crlf", "chat"))
    text = client.stream().text
    assert text.endswith("data: [DONE]\r\n\r\n")
    assert text.count("\n") == text.count("\r\n")


def test_comments_come_before_events(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("comments", "chat"))
    assert client.stream().text.startswith(": keep-alive\n\ndata: ")


@pytest.mark.parametrize("streams", [False, True])
def test_close_delimited_ends_with_the_connection(simulator: Simulator, client: Client, streams: bool) -> None:
    simulator.faults.push(Fault("close_delimited", "chat"))
    got = client.stream() if streams else client.chat()
    assert got.headers["connection"] == "close"
    assert {"content-length", "transfer-encoding"}.isdisjoint(got.headers)
    assert got.body


def test_expire_refuses_all_tokens_at_once(simulator: Simulator, client: Client) -> None:
    other = Client(simulator)
    assert other.chat().status == client.chat().status == 200
    simulator.faults.push(Fault("expire", "chat"))
    assert [client.chat().status, other.chat().status] == [401, 401]


def test_an_answer_can_be_wished_for(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("answer", "chat", text="yes", finish_reason="content_filter"))
    (choice,) = client.chat().json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("yes", "content_filter")
    assert choice["content_filter_results"]["violence"]["filtered"] is True


def test_faults_of_several_kinds_add_up(simulator: Simulator, client: Client) -> None:
    for fault in (
        Fault("crlf", "chat"),
        Fault("drip", "chat", pause_seconds=0.0),
        Fault("end", "chat", after_events=3),
    ):
        simulator.faults.push(fault)
    text = client.stream().text
    assert text.count("data: ") == 3
    assert "\r\n\r\n" in text


def statuses(client: Client, count: int, model: str = "gpt-4.1") -> list[int]:
    return [client.chat(model=model).status for _ in range(count)]


def test_a_fault_happens_as_often_as_it_says(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "chat", status=503, times=2))
    assert statuses(client, 4) == [503, 503, 200, 200]
    simulator.faults.push(Fault("status", "chat", status=503, times=0))
    assert statuses(client, 4) == [503] * 4
    simulator.faults.clear()
    assert statuses(client, 1) == [200]


def test_a_fault_can_happen_to_every_third(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "chat", status=503, times=2, every=3))
    assert statuses(client, 9) == [200, 200, 503, 200, 200, 503, 200, 200, 200]


def test_faults_of_one_kind_wait_for_each_other(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "chat", status=503))
    simulator.faults.push(Fault("status", "chat", status=500))
    assert statuses(client, 3) == [503, 500, 200]


def test_a_fault_can_aim_at_one_model(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "inference", status=503, times=0, model="gpt-4o"))
    assert statuses(client, 1) + statuses(client, 1, "gpt-4o") == [200, 503]


@pytest.mark.parametrize("path", ["*", "models", "capi", "/models"])
def test_a_fault_can_aim_at_everything_a_host_an_endpoint_or_a_path(
    simulator: Simulator, client: Client, path: str
) -> None:
    client.headers()
    simulator.faults.push(Fault("status", path, status=503))
    assert client.ask("GET", "/models").status == 503


def test_a_fault_leaves_other_endpoints_alone(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("status", "responses", status=503))
    assert client.chat().status == 200
    assert len(simulator.faults.waiting()) == 1


@pytest.mark.parametrize(
    ("wire", "words"),
    [
        ({}, "needs a kind"),
        ([], "JSON object"),
        ({"kind": "explode"}, "unknown kind 'explode'"),
        ({"kind": "status"}, "'status' needs status"),
        ({"kind": "delay"}, "'delay' needs delay_seconds"),
        ({"kind": "status", "status": "many"}, "status must be an integer"),
        ({"kind": "status", "status": True}, "status must be an integer"),
        ({"kind": "status", "status": 99}, "between 200 and 599"),
        ({"kind": "status", "status": 500, "retry_after": "1\r\nx: y"}, "no line breaks"),
        ({"kind": "cut", "after_event": 2}, "unknown field 'after_event'"),
        ({"kind": "cut", "status": 500}, "'cut' has no field 'status'"),
        ({"kind": "cut", "after_events": -1}, "must not be negative"),
        ({"kind": "cut", "after_events": 1.5}, "must be an integer"),
        ({"kind": "delay", "delay_seconds": float("nan")}, "must be a number"),
        ({"kind": "cut", "path": "chats"}, "no endpoint or group is called 'chats'"),
        ({"kind": "cut", "path": None}, "path must be text"),
        ({"kind": "cut", "every": 0}, "every must be 1 or more"),
        ({"kind": "drip", "piece_bytes": 0}, "piece_bytes must be 1 or more"),
        ({"kind": "answer", "tools": "some"}, "tools must be one of"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(simulator: Simulator, wire: Any, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        simulator.faults.push(wire)
    assert simulator.faults.waiting() == []
