"""github.com and api.github.com: device flow, exchange, user."""

import http.client
import time
from urllib.parse import parse_qs

import pytest

from copilotapi.simulator import Fault, Settings, Simulator
from tests.simulator.client import Client

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def poll(client: Client, device_code: str) -> dict[str, object]:
    body = {"client_id": "x", "device_code": device_code, "grant_type": GRANT}
    got = client.send("POST", "/login/oauth/access_token", body, Accept="application/json")
    assert got.status == 200
    return dict(got.json())


def begin(client: Client) -> dict[str, object]:
    got = client.send("POST", "/login/device/code", {"client_id": "x"}, Accept="application/json")
    return dict(got.json())


@pytest.mark.parametrize(
    ("settings", "answers"),
    [
        (Settings(device_interval_seconds=0), ["authorization_pending", None]),
        (Settings(device_interval_seconds=0, device_outcome="denied"), ["authorization_pending", "access_denied"]),
        (Settings(device_interval_seconds=0, device_outcome="expired"), ["authorization_pending", "expired_token"]),
        (Settings(device_interval_seconds=0, device_life_seconds=0), ["expired_token"]),
        (Settings(device_interval_seconds=60, device_pending_polls=2), ["authorization_pending", "slow_down"]),
    ],
)
def test_every_answer_to_a_poll_has_status_200(settings: Settings, answers: list[str | None]) -> None:
    with Simulator(settings=settings) as simulator:
        client = Client(simulator)
        code = str(begin(client)["device_code"])
        assert [poll(client, code).get("error") for _ in answers] == answers


def test_slow_down_names_an_interval_five_seconds_longer() -> None:
    with Simulator(settings=Settings(device_interval_seconds=7)) as simulator:
        client = Client(simulator)
        code = begin(client)
        assert code["interval"] == 7
        poll(client, str(code["device_code"]))
        assert poll(client, str(code["device_code"]))["interval"] == 12


def test_a_granted_github_token_can_be_exchanged_at_once() -> None:
    settings = Settings(device_interval_seconds=0, device_pending_polls=0)
    with Simulator(settings=settings, github_tokens=frozenset()) as simulator:
        client = Client(simulator)
        granted = poll(client, str(begin(client)["device_code"]))
        assert granted["token_type"] == "bearer"
        assert Client(simulator, str(granted["access_token"])).exchange()["token"].startswith("tid=")


def test_an_unknown_device_code_is_an_error(client: Client) -> None:
    assert poll(client, "nonsense")["error"] == "incorrect_device_code"


def test_without_accept_json_the_answer_is_a_form(client: Client) -> None:
    got = client.send("POST", "/login/device/code", b"client_id=x")
    assert got.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert parse_qs(got.text)["verification_uri"] == [f"http://{client.address}/login/device"]
    assert client.send("GET", "/login/device").status == 200


def test_a_copilot_token_has_the_fields_of_the_real_one_and_its_own_address(
    simulator: Simulator, client: Client
) -> None:
    answer = client.exchange()
    fields, _, seal = answer["token"].partition(":")
    named = dict(field.split("=", 1) for field in fields.split(";")[:-1])
    assert {"tid", "exp", "sku", "proxy-ep", "st", "chat"} <= set(named)
    assert int(named["exp"]) == answer["expires_at"] == pytest.approx(time.time() + 1800, abs=5)
    assert answer["refresh_in"] == 1500
    assert len(answer["token"].rpartition(":")[2]) == 64
    assert seal
    assert answer["endpoints"]["api"] == simulator.url
    assert answer["endpoints"]["proxy"] == f"{simulator.url}/proxy"


def test_endpoints_follow_the_name_the_client_used(client: Client) -> None:
    port = client.address.partition(":")[2]
    answer = client.github("GET", "/copilot_internal/v2/token", Host=f"localhost:{port}").json()
    assert answer["endpoints"]["api"] == f"http://localhost:{port}"


def test_each_exchange_gives_another_token_and_all_of_them_live(client: Client) -> None:
    first, second = client.exchange()["token"], client.exchange()["token"]
    assert first != second
    for bearer in (first, second):
        assert client.ask("GET", "/models", Authorization=f"Bearer {bearer}").status == 200


@pytest.mark.parametrize("scheme", ["token", "Token", "Bearer"])
def test_the_exchange_takes_any_scheme(client: Client, scheme: str) -> None:
    got = client.github("GET", "/copilot_internal/v2/token", Authorization=f"{scheme} gho_test")
    assert got.status == 200


@pytest.mark.parametrize("github_token", ["", "gho_other"])
def test_an_unknown_github_token_is_bad_credentials(github_token: str) -> None:
    with Simulator(github_tokens=frozenset({"gho_test"})) as simulator:
        got = Client(simulator, github_token).github("GET", "/copilot_internal/v2/token")
    assert (got.status, got.json()["message"]) == (401, "Bad credentials")


@pytest.mark.parametrize(
    ("github_token", "status", "message"),
    [
        ("github_pat_x", 403, "Resource not accessible by personal access token"),
        ("ghp_x", 404, "Not Found"),
    ],
)
def test_personal_access_tokens_are_not_exchanged(
    simulator: Simulator, github_token: str, status: int, message: str
) -> None:
    got = Client(simulator, github_token).github("GET", "/copilot_internal/v2/token")
    assert (got.status, got.json()["message"]) == (status, message)


def test_github_wants_a_user_agent(simulator: Simulator, client: Client) -> None:
    connection = http.client.HTTPConnection(client.address, timeout=10)
    connection.request("GET", "/copilot_internal/v2/token", headers={"Authorization": "token x"})
    assert connection.getresponse().status == 403
    connection.close()


def test_the_life_of_tokens_can_be_set(simulator: Simulator, client: Client) -> None:
    simulator.token_life(expires_in_seconds=0, refresh_in_seconds=7)
    assert client.exchange()["refresh_in"] == 7
    assert client.ask("GET", "/models").status == 401


def test_a_fault_can_shorten_the_life_of_one_token(simulator: Simulator, client: Client) -> None:
    simulator.faults.push(Fault("token_life", "token", expires_in_seconds=9, refresh_in_seconds=3))
    first, second = client.exchange(), client.exchange()
    assert (first["refresh_in"], second["refresh_in"]) == (3, 1500)
    assert first["expires_at"] == pytest.approx(time.time() + 9, abs=3)


def test_the_exchange_may_leave_out_the_endpoints() -> None:
    with Simulator(settings=Settings(endpoints="absent")) as simulator:
        answer = Client(simulator).exchange()
    assert "endpoints" not in answer
    assert "proxy-ep" not in answer["token"]


def test_the_exchange_may_name_a_host_in_the_token_only() -> None:
    settings = Settings(endpoints="proxy-ep", proxy_host="proxy.business.example.com")
    with Simulator(settings=settings) as simulator:
        answer = Client(simulator).exchange()
    assert "endpoints" not in answer
    assert ";proxy-ep=proxy.business.example.com;" in answer["token"]


def test_an_ip_v6_host_does_not_break_the_token(client: Client) -> None:
    answer = client.github("GET", "/copilot_internal/v2/token", Host="[::1]:8081").json()
    assert answer["endpoints"]["api"] == "http://[::1]:8081"
    assert ";asn=" in answer["token"].partition(":")[0]


def test_the_exchange_may_name_another_host() -> None:
    with Simulator(settings=Settings(api_url="http://127.0.0.1:1")) as simulator:
        assert Client(simulator).exchange()["endpoints"]["api"] == "http://127.0.0.1:1"


def test_the_user_and_the_quota_are_told(simulator: Simulator, client: Client) -> None:
    assert client.github("GET", "/user").json()["login"] == "octocat"
    told = client.github("GET", "/copilot_internal/user").json()
    assert told["quota_snapshots"]["premium_interactions"]["remaining"] == 300
    assert told["endpoints"]["api"] == simulator.url
    assert client.github("GET", "/copilot_internal/content_exclusion?repos=a").status == 404
