"""Who is let in, and in which order the doors stand."""

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from copilotapi.blueprints.guard import views_without_access
from copilotapi.simulator import Simulator
from tests.application import application, caller

KEY, ADMIN_KEY = "client-key-0123456789", "admin-key-0123456789"
OWN_ORIGIN = "http://localhost:3000"
# A path that wants a key and needs no upstream.
KEYED = "/v1/usage"

OWN_HOSTS = [
    "localhost",
    "LOCALHOST",
    "localhost:9000",
    "localhost:",
    "127.0.0.1",
    "127.0.0.1:8000",
    "[::1]",
    "[::1]:1",
]
FOREIGN_HOSTS = [
    "",
    "evil.example",
    "localhost.",
    "localhost.evil.example",
    "evil.localhost",
    "user@localhost",
    "localhost@evil.example",
    "localhost:80@evil.example",
    "localhost/evil",
    "localhost?x",
    "localhost#x",
    "localhost:port",
    "localhost:8000:8000",
    "localhost localhost",
    "localhost,evil.example",
    "127.0.0.1.nip.io",
    "127.1",
    "2130706433",
    "0x7f000001",
    "127.0.0.2",
    "0.0.0.0",
    "::1",
    "[::1",
    "[::1%25lo]",
    "[::ffff:127.0.0.1]",
    "löcalhost",
    "a" * 5000,
]
FOREIGN_ORIGINS = [
    "null",
    "",
    "https://evil.example",
    "https://localhost",
    "https://localhost:3000",
    "http://localhost:3001",
    "http://localhost:30000",
    "http://localhost.:3000",
    "http://localhost.evil.example:3000",
    "http://evil-localhost:3000",
    "http://sub.localhost:3000",
    "http://localhost:3000.evil.example",
    "http://localhost:3000@evil.example",
    "http://localhost:3000/",
    "http://LOCALHOST:3000",
    "HTTP://localhost:3000",
    "http://localhost:3000 http://evil.example",
    "http://localhost:3000,http://evil.example",
    "http://127.0.0.1:3000",
    "http://[::1]:3000",
    "file://",
    "chrome-extension://abcdefghijklmnop",
    "*",
]


def status_and_code(response: TestResponse) -> tuple[int, str]:
    return response.status_code, response.get_json()["error"]["code"]


def grants(response: TestResponse) -> Mapping[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith("Access-Control-")}


def preflight(client: FlaskClient, origin: str, path: str = "/v1/chat/completions") -> TestResponse:
    asked = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    return client.options(path, headers={"Origin": origin, **asked})


def test_the_doors_stand_in_their_order() -> None:
    client = caller(api_keys=[KEY], rate_limit_per_minute=1)
    client.get(KEYED)
    wrong: dict[str, Any] = {
        "headers": {"Host": "evil.example", "Origin": "https://evil.example", "X-Request-Id": "mine-1"},
        "data": "no JSON",
        "content_type": "application/json",
    }
    outcomes = []

    def send(address: str = "127.0.0.1") -> None:
        response = client.post("/v1/chat/completions", **wrong, environ_overrides={"REMOTE_ADDR": address})
        outcomes.append(status_and_code(response))
        assert response.headers["X-Request-Id"] == "mine-1"

    send()
    wrong["headers"]["Host"] = "localhost"
    send()
    del wrong["headers"]["Origin"]
    send()
    send(address="192.0.2.7")
    wrong["headers"]["Authorization"] = f"Bearer {KEY}"
    send(address="192.0.2.8")
    assert outcomes == [
        (421, "misdirected_request"),
        (403, "origin_not_allowed"),
        (429, "rate_limit_exceeded"),
        (401, "invalid_api_key"),
        (400, None),
    ]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_every_spelling_of_this_machine_is_a_host_of_ours(host: str) -> None:
    assert caller().get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/v1/token/refresh", "/nowhere"])
def test_a_foreign_host_is_misdirected_on_every_path(path: str) -> None:
    client = caller()
    for host in FOREIGN_HOSTS:
        response = client.get(path, environ_overrides={"HTTP_HOST": host})
        assert status_and_code(response) == (421, "misdirected_request"), host


def test_a_missing_host_is_misdirected() -> None:
    app = application()
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/health",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(),
    }
    with app.request_context(environ):
        assert app.full_dispatch_request().status_code == 421


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/health", 200),
        ("http://LOCALHOST:8000/health?x=1", 200),
        ("http://evil.example/health", 421),
        ("http://localhost@evil.example/health", 421),
        ("HTTP://evil.example", 421),
        ("/health?next=http://evil.example/", 200),
    ],
)
def test_the_host_of_an_absolute_target_counts_as_well(target: str, status: int) -> None:
    assert caller().get("/health", environ_overrides={"RAW_URI": target}).status_code == status


def test_allowed_hosts_are_exact_and_ask_no_port() -> None:
    client = caller(allowed_hosts=["copilot.example"])
    for host, status in {
        "copilot.example": 200,
        "COPILOT.example:8443": 200,
        "localhost": 200,
        "sub.copilot.example": 421,
        "copilot.example.evil": 421,
        "copilot.example.": 421,
    }.items():
        assert client.get("/health", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize("allowed", [[], [OWN_ORIGIN]])
@pytest.mark.parametrize("path", ["/health", "/v1/chat/completions", "/nowhere"])
def test_a_foreign_origin_gets_no_answer_and_no_grant(allowed: list[str], path: str) -> None:
    client = caller(allow_origins=allowed)
    for origin in FOREIGN_ORIGINS:
        for response in (client.get(path, headers={"Origin": origin}), preflight(client, origin, path)):
            assert status_and_code(response) == (403, "origin_not_allowed"), origin
            assert not grants(response), origin


def test_the_own_origin_of_the_gateway_needs_no_permission() -> None:
    response = caller().get("/health", headers={"Host": "localhost:8000", "Origin": "http://localhost:8000"})
    assert response.status_code == 200
    assert not grants(response)


@pytest.mark.parametrize("origin", [OWN_ORIGIN, "http://[::1]:3000", "https://chat.example", "vscode-webview://abc"])
def test_an_allowed_origin_may_ask_and_read(origin: str) -> None:
    client = caller(allow_origins=["https://other.example", origin])
    granted = preflight(client, origin)
    assert granted.status_code == 200
    assert granted.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in granted.headers["Access-Control-Allow-Methods"]
    assert granted.headers["Access-Control-Allow-Headers"].lower() == "authorization, content-type"
    assert "Access-Control-Allow-Private-Network" not in granted.headers
    assert "Access-Control-Allow-Credentials" not in granted.headers
    read = client.get(KEYED, headers={"Origin": origin, "Sec-Fetch-Site": "same-site"})
    assert read.status_code == 200
    assert read.headers.getlist("Access-Control-Allow-Origin") == [origin]
    assert "X-Request-Id" in read.headers["Access-Control-Expose-Headers"]
    assert "Origin" in read.headers["Vary"]


def test_an_allowed_origin_may_read_refusals_too() -> None:
    client = caller(allow_origins=[OWN_ORIGIN], api_keys=[KEY])
    for path, status in {KEYED: 401, "/nowhere": 404, "/v1/chat/completions": 405}.items():
        response = client.get(path, headers={"Origin": OWN_ORIGIN})
        assert response.status_code == status
        assert response.headers.getlist("Access-Control-Allow-Origin") == [OWN_ORIGIN]


@pytest.mark.parametrize("allowed", [[OWN_ORIGIN, "https://chat.example"], ["*"]])
def test_programs_that_name_no_origin_learn_of_none(allowed: list[str]) -> None:
    assert not grants(caller(allow_origins=allowed, api_keys=[KEY]).get("/health"))


def test_every_origin_may_ask_where_the_operator_said_so_but_needs_a_key() -> None:
    client = caller(allow_origins=["*"], api_keys=[KEY])
    assert preflight(client, "https://any.example").headers["Access-Control-Allow-Origin"] in (
        "*",
        "https://any.example",
    )
    assert client.get(KEYED, headers={"Origin": "https://any.example"}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": f"bearer {KEY}"},
        {"Authorization": f"BEARER   {KEY} "},
        {"x-api-key": KEY},
        {"X-API-KEY": KEY},
        {"x-api-key": KEY, "Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": f"Bearer {KEY}", "x-api-key": "another"},
    ],
)
def test_a_key_is_taken_from_either_header(headers: dict[str, str]) -> None:
    assert caller(api_keys=["first-key-0123456789", KEY]).get(KEYED, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": f"token {KEY}"},
        {"Authorization": f"Bearer{KEY}"},
        {"Authorization": f"Bearer {KEY}x"},
        {"Authorization": f"Bearer {KEY[:-1]}"},
        {"Authorization": f"Bearer {KEY.upper()}"},
        {"Authorization": f"Bearer {KEY},Bearer {KEY}"},
        {"Authorization": "Bearer wrong", "x-api-key": KEY},
        {"Authorization": "Bearer " + "k" * 8000},
        {"Authorization": "Bearer \xff\xe9\x80"},
        {"x-api-key": ""},
        {"x-api-key": " "},
        {"x-api-key": f"{KEY},{KEY}"},
        {"x-api-key": "\xff"},
        {"Cookie": f"key={KEY}"},
    ],
)
def test_anything_else_is_no_key(headers: dict[str, str]) -> None:
    client = caller(api_keys=[KEY])
    response = client.get(f"{KEYED}?api_key={KEY}&key={KEY}", headers=headers)
    assert status_and_code(response) == (401, "invalid_api_key")
    assert response.get_json()["error"]["type"] == "invalid_request_error"
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert KEY not in response.text


NOT_DIRECT = [
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-Host": "localhost"},
    {"X-Forwarded-Proto": "http"},
    {"X-Forwarded-Port": "8000"},
    {"X-Forwarded-Server": "front"},
    {"X-Forwarded-Prefix": "/"},
    {"Forwarded": "for=127.0.0.1"},
    {"X-Real-IP": "127.0.0.1"},
    {"X-Forwarded-For": ""},
    {"Sec-Fetch-Site": "cross-site"},
]


@pytest.mark.parametrize("headers", NOT_DIRECT)
@pytest.mark.parametrize("path", [KEYED, "/v1/token/refresh", "/v1/models"])
def test_without_keys_only_direct_callers_are_served_and_the_others_are_told_why(
    headers: dict[str, str], path: str
) -> None:
    response = caller().get(path, headers=headers)
    assert status_and_code(response) == (401, "invalid_api_key")
    assert "proxy" in response.get_json()["error"]["message"]


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "10.0.0.1", "", "unknown"])
def test_without_keys_a_caller_from_elsewhere_is_refused(address: str) -> None:
    assert caller().get(KEYED, environ_overrides={"REMOTE_ADDR": address}).status_code == 401


def test_without_keys_a_name_that_was_added_is_not_this_machine() -> None:
    client = caller(allowed_hosts=["copilot.example"])
    assert client.get(KEYED, headers={"Host": "copilot.example"}).status_code == 401


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site"])
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_without_keys_programs_of_this_machine_are_served(site: str, address: str) -> None:
    response = caller().get(KEYED, headers={"Sec-Fetch-Site": site}, environ_overrides={"REMOTE_ADDR": address})
    assert response.status_code == 200


@pytest.mark.parametrize(
    "settings", [{"api_keys": [KEY]}, {"admin_key": ADMIN_KEY}, {"require_auth": True, "api_keys": [KEY]}]
)
def test_a_key_of_any_kind_ends_the_keyless_days(settings: dict[str, Any]) -> None:
    assert caller(**settings).get(KEYED).status_code == 401


def test_the_admin_key_opens_what_a_client_key_opens() -> None:
    client = caller(admin_key=ADMIN_KEY, api_keys=[KEY])
    assert client.get(KEYED, headers={"x-api-key": ADMIN_KEY}).status_code == 200


def test_a_spoofed_address_changes_nothing_without_a_trusted_proxy() -> None:
    client = caller(rate_limit_per_minute=2)
    statuses = [
        client.get("/", headers={"X-Forwarded-For": f"192.0.2.{number}", "X-Real-IP": f"192.0.2.{number}"}).status_code
        for number in range(4)
    ]
    assert statuses == [200, 200, 429, 429]


def test_behind_a_trusted_proxy_the_address_it_added_is_the_caller() -> None:
    client = caller(rate_limit_per_minute=1, trusted_proxy_count=1)

    def status(forwarded_for: str) -> int:
        return client.get("/", headers={"X-Forwarded-For": forwarded_for}).status_code

    assert status("198.51.100.1, 192.0.2.1") == 200
    assert status("198.51.100.2, 192.0.2.1") == 429
    assert status("198.51.100.1, 192.0.2.2") == 200


def test_behind_a_trusted_proxy_no_one_is_local() -> None:
    client = caller(trusted_proxy_count=1)
    assert client.get(KEYED, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401


def test_every_route_declares_who_may_call_it() -> None:
    app = application()
    assert views_without_access(app) == []
    app.add_url_rule("/new", "new", lambda: "")
    assert views_without_access(app) == ["new"]


def test_a_route_that_declares_nothing_wants_a_key() -> None:
    app = application(api_keys=[KEY])
    app.add_url_rule("/new", "new", lambda: "")
    assert app.test_client().get("/new").status_code == 401


def test_the_limit_is_one_budget_over_all_routes_and_outcomes() -> None:
    client = caller(rate_limit_per_minute=4, api_keys=[KEY])
    statuses = [client.get(path).status_code for path in ("/", "/nowhere", KEYED, "/v1/chat/completions", "/")]
    assert statuses == [200, 404, 401, 405, 429]


def test_a_refusal_by_the_limit_says_when_to_come_back() -> None:
    client = caller(rate_limit_per_minute=1)
    client.get("/")
    response = client.get("/")
    assert status_and_code(response) == (429, "rate_limit_exceeded")
    assert response.get_json()["error"]["type"] == "rate_limit_error"
    assert 1 <= int(response.headers["Retry-After"]) <= 120
    assert response.headers["X-RateLimit-Limit"] == "1"
    assert response.headers["X-RateLimit-Remaining"] == "0"
    assert int(response.headers["X-RateLimit-Reset"]) > 0


def test_the_limit_spares_health_readiness_and_options() -> None:
    client = caller(rate_limit_per_minute=1)
    for _ in range(3):
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        assert client.options("/v1/chat/completions").status_code == 200
    assert client.get("/").status_code == 200
    assert client.get("/health").status_code == 200


def test_refusals_before_the_limit_spend_nothing_of_it() -> None:
    client = caller(rate_limit_per_minute=1)
    for _ in range(3):
        client.get("/", headers={"Host": "evil.example"})
        client.get("/", headers={"Origin": "https://evil.example"})
    assert client.get("/").status_code == 200


def test_each_address_has_a_budget_of_its_own() -> None:
    client = caller(rate_limit_per_minute=1)
    for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1"):
        assert client.get("/", environ_overrides={"REMOTE_ADDR": address}).status_code == 200
        assert client.get("/", environ_overrides={"REMOTE_ADDR": address}).status_code == 429


def test_a_limit_of_zero_is_none() -> None:
    client = caller(rate_limit_per_minute=0)
    assert {client.get("/").status_code for _ in range(400)} == {200}


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_a_foreign_page_never_reaches_copilot(simulator: Simulator, content_type: str) -> None:
    client = caller(github_url=simulator.url, github_api_url=simulator.url)
    body = '{"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}'
    for headers, status in (({}, 415), ({"Origin": "null"}, 403), ({"Sec-Fetch-Site": "cross-site"}, 401)):
        response = client.post("/v1/chat/completions", data=body, content_type=content_type, headers=headers)
        assert response.status_code == status
    assert simulator.recorder.counts()["chat"] == 0
