"""Claude Code does a whole turn through the gateway, with a tool and its result, on models of every kind."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilotapi.simulator import Simulator
from tests.clients.claude_code import ClaudeCode
from tests.faults.played_copilot import DONE, GOOD_STREAM, PlayedCopilot, saying, streamed
from tests.gateway_process import GatewayProcess

KEY = "sk-0123456789abcdef"
# The simulator makes the arguments of a call up from their names.
NOTE = "simulated file_path"
CLAUDE, CHAT = "claude-sonnet-4-6", "gpt-4.1"


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, API_KEYS=KEY, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture
def claude_code(simulator: Simulator, gateway: GatewayProcess, tmp_path: Path) -> ClaudeCode:
    simulator.recorder.clear()
    return ClaudeCode(tmp_path, gateway.url, KEY)


@pytest.mark.parametrize(
    ("asked", "answering", "path"),
    [
        (CLAUDE, "claude-sonnet-4.6", "/v1/messages"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4.5", "/v1/messages"),
        ("opus", "claude-opus-4.7", "/v1/messages"),
        (CHAT, "gpt-4.1", "/chat/completions"),
        ("gpt-5.1-codex", "gpt-5.1-codex", "/responses"),
        ("gemini-2.5-pro", "gemini-2.5-pro", "/chat/completions"),
    ],
)
def test_a_turn_with_a_tool_is_done(
    claude_code: ClaudeCode, simulator: Simulator, asked: str, answering: str, path: str
) -> None:
    (claude_code.folder / NOTE).write_text("the word is heron-42\n")
    turn = claude_code.run("What is in the note?", asked, tools="Read")
    [call], [result] = turn.blocks("tool_use"), turn.blocks("tool_result")
    assert (call["name"], call["input"], call["id"]) == ("Read", {"file_path": NOTE}, result["tool_use_id"])
    assert (turn.exit_code, turn.end["is_error"], turn.end["num_turns"]) == (0, False, 2)
    assert "heron-42" in turn.end["result"]
    assert turn.end["usage"]["output_tokens"] > 0
    calls = [request for request in simulator.recorder.requests if request.method == "POST"]
    assert [(call.path, call.status) for call in calls] == [(path, 200)] * 2
    assert {json.loads(call.body)["model"] for call in calls} == {answering}
    # The second is no request of the user's: it costs nothing.
    assert [call.headers["x-initiator"] for call in calls] == ["user", "agent"]


def test_the_model_it_takes_by_itself_is_newer_than_copilots_and_answered_all_the_same(
    claude_code: ClaudeCode, simulator: Simulator
) -> None:
    turn = claude_code.run("Hello there", None, tools="")
    assert "claude-opus-4.7" in turn.end["result"]
    [version] = {event["model"] for event in turn.events if event["type"] == "system" and "model" in event}
    assert version.startswith("claude-opus-5")
    assert json.loads(simulator.recorder.requests[-1].body)["model"] == "claude-opus-4.7"


def test_all_its_own_tools_are_offered_but_those_it_holds_back(claude_code: ClaudeCode, simulator: Simulator) -> None:
    claude_code.run("[[simulate: answer tools=none]] Hello there", CLAUDE, tools="default")
    names = {tool["name"] for tool in json.loads(simulator.recorder.requests[-1].body)["tools"]}
    assert {"Bash", "Edit", "Read", "ToolSearch"} <= names
    assert "DeferredToolPlaceholder" not in names


def test_a_tool_it_held_back_is_offered_once_it_was_searched_for(tmp_path: Path) -> None:
    arguments = json.dumps({"query": "select:WebFetch", "max_results": 1})
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "ToolSearch", "arguments": arguments}}
    searching = streamed(chunk_of({"tool_calls": [call]}), chunk_of({}, "tool_calls"), DONE)
    with (
        PlayedCopilot(saying(searching), saying(GOOD_STREAM)) as copilot,
        GatewayProcess(copilot.url, API_KEYS=KEY) as gateway,
    ):
        turn = ClaudeCode(tmp_path, gateway.url, KEY).run("Hello there", CHAT, tools="default")
        bodies = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in copilot.requests if b"Hello" in request]
    assert (turn.end["is_error"], turn.end["result"]) == (False, "Hello")
    offered = [{tool["function"]["name"] for tool in body["tools"]} for body in bodies]
    assert ["WebFetch" in names for names in offered] == [False, True]
    assert not any("DeferredToolPlaceholder" in names for names in offered)
    assert "The tool WebFetch can be called from now on." in json.dumps(bodies[1]["messages"])


def chunk_of(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    answer = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": CHAT, "choices": choices}
    return b"data: " + json.dumps(answer).encode() + b"\n\n"


@pytest.mark.parametrize("model", [CLAUDE, CHAT])
@pytest.mark.parametrize(
    "fault", ["status=429 code=user_global_rate_limited retry_after=1", "cut after_events=4", "error after_events=4"]
)
def test_a_passing_failure_is_met_with_a_second_attempt(
    claude_code: ClaudeCode, simulator: Simulator, model: str, fault: str
) -> None:
    turn = claude_code.run(f"[[simulate: {fault} times=1]] Hello there", model, tools="")
    assert (turn.end["is_error"], turn.exit_code) == (False, 0)
    assert "as played by the Copilot simulator" in turn.end["result"]
    assert sum(request.method == "POST" for request in simulator.recorder.requests) == 2


@pytest.mark.parametrize("model", [CLAUDE, CHAT])
def test_a_prompt_that_is_too_long_is_understood_as_that(claude_code: ClaudeCode, model: str) -> None:
    message = "prompt token count of 200001 exceeds the limit of 168000"
    fault = f'status=400 code=model_max_prompt_tokens_exceeded message="{message}"'
    turn = claude_code.run(f"[[simulate: {fault}]]", model, tools="")
    assert turn.end["result"].startswith("Prompt is too long")
    assert "~200001 tokens (limit 168000)" in turn.end["result"]


def test_a_wrong_key_is_told_at_once(gateway: GatewayProcess, tmp_path: Path) -> None:
    turn = ClaudeCode(tmp_path, gateway.url, "sk-wrong").run("Hello there", CLAUDE, tools="")
    assert turn.end["is_error"]
    assert "401 The API key is not known here." in turn.end["result"]
    assert gateway.log.count('"invalid_api_key"') == 1
