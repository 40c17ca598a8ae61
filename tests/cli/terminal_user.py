"""Somebody who types commands: in this process, in one of its own, or at a terminal. No secret ever shows up."""

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
from click.testing import CliRunner, Result

from copilotapi.cli import main
from tests.gateway_process import GITHUB_TOKEN

ROOT = Path(__file__).parents[2]
API_KEY = "canary-key-of-a-client"
ADMIN_KEY = "canary-key-of-the-operator"
SECRETS = (GITHUB_TOKEN, API_KEY, ADMIN_KEY)
STOP_SECONDS = 30.0
_COMMAND = (sys.executable, "-c", "from copilotapi.cli import main; main()")


class TerminalUser:
    """`environment` is all that the commands see of it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def having(self, **environment: str) -> "TerminalUser":
        return TerminalUser({**self.environment, **environment})

    def types(self, *arguments: str, stdin: str | bytes = "") -> Result:
        result = CliRunner().invoke(main, arguments, input=stdin, env=self.environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        assert not [secret for secret in SECRETS if secret in result.output]
        return result

    def runs(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """In a process of its own, to its end."""
        ended = subprocess.run(
            [*_COMMAND, *arguments],
            input=stdin,
            env=self._of_a_process(),
            capture_output=True,
            text=True,
            timeout=STOP_SECONDS,
        )
        assert not [secret for secret in SECRETS if secret in ended.stdout + ended.stderr]
        return ended

    @contextmanager
    def starts(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """In a process of its own, ended with the block at the latest."""
        process = subprocess.Popen(
            [*_COMMAND, *arguments],
            env=self._of_a_process(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def at_a_terminal(self, *arguments: str) -> Iterator["Terminal"]:
        ours, its = pty.openpty()
        process = subprocess.Popen([*_COMMAND, *arguments], env=self._of_a_process(), stdin=its, stdout=its, stderr=its)
        os.close(its)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(ours)

    def _of_a_process(self) -> dict[str, str]:
        return {"PATH": os.defpath, "TERM": "xterm", "PYTHONPATH": str(ROOT), **self.environment}


class Terminal:
    def __init__(self, process: "subprocess.Popen[bytes]", descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self.shown = b""

    def reads(self, until: bytes | None = None) -> str:
        """All that was shown, up to a match of `until`, else up to the command's end."""
        deadline = time.monotonic() + STOP_SECONDS
        while until is None or not re.search(until, self.shown):
            ready, _, _ = select.select([self._descriptor], [], [], max(deadline - time.monotonic(), 0))
            assert ready, self.shown
            try:
                self.shown += os.read(self._descriptor, 65_536)
            except OSError:
                # Linux's way to say that the other side is closed.
                assert until is None, self.shown
                break
        return self.shown.decode()


def only_line(result: Result) -> str:
    """What a command that failed as expected says: one line of standard error, with exit code 1."""
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr), result.stderr
    return result.stderr.strip()


@contextmanager
def telling(answers: dict[str, object], status: int = 200, echoes: bool = True) -> Iterator[tuple[str, list[str]]]:
    """A server that tells these things at these paths, in a gateway's manner: its address, and the keys it was sent.

    `echoes`: whether it gives the request's id back, as ours does.
    """
    keys: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if (key := self.headers["Authorization"]) is not None:
                keys.append(key)
            path = self.path.partition("?")[0]
            body = orjson.dumps({"status": "ok"} if path == "/health" else answers.get(path))
            self.send_response(200 if path == "/health" else status)
            if echoes:
                self.send_header("X-GitHub-Request-Id", self.headers["X-Request-Id"] or "")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", keys
        finally:
            with suppress(OSError):
                server.shutdown()
            thread.join(STOP_SECONDS)
