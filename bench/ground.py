"""What a run stands on: its folders, the upstream it started, and where a gateway finds it."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.certificate import write_certificate
from bench.install import Absent, tools_python
from bench.limits import raise_descriptor_limit

ROOT = Path(__file__).resolve().parents[1]
API_KEY = "bench-api-key-0123456789abcdef"
# As many as fit into one variable of the environment (128 KB, execve(2)).
MANY_KEYS = tuple(f"bench-{number:05d}" for number in range(10_000))


@dataclass(frozen=True, slots=True)
class Ground:
    """`root` holds this benchmark, `gateway_root` the checkout to measure; `scratch` is gone after the run."""

    root: Path
    gateway_root: Path
    scratch: Path
    python: Path
    upstream_port: int
    upstream_tls_port: int
    authority: Path

    @property
    def cache(self) -> Path:
        return self.root / ".cache" / "bench"

    def upstream_url(self, *, tls: bool = False) -> str:
        return f"https://localhost:{self.upstream_tls_port}" if tls else f"http://127.0.0.1:{self.upstream_port}"

    def upstream_counts(self) -> dict[str, Any]:
        """requests, bytes_sent, open_streams, aborted_streams."""
        connection = HTTPConnection("127.0.0.1", self.upstream_port, timeout=10)
        try:
            connection.request("GET", "/stats")
            counts: dict[str, Any] = json.loads(connection.getresponse().read())
            return counts
        finally:
            connection.close()


def plain_environment(**more: str) -> dict[str, str]:
    """Only what a program needs to run: no setting of the caller's leaks into a gateway."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **more}


@contextmanager
def ground(gateway_root: Path = ROOT, python: Path | None = None) -> Iterator[Ground]:
    """Starts the upstream for the time of the block. `python` runs it; without one, the bench's own. Raises Absent."""
    raise_descriptor_limit()
    runner = python or tools_python(ROOT / ".cache" / "bench")
    with tempfile.TemporaryDirectory(prefix="copilotapi-bench-") as name:
        scratch = Path(name)
        authority, certificate, key = write_certificate(scratch)
        command = [str(runner), "-m", "bench.mock", "--certificate", str(certificate), "--key", str(key)]
        with subprocess.Popen(
            command, cwd=ROOT, env=plain_environment(), stdout=subprocess.PIPE, text=True
        ) as upstream:
            try:
                assert upstream.stdout is not None
                told = upstream.stdout.readline()
                if not told:
                    raise Absent("the upstream of the measurements did not start: see its own message above")
                ports: Mapping[str, int] = json.loads(told)
                yield Ground(ROOT, gateway_root, scratch, runner, ports["port"], ports["tls_port"], authority)
            finally:
                upstream.kill()


def python_of(root: Path) -> Path:
    """The environment of a checkout, else the one that runs this."""
    own = root / ".venv" / "bin" / "python"
    return own if own.exists() else Path(sys.executable)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
