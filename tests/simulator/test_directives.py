"""Faults written into a prompt."""

import time
from typing import Any

import pytest

from copilotapi.simulator import FaultError, Simulator
from copilotapi.simulator.directives import faults_in, without_directives
from tests.simulator.client import Client, spoken, tool


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello", []),
        ("[[simulate: cut after_events=2]]", [{"kind": "cut", "after_events": 2}]),
        ("a [[simulate:cut]] b [[simulate: crlf ]] c", [{"kind": "cut"}, {"kind": "crlf"}]),
        (
            "[[simulate: status=429 code=user_model_rate_limited retry_after=2]]",
            [{"kind": "status", "status": 429, "code": "user_model_rate_limited", "retry_after": 2}],
        ),
        ("[[simulate: delay_seconds=0.5]]", [{"kind": "delay", "delay_seconds": 0.5}]),
        ("[[simulate: status=500 delay_seconds=1]]", [{"kind": "status", "status": 500, "delay_seconds": 1.0}]),
        (
            "[[simulate: words=500 chunk_delay_seconds=0.02]]",
            [{"kind": "answer", "words": 500, "chunk_delay_seconds": 0.02}],
        ),
        ('[[simulate: error message="two words" times=3]]', [{"kind": "error", "message": "two words", "times": 3}]),
        ("[[simulate:\n garbage\n text=x ]]", [{"kind": "garbage", "text": "x"}]),
    ],
)
def test_a_directive_is_read_as_the_fault_it_describes(text: str, expected: list[dict[str, Any]]) -> None:
    usual = {"path": "*", "every": 1, "times": 0, "delay_seconds": 0.0}
    assert [fault.as_json() for fault in faults_in(text)] == [usual | fault for fault in expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[simulate: ]]", "it is empty"),
        ("[[simulate: explode]]", "unknown kind 'explode'"),
        ("[[simulate: cut after=2]]", "unknown field 'after'"),
        ("[[simulate: cut after_events=two]]", "after_events must be"),
        ("[[simulate: delay_seconds=soon]]", "delay_seconds must be a number"),
        ("[[simulate: cut stall]]", "two values for kind"),
        ("[[simulate: status=500 status=501]]", "two values for status"),
        ("[[simulate: after_events=2]]", "it needs a kind"),
        ("[[simulate: cut, stall]]", "cannot read 'cut, stall'"),
        ('[[simulate: error message="open]]', "cannot read"),
        ("[[simulate: cut path=chat]]", "path has no place in a prompt"),
        ("[[simulate: cut every=2]]", "every has no place in a prompt"),
        ("[[simulate: token_life refresh_in_seconds=2]]", "push it"),
        ("[[simulate: cut", "must end with"),
    ],
)
def test_a_directive_that_makes_no_sense_says_why(client: Client, text: str, words: str) -> None:
    with pytest.raises(FaultError, match=words):
        faults_in(text)
    got = client.chat(text)
    assert (got.status, got.code) == (400, "simulator_directive")


def test_directives_are_left_out_of_the_echo(client: Client) -> None:
    assert without_directives("say [[simulate: crlf]]") == "say"
    assert "“say”" in spoken(client.stream("say [[simulate: crlf]]").events())


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"model": "gpt-4.1", "messages": [{"role": "user", "content": "PROMPT"}]}),
        ("/responses", {"model": "gpt-5-mini", "input": "PROMPT"}),
        (
            "/responses",
            {"model": "gpt-5-mini", "input": [{"role": "user", "content": [{"type": "input_text", "text": "PROMPT"}]}]},
        ),
        (
            "/v1/messages",
            {"model": "claude-sonnet-4", "max_tokens": 9, "messages": [{"role": "user", "content": "PROMPT"}]},
        ),
        ("/embeddings", {"model": "text-embedding-3-small", "input": ["PROMPT"]}),
        ("/v1/engines/gpt-41-copilot/completions", {"prompt": "PROMPT"}),
        ("/proxy/chat/completions", {"model": "x", "messages": [{"role": "user", "content": "PROMPT"}]}),
    ],
)
def test_every_prompt_can_carry_one(client: Client, path: str, body: dict[str, Any]) -> None:
    filled = _filled(body, "hello [[simulate: status=418 code=teapot]]")
    got = client.ask("POST", path, filled)
    assert (got.status, got.code) == (418, "teapot")


def _filled(value: Any, prompt: str) -> Any:
    if isinstance(value, dict):
        return {name: _filled(part, prompt) for name, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, prompt) for part in value]
    return prompt if value == "PROMPT" else value


def test_times_counts_by_the_exact_prompt(simulator: Simulator, client: Client) -> None:
    first, second = "one [[simulate: status=503 times=2]]", "two [[simulate: status=503 times=1]]"
    assert [client.chat(first).status for _ in range(3)] == [503, 503, 200]
    assert [client.chat(second).status for _ in range(2)] == [503, 200]
    simulator.reset()
    assert client.chat(second).status == 503


def test_without_times_it_happens_every_time(client: Client) -> None:
    assert [client.chat("[[simulate: status=503]]").status for _ in range(3)] == [503] * 3


def test_a_directive_can_be_for_one_model_only(client: Client) -> None:
    prompt = "[[simulate: status=429 code=model_overloaded model=gpt-4.1 times=1]]"
    assert [client.chat(prompt, model).status for model in ("gpt-4o", "gpt-4.1", "gpt-4.1")] == [200, 429, 200]


def test_only_the_last_user_message_counts(client: Client) -> None:
    messages = [
        {"role": "user", "content": "[[simulate: status=503]]"},
        {"role": "assistant", "content": "[[simulate: status=502]]"},
        {"role": "user", "content": "fine"},
    ]
    assert client.chat(messages=messages).status == 200


def test_a_token_that_expired_is_told_before_the_directive(simulator: Simulator, client: Client) -> None:
    client.headers()
    simulator.expire_copilot_tokens()
    assert client.chat("[[simulate: status=503 times=1]]").status == 401
    client.bearer = None
    assert client.chat("[[simulate: status=503 times=1]]").status == 503


def test_the_number_of_words_can_be_asked_for(client: Client) -> None:
    for wanted in (2, 500):
        events = client.stream(f"[[simulate: words={wanted}]]").events()
        assert len(spoken(events).split()) == wanted


def test_words_can_come_slowly(client: Client) -> None:
    began = time.monotonic()
    client.stream("[[simulate: words=5 chunk_delay_seconds=0.03]]")
    assert time.monotonic() - began > 0.15


def test_tools_can_be_left_alone_or_all_called(client: Client) -> None:
    tools = [tool("a"), tool("b"), tool("c")]
    spoken_only = client.chat("[[simulate: tools=none]]", tools=tools).json()
    assert spoken_only["choices"][0]["finish_reason"] == "stop"
    called = client.chat("[[simulate: tools=all]]", tools=tools).json()
    assert len(called["choices"][0]["message"]["tool_calls"]) == 3
