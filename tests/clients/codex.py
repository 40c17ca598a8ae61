"""OpenAI's Codex CLI, run for one turn without a terminal. Knows its settings and events, and nothing of a gateway."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients import node

VERSION = "0.169.0"
# It may reach nothing but this machine: whatever it asks of the world goes to a port where nobody listens.
_NOWHERE = "http://127.0.0.1:9"
_KEY_VARIABLE = "GATEWAY_KEY"
_TURN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Turn:
    """`events` are what `codex exec --json` printed, one object for each line."""

    exit_code: int
    events: list[dict[str, Any]]

    def items(self, kind: str) -> list[dict[str, Any]]:
        """The finished items of one type: agent_message, command_execution, file_change, …"""
        done = [event["item"] for event in self.events if event["type"] == "item.completed"]
        return [item for item in done if item["type"] == kind]

    @property
    def answer(self) -> str:
        """What it says at last."""
        messages = self.items("agent_message")
        return str(messages[-1]["text"]) if messages else ""

    @property
    def errors(self) -> list[str]:
        """What it complains of while it runs, attempts it makes again included."""
        return [str(event["message"]) for event in self.events if event["type"] == "error"]

    @property
    def usage(self) -> dict[str, int]:
        """Of the whole turn; empty when it was not completed."""
        return next((event["usage"] for event in self.events if event["type"] == "turn.completed"), {})


class Codex:
    """An installed Codex that may write to `home` only. Commands it runs find programs in `programs` and work in `folder`."""

    def __init__(self, home: Path, base_url: str, api_key: str) -> None:
        package = node.package("@openai/codex", f"{VERSION}-{node.platform()}")
        [self._executable] = package.glob("vendor/*/bin/codex")
        self._home = home
        self._base_url = base_url
        self._api_key = api_key
        self.folder = home / "project"
        self.programs = home / "programs"
        for folder in (self._settings_folder, self.folder, self.programs):
            folder.mkdir(parents=True)
        # It runs commands in a login shell, which sets PATH anew.
        (home / ".profile").write_text(f'PATH="{self.programs}:$PATH"\n')

    def run(self, prompt: str, model: str, *arguments: str, **settings: str) -> Turn:
        """One turn. `settings` are of the provider, as TOML."""
        (self._settings_folder / "config.toml").write_text(self._config(model, settings))
        command = [str(self._executable), "exec", *arguments, "--json", "--skip-git-repo-check", prompt]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TURN_SECONDS,
            check=False,
        )
        return Turn(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])

    @property
    def _settings_folder(self) -> Path:
        return self._home / "settings"

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.defpath,
            "HOME": str(self._home),
            "CODEX_HOME": str(self._settings_folder),
            _KEY_VARIABLE: self._api_key,
            "HTTPS_PROXY": _NOWHERE,
            "HTTP_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }

    def _config(self, model: str, settings: Mapping[str, str]) -> str:
        """Commands run without Codex's sandbox, which wants user namespaces; they are the test's own."""
        provider = {
            "name": '"gateway"',
            "base_url": f'"{self._base_url}"',
            "env_key": f'"{_KEY_VARIABLE}"',
            "wire_api": '"responses"',
            **settings,
        }
        lines = [
            f'model = "{model}"',
            'model_provider = "gateway"',
            'approval_policy = "never"',
            'sandbox_mode = "danger-full-access"',
            "check_for_update_on_startup = false",
            "[analytics]",
            "enabled = false",
            "[model_providers.gateway]",
            *(f"{name} = {value}" for name, value in provider.items()),
        ]
        return "\n".join(lines)
