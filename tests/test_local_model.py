"""The shipped handler, against a gateway that stands where a local server of models would."""

import json
import socket
from collections.abc import Iterator

import pytest

from copilotapi.local_model import template_for
from copilotapi.settings import Settings, SettingsError
from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess
from tests.raw_server import RawServer, read_request

GHOST = {"prompt": "def add(a, b):\n    ", "suffix": "\n", "max_tokens": 60}


def local(url: str, model: str, **settings: str) -> GatewayProcess:
    more = {"LOCAL_MODEL_URL": f"{url}/v1", "LOCAL_MODEL": model, "GITHUB_COPILOT_TOKEN": ""}
    return GatewayProcess("http://127.0.0.1:9", **more, **settings)


@pytest.fixture(scope="module")
def server() -> Iterator[GatewayProcess]:
    with Simulator() as simulator, GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


def test_two_settings_let_a_local_model_chat_and_complete(server: GatewayProcess) -> None:
    with local(server.url, "gpt-4.1") as gateway:
        assert "Hello" in gateway.chat("Hello").json["choices"][0]["message"]["content"]
        assert gateway.chat("Hello", stream=True).body.endswith(b"data: [DONE]\n\n")
        answer = gateway.request("POST", "/v1/engines/codex/completions", GHOST).json
        assert answer["model"] == "gpt-4.1"
        assert answer["choices"][0]["text"]
        assert [model["id"] for model in gateway.request("GET", "/v1/models").json["data"]] == ["codex", "gpt-4.1"]


def test_what_the_local_server_refuses_is_told() -> None:
    def refusing(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            body = b'{"error":{"message":"no such model","code":"model_not_found"}}'
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    with RawServer(refusing) as server, local(server.url, "missing") as gateway:
        reply = gateway.chat("Hello")
    assert reply.status == 404
    assert "no such model" in reply.json["error"]["message"]


def test_a_limit_of_the_local_server_stays_one_with_the_time_to_wait() -> None:
    def limiting(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 429 X\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nslow")

    with RawServer(limiting) as server, local(server.url, "any") as gateway:
        reply = gateway.chat("Hello")
    assert (reply.status, reply.json["error"]["type"]) == (429, "rate_limit_error")
    assert reply.headers["Retry-After"] == "7"


def test_a_local_server_that_is_not_there_is_a_502_that_names_it() -> None:
    with local("http://127.0.0.1:9", "any") as gateway:
        reply = gateway.chat("Hello")
    assert reply.status == 502
    assert "127.0.0.1" in reply.json["error"]["message"]


def test_a_code_model_gets_prefix_and_suffix_in_its_makers_form() -> None:
    asked: list[bytes] = []

    def completing(connection: socket.socket, number: int) -> None:
        while request := read_request(connection):
            asked.append(request)
            chunk = b'data: {"choices":[{"text":"return a + b","index":0,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n" % len(chunk)
            connection.sendall(head + chunk)

    with (
        RawServer(completing) as server,
        local(server.url, "qwen2.5-coder:7b", LOCAL_MODEL_KEY="local-key-1") as gateway,
    ):
        answer = gateway.request("POST", "/v1/engines/codex/completions", GHOST).json
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert answer["choices"][0]["text"] == "return a + b"
    assert head.startswith(b"POST /v1/completions ")
    assert b"authorization: bearer local-key-1" in head.lower()
    assert json.loads(body)["prompt"] == "<|fim_prefix|>def add(a, b):\n    <|fim_suffix|>\n<|fim_middle|>"


@pytest.mark.parametrize(
    ("model", "beginning"),
    [
        ("Qwen2.5-Coder-7B", "<|fim_prefix|>"),
        ("starcoder2:3b", "<fim_prefix>"),
        ("codellama:7b-code", "<PRE>"),
        ("deepseek-coder-v2", "<｜fim▁begin｜>"),
        ("codestral:22b", "[SUFFIX]"),
    ],
)
def test_common_code_models_are_known_by_name(model: str, beginning: str) -> None:
    template = template_for(model)
    assert template is not None
    assert template.startswith(beginning)
    assert template_for("llama3.1:8b") is None


@pytest.mark.parametrize(
    ("values", "variable"),
    [
        ({"local_model_url": "http://127.0.0.1:11434/v1"}, "LOCAL_MODEL_URL"),
        ({"local_model": "x"}, "LOCAL_MODEL_URL"),
        (
            {"local_model_url": "http://h/v1", "local_model": "x", "completion_handler": "a.b:c"},
            "COMPLETION_HANDLER",
        ),
        (
            {"local_model_url": "http://h/v1", "local_model": "x", "local_model_template": "{prompt} only"},
            "LOCAL_MODEL_TEMPLATE",
        ),
    ],
)
def test_halves_of_a_local_model_do_not_start(values: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        Settings(**values)
