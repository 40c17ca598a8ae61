"""What an editor asks for at its start, answered by the app in front of the simulator."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from copilotapi.blueprints.copilot import plan_of
from copilotapi.simulator import Simulator
from tests.application import application

_KEY = "gho_editors_own_key_0123456789"
_OTHER_KEY = "a-key-of-someone-else"
_ADMIN_KEY = "the-operators-admin-key"
_COPILOT_TOKEN = "tid=0123456789abcdef;exp=4102444800;sku=monthly_subscriber;ip=192.0.2.1:" + "a" * 64
_TOKEN_PATH = "/copilot_internal/v2/token"
_EDITOR = {"Editor-Version": "vscode/1.104.1"}
_ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}

CallerOf: TypeAlias = Callable[..., FlaskClient]


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def caller_of(simulator: Simulator) -> Iterator[CallerOf]:
    """Makes clients of apps with the given settings, and ends the apps."""
    apps: list[Flask] = []

    def make(**settings: Any) -> FlaskClient:
        apps.append(application(simulator.url, **settings))
        return apps[-1].test_client()

    yield make
    for app in apps:
        app.extensions["copilotapi.refresher"].stop()


@pytest.fixture(scope="module")
def open_client(caller_of: CallerOf) -> FlaskClient:
    return caller_of()


@pytest.fixture(scope="module")
def client(caller_of: CallerOf) -> FlaskClient:
    return caller_of(api_keys=(_KEY, _OTHER_KEY), admin_key=_ADMIN_KEY)


def bearer(credential: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {credential}"}


def issued(client: FlaskClient, api_key: str = _KEY) -> str:
    answer = client.get(_TOKEN_PATH, headers=bearer(api_key))
    assert answer.status_code == 200, answer.text
    return str(answer.get_json()["token"])


def ids(answer: TestResponse) -> list[str]:
    return [model["id"] for model in answer.get_json()["data"]]


def test_the_token_answer_leads_the_editor_back_here(open_client: FlaskClient) -> None:
    answer = open_client.get(_TOKEN_PATH, base_url="http://127.0.0.1:8123").get_json()
    assert answer["endpoints"] == {
        "api": "http://127.0.0.1:8123",
        "proxy": "http://127.0.0.1:8123/proxy",
        "telemetry": "http://127.0.0.1:8123",
        "origin-tracker": "http://127.0.0.1:8123",
    }
    assert answer["chat_enabled"] is True
    assert answer["refresh_in"] == 1500
    assert f"exp={answer['expires_at']};" in answer["token"]


def test_behind_a_declared_proxy_the_editor_is_led_to_the_public_address(caller_of: CallerOf) -> None:
    client = caller_of(api_keys=(_KEY,), trusted_proxy_count=1, allowed_hosts=("gateway.example",))
    forwarded = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "gateway.example", "X-Forwarded-For": "192.0.2.7"}
    answer = client.get(_TOKEN_PATH, headers={**bearer(_KEY), **forwarded})
    assert answer.get_json()["endpoints"]["proxy"] == "https://gateway.example/proxy"


def test_the_issued_token_is_ours_and_holds_no_secret(client: FlaskClient) -> None:
    editor_token = issued(client)
    assert re.fullmatch(r"tid=[0-9a-f]{32};exp=\d+;sku=copilotapi;.*:[0-9a-f]{64}", editor_token)
    assert _KEY not in editor_token
    assert "gho_operator" not in editor_token


@pytest.mark.parametrize(
    "path", ["/models", "/v1/models", "/proxy/models", "/copilot_internal/user", "/user", "/_ping"]
)
def test_the_issued_token_is_accepted_where_a_key_is(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 401
    assert client.get(path, headers=bearer(issued(client))).status_code == 200


def test_the_issued_token_cannot_renew_itself(client: FlaskClient) -> None:
    assert client.get(_TOKEN_PATH, headers=bearer(issued(client))).status_code == 401


def test_a_token_issued_to_the_operator_is_no_admin_key(client: FlaskClient) -> None:
    assert client.get("/v1/token/refresh", headers=bearer(issued(client, _ADMIN_KEY))).status_code == 403


def test_the_token_ends_with_its_key(caller_of: CallerOf, client: FlaskClient) -> None:
    editor_token = bearer(issued(client))
    assert caller_of(api_keys=(_KEY,)).get("/user", headers=editor_token).status_code == 200
    assert caller_of(api_keys=(_OTHER_KEY,)).get("/user", headers=editor_token).status_code == 401


def test_a_token_issued_without_keys_is_worth_nothing_once_there_are_some(
    open_client: FlaskClient, client: FlaskClient
) -> None:
    editor_token = open_client.get(_TOKEN_PATH).get_json()["token"]
    assert client.get("/models", headers=bearer(editor_token)).status_code == 401


def test_a_token_issued_without_keys_does_not_let_others_in(open_client: FlaskClient) -> None:
    editor_token = open_client.get(_TOKEN_PATH).get_json()["token"]
    answer = open_client.get("/models", headers=bearer(editor_token), environ_base=_ELSEWHERE)
    assert answer.status_code == 401


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer"])
def test_githubs_scheme_is_understood_on_an_editors_paths(client: FlaskClient, scheme: str) -> None:
    assert client.get(_TOKEN_PATH, headers={"Authorization": f"{scheme} {_KEY}"}).status_code == 200


def test_githubs_scheme_is_not_understood_elsewhere(client: FlaskClient) -> None:
    assert client.get("/v1/models", headers={"Authorization": f"token {_KEY}"}).status_code == 401


def test_a_real_copilot_token_is_refused_and_never_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = client.get("/models", headers=bearer(_COPILOT_TOKEN), buffered=True)
    assert answer.status_code == 401
    assert caplog.records
    for told in (answer.text, *(str(vars(record)) for record in caplog.records)):
        assert "0123456789abcdef" not in told


def test_a_real_copilot_token_is_discarded_where_no_key_is_needed(
    open_client: FlaskClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        assert open_client.get("/models", headers=bearer(_COPILOT_TOKEN), buffered=True).status_code == 200
    assert caplog.records
    assert "0123456789abcdef" not in "".join(str(vars(record)) for record in caplog.records)
    sent = [str(request.headers) for request in simulator.recorder.requests]
    assert sent
    assert "0123456789abcdef" not in "".join(sent)


def test_an_editor_gets_copilots_list_and_others_openais(open_client: FlaskClient) -> None:
    copilots = open_client.get("/models", headers=_EDITOR)
    openais = open_client.get("/models")
    assert ids(copilots) == ids(openais)
    assert {"capabilities", "model_picker_enabled"} <= copilots.get_json()["data"][0].keys()
    assert {"created", "owned_by"} <= openais.get_json()["data"][0].keys()
    assert open_client.get("/v1/models", headers=_EDITOR).get_json() == openais.get_json()


def test_the_list_has_all_an_editor_starts_with(open_client: FlaskClient) -> None:
    models = open_client.get("/models", headers={"Copilot-Integration-Id": "vscode-chat"}).get_json()["data"]
    assert {"chat", "completion", "embeddings"} == {model["capabilities"]["type"] for model in models}
    assert [model["id"] for model in models if model["is_chat_default"]] == ["gpt-4.1"]
    assert [model["id"] for model in models if model["is_chat_fallback"]] == ["gpt-4.1"]


def test_no_websocket_is_offered(open_client: FlaskClient) -> None:
    endpoints = [
        model.get("supported_endpoints", []) for model in open_client.get("/models", headers=_EDITOR).get_json()["data"]
    ]
    assert ["/chat/completions", "/responses"] in endpoints
    assert not [endpoint for served in endpoints for endpoint in served if endpoint.startswith("ws:")]


def test_one_model_is_shown_to_an_editor_in_copilots_schema(open_client: FlaskClient) -> None:
    shown = open_client.get("/models/gpt-5.5", headers=_EDITOR).get_json()
    assert shown["capabilities"]["type"] == "chat"
    assert shown["supported_endpoints"] == ["/responses"]
    assert "capabilities" not in open_client.get("/models/gpt-5.5").get_json()


def test_the_user_is_told_a_plan_and_no_end_of_quota(open_client: FlaskClient) -> None:
    open_client.get("/models")
    user = open_client.get("/copilot_internal/user").get_json()
    assert user["login"] == open_client.get("/user").get_json()["login"] == "copilotapi"
    assert user["copilot_plan"] == "individual"
    assert user["endpoints"]["proxy"] == "http://localhost/proxy"
    assert {quota: told["unlimited"] for quota, told in user["quota_snapshots"].items()} == {
        "chat": True,
        "completions": True,
        "premium_interactions": True,
    }


@pytest.mark.parametrize(
    ("sku", "plan"),
    [
        ("", "individual"),
        ("yearly_subscriber", "individual"),
        ("free_limited_copilot", "free"),
        ("copilot_for_business_seat", "business"),
        ("copilot_enterprise_seat", "enterprise"),
    ],
)
def test_the_plan_follows_the_subscription(sku: str, plan: str) -> None:
    assert plan_of(sku) == plan


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/proxy/models", 200, b'{"models":[]}'),
        ("GET", "/copilot_internal/content_exclusion?repos=a%2Cb&scope=repo", 200, b"[]"),
        ("POST", "/copilot_internal/notification", 204, b""),
        ("GET", "/_ping", 200, b"OK"),
        ("POST", "/telemetry", 200, b""),
        ("POST", "/twirp/github.snippy.v1.SnippyAPI/Match", 200, b'{"snippets":[]}'),
    ],
)
def test_what_an_editor_sends_aside_is_answered_briefly(
    open_client: FlaskClient, method: str, path: str, status: int, body: bytes
) -> None:
    answer = open_client.open(path, method=method, data=b"not json" if method == "POST" else None)
    assert (answer.status_code, answer.data) == (status, body)


def test_experiments_are_asked_without_a_key_and_there_are_none(client: FlaskClient) -> None:
    answer = client.get("/telemetry").get_json()
    assert (answer["Configs"], answer["Flights"]) == ([], {})
    assert client.post("/telemetry", data=b"[]").status_code == 200


def test_the_automatic_choice_of_a_model_is_the_chat_default(open_client: FlaskClient) -> None:
    asked = {"auto_mode": {"model_hints": ["auto"]}}
    session = open_client.post("/models/session", json=asked).get_json()
    assert session["selected_model"] == "gpt-4.1"
    assert "claude-sonnet-4.5" in session["available_models"]
    assert "gpt-41-copilot" not in session["available_models"]
    assert session["session_token"]
    assert session["expires_at"] > time.time()


def test_what_is_not_offered_is_a_404_in_json(open_client: FlaskClient) -> None:
    answer = open_client.get("/agents")
    assert answer.status_code == 404
    assert answer.get_json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/agents", 404),
        ("POST", "/v1/models", 405),
        ("GET", _TOKEN_PATH, 401),
        ("POST", "/chat/completions", 401),
    ],
)
def test_every_answer_bears_the_header_an_editor_knows_github_by(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    answer = client.open(path, method=method, headers={"X-Request-Id": "asked-42"})
    assert answer.status_code == status
    assert answer.headers["x-github-request-id"] == answer.headers["x-request-id"] == "asked-42"
