"""GitHub's own Copilot language server signs in at the gateway and completes code, as it does in editors."""

import contextlib
import json
import os
import signal
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from copilotapi.simulator import Simulator
from tests.clients.language_server import LanguageServer
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess

_KEY = "gho_a_key_shaped_like_githubs_0123456789"
_NOWHERE = "http://127.0.0.1:9"
_HANDLED = {"GITHUB_COPILOT_TOKEN": "", "COMPLETION_HANDLER": "tests.clients.completion_handler:complete"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module", params=["", _KEY], ids=["without keys", "with API_KEYS"])
def gateway(request: pytest.FixtureRequest, simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, **({"API_KEYS": request.param} if request.param else {})) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def handler_gateway() -> Iterator[GatewayProcess]:
    with GatewayProcess(_NOWHERE, **_HANDLED) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def server(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    with started(gateway.url, tmp_path_factory.mktemp("editor"), _KEY) as server:
        yield server


@contextlib.contextmanager
def started(
    github_url: str, home: Path, github_token: str, settings: Mapping[str, Any] | None = None
) -> Iterator[LanguageServer]:
    """A server that signs in at `github_url`, which may be the gateway's."""
    environment = {
        "GITHUB_COPILOT_TOKEN": github_token,
        "GITHUB_COPILOT_USER": "copilotapi",
        "GITHUB_COPILOT_API_URL": github_url,
        "GITHUB_COPILOT_SERVER_URL": github_url,
    }
    with LanguageServer(home, environment) as server:
        server.initialize(settings)
        yield server


def completed(server: LanguageServer, *, invoked: bool = False) -> list[str]:
    """What is offered inside a new function: for one it has seen the server answers from memory."""
    number = uuid.uuid4().hex
    uri = f"file:///project/greeting_{number}.py"
    server.open(uri, "python", f"def greet_{number}(name):\n    \n\n\ndef other():\n    pass\n")
    return [item["insertText"] for item in server.inline_completions(uri, 1, 4, invoked=invoked)]


def kill(gateway: GatewayProcess) -> None:
    """As a machine that loses its power: an orderly stop would wait for the editor's idle connection."""
    assert gateway.process is not None
    os.killpg(gateway.process.pid, signal.SIGKILL)
    gateway.process.wait()


def asked(gateway: GatewayProcess) -> list[tuple[str, int]]:
    """Route and status of every request in the gateway's log."""
    lines = (json.loads(line) for line in gateway.log.splitlines() if '"event":"request"' in line)
    return [(line["route"], line["status"]) for line in lines]


def test_the_language_server_signs_in(server: LanguageServer) -> None:
    assert server.status() == {"status": "OK", "user": "copilotapi"}


def test_a_completion_of_copilots_is_shown(server: LanguageServer) -> None:
    [text] = completed(server)
    assert text.lstrip().startswith("suggestion_0 = 'ghost text — gpt-41-copilot'")


def test_three_completions_are_shown_on_request(server: LanguageServer) -> None:
    texts = completed(server, invoked=True)
    assert [text.lstrip()[:12] for text in texts] == ["suggestion_0", "suggestion_1", "suggestion_2"]


def test_chat_is_answered_by_copilot(server: LanguageServer, gateway: GatewayProcess) -> None:
    assert server.chat("gpt-4.1", "Hello there")
    assert ("/chat/completions", 200) in asked(gateway)


def test_everything_it_asks_for_is_here(server: LanguageServer, gateway: GatewayProcess) -> None:
    completed(server)
    answers = asked(gateway)
    assert {
        ("/copilot_internal/v2/token", 200),
        ("/copilot_internal/user", 200),
        ("/models", 200),
        ("/proxy/models", 200),
        ("/telemetry", 200),
        ("/proxy/v1/engines/<engine>/completions", 200),
    } <= set(answers)
    # GET /embeddings/models and GET /agents: both are free to be missing.
    assert {route for route, status in answers if status >= 400 and route != "/ready"} <= {"unmatched"}


def test_neither_log_nor_copilot_sees_what_belongs_to_the_other(
    server: LanguageServer, gateway: GatewayProcess, simulator: Simulator
) -> None:
    completed(server)
    for secret in (_KEY, GITHUB_TOKEN, "tid="):
        assert secret not in gateway.log
    assert "sku=copilotapi" not in "".join(str(request.headers) for request in simulator.recorder.requests)


def test_a_wrong_key_signs_nobody_in(simulator: Simulator, tmp_path: Path) -> None:
    with GatewayProcess(simulator.url, API_KEYS=_KEY) as gateway, started(gateway.url, tmp_path, "gho_wrong") as server:
        assert server.status()["status"] != "OK"
        assert ("/copilot_internal/v2/token", 401) in asked(gateway)


def test_a_handler_completes_and_chats_without_any_github_token(
    handler_gateway: GatewayProcess, tmp_path: Path
) -> None:
    with started(handler_gateway.url, tmp_path, "gho_anything") as server:
        assert server.status()["status"] == "OK"
        [text] = completed(server)
        answer = server.chat("local-coder", "Hello there")
    assert text.strip() == "return 'handled True True'"
    assert answer == "return 'handled True False'"
    assert ("/proxy/v1/engines/<engine>/completions", 200) in asked(handler_gateway)


@pytest.mark.parametrize("proxy_path", ["", "/proxy"])
def test_settings_send_an_editor_here_whose_real_token_is_discarded(
    handler_gateway: GatewayProcess, simulator: Simulator, tmp_path: Path, proxy_path: str
) -> None:
    debug = {"overrideProxyUrl": handler_gateway.url + proxy_path, "overrideCapiUrl": handler_gateway.url}
    settings = {"github": {"copilot": {"advanced": {"debug": debug}}}}
    with started(simulator.url, tmp_path, "gho_at_github", settings) as server:
        [text] = completed(server)
    assert text.strip() == "return 'handled True True'"
    assert (f"{proxy_path}/v1/engines/<engine>/completions", 200) in asked(handler_gateway)
    assert "tid=" not in handler_gateway.log
    assert "gho_at_github" not in handler_gateway.log


def test_a_token_that_has_ended_is_replaced_without_the_user(tmp_path: Path) -> None:
    with GatewayProcess(_NOWHERE, **_HANDLED, API_KEYS=_KEY) as gateway, started(gateway.url, tmp_path, _KEY) as server:
        assert completed(server)
        kill(gateway)
        # Without a GitHub token and TOKEN_ENCRYPTION_KEY each start signs with another secret.
        restarted = GatewayProcess(_NOWHERE, **_HANDLED, API_KEYS=_KEY, PORT=str(gateway.port))
        restarted.port = gateway.port
        with restarted:
            assert not completed(server)
            assert any(completed(server) for _ in range(3))
            assert [status for route, status in asked(restarted) if "/engines/" in route] == [401, 200]
            kill(restarted)
