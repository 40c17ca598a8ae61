"""The gateway as the image and the unit run it: nothing may be written but one folder, nothing may be gained."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from copilotapi.simulator import Simulator
from tests.deploy.shipped import ROOT, image_command, image_environment, unit, unit_environment
from tests.faults.processes import eventually
from tests.gateway_process import GatewayProcess

KEYS = {"github-token": "gho_canary_confined", "api-keys": "canary-api-key-confined", "admin-key": "canary-admin-key"}
_READ_ONLY = 'mount --make-rprivate / && mount -t tmpfs none "$0" && mount -o remount,bind,ro / && exec "$@"'
_PR_SET_MDWE, _PR_GET_MDWE, _REFUSE_EXEC_GAIN = 65, 66, 1
_WITHOUT_NEW_CODE = (
    f"import ctypes, os, sys; assert ctypes.CDLL(None).prctl({_PR_SET_MDWE}, {_REFUSE_EXEC_GAIN}, 0, 0, 0) == 0; "
    "os.execv(sys.argv[1], sys.argv[1:])"
)


def as_here(command: list[str]) -> list[str]:
    """The same command with this machine's interpreter and the project's own files."""
    program = Path(command[0])
    run = [sys.executable] if program.name == "python" else [sys.executable, "-m", program.name]
    return [*run, *(str(ROOT / word) if word == "gunicorn.conf.py" else word for word in command[1:])]


class Confined(GatewayProcess):
    """`prefix` are the words before the command; `environment` stands in the place of all settings."""

    def __init__(self, command: list[str], prefix: list[str], environment: Mapping[str, str]) -> None:
        super().__init__("")
        kept = {"PATH": self._environment["PATH"], "PYTHONPATH": str(ROOT)}
        self._environment = {**kept, **environment, "PORT": str(self.port)}
        self._command = [*prefix, *as_here(command)]

    def start(self, wait_for: str = "/ready") -> "Confined":
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self._command, cwd="/", env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._await(wait_for)
        except BaseException:
            self.stop()
            raise
        return self

    @property
    def environment(self) -> dict[str, str]:
        return self._environment


@contextmanager
def serving(gateway: Confined) -> Iterator[Confined]:
    try:
        yield gateway.start()
    finally:
        gateway.stop()


def secret_files(folder: Path) -> Path:
    for name, secret in KEYS.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(f"{secret}\n")
    return folder


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "--mount", "true"], capture_output=True).returncode == 0


def test_the_images_command_serves_on_a_read_only_root_without_any_capability(
    simulator: Simulator, tmp_path: Path
) -> None:
    if not may_mount():
        pytest.skip("this account may not mount")
    writable = tmp_path / "tmp"
    writable.mkdir()
    environment = {
        **image_environment(),
        "GITHUB_URL": simulator.url,
        "GITHUB_API_URL": simulator.url,
        "REDIS_URL": "memory://",
        "TIKTOKEN_CACHE_DIR": str(ROOT / ".cache" / "tiktoken"),
        "GITHUB_COPILOT_TOKEN": KEYS["github-token"],
        "API_KEYS": KEYS["api-keys"],
        "TMPDIR": str(writable),
    }
    prefix = ["unshare", "--mount", "sh", "-c", _READ_ONLY, str(writable)]
    prefix += ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"]
    with serving(Confined(image_command("CMD"), prefix, environment)) as gateway:
        assert gateway.process is not None
        status = Path(f"/proc/{gateway.process.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        written = subprocess.run(
            ["nsenter", f"--mount=/proc/{gateway.process.pid}/ns/mnt", "touch", str(ROOT / "touched")],
            capture_output=True,
            check=False,
        )
        assert b"Read-only file system" in written.stderr
        assert gateway.chat(headers={"x-api-key": KEYS["api-keys"]}).status == 200
        assert b"copilotapi_requests_total" in gateway.request("GET", "/metrics").body
        assert healthcheck(gateway.environment) == 0
        gateway.process.terminate()
        assert gateway.process.wait(20) == 0
        assert "Traceback" not in gateway.log
        assert healthcheck(gateway.environment) != 0


def healthcheck(environment: Mapping[str, str]) -> int:
    command = as_here(image_command("HEALTHCHECK"))
    return subprocess.run(command, env=dict(environment), capture_output=True, timeout=30, check=False).returncode


def test_the_units_command_tells_systemd_and_makes_no_new_code(simulator: Simulator, tmp_path: Path) -> None:
    libc = ctypes.CDLL(None)
    if libc.prctl(_PR_GET_MDWE, 0, 0, 0, 0) < 0:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    (tmp_path / "redis-password").write_text("canary-redis-password")
    places = {"%d": str(secret_files(tmp_path)), "%t/copilotapi-%i": str(tmp_path / "run"), "%i": "0"}
    environment = dict(unit_environment())
    for specifier, place in places.items():
        environment = {name: value.replace(specifier, place) for name, value in environment.items()}
    run = Path(environment["TMPDIR"])
    run.mkdir(mode=0o700)
    environment |= {"GITHUB_URL": simulator.url, "GITHUB_API_URL": simulator.url, "REDIS_URL": "memory://"}
    del environment["REDIS_PASSWORD_FILE"]
    [command] = unit()["ExecStart"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(30)
        # An address of the kernel's own choice, abstract: no file.
        systemd.bind("")
        environment["NOTIFY_SOCKET"] = "@" + systemd.getsockname()[1:].decode()
        prefix = [sys.executable, "-c", _WITHOUT_NEW_CODE]
        with serving(Confined(command.split(), prefix, environment)) as gateway:
            assert gateway.process is not None
            assert b"READY=1" in systemd.recv(4096)
            behind_nginx = {"x-api-key": KEYS["api-keys"], "X-Forwarded-For": "203.0.113.9"}
            assert gateway.chat(headers=behind_nginx).status == 200
            assert list(run.iterdir()) != []
            command_line = Path(f"/proc/{gateway.process.pid}/cmdline").read_text()
            assert not any(secret in command_line for secret in KEYS.values())
            os.kill(gateway.process.pid, signal.SIGTERM)
            assert gateway.process.wait(20) == 0
            assert eventually(lambda: list(run.iterdir()) == [])
            assert not any(secret in gateway.log for secret in KEYS.values())
