"""What a caller sent goes on as it came, unless something in it has to change."""

import json
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from tests.application import connected
from tests.faults.played_copilot import PlayedCopilot, answered, saying


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def client(copilot: PlayedCopilot) -> Iterator[FlaskClient]:
    with connected(copilot.url) as client:
        yield client


def sent_on(client: FlaskClient, copilot: PlayedCopilot, body: bytes) -> bytes:
    copilot.play(saying(answered()))
    response = client.post("/v1/chat/completions", data=body, content_type="application/json")
    assert response.status_code == 200, response.text
    [request] = [request for request in copilot.requests if request.startswith(b"POST /chat/completions")]
    return request.partition(b"\r\n\r\n")[2]


def test_a_body_that_needs_no_change_goes_on_byte_for_byte(client: FlaskClient, copilot: PlayedCopilot) -> None:
    body = b'{ "model" : "gpt-4.1",\n "messages":[{"role":"user","content":"H\\u00e9 \\/ 1.50"}], "temperature":1.0e0 }'
    assert sent_on(client, copilot, body) == body


@pytest.mark.parametrize(
    ("more", "expected"),
    [({"store": True}, {}), ({"stream_options": {"include_usage": True}}, {}), ({"user": "x"}, {"user": "x"})],
    ids=["a dropped field", "an option of streams", "a field unknown to us"],
)
def test_what_has_to_change_is_all_that_changes(
    client: FlaskClient, copilot: PlayedCopilot, more: dict[str, object], expected: dict[str, object]
) -> None:
    base = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "Hello"}]}
    assert json.loads(sent_on(client, copilot, json.dumps({**base, **more}).encode())) == {**base, **expected}


def test_another_way_to_write_the_model_is_written_as_the_account_does(
    client: FlaskClient, copilot: PlayedCopilot
) -> None:
    body = b'{"model":"openai/gpt-4.1","messages":[{"role":"user","content":"Hello"}]}'
    assert sent_on(client, copilot, body) == body.replace(b"openai/", b"")
