"""OpenAI's own Codex CLI does whole turns of an agent through the gateway, on models of every family."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilotapi.simulator import Simulator
from copilotapi.simulator.recorder import Recorded
from tests.clients.codex import Codex
from tests.faults.played_copilot import DONE, GOOD_STREAM, PlayedCopilot, saying, streamed
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess

_KEY = "sk-codex-key-0123456789"
# What a command prints; nobody could know it otherwise.
_SECRET = "sunny-42"
# What is asked for is on another path for each: the caller's own, Anthropic's, chat with one choice and with several.
_PATHS = {
    "gpt-5.1-codex": "/responses",
    "gpt-5.5": "/responses",
    "claude-opus-4.6": "/v1/messages",
    "gpt-4.1": "/chat/completions",
    "gemini-2.5-pro": "/chat/completions",
}
_PATCH = '*** Begin Patch\n*** Add File: greeting.txt\n+Hello, "world" — ✓\n*** End Patch\n'


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, API_KEYS=_KEY) as gateway:
        yield gateway


@pytest.fixture
def codex(gateway: GatewayProcess, tmp_path: Path) -> Codex:
    return installed(tmp_path, gateway)


def installed(home: Path, gateway: GatewayProcess, script: str = f"echo {_SECRET}") -> Codex:
    """A Codex for whom `simulated cmd` is a program: the command that the simulator makes up when it calls the shell."""
    codex = Codex(home, f"{gateway.url}/v1", _KEY)
    program = codex.programs / "simulated"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return codex


def asked(gateway: GatewayProcess) -> list[tuple[str, int]]:
    """Method and status of every call of /v1/responses in the gateway's log."""
    lines = (json.loads(line) for line in gateway.log.splitlines() if '"route":"/v1/responses"' in line)
    return [(line["method"], line["status"]) for line in lines]


def answered(simulator: Simulator, path: str) -> list[Recorded]:
    """What was sent there and answered with 200; an answer may have arrived before it is recorded as given."""
    requests = simulator.recorder.requests
    assert simulator.recorder.wait_for(lambda: all(request.status is not None for request in requests), 5)
    return [request for request in requests if request.path == path and request.status == 200]


def upstream_bodies(simulator: Simulator, path: str) -> list[Any]:
    """What was sent there and answered with 200."""
    return [json.loads(request.body) for request in answered(simulator, path)]


@pytest.mark.parametrize("model", _PATHS)
def test_a_turn_runs_a_command_and_tells_what_it_printed(codex: Codex, simulator: Simulator, model: str) -> None:
    simulator.recorder.clear()
    turn = codex.run("What is the weather?", model)
    assert turn.exit_code == 0, turn.events
    [command] = turn.items("command_execution")
    assert (command["exit_code"], command["aggregated_output"]) == (0, f"{_SECRET}\n")
    assert _SECRET in turn.answer
    assert turn.usage["input_tokens"] > 10_000
    assert turn.usage["output_tokens"] > 0
    assert turn.errors == []
    initiators = [request.headers["x-initiator"] for request in answered(simulator, _PATHS[model])]
    assert initiators == ["user", "agent"]


def test_encrypted_reasoning_comes_back_with_the_result_it_led_to(codex: Codex, simulator: Simulator) -> None:
    simulator.recorder.clear()
    turn = codex.run("Think first", "gpt-5.1-codex")
    assert turn.usage["reasoning_output_tokens"] > 0
    assert turn.items("reasoning")
    _, second = upstream_bodies(simulator, "/responses")
    assert [item["type"] for item in second["input"][-3:]] == ["reasoning", "function_call", "function_call_output"]
    assert second["input"][-3]["encrypted_content"]


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "claude-opus-4.6", "gpt-4.1"])
def test_calls_side_by_side_are_answered_together(codex: Codex, model: str) -> None:
    turn = codex.run("Do both, please", model)
    assert turn.exit_code == 0, turn.events
    assert _SECRET in turn.answer
    # Its second tool writes to a process that is not there.
    assert "Unknown process id 1" in turn.answer
    assert turn.errors == []


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "claude-opus-4.6"])
def test_a_session_goes_on_with_its_whole_history(codex: Codex, simulator: Simulator, model: str) -> None:
    codex.run("The first question", model)
    simulator.recorder.clear()
    turn = codex.run("The second question", model, "resume", "--last")
    assert turn.exit_code == 0, turn.events
    assert _SECRET in turn.answer
    last = json.dumps(upstream_bodies(simulator, _PATHS[model])[-1], ensure_ascii=False)
    assert last.count(f"Output:\\n{_SECRET}") == 3
    assert "The first question" in last


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "claude-opus-4.6"])
def test_a_history_that_has_grown_long_is_compacted(
    gateway: GatewayProcess, simulator: Simulator, tmp_path: Path, model: str
) -> None:
    simulator.recorder.clear()
    codex = installed(tmp_path, gateway, f"[ -e done ] || seq 1 4000\ntouch done\necho {_SECRET}")
    turn = codex.run("Count, please", model, "-c", "model_auto_compact_token_limit=10000")
    assert turn.exit_code == 0, turn.events
    assert _SECRET in turn.answer
    assert turn.errors == []
    bodies = [json.dumps(body) for body in upstream_bodies(simulator, _PATHS[model])]
    # A call, the summary of what it printed, a call after that, and the answer.
    assert [r"700\n701\n702" in body for body in bodies] == [False, True, False, False]


def test_tools_of_a_namespace_and_free_form_ones_reach_copilot_as_functions(codex: Codex, simulator: Simulator) -> None:
    simulator.recorder.clear()
    codex.run("What have you got?", "gpt-5.1-codex")
    codex.run("What have you got?", "gpt-5.5")
    bodies = upstream_bodies(simulator, "/responses")
    assert {tool["type"] for body in bodies for tool in body["tools"]} == {"function"}
    names = {tool["name"] for body in bodies for tool in body["tools"]}
    assert {"exec_command", "multi_agent_v1--ns--spawn_agent", "apply_patch--freeform"} <= names


def test_a_patch_written_by_a_chat_model_is_applied(tmp_path: Path) -> None:
    call = {"name": "apply_patch--freeform", "arguments": json.dumps({"input": _PATCH})}
    delta = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": call}]}
    told = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    calling = {**told, "choices": [{"index": 0, "delta": delta, "finish_reason": "tool_calls"}]}
    frame = b"data: " + json.dumps(calling).encode() + b"\n\n"
    with (
        PlayedCopilot(saying(streamed(frame, DONE)), saying(GOOD_STREAM)) as copilot,
        # Codex has free-form tools for models that it knows by name.
        GatewayProcess(copilot.url, API_KEYS=_KEY, MODEL_ALIASES="gpt-5.5=gpt-4.1") as gateway,
    ):
        codex = installed(tmp_path, gateway)
        turn = codex.run("Greet the world", "gpt-5.5")
    assert turn.exit_code == 0, turn.events
    assert [item["status"] for item in turn.items("file_change")] == ["completed"]
    assert (codex.folder / "greeting.txt").read_text() == 'Hello, "world" — ✓\n'
    assert turn.answer == "Hello"


def test_a_websocket_is_refused_so_that_it_goes_over_to_http_at_once(simulator: Simulator, tmp_path: Path) -> None:
    with GatewayProcess(simulator.url, API_KEYS=_KEY) as gateway:
        turn = installed(tmp_path, gateway).run("Hello", "gpt-5.1-codex", supports_websockets="true")
        assert asked(gateway) == [("GET", 426), ("POST", 200), ("POST", 200)]
    assert _SECRET in turn.answer
    assert turn.errors == []


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ("gpt-5.5", "cut"),
        ("gpt-5.5", "error"),
        ("claude-opus-4.6", "cut"),
        ("claude-opus-4.6", "error"),
        ("gpt-4.1", "end"),
    ],
)
def test_a_stream_that_breaks_is_asked_for_again(codex: Codex, model: str, fault: str) -> None:
    # A new model's tools are refused once (copilot-wire 6.2); the fault is for the answer after that.
    codex.run("Hello", model)
    turn = codex.run(f"[[simulate: {fault} after_events=2 times=1]]", model)
    assert turn.exit_code == 0, turn.events
    assert len(turn.errors) == 1
    assert turn.errors[0].startswith("Reconnecting... 1/5")
    assert _SECRET in turn.answer


@pytest.mark.parametrize("model", ["gpt-5.5", "claude-opus-4.6"])
def test_a_prompt_that_is_too_long_is_told_as_such(codex: Codex, model: str) -> None:
    turn = codex.run("[[simulate: status=400 code=model_max_prompt_tokens_exceeded]]", model)
    assert turn.exit_code != 0
    assert turn.errors
    assert "ran out of room in the model's context window" in turn.errors[-1]


def test_an_unknown_model_ends_the_turn_with_near_matches(codex: Codex) -> None:
    turn = codex.run("Hello", "gpt-5.1-codec")
    assert turn.exit_code != 0
    assert "gpt-5.1-codex" in turn.errors[-1]


def test_neither_log_nor_copilot_sees_what_belongs_to_the_other(
    codex: Codex, gateway: GatewayProcess, simulator: Simulator
) -> None:
    codex.run("A canary in the prompt", "claude-opus-4.6")
    for secret in (_KEY, GITHUB_TOKEN, "tid=", "canary in the prompt", _SECRET):
        assert secret not in gateway.log
    assert _KEY not in "".join(str(request.headers) for request in simulator.recorder.requests)
