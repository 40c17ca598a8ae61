"""POST /embeddings and the completion proxy."""

import math
from typing import Any

import pytest

from tests.simulator.client import Client, Got

ENGINE = "/v1/engines/gpt-41-copilot/completions"


def embed(client: Client, given: Any, **body: Any) -> Got:
    return client.ask("POST", "/embeddings", {"model": "text-embedding-3-small", "input": given} | body)


def suggest(client: Client, prompt: str = "def f():\n    ", **body: Any) -> list[Any]:
    return client.ask(
        "POST", ENGINE, {"prompt": prompt, "suffix": "", "stream": True} | body, Editor_Version=""
    ).events()


def texts(events: list[Any]) -> dict[int, str]:
    told: dict[int, str] = {}
    for choice in (choice for event in events[:-1] for choice in event["choices"]):
        told[choice["index"]] = told.get(choice["index"], "") + choice.get("text", "")
    return told


def finishes(events: list[Any]) -> list[str]:
    return [one["choices"][0]["finish_reason"] for one in events[:-1] if one["choices"][0]["finish_reason"]]


def test_embeddings_are_unit_vectors_of_the_text_in_a_bare_envelope(client: Client) -> None:
    answer = embed(client, ["a", "b", "a"]).json()
    assert answer.keys() == {"data", "usage"}
    first, second, third = (one["embedding"] for one in answer["data"])
    assert first == third != second
    assert len(first) == 1536
    assert math.hypot(*first) == pytest.approx(1.0, abs=1e-4)


def test_dimensions_are_honoured_and_base64_is_not(client: Client) -> None:
    answer = embed(client, ["a"], dimensions=8, encoding_format="base64").json()
    assert len(answer["data"][0]["embedding"]) == 8


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ("text", {}),
        ([], {}),
        ([1, 2], {}),
        (["x"] * 513, {}),
        (["x" * 40_000], {}),
        (["x"], {"dimensions": 0}),
        (["x"], {"model": "no-such"}),
    ],
)
def test_embeddings_refuse_what_copilot_refuses(client: Client, given: Any, body: dict[str, Any]) -> None:
    assert embed(client, given, **body).status == 400


def test_suggestions_interleave_by_index(client: Client) -> None:
    events = suggest(client, n=3)
    indices = [event["choices"][0]["index"] for event in events[:-1]]
    assert indices[3:9] == [0, 1, 2, 0, 1, 2]
    assert events[-1] == "[DONE]"
    assert len(set(texts(events).values())) == 3
    assert finishes(events) == ["stop"] * 3


def test_a_suggestion_ends_at_a_stop(client: Client) -> None:
    (text,) = texts(suggest(client, stop=["\n"])).values()
    assert text
    assert "\n" not in text
    (text,) = texts(suggest(client, stop=["\n\n\n"])).values()
    assert text.endswith("after_the_block()")


def test_trim_by_indentation_ends_before_a_line_further_left(client: Client) -> None:
    (text,) = texts(suggest(client, extra={"trim_by_indentation": True, "next_indent": 4})).values()
    assert text.endswith("    return suggestion_0")


def test_a_suggestion_that_is_too_long_is_cut(client: Client) -> None:
    events = suggest(client, max_tokens=2)
    assert finishes(events) == ["length"]
    assert len(texts(events)[0]) == 8


def test_the_proxy_serves_both_paths_and_its_own_models(client: Client) -> None:
    body = {"prompt": "x", "stream": True}
    assert client.ask("POST", f"/proxy{ENGINE}", body).status == 200
    assert client.ask("POST", "/v1/engines/no-such/completions", body).status == 404
    assert client.ask("POST", ENGINE, {"prompt": 7}).status == 400
    assert client.ask("POST", ENGINE, body, Authorization="Bearer x").status == 401
    assert client.ask("GET", "/proxy/models").json()["models"][0]["serviceType"] == "NESChat"
