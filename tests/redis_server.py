"""A real redis-server for tests: on a port of its own, with no persistence, to be killed, frozen and configured."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0


def require_redis() -> str:
    """The path of redis-server. Skips the test without one, or fails it where REQUIRE_REDIS=1."""
    path = shutil.which("redis-server")
    if path is None and os.environ.get("REQUIRE_REDIS") == "1":
        pytest.fail("redis-server not found on PATH, and REQUIRE_REDIS=1")
    if path is None:
        pytest.skip("redis-server not found on PATH")
    return path


@pytest.fixture
def redis_server() -> Iterator["RedisServer"]:
    """A running server of this test's own."""
    require_redis()
    with RedisServer() as server:
        yield server


class RedisServer:
    """`arguments` go to redis-server's command line. Running inside a `with`, or from `start` to `stop`."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self._folder = Path(tempfile.mkdtemp(prefix="redis-test-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        # For looking in from outside: patient, and not the connections of whatever is tested. To redis-py a password that is
        # wanted is a lost connection, which it would try for again and again for four seconds.
        self.client = redis.Redis(port=self.port, socket_timeout=10, protocol=2, retry=Retry(NoBackoff(), 3))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def patient_url(self) -> str:
        """For tests that are not about time: a busy machine may take its time to answer."""
        return f"{self.url}?socket_timeout=10&socket_connect_timeout=10&timeout=10"

    @property
    def socket_url(self) -> str:
        return f"unix://{self._folder / 'redis.sock'}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> "RedisServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> "RedisServer":
        """Starts it, on the same port as before, and waits until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        command += ["--dir", str(self._folder), "--unixsocket", str(self._folder / "redis.sock"), *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._wait_until_it_answers()
        return self

    def stop(self) -> None:
        """Ends it in order; does nothing when it is not running."""
        if self._process is None:
            return
        self.client.close()
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def kill(self) -> None:
        """As a crash does: at once, and everything in it is lost."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None
        self.client.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Connections are still taken by the kernel; nothing answers. Returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        _wait_for(lambda: _state(self.pid) == "T")

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def config(self, name: str, value: str | int) -> None:
        self.client.config_set(name, value)

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, f"redis-server ended with status {self._process.returncode}"
            try:
                return bool(self.client.ping())
            except redis.AuthenticationError:
                return True
            except (redis.ConnectionError, redis.TimeoutError):
                return False

        _wait_for(answers)


def _wait_for(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + _START_SECONDS
    while not condition():
        assert time.monotonic() < give_up, "redis-server did not get there in time"
        time.sleep(0.01)


def _state(pid: int) -> str:
    """As in /proc/<pid>/stat: the field after the name, which is in brackets and may hold blanks."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
