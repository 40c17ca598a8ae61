"""Whatever a client sends, it gets an answer."""

import threading
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilotapi.simulator import Simulator
from tests.simulator.client import Client

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-9, 9)
    | st.sampled_from(["", "x", "user", "text", "tool"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "role", "content"]), inner),
    max_leaves=6,
)
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "tool", "system"]) | VALUES,
        "type": st.sampled_from(["message", "function_call", "function_call_output", "reasoning"]) | VALUES,
        "content": st.just("hello") | VALUES,
        "tool_calls": VALUES,
        "output": VALUES,
    },
)
NAMES = ["tool_choice", "max_output_tokens", "reasoning", "thinking", "system", "stream_options"]
MORE = ["n", "stop", "extra", "prediction", "dimensions", "include", "output_config", "parallel_tool_calls", "prompt"]
SCHEMA = st.recursive(
    VALUES,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "integer", "string", "null"]) | VALUES,
            "properties": st.dictionaries(st.sampled_from(["a", "b"]), inner) | VALUES,
            "required": st.lists(st.sampled_from(["a", "c"])) | VALUES,
            "items": inner,
            "minItems": VALUES,
            "anyOf": st.lists(inner, max_size=2),
            "$ref": st.sampled_from(["#", "#/properties/a", "#/$defs/x", ""]) | VALUES,
            "enum": VALUES,
            "minimum": VALUES,
        },
    ),
    max_leaves=4,
)
TOOL = st.builds(
    lambda schema: {
        "type": "function",
        "name": "x",
        "parameters": schema,
        "input_schema": schema,
        "function": {"name": "x", "parameters": schema},
    },
    SCHEMA,
)
BODY = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4.1", "gpt-5.4", "claude-opus-4.7", "gemini-2.5-pro", "text-embedding-3-small"]),
        "stream": st.booleans(),
    },
    optional={
        "messages": st.lists(MESSAGE, max_size=3) | VALUES,
        "input": st.lists(MESSAGE | st.just("x"), max_size=3) | VALUES,
        "max_tokens": st.just(2000) | VALUES,
        "tools": st.lists(TOOL, max_size=2) | VALUES,
    }
    | dict.fromkeys(NAMES + MORE, VALUES),
)
PATHS = [
    "/chat/completions",
    "/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/embeddings",
    "/v1/engines/gpt-41-copilot/completions",
    "/proxy/chat/completions",
    "/models/session",
    "/models/gpt-4.1/policy",
    "/login/device/code",
    "/login/oauth/access_token",
    "/_simulator/faults",
    "/_simulator/reset",
]


@pytest.fixture
def failures(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """What went wrong in the simulator's threads."""
    caught: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    return caught


HELLO = [{"role": "user", "content": "use both"}]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "gpt-4.1", "messages": HELLO},
        {"model": "gpt-5-mini", "input": HELLO},
        {"model": "claude-sonnet-4", "messages": HELLO, "max_tokens": 2000},
    ],
    ids=["/chat/completions", "/responses", "/v1/messages"],
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tools=st.lists(TOOL, min_size=1, max_size=2))
def test_a_tool_with_any_schema_is_called(
    request: pytest.FixtureRequest,
    client: Client,
    failures: list[threading.ExceptHookArgs],
    body: dict[str, Any],
    tools: list[Any],
) -> None:
    path = request.node.callspec.id
    got = client.ask("POST", path, body | {"tools": tools})
    assert got.status == 200
    assert failures == []


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY | VALUES)
def test_any_json_is_answered(
    simulator: Simulator, client: Client, failures: list[threading.ExceptHookArgs], path: str, body: Any
) -> None:
    got = client.ask("POST", path, body, Copilot_Vision_Request="true")
    assert got.status in (200, 400, 404)
    assert failures == []


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_number_that_json_does_not_have_is_refused(client: Client, constant: str) -> None:
    body = f'{{"model":"gpt-4.1","messages":[{{"role":"user","content":"x"}}],"seed":{constant}}}'
    assert client.ask("POST", "/chat/completions", body.encode()).status == 400
