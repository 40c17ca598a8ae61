"""Anthropic's Claude Code, run for one turn without a terminal. Knows its options and events, and nothing of a gateway."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import node

VERSION = "2.1.329"
# It may reach nothing but this machine: whatever it asks of the world goes to a port where nobody listens.
_NOWHERE = "http://127.0.0.1:9"
_TURN_SECONDS = 60.0
_MAX_MODEL_CALLS = 4
# https://code.claude.com/docs/en/env-vars
_QUIET = (
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
)


@dataclass(frozen=True, slots=True)
class Turn:
    """`events` are what `claude -p --output-format stream-json` printed, one object for each line."""

    exit_code: int
    events: list[dict[str, Any]]

    def blocks(self, kind: str) -> list[dict[str, Any]]:
        """The blocks of one type, of Claude's messages and of the results of its tools: text, tool_use, tool_result, …"""
        contents = [event["message"]["content"] for event in self.events if event["type"] in ("assistant", "user")]
        return [block for content in contents for block in content if block["type"] == kind]

    @property
    def end(self) -> dict[str, Any]:
        """Its last word: `result`, `is_error`, `num_turns`, `usage` and more."""
        return next(event for event in self.events if event["type"] == "result")


class ClaudeCode:
    """An installed Claude Code that works in `folder` and may write to `home` only."""

    def __init__(self, home: Path, base_url: str, api_key: str) -> None:
        package = node.package(f"@anthropic-ai/claude-code-{node.platform()}", VERSION)
        self._executable = package / "claude"
        self.folder = home / "project"
        self.folder.mkdir(parents=True)
        self._environment = {
            "PATH": os.defpath,
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": base_url,
            "ANTHROPIC_AUTH_TOKEN": api_key,
            "HTTPS_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1",
            **dict.fromkeys(_QUIET, "1"),
        }

    def run(self, prompt: str, model: str | None, *, tools: str, **environment: str) -> Turn:
        """One turn, with these tools and no others allowed. Without a model, with the one it takes by itself."""
        command = [str(self._executable), "-p", prompt, "--output-format", "stream-json", "--verbose"]
        command += ["--tools", tools, "--allowedTools", tools, "--max-turns", str(_MAX_MODEL_CALLS)]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self._environment, **({"ANTHROPIC_MODEL": model} if model else {}), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TURN_SECONDS,
            check=False,
        )
        return Turn(done.returncode, [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")])
