"""Completions over gunicorn: by Copilot's engine, by a chat model, by a handler."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from copilotapi.protocols.conversation import CompletionRequest, Conversation
from copilotapi.simulator import Simulator
from copilotapi.sse import load
from tests.gateway_process import ROOT, GatewayProcess

GHOST = {"prompt": "def add(a, b):\n    ", "suffix": "\n\nprint(add(1, 2))\n", "max_tokens": 60}


def by_cursor(request: CompletionRequest) -> Iterator[str]:
    """The handler that the gateways below are started with."""
    match request.prompt:
        case "raise":
            raise LookupError("only-for-the-operator")
        case "raise late":
            yield "first"
            raise LookupError("only-for-the-operator")
        case "garbage":
            yield 7  # type: ignore[misc]
        case "hang":
            threading.Event().wait(60)
        case _:
            yield f"<{request.prompt}|{request.suffix}|{request.max_tokens}|{request.language}>"
            yield "END of it"


def by_conversation(conversation: Conversation) -> str:
    return f"{conversation.messages[-1].role} said {len(conversation.messages)}"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    with Simulator() as simulator, GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def handled() -> Iterator[GatewayProcess]:
    settings = {
        "COMPLETION_HANDLER": "tests.blueprints.test_completions:by_cursor",
        "PYTHONPATH": str(ROOT),
        "GITHUB_COPILOT_TOKEN": "",
        "RATE_LIMIT_PER_MINUTE": "0",
        "TOTAL_TIMEOUT": "2",
        "FIRST_BYTE_TIMEOUT": "2",
        "IDLE_TIMEOUT": "2",
        "CONNECT_TIMEOUT": "1",
        "MAX_TOKENS": "77",
        "MAX_TOKENS_LIMIT": "99",
    }
    with GatewayProcess("http://127.0.0.1:9", **settings) as gateway:
        yield gateway


def streamed(gateway: GatewayProcess, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    reply = gateway.request("POST", path, {**body, "stream": True})
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    frames = load(reply.body)
    assert frames[-1].data == b"[DONE]"
    return [json.loads(frame.data) for frame in frames[:-1] if frame.data]


@pytest.mark.parametrize(
    "path", ["/v1/engines/codex/completions", "/engines/anything/completions", "/proxy/v1/engines/codex/completions"]
)
def test_an_editor_gets_its_choices_by_index(gateway: GatewayProcess, path: str) -> None:
    chunks = streamed(gateway, path, {**GHOST, "n": 3})
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert {choice["index"] for choice in choices} == {0, 1, 2}
    assert sorted(choice["index"] for choice in choices if choice["finish_reason"]) == [0, 1, 2]


@pytest.mark.parametrize("path", ["/v1/completions", "/completions", "/v1/engines/codex/completions"])
def test_a_whole_completion_has_every_field(gateway: GatewayProcess, path: str) -> None:
    reply = gateway.request("POST", path, GHOST)
    answer = reply.json
    assert (reply.status, answer["object"]) == (200, "text_completion")
    assert set(answer) == {"id", "object", "created", "model", "choices", "usage"}
    assert answer["choices"][0]["text"]
    assert reply.headers["X-CopilotAPI-Usage"] == "estimate"
    assert answer["usage"]["estimated"] is True


def test_several_prompts_give_a_choice_each(gateway: GatewayProcess) -> None:
    answer = gateway.request("POST", "/v1/completions", {"prompt": ["a = ", "b = "]}).json
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]


def test_the_name_of_a_chat_model_lets_that_model_complete(gateway: GatewayProcess) -> None:
    answer = gateway.request("POST", "/v1/completions", {**GHOST, "model": "gpt-4.1"}).json
    assert answer["model"] == "gpt-4.1"
    assert answer["object"] == "text_completion"
    assert "estimated" not in answer["usage"]


@pytest.mark.parametrize("model", ["gpt-5.5", "claude-opus-4.7"])
@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_chat_model_completes_whatever_endpoint_it_is_served_on(
    gateway: GatewayProcess, model: str, is_streamed: bool
) -> None:
    body = {**GHOST, "model": model, "user": "ada", "stop": ["never"]}
    reply = gateway.request("POST", "/v1/completions", {**body, "stream": is_streamed})
    assert reply.status == 200, reply.body
    assert "dropped:user" in reply.headers["X-CopilotAPI-Warnings"]
    chunks = [json.loads(frame.data) for frame in load(reply.body)[:-1] if frame.data] if is_streamed else [reply.json]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices)
    assert choices[-1]["finish_reason"] in ("stop", "length")


def test_what_a_chat_model_cannot_be_asked_of_a_completion_is_refused_by_name(gateway: GatewayProcess) -> None:
    reply = gateway.request("POST", "/v1/completions", {**GHOST, "model": "gpt-4.1", "presence_penalty": 0.5})
    assert (reply.status, reply.json["error"]["param"]) == (400, "presence_penalty")


def test_an_account_without_an_engine_is_served_by_a_chat_model() -> None:
    with Simulator() as simulator:
        listed = [model for model in _catalogue(simulator) if model["capabilities"]["type"] != "completion"]
        body = json.dumps({"object": "list", "data": listed})
        simulator.faults.push({"path": "models", "kind": "status", "status": 200, "text": body, "times": 0})
        with GatewayProcess(simulator.url) as gateway:
            answer = gateway.request("POST", "/v1/engines/codex/completions", GHOST).json
    assert answer["model"] == "gpt-4.1"
    assert answer["choices"][0]["text"]


def _catalogue(simulator: Simulator) -> list[dict[str, Any]]:
    with GatewayProcess(simulator.url) as gateway:
        headers = {"Editor-Version": "vscode/1.0"}
        listed: list[dict[str, Any]] = gateway.request("GET", "/models", headers=headers).json["data"]
        return listed


def test_a_handler_sees_the_cursor_and_the_server_keeps_the_stop(handled: GatewayProcess) -> None:
    body = {"prompt": "P", "suffix": "S", "extra": {"language": "python"}, "stop": ["END"]}
    answer = handled.request("POST", "/v1/completions", body).json
    assert answer["choices"] == [{"text": "<P|S|77|python>", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert answer["model"] == "by_cursor"
    assert answer["usage"]["total_tokens"] > 0


def test_max_tokens_is_clamped_for_the_handler(handled: GatewayProcess) -> None:
    answer = handled.request("POST", "/v1/completions", {"prompt": "P", "max_tokens": 5000}).json
    assert "|99|" in answer["choices"][0]["text"]


def test_a_handlers_choices_are_interleaved_by_index(handled: GatewayProcess) -> None:
    chunks = streamed(handled, "/v1/engines/codex/completions", {"prompt": "P", "n": 2})
    order = [choice["index"] for chunk in chunks for choice in chunk["choices"]]
    assert order == [0, 1, 0, 1, 0, 1]


def test_a_handler_answers_chats_too_and_needs_no_github(handled: GatewayProcess) -> None:
    answer = handled.chat("Hello").json
    assert answer["object"] == "chat.completion"
    assert "user: Hello" in answer["choices"][0]["message"]["content"]
    assert handled.request("GET", "/ready").json == {"status": "ready", "reasons": []}
    assert [model["id"] for model in handled.request("GET", "/v1/models").json["data"]] == ["codex", "by_cursor"]
    assert handled.request("POST", "/v1/token/refresh").json == {
        "status": "unchanged",
        "generation": 0,
        "expires_in": None,
        "refresh_in": None,
    }


@pytest.mark.parametrize("prompt", ["raise", "garbage"])
def test_a_handler_that_fails_is_a_500_with_a_request_id_and_a_traceback_for_the_operator(
    handled: GatewayProcess, prompt: str
) -> None:
    for stream in (False, True):
        reply = handled.request("POST", "/v1/completions", {"prompt": prompt, "stream": stream})
        assert (reply.status, reply.json["error"]["code"]) == (500, "internal_error")
        assert b"only-for-the-operator" not in reply.body
        request_id = reply.headers["X-Request-Id"]
        assert any("Traceback" in line for line in handled.log.splitlines() if request_id in line)


def test_a_handler_that_fails_later_ends_the_stream_with_an_error(handled: GatewayProcess) -> None:
    reply = handled.request("POST", "/v1/completions", {"prompt": "raise late", "stream": True})
    frames = [frame.data or b"" for frame in load(reply.body)]
    assert reply.status == 200
    assert b'"text":"first"' in frames[0]
    assert json.loads(frames[-1])["error"]["code"] == "internal_error"
    assert b"only-for-the-operator" not in reply.body


def test_a_handler_that_hangs_is_a_504(handled: GatewayProcess) -> None:
    reply = handled.request("POST", "/v1/completions", {"prompt": "hang"})
    assert (reply.status, reply.json["error"]["code"]) == (504, "handler_timeout")


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_ends_the_handler(handled: GatewayProcess, stream: bool) -> None:
    with socket.create_connection(("127.0.0.1", handled.port)) as connection:
        body = json.dumps({"prompt": "hang", "stream": stream}).encode()
        head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: leaver-{stream}\r\n"
        connection.sendall(
            f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
    deadline = time.monotonic() + 5
    while "caller_gone" not in (found := _line(handled, f"leaver-{stream}")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert json.loads(found)["outcome"] == "caller_gone"
    assert json.loads(found)["duration_ms"] < 1500


def _line(gateway: GatewayProcess, request_id: str) -> str:
    return next((line for line in gateway.log.splitlines() if request_id in line and '"request"' in line), "")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/v1/completions", "/v1/engines/codex/completions"])
def test_a_wrong_method_says_which_one_is_right(gateway: GatewayProcess, method: str, path: str) -> None:
    reply = gateway.request(method, path)
    assert reply.status == 405
    assert "POST" in reply.headers["Allow"]
    assert reply.json["error"]["code"] == "method_not_allowed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"null", 400),
        (b"[]", 400),
        (b'{"prompt": "x", "max_tokens": 1e400}', 400),
        (b'{"prompt": "x", "max_tokens": "abc"}', 400),
        (b'{"prompt": ""}', 400),
        (b"{}", 400),
        (b'{"prompt": "' + b"x" * 10_485_760 + b'"}', 413),
    ],
    ids=["null", "list", "infinite", "text", "empty prompt", "no prompt", "10 MiB and more"],
)
def test_a_wrong_body_is_a_clear_answer(gateway: GatewayProcess, body: bytes, status: int) -> None:
    reply = gateway.request("POST", "/v1/completions", body)
    assert reply.status == status
    assert reply.json["error"]["message"]
