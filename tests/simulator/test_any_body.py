"""Whatever a client sends, it gets an answer."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from copilotapi.simulator import Simulator
from tests.simulator.client import Client

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "x", "user", "text", "tool"]),
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
NAMES = ["tools", "tool_choice", "max_tokens", "max_output_tokens", "reasoning", "thinking", "system", "stream_options"]
MORE = ["n", "stop", "extra", "prediction", "dimensions", "include", "output_config", "parallel_tool_calls", "prompt"]
BODY = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["gpt-4.1", "gpt-5.4", "claude-opus-4.7", "gemini-2.5-pro", "text-embedding-3-small"]),
        "stream": st.booleans(),
    },
    optional={
        "messages": st.lists(MESSAGE, max_size=3) | VALUES,
        "input": st.lists(MESSAGE | st.just("x"), max_size=3) | VALUES,
        "max_tokens": st.just(2000) | VALUES,
    }
    | {name: VALUES for name in NAMES + MORE if name != "max_tokens"},
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
def failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.ExceptHookArgs]]:
    """What went wrong in the simulator's threads."""
    caught: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    yield caught


@pytest.mark.parametrize("path", PATHS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=BODY | VALUES)
def test_any_json_is_answered(
    simulator: Simulator, client: Client, failures: list[threading.ExceptHookArgs], path: str, body: Any
) -> None:
    got = client.ask("POST", path, body, Copilot_Vision_Request="true")
    assert got.status in (200, 400, 404)
    assert failures == []
