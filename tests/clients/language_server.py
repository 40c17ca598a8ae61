"""GitHub's Copilot language server over stdio, driven as an editor drives it. Knows LSP's framing and nothing of a gateway."""

import contextlib
import json
import os
import subprocess
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tests.clients import node

VERSION = "1.539.0"
_ANSWER_SECONDS = 40.0
_STOP_SECONDS = 10.0


class LanguageServer:
    """A running server. `home` is the only folder it may write to; `environment` is added to a bare one."""

    def __init__(self, home: Path, environment: Mapping[str, str]) -> None:
        # The server's own JavaScript wants Node 22.13; its native build is the same program with a Node of its own.
        package = node.package(f"@github/copilot-language-server-{node.platform()}", VERSION)
        self.notifications: list[dict[str, Any]] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._last_id = 0
        self._is_over = False
        self._errors = (home / "language-server.log").open("wb")
        self._process = subprocess.Popen(
            [str(package / "copilot-language-server"), "--stdio"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=home,
            env={
                "PATH": os.defpath,
                "HOME": str(home),
                "XDG_CONFIG_HOME": str(home / "config"),
                "XDG_CACHE_HOME": str(home / "cache"),
                **environment,
            },
        )
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def __enter__(self) -> "LanguageServer":
        return self

    def __exit__(self, *exc: object) -> None:
        """Asked to leave as an editor asks; killed if it stays."""
        try:
            self.request("shutdown", None, timeout_seconds=_STOP_SECONDS)
            self.notify("exit", None)
            self._process.wait(_STOP_SECONDS)
        except (AssertionError, OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._reader.join(_STOP_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                if pipe is not None:
                    pipe.close()

    def initialize(self, settings: Mapping[str, Any] | None = None) -> None:
        """The opening every editor makes; `settings` go with workspace/didChangeConfiguration."""
        about = {"name": "test-editor", "version": "1.0"}
        self.request(
            "initialize",
            {
                "processId": None,
                "rootUri": None,
                "capabilities": {"workspace": {"configuration": False}, "textDocument": {"inlineCompletion": {}}},
                "initializationOptions": {"editorInfo": about, "editorPluginInfo": {**about, "name": "test-plugin"}},
            },
        )
        self.notify("initialized", {})
        self.notify("workspace/didChangeConfiguration", {"settings": settings or {}})

    def status(self) -> Any:
        return self.request("checkStatus", {})

    def open(self, uri: str, language: str, text: str) -> None:
        document = {"uri": uri, "languageId": language, "version": 1, "text": text}
        self.notify("textDocument/didOpen", {"textDocument": document})

    def inline_completions(self, uri: str, line: int, character: int, *, invoked: bool = False) -> list[dict[str, Any]]:
        """What the server offers at a place; `invoked` as by a key, which asks for several."""
        answer = self.request(
            "textDocument/inlineCompletion",
            {
                "textDocument": {"uri": uri, "version": 1},
                "position": {"line": line, "character": character},
                "context": {"triggerKind": 1 if invoked else 2},
                "formattingOptions": {"tabSize": 4, "insertSpaces": True},
            },
        )
        items: list[dict[str, Any]] = (answer or {}).get("items", [])
        return items

    def chat(self, model: str, question: str) -> str:
        """The whole answer to a question in the chat panel, its agent's rounds joined."""
        token = f"chat-{uuid.uuid4().hex}"
        asked = {
            "workDoneToken": token,
            "turns": [{"request": question}],
            "capabilities": {"skills": [], "allSkills": False},
            "source": "panel",
            "model": model,
        }
        self.request("conversation/create", asked)
        with self._changed:
            ended = self._changed.wait_for(lambda: "end" in _kinds(self._progress(token)), _ANSWER_SECONDS)
            assert ended, "the chat did not end"
            told = self._progress(token)
        rounds = [agent_round for value in told for agent_round in value.get("editAgentRounds", [])]
        return "".join(agent_round.get("reply", "") for agent_round in rounds)

    def _progress(self, token: str) -> list[dict[str, Any]]:
        reports = [message["params"] for message in self.notifications if message["method"] == "$/progress"]
        return [report["value"] for report in reports if report["token"] == token]

    def notify(self, method: str, params: Any) -> None:
        self._send({"method": method, "params": params})

    def request(self, method: str, params: Any, timeout_seconds: float = _ANSWER_SECONDS) -> Any:
        """The `result`; AssertionError for an error answer, for silence and for a server that ended."""
        with self._changed:
            self._last_id += 1
            number = self._last_id
        self._send({"id": number, "method": method, "params": params})
        with self._changed:
            self._changed.wait_for(lambda: number in self._answers or self._is_over, timeout_seconds)
            answer = self._answers.pop(number, None)
        assert answer is not None, f"no answer to {method}"
        assert "error" not in answer, answer
        return answer["result"]

    def _send(self, message: dict[str, Any]) -> None:
        payload = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        with self._writing:
            self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(payload), payload))
            self._process.stdin.flush()

    def _read_on(self) -> None:
        assert self._process.stdout is not None
        while (message := _message(self._process.stdout)) is not None:
            self._take(message)
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message and "id" in message:
            self._send({"id": message["id"], "result": None})
            return
        with self._changed:
            if "method" in message:
                self.notifications.append(message)
            else:
                self._answers[message["id"]] = message
            self._changed.notify_all()


def _kinds(told: list[dict[str, Any]]) -> set[str]:
    return {value["kind"] for value in told}


def _message(pipe: IO[bytes]) -> dict[str, Any] | None:
    """The next message, None at the end."""
    length = 0
    while (line := pipe.readline()) not in (b"\r\n", b""):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    payload = pipe.read(length) if length else b""
    message: dict[str, Any] | None = json.loads(payload) if payload else None
    return message
