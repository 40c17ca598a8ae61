"""/openapi.json and /docs: the document is whole and true, the page and its files are what they should be and nothing more."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jsonschema_rs
import pytest
from flask.testing import FlaskClient
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from copilotapi import CopilotProxy
from copilotapi.openapi import document, operations
from copilotapi.openapi.errors import FAMILIES
from copilotapi.settings import Settings
from copilotapi.simulator import Simulator
from tests.application import application, caller, connected

KEY, ADMIN_KEY = "client-key-0123456789", "admin-key-0123456789"
AS_CLIENT, AS_ADMIN = {"x-api-key": KEY}, {"x-api-key": ADMIN_KEY}
DOCUMENT: Any = document(title="CopilotAPI", description="A gateway.", version="1.2.3")
SHOWN_METHODS = ("get", "post", "put", "patch", "delete", "head")
# Files of the page /docs; nobody calls them by hand.
ASSETS = "explorer.show_asset"
OPERATIONS_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
HELLO = [{"role": "user", "content": "Hello"}]


def resolved(node: Any) -> Any:
    """What a reference stands for."""
    while isinstance(node, dict) and "$ref" in node:
        found: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        node = found
    return node


def problems(schema: Mapping[str, Any], value: object) -> list[str]:
    validator = _validator(json.dumps(schema))
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


@cache
def _validator(schema: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({**json.loads(schema), "components": DOCUMENT["components"]})


def described() -> list[tuple[str, str, Any]]:
    return [
        (method, path, item[method])
        for path, item in DOCUMENT["paths"].items()
        for method in SHOWN_METHODS
        if method in item
    ]


def view_rules() -> Iterator[tuple[str, str, str]]:
    """Method, path as OpenAPI writes it, endpoint. OPTIONS is Flask's own, on every path."""
    for rule in application().url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"OPTIONS"}:
            if rule.endpoint != ASSETS:
                yield method.lower(), path, rule.endpoint


def test_the_document_has_every_route_and_no_other() -> None:
    assert {(method, path) for method, path, _ in view_rules()} == {(method, path) for method, path, _ in described()}


def test_an_embedded_proxy_shows_the_same_document_with_the_same_routes() -> None:
    settings = Settings(redis_url="memory://", api_title="Embedded", tiktoken_cache_dir="nowhere")
    with CopilotProxy(lambda request: "x", settings=settings, rate_limit_per_minute=0) as proxy:
        told = fetched(proxy.url)
    assert told["info"]["title"] == "Embedded"
    assert told["paths"].keys() == DOCUMENT["paths"].keys()


def fetched(url: str) -> Any:
    with urlopen(f"{url}/openapi.json", timeout=10) as response:
        return json.load(response)


def test_every_operation_says_who_may_as_the_guard_does() -> None:
    app = application()
    guarded = {(method, path): app.view_functions[endpoint].access for method, path, endpoint in view_rules()}  # type: ignore[attr-defined]
    assert {(method, path): told["x-copilotapi-access"] for method, path, told in described()} == guarded


def test_every_path_answers_options() -> None:
    client = caller()
    for path in DOCUMENT["paths"]:
        response = client.options(path.format(model_id="x", engine="x"))
        assert (response.status_code, "OPTIONS" in response.headers["Allow"]) == (200, True), path


def test_the_document_keeps_the_rules_of_openapi_3_1() -> None:
    errors = [f"{error.instance_path}: {error.message}" for error in OPENAPI_31_VALIDATOR.iter_errors(DOCUMENT)]
    assert errors == []
    assert not OPENAPI_31_VALIDATOR.is_valid({**DOCUMENT, "paths": {"no-slash": {}}})


def test_every_schema_is_a_schema() -> None:
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate({**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"})
        jsonschema_rs.Draft202012Validator({**schema, "components": DOCUMENT["components"]})
        assert schema, name


def test_every_reference_leads_somewhere() -> None:
    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            yield from ([node["$ref"]] if "$ref" in node else ())
            for value in node.values():
                yield from references(value)
        elif isinstance(node, list):
            for value in node:
                yield from references(value)

    found = set(references(DOCUMENT))
    assert [one for one in found if resolved({"$ref": one}) is None] == []
    kinds = ("schemas", "responses", "parameters", "headers")
    there = {f"#/components/{kind}/{name}" for kind in kinds for name in DOCUMENT["components"][kind]}
    assert there - found == set(), "described, and nowhere used"


def test_names_of_operations_are_unique() -> None:
    names = [told["operationId"] for _, _, told in described()]
    assert len(set(names)) == len(names)


def examples() -> Iterator[tuple[str, Any, Any]]:
    """Where, schema, value."""
    for method, path, told in described():
        contents = [("request", told.get("requestBody", {}).get("content", {}))]
        contents += [(status, resolved(answer).get("content", {})) for status, answer in told["responses"].items()]
        for where, content in contents:
            for media_type, media in content.items():
                for name, example in media["examples"].items():
                    yield f"{method} {path} {where} {media_type} {name}", media["schema"], example["value"]
        for parameter in map(resolved, told["parameters"]):
            if parameter["in"] != "header":
                yield f"{method} {path} {parameter['name']}", parameter["schema"], parameter["example"]
    for name, schema in DOCUMENT["components"]["schemas"].items():
        for field, told in schema.get("properties", {}).items():
            for example in told.get("examples", ()):
                yield f"{name}.{field}", told, example


def test_every_example_is_what_its_schema_describes() -> None:
    shown = list(examples())
    wrong = {where: problems(schema, value) for where, schema, value in shown}
    assert {where: told for where, told in wrong.items() if told} == {}
    assert len(shown) > 500


def test_every_operation_shows_a_request_and_an_answer() -> None:
    for method, path, told in described():
        answers = [resolved(answer) for answer in told["responses"].values()]
        contents = [media for answer in answers for media in answer.get("content", {}).values()]
        assert method == "head" or all(media["examples"] for media in contents), path
        assert contents or method == "head", path
        assert "requestBody" not in told or all(
            media["examples"] for media in told["requestBody"]["content"].values()
        ), path
        assert all("X-Request-Id" in resolved(answer)["headers"] for answer in told["responses"].values()), path


def test_examples_of_events_hold_what_their_schema_describes() -> None:
    shown = [(where, schema, value) for where, schema, value in examples() if "text/event-stream" in where]
    assert len(shown) == 10
    for where, schema, value in shown:
        assert problems(event_schema(schema), json.loads(value["data"])) == [], where


def event_schema(schema: Any) -> Any:
    data = schema["properties"]["data"]
    return next(one["contentSchema"] for one in (data, *data.get("anyOf", ())) if "contentSchema" in one)


def events(stream: str) -> list[Any]:
    datas = [line.removeprefix("data: ") for line in stream.splitlines() if line.startswith("data: ")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


def documented_errors() -> dict[str, set[int]]:
    """Code to statuses, as the operations page has them."""
    section = OPERATIONS_PAGE.read_text().partition("\n## Error codes\n")[2].partition("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return {row[1].strip(" `"): {int(status) for status in re.findall(r"\d{3}", row[2])} for row in rows}


def test_the_errors_are_those_of_the_operations_page() -> None:
    told: dict[str, set[int]] = {}
    for family in FAMILIES.values():
        for refusal in family.refusals:
            if refusal.named:
                told.setdefault(refusal.named, set()).add(refusal.status)
    page = documented_errors()
    # A caller that is gone reads no answer; http_error is 400 wherever a view is reached.
    assert page.pop("caller_gone") == {499}
    assert page.pop("http_error") == set()
    assert told.pop("http_error") == {400}
    assert told == page


def test_every_family_of_errors_is_used() -> None:
    assert {operation.errors for operation in operations()} == set(FAMILIES)


ASKED: Mapping[str, Any] = {
    "/v1/chat/completions": {"model": "gpt-4.1", "messages": HELLO},
    "/v1/responses": {"model": "gpt-5.2", "input": "Hello"},
    "/v1/messages": {"model": "claude-sonnet-4.5", "max_tokens": 50, "messages": HELLO},
    "/v1/completions": {"model": "gpt-41-copilot", "prompt": "def f():"},
    "/v1/engines/{engine}/completions": {"prompt": "def f():"},
}
MODELS = {
    "/v1/chat/completions": ("gpt-4.1", "gpt-5.5", "claude-sonnet-4.5", "gemini-2.5-pro"),
    "/v1/responses": ("gpt-5.5", "gpt-4.1", "claude-sonnet-4.5"),
    "/v1/messages": ("claude-sonnet-4.5", "gpt-4.1", "gpt-5.5"),
    "/v1/completions": ("gpt-41-copilot", "gpt-4.1"),
    "/v1/engines/{engine}/completions": ("gpt-41-copilot",),
}
PAIRS = [(path, model) for path, models in MODELS.items() for model in models]


@pytest.fixture(scope="module")
def client() -> Iterator[FlaskClient]:
    with (
        Simulator() as simulator,
        connected(simulator.url, api_keys=[KEY], admin_key=ADMIN_KEY) as client,
    ):
        assert client.post("/v1/token/refresh", headers=AS_ADMIN).status_code == 200
        yield client


def answer_problems(method: str, path: str, response: Any) -> list[str]:
    """What the document does not say of this answer."""
    told = DOCUMENT["paths"][path][method]["responses"]
    status = str(response.status_code)
    assert status in told, f"{method} {path} answered {status}: {response.get_data(as_text=True)}"
    answer = resolved(told[status])
    missing = [name for name, header in answer["headers"].items() if is_missing(header, name, response)]
    if not answer.get("content"):
        return missing
    media = answer["content"][response.mimetype]
    if response.mimetype == "text/event-stream":
        shown = events(response.get_data(as_text=True))
        assert shown
        return missing + [told for event in shown for told in problems(event_schema(media["schema"]), event)]
    value = response.get_json() if response.mimetype == "application/json" else response.get_data(as_text=True)
    return missing + problems(media["schema"], value)


def is_missing(header: Any, name: str, response: Any) -> bool:
    return bool(resolved(header).get("required")) and name not in response.headers


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(("path", "model"), PAIRS)
def test_real_answers_are_what_the_document_says(client: FlaskClient, path: str, model: str, is_streamed: bool) -> None:
    body = {**ASKED[path], "model": model, "stream": is_streamed}
    response = client.post(path.format(engine=model), json=body, headers=AS_CLIENT)
    assert response.status_code == 200
    assert response.mimetype == ("text/event-stream" if is_streamed else "application/json")
    assert answer_problems("post", path, response) == []


@pytest.mark.parametrize("is_streamed", [False, True])
def test_calls_of_tools_are_what_the_document_says(client: FlaskClient, is_streamed: bool) -> None:
    for path, needed in (("/v1/chat/completions", "required"), ("/v1/messages", {"type": "any"})):
        example = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]["tools"]
        body = {**example["value"], "tool_choice": needed, "stream": is_streamed}
        response = client.post(path, json=body, headers=AS_CLIENT)
        assert "weather" in response.get_data(as_text=True)
        assert answer_problems("post", path, response) == []


PLAIN = [
    (method, path)
    for method, path, told in described()
    if "requestBody" not in told and path not in ("/v1/responses", "/responses")
]


@pytest.mark.parametrize(("method", "path"), PLAIN)
def test_answers_without_a_body_to_send_are_what_the_document_says(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(path.format(model_id="gpt-4.1"), method=method, headers=AS_ADMIN)
    assert response.status_code in (200, 204)
    assert answer_problems(method, path, response) == []


@pytest.mark.parametrize("path", ["/models", "/models/{model_id}"])
def test_editors_answers_are_what_the_document_says(client: FlaskClient, path: str) -> None:
    headers = {**AS_CLIENT, "Editor-Version": "vscode/1.104.1"}
    response = client.get(path.format(model_id="gpt-4.1"), headers=headers)
    assert "capabilities" in response.get_data(as_text=True)
    assert answer_problems("get", path, response) == []


WRONG = [
    ("post", "/v1/chat/completions", {"json": {"messages": 1}}, 400),
    ("post", "/v1/messages", {"json": {"messages": 1}}, 400),
    ("post", "/v1/messages/count_tokens", {"json": {"messages": 1}}, 400),
    ("post", "/v1/responses", {"json": {"input": "x", "previous_response_id": "resp_1"}}, 400),
    ("post", "/v1/completions", {"data": "x"}, 415),
    ("post", "/v1/embeddings", {"json": {"model": "no-such", "input": "x"}}, 404),
    ("post", "/v1/chat/completions", {"json": {"model": "no-such", "messages": HELLO}}, 404),
    ("get", "/v1/models", {"headers": {}}, 401),
    ("get", "/v1/models/{model_id}", {}, 404),
    ("get", "/v1/models/{model_id}", {"headers": {**AS_CLIENT, "anthropic-version": "2023-06-01"}}, 404),
    ("post", "/v1/token/refresh", {}, 403),
    ("get", "/v1/usage", {"query_string": {"days": "0"}}, 400),
    ("get", "/v1/responses", {}, 405),
    ("get", "/v1/responses", {"headers": {**AS_CLIENT, "Connection": "Upgrade", "Upgrade": "websocket"}}, 426),
    ("get", "/health", {"headers": {"Host": "evil.example"}}, 421),
    ("get", "/docs", {"headers": {"Origin": "http://evil.example"}}, 403),
]


@pytest.mark.parametrize(("method", "path", "request_", "status"), WRONG)
def test_refusals_are_what_the_document_says(
    client: FlaskClient, method: str, path: str, request_: Any, status: int
) -> None:
    response = client.open(path.format(model_id="no-such"), method=method, **{"headers": AS_CLIENT, **request_})
    assert response.status_code == status
    assert answer_problems(method, path, response) == []


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_the_limit_of_an_address_holds_for_the_document_and_the_page(path: str) -> None:
    client = caller(rate_limit_per_minute=1)
    assert client.get(path).status_code == 200
    response = client.get(path)
    assert response.status_code == 429
    assert answer_problems("get", path, response) == []
    assert {"Retry-After", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= {
        *response.headers.keys()
    }


def test_the_document_bears_the_operators_words() -> None:
    told: Any = caller(api_title="Ours", api_description="Of team 7", api_version="7.1").get("/openapi.json").get_json()
    assert (told["openapi"], told["info"]["title"], told["info"]["version"]) == ("3.1.0", "Ours", "7.1")
    assert told["info"]["description"].startswith("Of team 7")
    assert told["servers"] == [{"url": "/"}]


def test_the_document_and_the_page_are_open_to_all_and_hold_no_secret() -> None:
    secrets = {"api_keys": [KEY], "admin_key": ADMIN_KEY, "github_copilot_token": "gho_canary_of_the_document_01234"}
    client = caller(**secrets)
    for path in ("/openapi.json", "/docs"):
        response = client.get(path, environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
        assert response.status_code == 200
        assert not any(secret in response.text for secret in (KEY, ADMIN_KEY, "gho_canary"))


def test_the_document_is_sent_again_only_when_it_has_changed() -> None:
    client = caller()
    first = client.get("/openapi.json")
    assert first.headers["Cache-Control"] == "no-cache"
    again = client.get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    other = caller(api_title="Ours").get("/openapi.json", headers={"If-None-Match": first.headers["ETag"]})
    assert other.status_code == 200


def assets(client: FlaskClient) -> list[str]:
    return re.findall(r'(?:href|src)="([^"]+)"', client.get("/docs").text)


def test_the_page_is_under_a_strict_policy() -> None:
    headers = caller().get("/docs").headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_a_title_cannot_become_markup() -> None:
    assert "<title>&lt;script&gt;&amp;</title>" in caller(api_title="<script>&").get("/docs").text


def test_every_file_of_the_page_is_served_to_be_kept_for_ever() -> None:
    client = caller()
    types = {".js": "text/javascript", "css": "text/css", "png": "image/png"}
    paths = assets(client)
    assert len(paths) == 4
    for path in paths:
        response = client.get(path)
        assert response.status_code == 200
        assert response.mimetype == types[path[-3:]]
        assert "immutable" in response.headers["Cache-Control"]
        assert len(response.data) > 100
        head = client.head(path)
        assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", str(len(response.data)))


@pytest.mark.parametrize(
    "name",
    [
        "../flask_swagger_ui.py",
        "..%2fflask_swagger_ui.py",
        "%2e%2e/__init__.py",
        "..\\__init__.py",
        "VERSION",
        "LICENSE",
        "oauth2-redirect.html",
        "swagger-ui.js",
        "swagger-ui.css.map",
        "swagger-ui.css%00",
        "",
        ".",
        "/etc/passwd",
    ],
)
def test_no_other_file_is_served(name: str) -> None:
    client = caller()
    folder = assets(client)[0].rpartition("/")[0]
    response = client.get(f"{folder}/{name}")
    assert response.status_code == 404
    assert response.get_json()["error"]["code"] == "not_found"


def test_files_of_another_version_are_not_there() -> None:
    assert caller().get("/docs/1.0.0/start.js").status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_the_document_and_the_page_are_only_read(method: str) -> None:
    client = caller()
    for path in ("/openapi.json", "/docs", assets(client)[0]):
        response = client.open(path, method=method)
        assert response.status_code == 405
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
