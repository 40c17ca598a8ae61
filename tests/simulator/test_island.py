"""The simulator depends on nothing but Python, and runs in a patched process too."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import copilotapi.simulator
from copilotapi.simulator.endpoints import ENDPOINTS
from copilotapi.simulator.routes import ROUTES

MODULES = sorted(Path(copilotapi.simulator.__file__).parent.glob("*.py"))

PATCHED = """
from gevent import monkey
monkey.patch_all()
import gevent, http.client, json
from copilotapi.simulator import Fault, Simulator

def chat(simulator, body):
    connection = http.client.HTTPConnection(simulator.url.removeprefix("http://"), timeout=10)
    headers = {"Authorization": "token x", "User-Agent": "x", "Editor-Version": "vscode/1"}
    connection.request("GET", "/copilot_internal/v2/token", headers=headers)
    headers["Authorization"] = "Bearer " + json.load(connection.getresponse())["token"]
    connection.request("POST", "/chat/completions", json.dumps(body), headers)
    return connection

with Simulator() as simulator:
    message = {"role": "user", "content": "[[simulate: chunk_delay_seconds=0.01]]"}
    body = {"model": "gpt-4.1", "stream": True, "messages": [message]}
    texts = [gevent.spawn(lambda: chat(simulator, body).getresponse().read()) for _ in range(10)]
    gevent.joinall(texts, timeout=10, raise_error=True)
    assert all(b"[DONE]" in text.value for text in texts)
    simulator.faults.push(Fault("stall", "chat"))
    connection = chat(simulator, body)
    gevent.sleep(0.1)
    connection.sock.close()
    assert simulator.recorder.wait_for(lambda: simulator.recorder.requests[-1].client_gone_at is not None, 5)
print("fine")
"""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_a_module_imports_only_the_standard_library_and_its_own_package(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=name, level=level):
                assert level == 0
                imported = [str(name)]
            case _:
                continue
        for name in imported:
            assert name.partition(".")[0] in sys.stdlib_module_names or f"{name}.".startswith("copilotapi.simulator.")


def test_it_runs_in_a_process_that_gevent_has_patched() -> None:
    run = subprocess.run([sys.executable, "-W", "error", "-c", PATCHED], capture_output=True, text=True, timeout=60)
    assert (run.stdout.strip(), run.returncode) == ("fine", 0), run.stderr


def test_every_endpoint_has_a_name_that_faults_know() -> None:
    assert {route.endpoint for route in ROUTES} | {"unknown"} == ENDPOINTS
