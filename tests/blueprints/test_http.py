"""What every answer has, whatever was asked: the shape of errors, the headers, methods and spellings of a path."""

import logging
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from copilotapi.blueprints.guard import KEY, access
from copilotapi.simulator import Simulator
from tests.application import application, caller, connected

MODEL = "gpt-4.1"


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    with Simulator() as simulator, connected(simulator.url) as client:
        yield client


def own_rules(app: Flask) -> list[Rule]:
    return list(app.url_map.iter_rules())


def a_path(rule: Rule) -> str:
    return rule.rule.replace("<path:model_id>", MODEL).replace("<engine>", MODEL)


def methods(rule: Rule) -> set[str]:
    return set(rule.methods or ())


def test_every_openai_path_answers_without_its_version_too() -> None:
    rules = {(rule.rule, method) for rule in own_rules(application()) for method in methods(rule)}
    for path, method in list(rules):
        if path.startswith("/v1/") and not path.startswith("/v1/messages"):
            assert (path.removeprefix("/v1"), method) in rules


@pytest.mark.parametrize("suffix", ["/", "?", "?x=1&y=%00", "/?x=1"])
def test_a_trailing_slash_and_a_query_are_tolerated_on_every_route(client: FlaskClient, suffix: str) -> None:
    for rule in own_rules(client.application):
        for method in methods(rule) & {"GET", "POST"}:
            path = a_path(rule)
            plain = client.open(path, method=method)
            other = client.open(path.rstrip("/") + suffix, method=method)
            assert "nothing at this path" not in plain.text, path
            assert "nothing at this path" not in other.text, path
            assert other.status_code == plain.status_code, (method, path, suffix)


def test_every_route_answers_options_with_what_it_allows(client: FlaskClient) -> None:
    for rule in own_rules(client.application):
        response = client.options(a_path(rule))
        assert response.status_code == 200
        assert methods(rule) <= set(response.headers["Allow"].split(", "))
        assert response.data == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "FOO"])
def test_a_wrong_method_is_told_the_right_ones_in_json(client: FlaskClient, method: str) -> None:
    adapter = client.application.url_map.bind("localhost")
    for path in {a_path(rule) for rule in own_rules(client.application)}:
        allowed = set(adapter.allowed_methods(path))
        if method in allowed:
            continue
        response = client.open(path, method=method, headers={"X-HTTP-Method-Override": "GET"})
        assert response.status_code == 405, path
        assert set(response.headers["Allow"].split(", ")) == allowed
        if method != "HEAD":
            told = response.get_json()["error"]
            assert allowed <= set(told["message"].partition("; use ")[2].rstrip(".").split(", "))
            assert ("code" in told) != path.startswith("/v1/messages")


def test_head_is_answered_where_it_costs_nothing_and_nowhere_else(client: FlaskClient) -> None:
    with_head = {rule.rule for rule in own_rules(client.application) if "HEAD" in methods(rule)}
    assert {"/", "/health", "/ready"} <= with_head
    assert not with_head & {"/v1/models", "/v1/token/refresh", "/token/refresh", "/v1/usage", "/metrics"}
    response = client.head("/health")
    assert response.status_code == 200
    assert response.data == b""


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/nowhere",
        "/v2/models",
        "/V1/MODELS",
        "/v1/./models",
        "/v1/../v1/models",
        "/v1//models",
        "/health//",
        "/health/x",
        "/health;x",
        "/health.",
        "/health%00",
        "/health%0d%0aX-Injected:%201",
        "/%ff%fe",
        "/" + "a" * 3000,
        "/.env",
        "/static/x",
        "/favicon.ico",
    ],
)
def test_an_unknown_path_is_a_404_in_json(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert set(response.get_json()["error"]) == {"message", "type", "param", "code"}
    assert response.get_json()["error"]["code"] == "not_found"
    assert "X-Injected" not in response.headers


@pytest.mark.parametrize("name", ["nope", "..%2f..%2fhealth", "../token/refresh", "a%2Fb", "%ff", "a%00b"])
def test_a_model_of_an_odd_name_is_a_404_of_models(client: FlaskClient, name: str) -> None:
    response = client.get(f"/v1/models/{name}")
    assert response.status_code == 404
    assert response.get_json()["error"]["code"] == "model_not_found"


ANSWERS: list[tuple[str, Callable[[FlaskClient], TestResponse]]] = [
    ("success", lambda client: client.get("/health")),
    ("not found", lambda client: client.get("/nowhere")),
    ("wrong method", lambda client: client.get("/v1/chat/completions")),
    ("options", lambda client: client.options("/v1/chat/completions")),
    ("head", lambda client: client.head("/health")),
    ("foreign host", lambda client: client.get("/health", headers={"Host": "evil.example"})),
    ("foreign origin", lambda client: client.get("/health", headers={"Origin": "null"})),
    ("no key", lambda client: client.get("/v1/models", headers={"X-Forwarded-For": "1"})),
    ("bad body", lambda client: client.post("/v1/chat/completions", data="{", content_type="application/json")),
    ("models", lambda client: client.get("/v1/models")),
    ("metrics", lambda client: client.get("/metrics")),
    ("chat", lambda client: client.post("/v1/chat/completions", json=chat())),
    ("stream", lambda client: client.post("/v1/chat/completions", json=chat(stream=True))),
    ("refused chat", lambda client: client.post("/v1/chat/completions", json=chat("[[simulate: status=500]]"))),
]


def chat(text: str = "hi", **more: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(("what", "ask"), ANSWERS, ids=[what for what, _ in ANSWERS])
def test_every_answer_has_the_headers_of_every_answer(
    client: FlaskClient, what: str, ask: Callable[[FlaskClient], TestResponse]
) -> None:
    with ask(client) as response:
        headers = response.headers
    assert "no-store" in headers["Cache-Control"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert len(headers["X-Request-Id"]) == 32
    assert "Server" not in headers
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize("given", ["a", "req_01.2:3-4", "0" * 128, "7d9f4a4e-6a0e-4b36-9f5b-2f6e7f0f5f3e"])
def test_a_sane_request_id_is_given_back(given: str) -> None:
    for path in ("/health", "/nowhere"):
        assert caller().get(path, headers={"X-Request-Id": given}).headers["X-Request-Id"] == given


@pytest.mark.parametrize(
    "given", ["", " ", "a b", "0" * 129, "a;b", "a,b", '"a"', "ä", "<script>", "a\x7f", "a/b", "\x1b[31m"]
)
def test_any_other_request_id_is_replaced(given: str) -> None:
    client = caller()
    shown = [client.get("/health", headers={"X-Request-Id": given}).headers["X-Request-Id"] for _ in range(2)]
    assert all(len(request_id) == 32 and request_id.isalnum() for request_id in shown)
    assert shown[0] != shown[1]


def test_the_request_id_reaches_copilot(simulator: Simulator) -> None:
    with connected(simulator.url) as client:
        client.post("/v1/chat/completions", json=chat(), headers={"X-Request-Id": "mine-7"})
    assert simulator.recorder.to("chat")[0].headers["x-request-id"] == "mine-7"


def test_a_failure_of_ours_tells_the_caller_nothing_but_an_id(caplog: pytest.LogCaptureFixture) -> None:
    app = application()

    @access(KEY)
    def fail() -> str:
        raise RuntimeError("a canary in an exception")

    app.add_url_rule("/fail", "fail", fail)
    with caplog.at_level(logging.INFO):
        response = app.test_client().get("/fail", headers={"X-Request-Id": "mine-8"})
    assert response.status_code == 500
    assert response.get_json()["error"]["type"] == "server_error"
    assert response.get_json()["error"]["code"] == "internal_error"
    assert response.headers["X-Request-Id"] == "mine-8"
    assert "canary" not in response.text
    [failed] = [record for record in caplog.records if record.message == "request_failed"]
    assert failed.request_id == "mine-8"  # type: ignore[attr-defined]
    assert failed.exc_info


def test_one_line_is_logged_for_a_request_without_its_query_and_headers(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="copilotapi.request"):
        caller().get("/?secret=canary", headers={"Authorization": "Bearer canary", "Cookie": "canary"}).close()
    [record] = [record for record in caplog.records if record.name == "copilotapi.request"]
    told = vars(record)
    assert (told["route"], told["status"], told["method"]) == ("/", 200, "GET")
    assert "canary" not in str(told)


def test_labels_of_metrics_do_not_grow_with_what_callers_make_up() -> None:
    client = caller()

    def labels() -> set[str]:
        lines = client.get("/metrics").text.splitlines()
        return {line.rpartition(" ")[0] for line in lines if "requests_total{" in line}

    def make_up(word: str) -> None:
        client.open("/health", method=word)
        client.get(f"/{word}")
        client.get("/health", headers={"X-Request-Id": word, "User-Agent": word})

    make_up("FIRST")
    labels()
    before = labels()
    make_up("SECOND")
    assert labels() == before
    assert not any("FIRST" in label for label in before)
