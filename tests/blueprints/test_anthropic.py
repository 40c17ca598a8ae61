"""What Anthropic's clients read beside a message: errors in their words, limits in their names, the shared list of models."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.application import caller, connected
from tests.faults.played_copilot import LAST_CHUNK, STREAM_HEAD, PlayedCopilot, chunk, event, refused, saying

LIMITS = ("x-ratelimit-remaining-requests: 7", "x-ratelimit-reset-requests: 90s", "x-ratelimit-exceeded: a bucket")
BODY: dict[str, Any] = {"model": "gpt-4.1", "max_tokens": 50, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def client(copilot: PlayedCopilot) -> Iterator[FlaskClient]:
    with connected(copilot.url) as client:
        yield client


def spoken(**usage: object) -> bytes:
    """A chat with Copilot's usage in its last chunk, and headers of limits."""
    last = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1", "choices": []}
    frames = (event("Hello"), event("", "stop"), b"data: " + json.dumps({**last, "usage": usage}).encode() + b"\n\n")
    head = STREAM_HEAD.removesuffix(b"\r\n") + "\r\n".join([*LIMITS, "", ""]).encode()
    return head + b"".join(map(chunk, (*frames, b"data: [DONE]\n\n"))) + LAST_CHUNK


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_the_cache_had_is_no_part_of_the_input(
    client: FlaskClient, copilot: PlayedCopilot, is_streamed: bool
) -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 30}}
    copilot.play(saying(spoken(prompt_tokens=40, completion_tokens=2, total_tokens=42, **details)))
    response = client.post("/v1/messages", json={**BODY, "stream": is_streamed})
    if is_streamed:
        [usage] = [
            json.loads(line[6:])["usage"] for line in response.text.splitlines() if '"message_delta"' in line[6:]
        ]
    else:
        usage = response.get_json()["usage"]
    counts = {name: usage[name] for name in ("input_tokens", "cache_read_input_tokens", "output_tokens")}
    assert counts == {"input_tokens": 10, "cache_read_input_tokens": 30, "output_tokens": 2}


def test_copilots_limits_are_told_in_anthropics_names_on_a_translated_answer(
    client: FlaskClient, copilot: PlayedCopilot
) -> None:
    copilot.play(saying(spoken(prompt_tokens=4, completion_tokens=2, total_tokens=6)))
    headers = client.post("/v1/messages", json=BODY).headers
    assert headers["x-ratelimit-remaining-requests"] == headers["anthropic-ratelimit-requests-remaining"] == "7"
    reset = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
    assert 80 < (reset - datetime.now(UTC)).total_seconds() < 95


def test_copilots_limits_are_told_in_anthropics_names_on_a_refusal(client: FlaskClient, copilot: PlayedCopilot) -> None:
    copilot.play(saying(refused(429, "user_model_rate_limited", "slow down", "Retry-After: 9", *LIMITS)))
    response = client.post("/v1/messages", json=BODY)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "9")
    assert response.headers["anthropic-ratelimit-requests-remaining"] == "7"
    assert response.headers["x-ratelimit-exceeded"] == "a bucket"
    assert response.get_json()["error"] == {"type": "rate_limit_error", "message": "slow down"}


def test_other_protocols_are_told_limits_in_their_own_names_only(client: FlaskClient, copilot: PlayedCopilot) -> None:
    copilot.play(saying(spoken(prompt_tokens=4, completion_tokens=2, total_tokens=6)))
    body = {"model": "gpt-4.1", "messages": BODY["messages"], "stream": True}
    with client.post("/v1/chat/completions", json=body) as response:
        names = {name.lower() for name, _ in response.headers}
    assert "x-ratelimit-remaining-requests" in names
    assert not any(name.startswith("anthropic-") for name in names)


@pytest.mark.parametrize(("added", "initiator"), [("<system-reminder>x</system-reminder>", "agent"), ("x", "user")])
def test_who_began_a_turn_is_told_from_what_the_caller_said(
    client: FlaskClient, copilot: PlayedCopilot, added: str, initiator: str
) -> None:
    """Translated, the text after the result of a tool is a message of the user's own."""
    copilot.play(saying(spoken(prompt_tokens=4, completion_tokens=2, total_tokens=6)))
    called = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    result = [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}, {"type": "text", "text": added}]
    messages = [{"role": "assistant", "content": [called]}, {"role": "user", "content": result}]
    client.post("/v1/messages", json={**BODY, "messages": [*BODY["messages"], *messages]})
    head = copilot.requests[-1].partition(b"\r\n\r\n")[0].decode().lower()
    assert f"x-initiator: {initiator}" in head.splitlines()


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/v1/messages", 405, "invalid_request_error"),
        ("GET", "/v1/messages/count_tokens", 405, "invalid_request_error"),
        ("POST", "/v1/messages/batches", 404, "not_found_error"),
        ("POST", "/v1/messages", 415, "invalid_request_error"),
    ],
)
def test_every_refusal_of_these_paths_has_anthropics_shape(method: str, path: str, status: int, kind: str) -> None:
    response = caller().open(path, method=method)
    answer = response.get_json()
    assert (response.status_code, answer["type"], answer["error"]["type"]) == (status, "error", kind)
    assert set(answer["error"]) == {"type", "message"}
    assert answer["request_id"] == response.headers["request-id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/gpt-4.1"])
def test_the_models_are_refused_to_each_client_in_its_own_words(path: str) -> None:
    client = caller(api_keys="sk-0123456789abcdef")
    plain = client.get(path).get_json()
    assert plain["error"]["code"] == "invalid_api_key"
    response = client.get(path, headers={"anthropic-version": "2023-06-01"})
    anthropics = response.get_json()
    assert (anthropics["type"], anthropics["error"]["type"]) == ("error", "authentication_error")
    assert response.headers["x-should-retry"] == "false"


def test_a_model_of_which_copilot_tells_little_is_shown_all_the_same(client: FlaskClient) -> None:
    answer = client.get("/v1/models").get_json()
    assert (answer["object"], answer["has_more"]) == ("list", False)
    assert (answer["first_id"], answer["last_id"]) == ("gpt-4.1", answer["data"][-1]["id"])
    assert answer["data"][0] == client.get("/v1/models/gpt-4.1").get_json()
    assert answer["data"][0] == {
        "id": "gpt-4.1",
        "object": "model",
        "created": 0,
        "owned_by": "OpenAI",
        "type": "model",
        "display_name": "gpt-4.1",
        "created_at": "1970-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": None,
        "max_tokens": None,
        "name": "gpt-4.1",
        "kind": "chat",
        "endpoints": ["/chat/completions"],
        "limits": {},
        "supports": {},
        "preview": False,
        "billing": {},
        "policy": None,
        "is_default": False,
    }
