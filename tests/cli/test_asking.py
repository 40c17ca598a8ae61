"""How a command finds a gateway, makes one, and tells what it was told; and that no stranger gets its key."""

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

import copilotapi.cli.asking as asking_module
from copilotapi.cli.asking import asking, local_url, running_url
from copilotapi.settings import Settings
from copilotapi.simulator import Simulator
from tests.cli.terminal_user import ADMIN_KEY, API_KEY, telling
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, free_port
from tests.raw_server import RawServer, read_request

CHAT = "/v1/chat/completions"
EMPTY_LIST = {"/v1/models": {"object": "list", "data": []}}


def settings(upstream: Simulator, **more: object) -> Settings:
    values = {
        "github_copilot_token": GITHUB_TOKEN,
        "github_url": upstream.url,
        "github_api_url": upstream.url,
        "redis_url": "memory://",
        "port": free_port(),
        "tiktoken_cache_dir": Path(os.devnull) / "none",
    }
    return Settings(**{**values, **more})


def question(text: str = "Hello") -> dict[str, object]:
    return {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}]}


@contextmanager
def told() -> Iterator[list[str]]:
    """What the block is refused with, in one line."""
    lines: list[str] = []
    with pytest.raises(click.ClickException) as caught:
        yield lines
    lines.append(caught.value.message)
    assert "\n" not in caught.value.message
    assert API_KEY not in caught.value.message


def test_the_gateway_of_the_settings_is_asked_with_the_first_of_their_keys(
    upstream: Simulator, running: GatewayProcess
) -> None:
    at_its_port = settings(upstream, port=running.port, api_keys=API_KEY)
    assert running_url(at_its_port) == running.url
    with asking(at_its_port) as gateway:
        assert (gateway.base_url, gateway.in_process) == (running.url, False)
        assert {"gpt-4.1", "claude-sonnet-4.5"} <= {model["id"] for model in gateway.models()}
        assert gateway.post(CHAT, question())["model"] == "gpt-4.1"
        assert gateway.get("/v1/usage?days=1")["data"][0]["key"].startswith("key-")


def test_the_admin_key_opens_the_admins_paths_and_all_others_where_there_is_no_other(
    upstream: Simulator, running: GatewayProcess
) -> None:
    for keys in ({"admin_key": ADMIN_KEY, "api_keys": API_KEY}, {"admin_key": ADMIN_KEY}):
        with asking(settings(upstream, port=running.port, **keys)) as gateway:
            assert "copilot" in gateway.get("/v1/usage")
            assert gateway.get("/v1/models")["object"] == "list"


def test_without_a_gateway_this_process_is_one_for_the_time_of_the_block(upstream: Simulator) -> None:
    alone = settings(upstream, api_keys=API_KEY)
    assert running_url(alone) is None
    with asking(alone) as gateway:
        assert gateway.in_process
        assert gateway.base_url.startswith("http://127.0.0.1:")
        assert len(gateway.models()) > 10
        assert "copilot_plan" in gateway.get("/v1/usage")["copilot"]
        text = "".join(
            choice["delta"].get("content") or ""
            for event in gateway.events(CHAT, {**question(), "stream": True})
            for choice in event["choices"]
        )
        address = ("127.0.0.1", int(gateway.base_url.rpartition(":")[2]))
    assert "“Hello”" in text
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5)


def test_nobody_else_on_the_machine_can_use_the_gateway_in_this_process(upstream: Simulator) -> None:
    with asking(settings(upstream)) as own, asking(settings(upstream), url=own.base_url) as other, told() as lines:
        other.models()
    assert "An API key is needed" in lines[0]
    assert "the first of API_KEYS" in lines[0]


def test_an_interrupt_is_for_the_command_and_for_none_of_its_gateways_threads(upstream: Simulator) -> None:
    with asking(settings(upstream)):
        started = {thread.name: thread.native_id for thread in threading.enumerate()}
        blocked = [_blocks_interrupts(started[name]) for name in ("copilotapi-proxy", "APScheduler")]
    assert blocked == [True, True]
    assert not _blocks_interrupts(threading.main_thread().native_id)


def _blocks_interrupts(thread: int | None) -> bool:
    status = Path(f"/proc/self/task/{thread}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) & 1 << (signal.SIGINT - 1))


def test_another_server_at_the_port_is_left_alone_and_sent_no_key(upstream: Simulator) -> None:
    with telling({}, echoes=False) as (url, keys):
        port = int(url.rpartition(":")[2])
        with asking(settings(upstream, port=port, api_keys=API_KEY)) as gateway:
            assert gateway.in_process
    assert keys == []


def test_another_server_at_the_url_is_told_and_sent_no_key(upstream: Simulator) -> None:
    known = settings(upstream, api_keys=API_KEY)
    with telling(EMPTY_LIST, echoes=False) as (url, keys), told() as lines, asking(known, url=url):
        pass
    assert f"{url} is not this gateway" in lines[0]
    assert keys == []


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/v1", "{}/v1/", "{bare}", "{bare}/v1"])
def test_an_address_is_taken_as_people_write_it(upstream: Simulator, form: str) -> None:
    known = settings(upstream, api_keys=API_KEY)
    with telling(EMPTY_LIST) as (url, keys), asking(known, url=form.format(url, bare=url[7:])) as gateway:
        assert gateway.base_url == url
        assert gateway.models() == []
    assert keys == [f"Bearer {API_KEY}"]


@pytest.mark.parametrize(
    "url",
    ["", "ftp://127.0.0.1", "http://", "http://a:b", "http://u:p@host", "http://host:0", "http://ho st", "http://[:"],
)
def test_an_address_that_is_none_is_told_with_an_example(upstream: Simulator, url: str) -> None:
    with told() as lines, asking(settings(upstream), url=url):
        pass
    assert "such as http://127.0.0.1:8000" in lines[0]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nothing_at_the_address_is_told_with_the_way_out(upstream: Simulator, scheme: str) -> None:
    with told() as lines, asking(settings(upstream), url=f"{scheme}://127.0.0.1:{free_port()}"):
        pass
    assert "Connection refused" in lines[0]
    assert "copilotapi serve" in lines[0]


def test_a_server_that_speaks_no_tls_is_told(upstream: Simulator) -> None:
    with telling({}) as (url, _), told() as lines, asking(settings(upstream), url=url.replace("http:", "https:")):
        pass
    assert "Nothing usable answers" in lines[0]


def test_a_server_that_never_answers_is_not_waited_for(upstream: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking_module, "_LOOK_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with told() as lines, asking(settings(upstream), url=url):
            pass
    assert lines == [f"{url} gave no answer within 0.1 s."]


def test_a_host_name_that_the_gateway_refuses_is_told_in_its_own_words(
    upstream: Simulator, running: GatewayProcess
) -> None:
    with told() as lines, asking(settings(upstream), url=f"http://127.1:{running.port}"):
        pass
    assert "ALLOWED_HOSTS" in lines[0]


def test_a_key_that_the_gateway_does_not_know_is_told_and_not_shown(
    upstream: Simulator, running: GatewayProcess
) -> None:
    wrong = "canary-of-another-gateway"
    with told() as lines, asking(settings(upstream, api_keys=wrong), url=running.url) as gateway:
        gateway.models()
    assert "The API key is not known here." in lines[0]
    assert wrong not in lines[0]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, {"model": "gpt-4.1", "messages": [{"role": "user", "content": "[[simulate: cut after_events=2]]"}]}),
        ("/v1/responses", {"model": "gpt-5.1", "input": "[[simulate: cut after_events=2]]"}),
        (
            "/v1/messages",
            {
                "model": "claude-sonnet-4.5",
                "max_tokens": 100,
                "messages": [{"role": "user", "content": "[[simulate: cut after_events=2]]"}],
            },
        ),
    ],
)
def test_an_error_in_the_middle_of_any_stream_is_raised(
    upstream: Simulator, running: GatewayProcess, path: str, body: dict[str, object]
) -> None:
    at_its_port = settings(upstream, port=running.port, api_keys=API_KEY)
    with told() as lines, asking(at_its_port) as gateway:
        list(gateway.events(path, {**body, "stream": True}))
    assert lines == ["Copilot closed the connection before its answer was complete."]


HEAD = b"HTTP/1.1 200 OK\r\nX-GitHub-Request-Id: %s\r\n"


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n40\r\ndata: {}\n\n", "broke off in the middle"),
        (b"Content-Length: 10\r\n\r\ndata: []\n\n", "no JSON object"),
        (b"Content-Length: 11\r\n\r\ndata: {,}\n\n", "not JSON"),
        (b"Content-Length: 9000000\r\n\r\ndata: " + b"x" * 2_000_000, "too long"),
    ],
)
def test_a_stream_that_cannot_be_read_is_told(upstream: Simulator, rest: bytes, words: str) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        request = read_request(connection)
        asked = next((line[14:] for line in request.split(b"\r\n") if line.lower().startswith(b"x-request-id: ")), b"")
        health = b'Content-Length: 15\r\n\r\n{"status":"ok"}'
        connection.sendall(HEAD % asked + (health if number == 0 else rest))
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(answer) as server, told() as lines, asking(settings(upstream), url=server.url) as gateway:
        list(gateway.events(CHAT, question()))
    assert words in lines[0]


def test_a_refusal_cannot_steer_the_terminal(upstream: Simulator) -> None:
    refusal = {"/v1/models": {"error": {"message": "No\x1b[2J\nway\x07"}}}
    with telling(refusal, status=400) as (url, _), told() as lines, asking(settings(upstream), url=url) as gateway:
        gateway.models()
    assert lines == ["No[2J way"]


@pytest.mark.parametrize("answer", [[], {"data": 1}, None])
def test_a_list_of_models_that_is_none_is_told(upstream: Simulator, answer: object) -> None:
    with telling({"/v1/models": answer}) as (url, _), told() as lines, asking(settings(upstream), url=url) as gateway:
        gateway.models()
    assert "is not this gateway" in lines[0]


@pytest.mark.parametrize(
    ("host", "called"), [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]"), ("localhost", "localhost")]
)
def test_an_address_that_listens_everywhere_is_called_on_this_machine(host: str, called: str) -> None:
    assert local_url(Settings(host=host, port=8000, api_keys=API_KEY)) == f"http://{called}:8000"
