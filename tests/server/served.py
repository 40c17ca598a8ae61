"""gunicorn with a worker of one's choice and the application of echo_wsgi, in a process of its own."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.gateway_process import ROOT
from tests.raw_client import RawClient

OURS = "copilotapi.server.worker.Worker"
GUNICORNS = "gevent"
_STOP_SECONDS = 10.0


class Served:
    """`options` are gunicorn's, on its command line. Callers wait in the listener's queue until the worker is there."""

    def __init__(self, worker: str, folder: Path, *options: str, app: str = "tests.server.echo_wsgi:app") -> None:
        self._log_path = folder / "served.log"
        with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, self._log_path.open("ab") as log:
            self.port: int = listener.getsockname()[1]
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", _START, "--worker-class", worker, "--bind", f"fd://{listener.fileno()}"),
                    *("--no-control-socket", "--forwarded-allow-ips", "", "--forwarder-headers", ""),
                    *("--keep-alive", "75", *options, app),
                ],
                # Not where gunicorn.conf.py lies, which it would read.
                cwd=folder,
                env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT)},
                pass_fds=[listener.fileno()],
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def caller(self, timeout_seconds: float = 10.0) -> RawClient:
        return RawClient(self.port, timeout_seconds)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


# As gunicorn.conf.py: gevent first, then everything else. A second is waited for as a minute would be.
_START = """
from gevent import monkey; monkey.patch_all()
from copilotapi import loop
loop._SWEEP_SECONDS, loop._LEAST_SWEPT_SECONDS = 0.1, 0.5
from gunicorn.app.wsgiapp import run
run()
"""
