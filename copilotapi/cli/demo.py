"""`copilotapi demo`: simulator and gateway together, one streamed chat through both, then both stay up."""

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from copilotapi.cli.server import default_vocabulary_folder, gunicorn_command

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
# CPython runs signal handlers in the main thread, but does not wake it when another thread took the signal up, which
# happens while threads come and go. So the main thread never waits for long.
_TICK_SECONDS = 0.5
_QUESTION = "Say hello to somebody who has just found this project."


@click.command(
    epilog="Example: copilotapi demo --port 8000", short_help="Try the gateway without a token, with a simulator."
)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65_535), help="Port of the gateway.")
def demo(port: int) -> None:
    """Try the gateway without a token: it talks to a built-in simulator of GitHub and Copilot.

    No account, no Redis, no network. Settings of the environment and of .env are ignored.
    """
    _interrupt_on_signals()
    _check_free(port)
    from copilotapi.simulator import Simulator  # noqa: PLC0415 (an island: only those who ask for it load it)

    with (
        Simulator() as simulator,
        tempfile.TemporaryDirectory(prefix="copilotapi-demo-") as folder,
        _gateway(simulator.url, port, Path(folder)) as gateway,
    ):
        _wait_until_ready(gateway, port)
        click.echo(f"> {_QUESTION}")
        for text in _streamed_chat(port):
            click.echo(text, nl=False)
        _stay_up(
            gateway,
            f"\n\nThe gateway is up at http://127.0.0.1:{port}/v1 (any OpenAI client, any key). Try:\n"
            f"  curl http://127.0.0.1:{port}/v1/models\n"
            f"The simulator behind it is at {simulator.url}. Ctrl-C stops both.",
        )
    click.echo("Stopped.")


def _check_free(port: int) -> None:
    """Else what answers on this port would be taken for the gateway."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as exc:
        raise click.ClickException(f"Port {port} is taken; try --port with another.") from exc


@contextmanager
def _gateway(simulator_url: str, port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WEB_CONCURRENCY": "1",
        "GITHUB_COPILOT_TOKEN": "demo",
        "GITHUB_URL": simulator_url,
        "GITHUB_API_URL": simulator_url,
        "REDIS_URL": "memory://",
        "COPILOTAPI_HOME": os.fspath(folder),
        "TIKTOKEN_CACHE_DIR": os.fspath(default_vocabulary_folder()),
        "LOG_LEVEL": "WARNING",
    }
    # A session of its own: Ctrl-C reaches this command only, which then stops the gateway in order.
    process = subprocess.Popen(gunicorn_command(), cwd=folder, env=environment, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(gateway: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if gateway.poll() is not None:
            raise click.ClickException("The gateway did not start; its messages are above.")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise click.ClickException(f"The gateway was not ready after {_START_SECONDS:g} s.")


def _streamed_chat(port: int) -> Iterator[str]:
    body = {"model": "gpt-4.1", "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise click.ClickException(f"The gateway answered {response.status}: {response.read(500).decode()}")
        for line in response:
            data = line.removeprefix(b"data: ").strip()
            if data.startswith(b"{"):
                for choice in json.loads(data)["choices"]:
                    yield choice["delta"].get("content") or ""
    finally:
        connection.close()


def _interrupt_on_signals() -> None:
    """Both signals end the demo in order, from its first moment on: the gateway must not outlive it."""

    def interrupt(signal_number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # A shell that starts a command in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _stay_up(gateway: subprocess.Popen[bytes], message: str) -> None:
    """Until Ctrl-C, SIGTERM, or the end of the gateway itself."""
    try:
        click.echo(message)
        while gateway.poll() is None:
            time.sleep(_TICK_SECONDS)
    except KeyboardInterrupt:
        return
    raise click.ClickException("The gateway ended by itself.")
