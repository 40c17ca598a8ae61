"""The page about the simulator: its examples run as they stand, and what it says a caller of the gateway sees comes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import OpenAI
from ruamel.yaml import YAML

from copilotapi import CopilotProxy, Settings
from copilotapi.simulator import SCENARIOS, Simulator
from tests.gateway_process import free_port

PAGE = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
# Of the sign-in alone; and what takes 5 seconds, which the scenario's own test looks at.
NOT_IN_THE_TABLE = {"normal", "resets", "sign-in-denied", "sign-in-expired"}
NOT_ASKED = {"slow-first-byte"}
_LIMIT_SECONDS = 60.0


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def workflow() -> dict[str, Any]:
    [text] = blocks("yaml")
    # A pure one: the fast loader of ruamel.yaml is an extension that is not installed.
    parsed: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    return parsed


def test_the_pytest_example_passes(tmp_path: Path) -> None:
    for block in blocks("python"):
        if name := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / name[1]).write_text(block)
    assert {path.name for path in tmp_path.iterdir()} == {"conftest.py", "test_my_client.py"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=_LIMIT_SECONDS,
    )
    assert done.returncode == 0, done.stdout
    assert f"{(tmp_path / 'test_my_client.py').read_text().count('def test_')} passed" in done.stdout


def test_the_workflow_needs_no_actions_but_githubs_own() -> None:
    steps = workflow()["jobs"]["test"]["steps"]
    assert {step["uses"].partition("@")[0] for step in steps if "uses" in step} == {
        "actions/checkout",
        "actions/setup-python",
    }


@pytest.mark.skipif(not all(map(shutil.which, ("curl", "timeout", "bash"))), reason="there is no curl, or no timeout")
def test_the_workflows_commands_start_both_and_change_the_weather(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "bin").mkdir()
    chat = json.dumps({"model": "gpt-4.1", "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
    ask = (
        f"curl --silent --data '{chat}' -H 'Content-Type: application/json' http://127.0.0.1:{port}/v1/chat/completions"
    )
    (tmp_path / "bin" / "npm").write_text(f"#!/bin/sh\necho == chat\n{ask}\n")
    (tmp_path / "bin" / "npm").chmod(0o755)
    steps = [step["run"] for step in workflow()["jobs"]["test"]["steps"] if "run" in step]
    assert steps[0].startswith("make -C copilotapi install\n")
    script = "\n".join(["set -e", *steps[1:]]).replace("8000", str(port))
    path = f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path)},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            assert process.wait(_LIMIT_SECONDS) == 0, (tmp_path / "out").read_text()
        finally:
            # The two servers are children of the script's, in its own session.
            os.killpg(process.pid, signal.SIGTERM)
    _, good, bad = (tmp_path / "out").read_text().split("== chat\n")
    assert good.startswith("data: ")
    assert "data: [DONE]" in good
    assert '"code":"upstream_disconnected"' in bad
    assert '"endpoint":"chat"' in bad


def rows() -> Iterator[tuple[str, str]]:
    """Scenario and what the gateway answers, of the table about that."""
    table = PAGE.partition("| Scenarios | The gateway answers |")[2].partition("\n\n")[0]
    for names, told in re.findall(r"^\| (`.+?) \| (.+?) \| .+ \|$", table, re.M):
        for name in re.findall(r"`([a-z0-9-]+)`", names):
            yield name, told


def test_every_scenario_of_a_chat_is_in_the_table() -> None:
    assert {name for name, _ in rows()} == set(SCENARIOS) - NOT_IN_THE_TABLE


def seen(client: OpenAI, model: str) -> str:
    """In the words of the table."""
    try:
        chunks = list(
            client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], stream=True)
        )
    except openai.APIStatusError as refused:
        waits = refused.response.headers.get("Retry-After")
        code = f" `{refused.code}`" if refused.code else ""
        return f"{refused.status_code}{code}" + (f", `Retry-After: {waits}`" if waits else "")
    except openai.APIError as broken:
        return f"in the stream `{broken.code}`"
    [reason] = {choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason}
    return "the answer" if reason == "stop" else f"the answer, with `finish_reason` `{reason}`"


@pytest.fixture(scope="module")
def caller() -> Iterator[OpenAI]:
    with OpenAI(base_url="http://127.0.0.1", api_key="unused", max_retries=0, timeout=20) as caller:
        yield caller


@pytest.mark.parametrize(("name", "told"), [row for row in rows() if row[0] not in NOT_ASKED])
def test_a_caller_of_the_gateway_sees_what_the_table_tells(
    caller: OpenAI, tmp_path: Path, name: str, told: str
) -> None:
    model = "claude-sonnet-4.5" if name == "quota-exhausted" else "gpt-4.1"
    with Simulator(scenario=name) as simulator:
        settings = Settings(
            github_copilot_token="gho_simulated",
            github_url=simulator.url,
            github_api_url=simulator.url,
            redis_url="memory://",
            tiktoken_cache_dir=tmp_path,
            first_byte_timeout=1,
            idle_timeout=1,
        )
        with CopilotProxy(settings=settings, stop_timeout_seconds=0.1) as proxy:
            sight = seen(caller.with_options(base_url=f"{proxy.url}/v1"), model)
    # GitHub's own outages end at a time that is told, but not always the same.
    sight = re.sub(r"(`Retry-After)[^`]+`", r"\1`", sight) if told.endswith("`Retry-After`") else sight
    if sight.startswith("503") and "Retry-After" not in told:
        sight = sight.partition(",")[0]
    assert told.startswith(sight)
    if sight == "the answer":
        assert not told.startswith("the answer, with")
