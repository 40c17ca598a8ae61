"""What every endpoint of Copilot checks before it answers, and the list of models."""

from urllib.parse import parse_qs

import pytest

from copilotapi.simulator import Simulator
from tests.simulator.client import Client

PIXEL = "data:image/png;base64,iVBORw0KGgo="
PATHS = ["/chat/completions", "/responses", "/v1/messages", "/v1/messages/count_tokens", "/embeddings"]


def see(url: str) -> list[dict[str, object]]:
    picture = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "look"}, picture]}]


@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_bearer_is_an_expired_token(client: Client, path: str) -> None:
    got = client.ask("POST", path, {}, Authorization="Bearer tid=0;exp=1:00")
    assert (got.status, got.text) == (401, "unauthorized: token expired")
    assert got.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_editor_version_is_refused_in_text(client: Client, path: str) -> None:
    got = client.ask("POST", path, {}, Editor_Version="")
    assert (got.status, got.text) == (400, "bad request: missing Editor-Version header for IDE auth")


def test_an_unreadable_editor_version_is_refused(client: Client) -> None:
    got = client.ask("GET", "/models", Editor_Version="something")
    assert (got.status, got.text) == (400, "bad request: unknown Editor-Version something")


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_not_json_is_refused(client: Client, path: str) -> None:
    got = client.ask("POST", path, b"{nonsense")
    assert (got.status, got.code) == (400, "invalid_request_body")


def test_error_bodies_are_json_that_calls_itself_text(client: Client) -> None:
    got = client.chat(model="no-such-model")
    assert got.headers["content-type"].startswith("text/plain")
    assert got.code == "model_not_supported"
    assert got.json()["error"]["param"] == "model"


def test_expired_tokens_are_refused_until_the_next_exchange(simulator: Simulator, client: Client) -> None:
    assert client.chat().status == 200
    simulator.expire_copilot_tokens()
    assert client.chat().status == 401
    client.bearer = None
    assert client.chat().status == 200


@pytest.mark.parametrize("github_token", ["gho_test", "github_pat_test"])
def test_direct_mode_takes_a_github_token_and_needs_no_editor(github_token: str) -> None:
    with Simulator(direct=True) as simulator:
        headers = {"Authorization": f"Bearer {github_token}", "Editor_Version": ""}
        assert Client(simulator).ask("GET", "/models", **headers).status == 200


def test_a_github_token_is_no_bearer_without_direct_mode(client: Client) -> None:
    assert client.ask("GET", "/models", Authorization="Bearer gho_test").status == 401


@pytest.mark.parametrize("direct", [False, True])
def test_a_classic_token_is_never_a_bearer(direct: bool) -> None:
    with Simulator(direct=direct) as simulator:
        got = Client(simulator).ask("GET", "/models", Authorization="Bearer ghp_x")
    assert (got.status, got.text) == (400, "Personal Access Tokens are not supported for this endpoint")


def test_every_answer_names_its_request(client: Client) -> None:
    for got in (client.exchange, client.chat, client.stream):
        got()
    for answer in (client.chat(), client.send("GET", "/nowhere"), client.github("GET", "/user")):
        assert answer.headers["x-github-request-id"]
        assert answer.headers["x-request-id"]
    assert client.ask("GET", "/models", X_Request_Id="mine").headers["x-request-id"] == "mine"


def test_an_image_needs_the_vision_header(client: Client) -> None:
    body = {"model": "gpt-4.1", "messages": see(PIXEL)}
    got = client.ask("POST", "/chat/completions", body)
    assert (got.status, got.code) == (400, "")
    assert got.json()["error"]["message"] == "missing required Copilot-Vision-Request header for vision requests"
    assert client.ask("POST", "/chat/completions", body, Copilot_Vision_Request="true").status == 200


def test_an_image_by_url_is_refused(client: Client) -> None:
    body = {"model": "gpt-4.1", "messages": see("https://example.com/a.png")}
    got = client.ask("POST", "/chat/completions", body, Copilot_Vision_Request="true")
    assert got.status == 400
    assert "external image URLs" in got.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "model", "body"),
    [
        ("/chat/completions", "gpt-5.3-codex", {"messages": [{"role": "user", "content": "x"}]}),
        ("/responses", "gpt-4.1", {"input": "x"}),
        ("/v1/messages", "gpt-4.1", {"max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}),
        ("/embeddings", "gpt-4.1", {"input": ["x"]}),
        ("/chat/completions", "text-embedding-3-small", {"messages": [{"role": "user", "content": "x"}]}),
    ],
)
def test_a_model_at_the_wrong_endpoint_is_refused(
    client: Client, path: str, model: str, body: dict[str, object]
) -> None:
    got = client.ask("POST", path, {"model": model} | body)
    assert (got.status, got.code) == (400, "unsupported_api_for_model")
    assert got.json()["error"]["message"] == f'model "{model}" is not accessible via the {path} endpoint'


@pytest.mark.parametrize("model", ["no-such", "claude-sonnet-4-5", "claude-opus-4.6-1m", "claude-sonnet-5", None, 7])
def test_a_model_that_may_not_be_used_is_not_supported(client: Client, model: object) -> None:
    got = client.ask("POST", "/chat/completions", {"model": model, "messages": [{"role": "user", "content": "x"}]})
    assert (got.status, got.code) == (400, "model_not_supported")


def test_a_prompt_beyond_the_limit_is_refused(client: Client) -> None:
    got = client.chat("x" * 4 * 13_000, model="gpt-4o-mini")
    assert (got.status, got.code) == (400, "model_max_prompt_tokens_exceeded")
    assert got.json()["error"]["message"] == "prompt token count of 13000 exceeds the limit of 12288"


def test_images_do_not_count_as_prompt_tokens(client: Client) -> None:
    body = {"model": "gpt-4.1", "messages": see("data:image/png;base64," + "A" * 800_000)}
    assert client.ask("POST", "/chat/completions", body, Copilot_Vision_Request="true").status == 200


def left(client: Client, model: str, initiator: str) -> float:
    body = {"model": model, "messages": [{"role": "user", "content": "x"}]}
    got = client.ask("POST", "/chat/completions", body, X_Initiator=initiator)
    return float(parse_qs(got.headers["x-quota-snapshot-premium_interactions"])["rem"][0])


def test_only_user_turns_cost_and_each_costs_the_multiplier(client: Client) -> None:
    assert left(client, "claude-opus-4.5", "agent") == 100.0
    assert left(client, "claude-opus-4.5", "user") == 99.0
    assert left(client, "gpt-4.1", "user") == 99.0
    assert left(client, "claude-haiku-4.5", "user") == pytest.approx(98.89)
    quota = client.github("GET", "/copilot_internal/user").json()["quota_snapshots"]["premium_interactions"]
    assert quota["quota_remaining"] == pytest.approx(296.67)


def test_a_refused_request_costs_nothing(client: Client) -> None:
    client.ask("POST", "/chat/completions", {"model": "claude-opus-4.5"}, X_Initiator="user")
    assert left(client, "gpt-4.1", "user") == 100.0


def test_the_list_of_models_has_its_known_oddities(client: Client) -> None:
    models = client.ask("GET", "/models").json()["data"]
    ids = [model["id"] for model in models]
    by_id = {model["id"]: model for model in models}
    assert ids.count("gpt-4") == ids.count("gpt-4-o-preview") == 2
    assert "supported_endpoints" not in by_id["gpt-4.1"]
    assert by_id["claude-sonnet-5"]["policy"]["state"] == "unconfigured"
    assert by_id["claude-sonnet-5"]["capabilities"]["limits"].keys() == {"vision"}
    assert by_id["gpt-4o-mini"]["model_picker_enabled"] is False
    assert by_id["claude-opus-4.6-1m"]["billing"]["restricted_to"] == ["enterprise"]
    assert {model["capabilities"]["type"] for model in models} == {"chat", "completion", "embeddings"}
    assert [model["id"] for model in models if model["is_chat_default"]] == ["gpt-4.1"]


def test_accepted_terms_open_a_model(client: Client) -> None:
    assert client.ask("POST", "/models/claude-sonnet-5/policy", {"state": "enabled"}).status == 200
    assert client.ask("GET", "/models/claude-sonnet-5").json()["policy"]["state"] == "enabled"
    assert client.chat(model="claude-sonnet-5").status == 200


def test_small_endpoints_answer(client: Client) -> None:
    assert client.ask("GET", "/_ping").status == 200
    assert client.ask("POST", "/models/session", {"auto_mode": {}}).json()["selected_model"] == "gpt-4.1"
    assert client.ask("POST", "/telemetry", {}).status == 200
    assert client.ask("GET", "/models/no-such").code == "not_found"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/v1/messages/batches", "/chat/completions/"])
def test_copilot_has_no_such_paths(client: Client, path: str) -> None:
    assert client.ask("POST", path, {}).status == 404
