"""What the gateway tells of itself, and to whom."""

from dataclasses import dataclass
from typing import Any, cast

import pytest

from copilotapi.blueprints.status import readiness
from copilotapi.simulator import Simulator
from copilotapi.store import Store
from copilotapi.upstream.credentials import Credentials, CredentialStatus
from copilotapi.upstream.models import Catalogue
from copilotapi.upstream.pause import Refusal
from tests.application import caller, connected

ADMIN_KEY, KEY = "admin-key-0123456789", "client-key-0123456789"
REFUSAL = Refusal("The account may not use Copilot.", "copilot_access_refused", refused_at=0.0, until=60.0, failures=1)


@dataclass
class Signed:
    state: CredentialStatus

    def status(self) -> CredentialStatus:
        return self.state


@dataclass
class Listed:
    stale_seconds: float | None


@dataclass
class Kept:
    degraded: str | None = None


def state_and_names(
    token: CredentialStatus, *, stale_seconds: float | None = None, store: str | None = None
) -> tuple[str, list[str]]:
    credentials, catalogue = cast(Credentials, Signed(token)), cast(Catalogue, Listed(stale_seconds))
    state, reasons = readiness(credentials, catalogue, cast(Store, Kept(store)))
    assert all(set(reason) == {"name", "detail"} and reason["detail"] for reason in reasons)
    return state, [reason["name"] for reason in reasons]


@pytest.mark.parametrize(
    ("token", "more", "expected"),
    [
        (CredentialStatus(900.0, 1, None), {}, ("ready", [])),
        (CredentialStatus(float("inf"), 0, None), {}, ("ready", [])),
        (CredentialStatus(900.0, 1, REFUSAL), {}, ("degraded", ["token_refresh_failing"])),
        (CredentialStatus(900.0, 1, None), {"store": "connection refused"}, ("degraded", ["redis_unavailable"])),
        (CredentialStatus(900.0, 1, None), {"stale_seconds": 7200.0}, ("degraded", ["catalogue_stale"])),
        (CredentialStatus(None, 0, None), {}, ("unready", ["copilot_token_pending"])),
        (CredentialStatus(None, 0, REFUSAL), {}, ("unready", ["copilot_access_refused"])),
        (
            CredentialStatus(None, 1, REFUSAL),
            {"store": "connection refused", "stale_seconds": 7200.0},
            ("unready", ["copilot_access_refused", "redis_unavailable", "catalogue_stale"]),
        ),
    ],
)
def test_readiness_names_every_reason(
    token: CredentialStatus, more: dict[str, Any], expected: tuple[str, list[str]]
) -> None:
    assert state_and_names(token, **more) == expected


def test_health_is_told_to_anyone_and_asks_no_one(simulator: Simulator) -> None:
    client = caller(github_url=simulator.url, github_api_url=simulator.url, api_keys=[KEY])
    response = client.get("/health", environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert (response.status_code, response.get_json()) == (200, {"status": "ok"})
    assert client.get("/ready").status_code == 503
    assert not simulator.recorder.requests


def test_readiness_turns_with_the_first_token(simulator: Simulator) -> None:
    with connected(simulator.url, api_keys=[KEY], admin_key=ADMIN_KEY) as client:
        assert client.get("/ready").status_code == 503
        assert client.get("/ready").get_json()["status"] == "unready"
        client.post("/v1/token/refresh", headers={"x-api-key": ADMIN_KEY})
        assert client.get("/ready").status_code == 200
        assert client.get("/ready").get_json() == {"status": "ready", "reasons": []}
        assert client.head("/ready").status_code == 200


def test_without_a_github_token_readiness_says_what_to_do() -> None:
    client = caller(github_copilot_token=None)
    client.get("/v1/models")
    [reason] = client.get("/ready").get_json()["reasons"]
    assert reason["name"] == "copilot_sign_in_required"
    assert "GITHUB_COPILOT_TOKEN" in reason["detail"] or "login" in reason["detail"]


def test_the_front_page_says_what_this_is() -> None:
    client = caller(api_title="Our gateway", api_description="Of team 7", api_version="7.1", api_keys=[KEY])
    assert client.get("/").get_json() == {"title": "Our gateway", "description": "Of team 7", "version": "7.1"}


def metrics_status(settings: dict[str, Any], headers: dict[str, str] | None = None, address: str = "127.0.0.1") -> int:
    response = caller(**settings).get("/metrics", headers=headers, environ_overrides={"REMOTE_ADDR": address})
    return response.status_code


@pytest.mark.parametrize("settings", [{}, {"api_keys": [KEY]}, {"api_keys": [KEY], "admin_key": ADMIN_KEY}])
def test_metrics_are_for_programs_of_this_machine(settings: dict[str, Any]) -> None:
    assert metrics_status(settings) == 200
    assert metrics_status(settings, {"X-Forwarded-For": "127.0.0.1"}) == 401
    assert metrics_status(settings, {"Sec-Fetch-Site": "cross-site"}) == 401
    assert metrics_status(settings, address="192.0.2.7") == 401


def test_metrics_are_for_the_admin_key_from_anywhere() -> None:
    settings: dict[str, Any] = {"api_keys": [KEY], "admin_key": ADMIN_KEY}
    assert metrics_status(settings, {"x-api-key": ADMIN_KEY}, "192.0.2.7") == 200
    assert metrics_status(settings, {"x-api-key": KEY}, "192.0.2.7") == 403


def test_metrics_tell_of_the_requests_in_prometheus_text() -> None:
    client = caller()
    client.get("/health")
    response = client.get("/metrics")
    assert response.content_type.startswith("text/plain")
    assert any(
        "requests_total{" in line and 'route="/health"' in line and line.endswith(" 1.0")
        for line in response.text.splitlines()
    )
