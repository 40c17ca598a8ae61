"""The gateway as an operator runs it: gunicorn with the shipped configuration, in a process group of its own."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
GITHUB_TOKEN = "gho_canary_github_token_0123456789"
_START_SECONDS = 40.0
_STOP_SECONDS = 30.0


class Reply(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class GatewayProcess:
    """`settings` are environment variables; nothing else of the environment, no .env and no home is seen."""

    app = "wsgi:app"

    def __init__(self, upstream_url: str, **settings: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="copilotapi-test-")
        self.log_path = Path(self._folder.name) / "gateway.log"
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WEB_CONCURRENCY": "1",
            "GITHUB_COPILOT_TOKEN": GITHUB_TOKEN,
            "GITHUB_URL": upstream_url,
            "GITHUB_API_URL": upstream_url,
            "REDIS_URL": "memory://",
            "COPILOTAPI_HOME": self._folder.name,
            "TIKTOKEN_CACHE_DIR": str(ROOT / ".cache" / "tiktoken"),
            "PYTHONUNBUFFERED": "1",
            **settings,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self._ends_by = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def start(self, wait_for: str = "/ready") -> "GatewayProcess":
        _clear_away()
        command = [sys.executable, "-m", "gunicorn", "-c", str(ROOT / "gunicorn.conf.py")]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--pythonpath", str(ROOT), self.app],
                cwd=self._folder.name,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            self._await(wait_for)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Returns once it has ended."""
        self._tell_to_end()
        self.await_end()

    def has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None or time.monotonic() >= self._ends_by

    def await_end(self) -> None:
        """After it was told to."""
        if self.process is not None:
            try:
                self.process.wait(max(self._ends_by - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self._folder.cleanup()

    def __enter__(self) -> "GatewayProcess":
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Nobody looks at it any more: while it ends in order, which takes a second, the next test begins."""
        self._tell_to_end()
        _ending.append(self)

    def _tell_to_end(self) -> None:
        self._ends_by = time.monotonic() + _STOP_SECONDS
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()

    def request(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        """`body` is sent as JSON, or as it is when it is bytes."""
        payload = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if payload is not None else {}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, payload, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Reply(response.status, dict(response.headers), response.read())
        finally:
            connection.close()

    def chat(self, text: str = "Hello", headers: Mapping[str, str] | None = None, **more: object) -> Reply:
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], **more}
        return self.request("POST", "/v1/chat/completions", body, headers)

    def worker_pids(self) -> list[int]:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def _await(self, path: str) -> None:
        assert self.process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the gateway ended with {self.process.returncode}:\n{self.log}")
            try:
                if self.request("GET", path).status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the gateway did not get ready:\n{self.log}")


_ending: list[GatewayProcess] = []


def _clear_away() -> None:
    for gateway in [each for each in _ending if each.has_ended()]:
        # Another thread may be at it.
        with suppress(ValueError):
            _ending.remove(gateway)
            gateway.await_end()


@atexit.register
def _await_all_ends() -> None:
    while _ending:
        _ending.pop().await_end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
