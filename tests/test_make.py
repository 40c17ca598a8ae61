"""The two commands of the README, as a newcomer gives them; `make test` is what runs this."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.gateway_process import free_port

ROOT = Path(__file__).parent.parent
# The environment that runs the tests is the installed one, wherever it lies: nothing is to be installed again.
MAKE = ["make", "--no-print-directory", "-o", ".venv/installed", f"BIN={Path(sys.executable).parent}"]
# All of it would stop `copilotapi serve`, or make it serve something else.
HOSTILE = {
    "HOST": "0.0.0.0",
    "PORT": "nonsense",
    "REDIS_URL": "redis://127.0.0.1:1",
    "GITHUB_COPILOT_TOKEN": "gho_canary_of_the_environment",
    "GITHUB_API_URL": "http://127.0.0.1:1",
    "API_KEYS": "sk-of-the-environment",
    "WEB_CONCURRENCY": "0",
    "DEMO_PORT": "1",
}
_START_SECONDS, _STOP_SECONDS = 60.0, 30.0


class Demo:
    """`make demo` in a folder that holds a hostile .env, and what it has printed so far."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        (folder / "tmp").mkdir()
        (folder / "Makefile").symlink_to(ROOT / "Makefile")
        (folder / ".cache").symlink_to(ROOT / ".cache")
        (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()) + "NO_SETTING=1\n")
        self.temporary = folder / "tmp"
        self._lines: list[str] = []
        self._printed = threading.Condition()
        self.process = subprocess.Popen(
            [*MAKE, "demo", f"DEMO_PORT={self.port}"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(self.temporary), **HOSTILE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self._lines)

    def await_text(self, text: str) -> None:
        with self._printed:
            assert self._printed.wait_for(lambda: text in self.output or not self._reader.is_alive(), _START_SECONDS)
        assert text in self.output, self.output

    def descendants(self) -> list[int]:
        found: list[int] = []
        parents = [self.process.pid]
        while parents:
            children = Path(f"/proc/{parents[0]}/task/{parents.pop(0)}/children").read_text().split()
            parents += map(int, children)
            found += map(int, children)
        return found

    def await_end(self) -> int:
        status = self.process.wait(_STOP_SECONDS)
        self._reader.join(_STOP_SECONDS)
        return status

    def kill(self) -> None:
        for pid in [*(self.descendants() if self.process.poll() is None else ()), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.await_end()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._printed:
                self._lines.append(line)
                self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    demo.kill()


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
    return holds()


@pytest.mark.parametrize("whole_group", [False, True], ids=["SIGINT to the command", "Ctrl-C on a terminal"])
def test_make_demo_chats_stays_up_and_leaves_nothing_behind(demo: Demo, whole_group: bool) -> None:
    demo.await_text("Ctrl-C stops both")
    question, _, rest = demo.output.partition("> ")[2].partition("\n")
    answer = rest.partition("\n\nThe gateway is up at ")[0]
    assert question.startswith("Say hello")
    assert len(answer.split()) > 3
    assert f"The gateway is up at http://127.0.0.1:{demo.port}/v1" in demo.output

    connection = HTTPConnection("127.0.0.1", demo.port, timeout=30)
    connection.request("GET", "/v1/models")
    listed = json.loads(connection.getresponse().read())
    connection.close()
    assert "gpt-4.1" in [model["id"] for model in listed["data"]]

    [simulator_port] = {
        int(port) for port in re.findall(r"simulator behind it is at http://127\.0\.0\.1:(\d+)", demo.output)
    }
    assert is_listening(simulator_port)
    processes = demo.descendants()
    assert len(processes) >= 3
    if whole_group:
        os.killpg(demo.process.pid, signal.SIGINT)
        # make passes the end of an interrupted terminal on as the signal it was.
        assert demo.await_end() in (0, -signal.SIGINT, 2, 130)
    else:
        os.kill(processes[0], signal.SIGINT)
        assert demo.await_end() == 0
    assert demo.output.endswith("Stopped.\n") or whole_group
    assert "Traceback" not in demo.output
    assert eventually(lambda: not any(map(is_running, processes)))
    assert not is_listening(demo.port)
    assert not is_listening(simulator_port)
    assert list(demo.temporary.iterdir()) == []


def test_make_demo_says_which_port_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / ".cache").symlink_to(ROOT / ".cache")
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*MAKE, "-f", str(ROOT / "Makefile"), "demo", f"DEMO_PORT={port}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=_START_SECONDS,
            check=False,
        )
    assert done.returncode != 0
    assert f"ort {port} is taken" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_make_run_is_the_documented_gunicorn() -> None:
    # Below another make it would tell of the folders it enters.
    command = ["make", "-n", "--no-print-directory", "-o", ".venv/installed", "run"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ".venv/bin/gunicorn -c gunicorn.conf.py wsgi:app\n"


def test_no_setting_of_the_gateway_is_a_variable_of_the_makefile() -> None:
    """make exports such a variable with its own value, over the operator's."""
    from_environment = {
        name.partition("=")[0] for name in re.findall(r"^#([A-Z_]+=)", (ROOT / ".env.example").read_text(), re.M)
    }
    variables = set(re.findall(r"^([A-Z_]+) *[:?]?=", (ROOT / "Makefile").read_text(), re.M))
    assert {"PORT", "HOST"} <= from_environment
    assert variables & from_environment == set()
