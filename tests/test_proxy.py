"""CopilotProxy from outside: over its socket, with handlers of a few lines, and once in front of the simulator."""

import json
import logging
import queue
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import CompletionRequest
from copilotapi.proxy import CopilotProxy
from copilotapi.settings import Settings, SettingsError
from copilotapi.simulator import Simulator

SECONDS = 10.0
AUTH_TOKEN = "proxy-canary-key-0123456789"
CODEX = "/v1/engines/codex/completions"
OTHERS_ADDRESS = "0.0.0.0"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Away from the vocabularies, which take a second to load, and next to a `.env` that nobody may read."""
    (tmp_path / ".env").write_text("PORT=1\nNONSENSE=1\n")
    monkeypatch.setenv("HOST", "nonsense/")
    monkeypatch.chdir(tmp_path)


class Reply(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[str, str | None, str | None]:
        error = self.json["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        return error["type"], error["code"], error["param"]


def ask(
    proxy: CopilotProxy, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Reply:
    payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sent = {"Content-Type": "application/json"} if payload is not None else {}
    connection = HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)
    try:
        connection.request(method, path, payload, {**sent, **(headers or {})})
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def complete(proxy: CopilotProxy, prompt: object = "def f(", **more: object) -> Reply:
    return ask(proxy, "POST", CODEX, {"prompt": prompt, **more})


def bearer(auth_token: str = AUTH_TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {auth_token}"}


class Recording:
    """A handler that keeps what it was asked."""

    model = "parrot"

    def __init__(self) -> None:
        self.requests: list[CompletionRequest] = []

    def __call__(self, request: CompletionRequest) -> str:
        self.requests.append(request)
        return "x):"


class Held:
    """A handler that yields one piece, then waits to be let; `ended` when its generator has ended."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let = threading.Event()
        self.ended = threading.Event()

    def __call__(self, request: CompletionRequest) -> Iterator[str]:
        try:
            yield "first "
            self.entered.set()
            assert self.let.wait(SECONDS)
            yield "second"
        finally:
            self.ended.set()


@pytest.fixture
def held() -> Iterator[Held]:
    handler = Held()
    yield handler
    handler.let.set()


# The paths, and who may use them.


def test_the_originals_four_paths_answer() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "GET", "/health").json == {"status": "ok"}
        models = ask(proxy, "GET", "/v1/models").json
        assert models["object"] == "list"
        assert {"codex", "parrot"} <= {model["id"] for model in models["data"]}
        for path in ("/v1/completions", CODEX):
            answer = ask(proxy, "POST", path, {"prompt": "def f("}).json
            assert answer["object"] == "text_completion"
            assert [choice["text"] for choice in answer["choices"]] == ["x):"]
            assert answer["choices"][0]["finish_reason"] == "stop"
            assert answer.keys() >= {"id", "created", "model", "usage"}


@pytest.mark.parametrize("path", ["/v1/models?a=b", "/v1/models/", "/models"])
def test_a_query_and_a_trailing_slash_are_tolerated(path: str) -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "GET", path).status == 200


def test_a_wrong_method_is_405_and_tells_the_right_one() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        refused = ask(proxy, "GET", CODEX)
        assert refused.status == 405
        assert "POST" in refused.headers["Allow"]
        assert refused.error == ("invalid_request_error", "method_not_allowed", None)


@pytest.mark.parametrize("path", ["/nowhere", "/V1/models", "/v1/engines/codex"])
def test_an_unknown_path_is_404(path: str) -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "GET", path).error == ("invalid_request_error", "not_found", None)


def test_any_engine_is_served_by_the_handler() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "POST", "/v1/engines/gpt-41-copilot/completions", {"prompt": "a"}).status == 200


def test_head_and_options_answer() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert (ask(proxy, "HEAD", "/health").status, ask(proxy, "HEAD", "/health").body) == (200, b"")
        assert ask(proxy, "OPTIONS", CODEX).status == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (bearer("wrong"), 401),
        ({"Authorization": AUTH_TOKEN}, 401),
        ({"Authorization": f"Basic {AUTH_TOKEN}"}, 401),
        (bearer(), 200),
        ({"Authorization": f"bearer  {AUTH_TOKEN} "}, 200),
        ({"x-api-key": AUTH_TOKEN}, 200),
    ],
)
def test_the_auth_token_opens_the_models(headers: Mapping[str, str], status: int) -> None:
    with CopilotProxy(handler=Recording(), auth_token=AUTH_TOKEN) as proxy:
        reply = ask(proxy, "GET", "/v1/models", headers=headers)
        assert reply.status == status
        if status == 401:
            assert reply.error == ("invalid_request_error", "invalid_api_key", None)
            assert reply.headers["WWW-Authenticate"].startswith("Bearer")


def test_health_needs_no_token() -> None:
    with CopilotProxy(handler=Recording(), auth_token=AUTH_TOKEN) as proxy:
        assert ask(proxy, "GET", "/health").status == 200


def test_requiring_a_token_that_nobody_has_refuses_everyone() -> None:
    with CopilotProxy(handler=Recording(), require_auth=True) as proxy:
        for headers in ({}, bearer(), bearer("")):
            assert ask(proxy, "POST", CODEX, {"prompt": "a"}, headers).status == 401


@pytest.mark.parametrize("more", [{}, {"require_auth": True}])
def test_other_machines_are_not_served_without_a_token(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^host: .*auth_token[^\n]*$") as caught:
        CopilotProxy(handler=Recording(), host=OTHERS_ADDRESS, **more)
    assert isinstance(caught.value, SettingsError)


def test_with_a_token_any_address_can_be_listened_on() -> None:
    with CopilotProxy(handler=Recording(), host=OTHERS_ADDRESS, auth_token=AUTH_TOKEN) as proxy:
        assert proxy.url == f"http://127.0.0.1:{proxy.port}"
        with urllib.request.urlopen(f"{proxy.url}/health", timeout=SECONDS) as answer:
            assert answer.status == 200


def test_a_foreign_host_name_and_a_foreign_origin_are_refused() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "GET", "/health", headers={"Host": "evil.example"}).status == 421
        assert ask(proxy, "GET", "/health", headers={"Origin": "https://evil.example"}).status == 403


# The limit.


def test_the_limit_is_60_a_minute_and_refused_requests_spend_it() -> None:
    with CopilotProxy(handler=Recording(), auth_token=AUTH_TOKEN, rate_limit_per_minute=None) as proxy:
        for number in range(60):
            headers = {"X-Forwarded-For": f"192.0.2.{number}"}
            assert ask(proxy, "GET", "/v1/models" if number % 2 else "/nowhere", headers=headers).status in (401, 404)
        refused = ask(proxy, "GET", "/v1/models", headers=bearer())
        assert refused.status == 429
        assert refused.error == ("rate_limit_error", "rate_limit_exceeded", None)
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert refused.headers["X-RateLimit-Limit"] == "60"
        assert ask(proxy, "GET", "/health").status == 200
        assert proxy.request_count == 62


def test_the_whole_limit_is_given_and_can_be_switched_off() -> None:
    with CopilotProxy(handler=Recording(), rate_limit_per_minute=3) as proxy:
        assert [ask(proxy, "GET", "/v1/models").status for _ in range(4)] == [200, 200, 200, 429]
    with CopilotProxy(handler=Recording(), rate_limit_per_minute=0) as proxy:
        assert {ask(proxy, "GET", "/v1/models").status for _ in range(70)} == {200}


def test_two_proxies_share_nothing() -> None:
    with (
        CopilotProxy(handler=lambda _: "one", rate_limit_per_minute=1) as one,
        CopilotProxy(handler=lambda _: "two", rate_limit_per_minute=1, auth_token=AUTH_TOKEN) as two,
    ):
        assert one.port != two.port
        assert complete(one).json["choices"][0]["text"] == "one"
        assert ask(two, "POST", CODEX, {"prompt": "a"}, bearer()).json["choices"][0]["text"] == "two"
        assert (one.request_count, two.request_count) == (1, 1)


# Bodies, prompts and max_tokens.


def test_a_body_of_10_mib_is_taken_and_one_byte_more_is_413() -> None:
    handler = Recording()
    limit = 10 * 1024 * 1024
    with CopilotProxy(handler=handler) as proxy:
        body = b'{"prompt":"' + b"a" * (limit - 13) + b'"}'
        assert (len(body), ask(proxy, "POST", CODEX, body).status) == (limit, 200)
        refused = ask(proxy, "POST", CODEX, body + b" ")
        assert (refused.status, refused.error[1]) == (413, "request_too_large")
    assert [len(request.prompt) for request in handler.requests] == [limit - 13]


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"7", b"[]", b'"text"', b'{"prompt":"\xff"}', b"\xef\xbb\xbf{}"])
def test_a_body_that_is_no_json_object_is_400(body: bytes) -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        reply = ask(proxy, "POST", CODEX, body)
        assert (reply.status, reply.error[0]) == (400, "invalid_request_error")


def test_a_body_must_be_called_json() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "POST", CODEX, b'{"prompt":"a"}', {"Content-Type": "text/plain"}).status == 415


@pytest.mark.parametrize("prompt", [None, "", 0, False, 7, True, {}, {"a": 1}, [], [1, 2], ["a", 1], [""]])
def test_a_prompt_that_is_no_text_is_400_naming_the_field(prompt: object) -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert complete(proxy, prompt).error == ("invalid_request_error", None, "prompt")


def test_a_missing_prompt_is_told_in_the_originals_words() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert ask(proxy, "POST", CODEX, {}).json["error"]["message"] == "Missing required field: prompt"


def test_a_list_of_prompts_has_a_choice_each() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        assert [choice["index"] for choice in complete(proxy, ["a", "b"]).json["choices"]] == [0, 1]


@pytest.mark.parametrize(
    ("asked", "received"), [({}, 100), ({"max_tokens": None}, 100), ({"max_tokens": 7}, 7), ({"max_tokens": 501}, 500)]
)
def test_max_tokens_is_filled_in_and_clamped(asked: dict[str, object], received: int) -> None:
    handler = Recording()
    with CopilotProxy(handler=handler, max_tokens=100, max_tokens_limit=500) as proxy:
        assert complete(proxy, **asked).status == 200
    assert [request.max_tokens for request in handler.requests] == [received]


@pytest.mark.parametrize(("max_tokens", "received"), [(None, 200), (1000, 200)])
def test_the_default_of_max_tokens_is_clamped_too(max_tokens: int | None, received: int) -> None:
    handler = Recording()
    with CopilotProxy(handler=handler, max_tokens=max_tokens, max_tokens_limit=200) as proxy:
        assert complete(proxy).status == 200
    assert [request.max_tokens for request in handler.requests] == [received]


@pytest.mark.parametrize(
    "max_tokens", [b"0", b"-1", b'"abc"', b'"99999"', b"1.5", b"true", b"[9000]", b"1e400", b"NaN"]
)
def test_a_max_tokens_that_is_no_count_is_400(max_tokens: bytes) -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        reply = ask(proxy, "POST", CODEX, b'{"prompt":"a","max_tokens":' + max_tokens + b"}")
        assert (reply.status, reply.error[0]) == (400, "invalid_request_error")


def test_the_fields_of_the_request_reach_the_handler() -> None:
    handler = Recording()
    with CopilotProxy(handler=handler) as proxy:
        complete(proxy, "def f(", suffix="\n", temperature=0.5, top_p=0.9, stop=["\n\n"], language="python")
    [request] = handler.requests
    assert (request.prompt, request.suffix, request.temperature, request.top_p) == ("def f(", "\n", 0.5, 0.9)
    assert (request.stop, request.language, request.max_tokens) == (("\n\n",), "python", 256)


# Handlers that answer in pieces, fail, or are left.


def test_pieces_are_streamed_as_they_come(held: Held) -> None:
    with CopilotProxy(handler=held) as proxy:
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)
        body = json.dumps({"prompt": "a", "stream": True})
        connection.request("POST", CODEX, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.headers["Content-Type"].startswith("text/event-stream")
        first = b""
        while b"first" not in first:
            line = response.readline()
            assert line
            first += line
        held.let.set()
        rest = response.read()
        assert b"second" in rest
        assert rest.endswith(b"data: [DONE]\n\n")
        connection.close()


def test_a_caller_that_leaves_ends_the_handler() -> None:
    ended = threading.Event()

    def endless(request: CompletionRequest) -> Iterator[str]:
        try:
            while True:
                yield "and on "
        finally:
            ended.set()

    with CopilotProxy(handler=endless) as proxy:
        with socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as connection:
            body = b'{"prompt":"a","stream":true,"max_tokens":8192}'
            head = f"POST {CODEX} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert connection.recv(100)
        assert ended.wait(SECONDS)


def _raises(request: CompletionRequest) -> str:
    raise SyntaxError("the handler's own secret")


def _returns_nothing(request: CompletionRequest) -> Any:
    return None


def _yields_garbage(request: CompletionRequest) -> Any:
    yield object()


def _waits_in_vain(request: CompletionRequest) -> str:
    raise queue.Empty


def _leaves(request: CompletionRequest) -> str:
    sys.exit(3)


@pytest.mark.parametrize("handler", [_raises, _returns_nothing, _yields_garbage, _waits_in_vain, _leaves])
def test_a_handler_that_fails_is_a_plain_500_for_the_caller_and_a_traceback_for_the_operator(
    handler: Callable[[CompletionRequest], Any], caplog: pytest.LogCaptureFixture
) -> None:
    errors: list[Exception] = []
    with CopilotProxy(handler=handler) as proxy:
        proxy.on("error", errors.append)
        reply = complete(proxy)
    assert reply.status == 500
    assert reply.error == ("server_error", "internal_error", None)
    assert b"secret" not in reply.body
    assert reply.headers["X-Request-Id"] in [getattr(record, "request_id", None) for record in caplog.records]
    assert any(record.exc_info for record in caplog.records)
    assert errors == []


def test_a_handler_that_takes_too_long_is_a_504(held: Held) -> None:
    settings = Settings(
        redis_url="memory://", total_timeout=0.3, first_byte_timeout=0.3, idle_timeout=0.3, connect_timeout=0.3
    )
    with CopilotProxy(handler=held, settings=settings) as proxy:
        assert complete(proxy).error == ("server_error", "handler_timeout", None)


def test_a_handlers_own_api_error_keeps_its_status() -> None:
    def busy(request: CompletionRequest) -> str:
        raise ApiError("Come back later.", status=503, kind="server_error", code="busy", retry_after_seconds=3)

    with CopilotProxy(handler=busy) as proxy:
        reply = complete(proxy)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "3")


def test_a_silent_handler_is_given_up_within_a_second_when_its_caller_has_gone(
    held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copilotapi.request")
    with CopilotProxy(handler=held) as proxy:
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)
        connection.request("POST", CODEX, b'{"prompt":"a"}', {"Content-Type": "application/json"})
        assert held.entered.wait(SECONDS)
        connection.close()
        left = time.monotonic()
        proxy.stop()
        assert time.monotonic() - left < 1.5
    [told] = [record for record in caplog.records if record.name == "copilotapi.request"]
    assert told.status == 499  # type: ignore[attr-defined]


# Its life.


def test_it_tells_where_it_listens_and_stops_when_told() -> None:
    told: list[str] = []
    proxy = CopilotProxy(handler=Recording())
    assert proxy.on("listening", told.append) == told.append
    assert (proxy.is_running, proxy.request_count) == (False, 0)
    proxy.start()
    assert told == [proxy.url] == [f"http://127.0.0.1:{proxy.port}"]
    assert proxy.is_running
    port = proxy.port
    proxy.stop()
    assert not proxy.is_running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), SECONDS)


@pytest.mark.parametrize("name", ["url", "port"])
def test_there_is_no_address_unless_it_was_started(name: str) -> None:
    proxy = CopilotProxy(handler=Recording())
    with pytest.raises(RuntimeError, match="not running"):
        getattr(proxy, name)


def test_it_starts_again_on_the_same_port_and_goes_on_counting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    proxy = CopilotProxy(handler=Recording(), port=port)
    for count in range(1, 4):
        with proxy:
            assert proxy.port == port
            assert complete(proxy).status == 200
            assert proxy.request_count == count


def test_a_second_start_is_refused_and_harms_nothing() -> None:
    with CopilotProxy(handler=Recording()) as proxy:
        with pytest.raises(RuntimeError, match="running already"):
            proxy.start()
        assert complete(proxy).status == 200


def test_a_taken_port_is_raised_and_told_and_can_be_tried_again() -> None:
    errors: list[Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = CopilotProxy(handler=Recording(), port=taken.getsockname()[1])
        proxy.on("error", errors.append)
        with pytest.raises(OSError, match=r"cannot listen on 127\.0\.0\.1 port") as caught:
            proxy.start()
        assert errors == [caught.value]
        assert not proxy.is_running
        proxy.stop()
    with proxy:
        assert complete(proxy).status == 200


def test_stop_is_harmless_before_a_start_and_twice() -> None:
    proxy = CopilotProxy(handler=Recording())
    proxy.stop()
    proxy.start()
    proxy.stop()
    proxy.stop()
    assert not proxy.is_running


def test_stop_waits_for_a_running_request_and_so_does_a_second_stop(held: Held) -> None:
    proxy = CopilotProxy(handler=held)
    proxy.start()
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(complete(proxy)))]
    threads[0].start()
    assert held.entered.wait(SECONDS)
    threads += [threading.Thread(target=proxy.stop) for _ in range(2)]
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join(0.2)
        assert thread.is_alive()
    assert not proxy.is_running
    held.let.set()
    for thread in threads:
        thread.join(SECONDS)
    assert [reply.json["choices"][0]["text"] for reply in replies] == ["first second"]


def test_stop_cuts_a_request_at_the_deadline(held: Held, caplog: pytest.LogCaptureFixture) -> None:
    proxy = CopilotProxy(handler=held, stop_timeout_seconds=0.1)
    proxy.start()
    with socket.create_connection(("127.0.0.1", proxy.port), SECONDS) as connection:
        head = f"POST {CODEX} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(head.encode() + b'Content-Length: 14\r\n\r\n{"prompt":"a"}')
        assert held.entered.wait(SECONDS)
        proxy.stop()
        assert connection.recv(100) == b""
    assert "requests_cut" in caplog.messages


def test_a_callback_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    proxy = CopilotProxy(handler=Recording())
    told: list[str] = []

    @proxy.on("listening")
    def fail(url: str) -> None:
        raise LookupError(url)

    proxy.on("listening", told.append)
    with proxy:
        assert complete(proxy).status == 200
        assert told == [proxy.url]
    assert "callback_failed" in caplog.messages
    assert callable(fail)


def test_there_are_two_events() -> None:
    with pytest.raises(ValueError, match="listening, error"):
        CopilotProxy(handler=Recording()).on("request", print)  # type: ignore[call-overload]


def test_a_failure_of_the_server_itself_is_told_and_it_can_start_again(monkeypatch: pytest.MonkeyPatch) -> None:
    accept = socketserver.TCPServer.get_request
    told = threading.Event()
    proxy = CopilotProxy(handler=Recording())

    def break_down(server: socketserver.TCPServer) -> Any:
        raise OSError(9, "Bad file descriptor")

    @proxy.on("error")
    def restart(error: Exception) -> None:
        monkeypatch.setattr(socketserver.TCPServer, "get_request", accept)
        proxy.start()
        told.set()

    monkeypatch.setattr(socketserver.TCPServer, "get_request", break_down)
    with proxy:
        with suppress(ConnectionResetError):
            socket.create_connection(("127.0.0.1", proxy.port), SECONDS).close()
        assert told.wait(SECONDS)
        assert complete(proxy).status == 200


def test_a_handler_may_stop_its_own_proxy() -> None:
    def last(request: CompletionRequest) -> str:
        threading.Thread(target=proxy.stop).start()
        return "good bye"

    proxy = CopilotProxy(handler=last)
    proxy.start()
    assert complete(proxy).json["choices"][0]["text"] == "good bye"


_EMBEDDING = """
import socket, ssl, sys, threading, urllib.request
import gevent.monkey
kept = (socket.socket, ssl.SSLContext, threading.Thread.start, threading.Lock)
from copilotapi import CopilotProxy, Settings, create_app
proxy = CopilotProxy({handler})
proxy.start()
assert urllib.request.urlopen(proxy.url + "/health", timeout=10).status == 200
assert not any(gevent.monkey.is_module_patched(name) for name in ("socket", "ssl", "threading", "time"))
assert kept == (socket.socket, ssl.SSLContext, threading.Thread.start, threading.Lock)
print("served")
"""


@pytest.mark.parametrize("handler", ["lambda request: 'x'", ""])
def test_the_host_program_stays_unpatched_and_may_forget_to_stop(handler: str) -> None:
    script = _EMBEDDING.format(handler=handler)
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], env={"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=30
    )
    assert (ended.returncode, ended.stdout) == (0, b"served\n"), ended.stderr
    assert b"Traceback" not in ended.stderr


def test_nothing_is_printed_and_the_log_tells_no_secret(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with CopilotProxy(handler=Recording(), auth_token=AUTH_TOKEN) as proxy:
        ask(proxy, "POST", CODEX, {"prompt": "canary prompt"}, bearer())
        ask(proxy, "GET", f"/v1/models?key={AUTH_TOKEN}", headers=bearer(AUTH_TOKEN + "x"))
    assert capfd.readouterr() == ("", "")
    told = [record for record in caplog.records if record.name == "copilotapi.request"]
    assert [record.status for record in told] == [200, 401]  # type: ignore[attr-defined]
    for record in caplog.records:
        assert AUTH_TOKEN not in str(vars(record))
        assert "canary prompt" not in str(vars(record))


# What it is made with.


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"auth_token": ""}, "auth_token: "),
        ({"auth_token": "two words"}, "auth_token: "),
        ({"rate_limit_per_minute": -1}, "rate_limit_per_minute: "),
        ({"rate_limit_per_minute": 2.5}, "rate_limit_per_minute: "),
        ({"max_tokens_limit": 0}, "max_tokens_limit: "),
        ({"max_tokens_limit": -5}, "max_tokens_limit: "),
        ({"port": 65536}, "port: "),
        ({"host": "http://127.0.0.1"}, "host: "),
        ({"stop_timeout_seconds": -1}, "stop_timeout_seconds "),
        ({"stop_timeout_seconds": float("nan")}, "stop_timeout_seconds "),
    ],
)
def test_an_argument_that_cannot_be_used_is_named(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        CopilotProxy(handler=Recording(), **arguments)


def test_arguments_win_over_settings_and_settings_over_defaults() -> None:
    handler = Recording()
    settings = Settings(
        redis_url="memory://",
        rate_limit_per_minute=2,
        max_tokens=11,
        max_tokens_limit=22,
        api_keys=("first-key",),
        max_body_bytes=100,
    )
    with CopilotProxy(handler=handler, settings=settings, auth_token=AUTH_TOKEN, max_tokens=12) as proxy:
        for key in ("first-key", AUTH_TOKEN):
            assert ask(proxy, "POST", CODEX, {"prompt": "a", "max_tokens": 99}, bearer(key)).status == 200
        assert ask(proxy, "POST", CODEX, {"prompt": "a"}, bearer()).status == 429
        assert [request.max_tokens for request in handler.requests] == [22, 22]
    with CopilotProxy(handler=handler, settings=settings, rate_limit_per_minute=0) as proxy:
        assert ask(proxy, "POST", CODEX, {"prompt": "a" * 100}, bearer("first-key")).status == 413
        assert ask(proxy, "POST", CODEX, {"prompt": "a"}, bearer("first-key")).status == 200
        assert handler.requests[-1].max_tokens == 11


# Copilot as the one who answers.


def test_without_a_handler_copilot_answers_and_the_token_is_kept_warm(simulator: Simulator) -> None:
    settings = Settings(
        redis_url="memory://",
        github_copilot_token="gho_canary_github_token_0123456789",
        github_url=simulator.url,
        github_api_url=simulator.url,
    )
    with CopilotProxy(settings=settings, port=0) as proxy:
        assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["models"] > 0, SECONDS)
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
        reply = ask(proxy, "POST", "/v1/chat/completions", body)
        assert reply.status == 200
        assert reply.body.endswith(b"data: [DONE]\n\n")
        assert complete(proxy, "def f(").json["choices"][0]["text"]
    for thread in threading.enumerate():
        if thread.name == "APScheduler":
            thread.join(SECONDS)
            assert not thread.is_alive()


def test_a_silent_copilot_is_left_within_a_second_when_the_caller_has_gone(simulator: Simulator) -> None:
    settings = Settings(
        redis_url="memory://",
        github_copilot_token="gho_canary_github_token_0123456789",
        github_url=simulator.url,
        github_api_url=simulator.url,
    )
    with CopilotProxy(settings=settings, stop_timeout_seconds=0.1) as proxy:
        text = "[[simulate: stall after_events=2]]"
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], "stream": True}
        connection = HTTPConnection("127.0.0.1", proxy.port, timeout=SECONDS)
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.readline()
        connection.close()
        response.close()
        [chat] = simulator.recorder.to("chat")
        assert simulator.recorder.wait_for(lambda: chat.client_gone_at is not None, 1.0)


# The pages.


def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(examples) == 3
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(examples)],
        env={"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+\nchat at http://127\.0\.0\.1:\d+/v1/chat/completions\n", ended.stdout)


def test_the_tests_that_the_table_of_differences_names_exist() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    section = page.partition("## The original completion proxy")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(test_\w+)`", section))
    written = "".join((ROOT / "tests" / name).read_text() for name in ("test_proxy.py", "test_threaded_server.py"))
    assert len(named) > 30
    assert [name for name in sorted(named) if f"def {name}(" not in written] == []
