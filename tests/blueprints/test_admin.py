"""The operator's paths: what they answer, and that no spelling of them opens without the key."""

from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from copilotapi.simulator import Simulator
from tests.application import caller, connected

KEY, OTHER_KEY, ADMIN_KEY = "client-key-0123456789", "other-key-0123456789", "admin-key-0123456789"
AS_CLIENT, AS_OTHER, AS_ADMIN = ({"x-api-key": key} for key in (KEY, OTHER_KEY, ADMIN_KEY))
ADMIN_PATHS = ["/v1/token/refresh", "/token/refresh"]


@pytest.fixture
def client(simulator: Simulator) -> Iterator[FlaskClient]:
    with connected(simulator.url, api_keys=[KEY, OTHER_KEY], admin_key=ADMIN_KEY) as client:
        yield client


def exchanges(simulator: Simulator) -> int:
    return simulator.recorder.counts()["token_exchange"]


def spellings(path: str) -> list[str]:
    """Ways in which a request might mean `path` and hide it from a check by prefix."""
    first, second, *rest = path.strip("/").split("/")
    tail = "/".join(rest)
    tail = f"/{tail}" if tail else ""
    return [
        path,
        path + "/",
        path + "//",
        path + "?",
        path + "?x=1",
        path + "#x",
        path + "/.",
        path + "/..",
        path + "/x/..",
        path + ";x",
        path + ";/",
        path + "%00",
        path + "%20",
        path + "%09",
        path + "%0a",
        path + "%0d%0a",
        path + "%23",
        path + "%3f",
        path + "%2f",
        path + ".json",
        path + ".",
        path + "*",
        "/" + path,
        "//" + path,
        "/." + path,
        "/x/.." + path,
        "/health/.." + path,
        "/%2e" + path,
        "/x/%2e%2e" + path,
        "/%2e%2e" + path,
        "/..;" + path,
        "\\" + path,
        path.replace("/", "//"),
        path.replace("/", "/./"),
        path.replace("/", "\\"),
        path.replace("/", "%2f"),
        path.replace("/", "%252f"),
        path.replace("/", "%5c"),
        path.upper(),
        path.title(),
        path.replace("e", "%65"),
        path.replace("e", "%2565"),
        path.replace("e", "\uff45"),
        f"/{first}%2f{second}{tail}",
        f"/{first}/;{second}{tail}",
        f"/v1/models/..{path}",
        f"/v1/models/%2e%2e{path}",
        f"/models/x/../..{path}",
        f"http://localhost{path}",
        f"http://localhost//{path}",
    ]


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_no_spelling_of_an_admin_path_opens_without_the_admin_key(
    client: FlaskClient, simulator: Simulator, path: str
) -> None:
    tried = spellings(path)
    assert len(set(tried)) >= 40
    overrides = [{}, {"X-Original-URL": path}, {"X-Rewrite-URL": path}, {"X-HTTP-Method-Override": "POST"}]
    for spelling in tried:
        for method in ("GET", "POST", "HEAD", "PUT"):
            for headers in (*overrides, AS_CLIENT):
                raw = {"RAW_URI": spelling, "REQUEST_URI": spelling}
                response = client.open(
                    spelling, base_url="http://localhost", method=method, headers=headers, environ_overrides=raw
                )
                assert response.status_code in (400, 401, 403, 404, 405, 421), (spelling, method, headers)
    client.get("/", headers={"X-Original-URL": path})
    assert exchanges(simulator) <= 1, "the catalogue may have been asked for, by a client with a key"
    before = exchanges(simulator)
    assert client.post(path, headers=AS_ADMIN).status_code == 200
    assert exchanges(simulator) == max(before, 1)


@pytest.mark.parametrize("path", ADMIN_PATHS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_admin_key_refreshes_and_is_told_when_the_token_ends(
    client: FlaskClient, simulator: Simulator, method: str, path: str
) -> None:
    response = client.open(path, method=method, headers=AS_ADMIN)
    told = response.get_json()
    assert response.status_code == 200
    assert set(told) == {"status", "generation", "expires_in", "refresh_in"}
    assert told["status"] == "refreshed"
    assert 0 < told["refresh_in"] < told["expires_in"]
    assert exchanges(simulator) == 1


def test_a_refresh_right_after_another_exchanges_nothing(client: FlaskClient, simulator: Simulator) -> None:
    first, second = (client.post(ADMIN_PATHS[0], headers=AS_ADMIN).get_json() for _ in range(2))
    assert (first["status"], second["status"]) == ("refreshed", "unchanged")
    assert first["generation"] == second["generation"]
    assert exchanges(simulator) == 1


@pytest.mark.parametrize("path", ADMIN_PATHS)
def test_a_head_or_an_options_never_refreshes(client: FlaskClient, simulator: Simulator, path: str) -> None:
    assert client.head(path, headers=AS_ADMIN).status_code == 405
    assert client.options(path, headers=AS_ADMIN).status_code == 200
    assert exchanges(simulator) == 0


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 401, "invalid_api_key"),
        ({"x-api-key": "wrong"}, 401, "invalid_api_key"),
        (AS_CLIENT, 403, "admin_key_required"),
    ],
)
def test_others_may_not_refresh(
    client: FlaskClient, simulator: Simulator, headers: dict[str, str], status: int, code: str
) -> None:
    response = client.post(ADMIN_PATHS[0], headers=headers)
    assert (response.status_code, response.get_json()["error"]["code"]) == (status, code)
    assert exchanges(simulator) == 0


def test_with_keys_and_no_admin_key_nobody_refreshes_and_is_told_why() -> None:
    response = caller(api_keys=[KEY]).post(ADMIN_PATHS[0], headers=AS_CLIENT)
    assert response.status_code == 403
    assert "ADMIN_KEY" in response.get_json()["error"]["message"]


def test_without_keys_a_program_of_this_machine_refreshes(simulator: Simulator) -> None:
    with connected(simulator.url) as client:
        assert client.get(ADMIN_PATHS[0]).status_code == 200


def test_a_refresh_that_fails_is_a_503_without_a_secret() -> None:
    with (
        Simulator(github_tokens=frozenset({"gho_another"})) as simulator,
        connected(simulator.url, admin_key=ADMIN_KEY) as client,
    ):
        response = client.post(ADMIN_PATHS[0], headers=AS_ADMIN)
    assert response.status_code == 503
    assert response.get_json()["error"]["code"].startswith("copilot_")
    assert "gho_canary" not in response.text


def ask(client: FlaskClient, headers: dict[str, str]) -> None:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
    assert client.post("/v1/chat/completions", json=body, headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/v1/usage", "/usage", "/v1/usage/?days=1"])
def test_a_client_sees_its_own_usage_and_the_admin_everyones(client: FlaskClient, path: str) -> None:
    ask(client, AS_CLIENT)
    ask(client, AS_CLIENT)
    ask(client, AS_OTHER)

    def usage(headers: dict[str, str]) -> Any:
        return client.get(path, headers=headers).get_json()

    assert usage(AS_CLIENT)["total"]["requests"] == 2
    assert usage(AS_OTHER)["total"]["requests"] == 1
    assert {row["key"] for row in usage(AS_OTHER)["data"]}.isdisjoint(row["key"] for row in usage(AS_CLIENT)["data"])
    assert "copilot" not in usage(AS_CLIENT)
    everyones = usage(AS_ADMIN)
    assert everyones["total"]["requests"] == 3
    assert len({row["key"] for row in everyones["data"]}) == 2
    assert "copilot" in everyones
    assert not any(key in str(everyones) for key in (KEY, OTHER_KEY, ADMIN_KEY))


@pytest.mark.parametrize("days", ["0", "63", "-1", "1.5", "x", "", "²", "१", "9" * 5000, "1e1", " 1", "+1", "0x1"])
def test_a_wrong_number_of_days_is_named(client: FlaskClient, days: str) -> None:
    response = client.get("/v1/usage", query_string={"days": days}, headers=AS_CLIENT)
    assert response.status_code == 400
    assert response.get_json()["error"]["param"] == "days"


@pytest.mark.parametrize("days", ["1", "62", "07"])
def test_usage_goes_back_as_many_days_as_asked(client: FlaskClient, days: str) -> None:
    response = client.get("/v1/usage", query_string={"days": days}, headers=AS_CLIENT)
    assert response.get_json()["days"] == int(days)
