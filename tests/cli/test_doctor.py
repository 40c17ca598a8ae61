"""The doctor as an operator runs it: the real command, against what is in order and what is broken, with canaries."""

import json
import os
import pty
import re
import select
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from copilotapi.cli.doctor.account import cheapest
from copilotapi.cli.doctor.checks import CHECKS
from copilotapi.cli.doctor.examination import Check, examined
from copilotapi.cli.doctor.findings import Finding, Known, failed, ok, warning
from copilotapi.cli.doctor.gateway import forwarding
from copilotapi.settings import Settings
from copilotapi.simulator import Fault, Simulator
from copilotapi.store import MemoryStore
from copilotapi.token_file import save
from copilotapi.upstream.models import Catalogue
from tests.cli.forked import run_forked
from tests.cli.front_proxy import FrontProxy, certified
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, free_port
from tests.raw_server import RawServer, answering, read_request
from tests.redis_server import RedisServer, require_redis

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from copilotapi.cli import main; main()", "doctor"]
VOCABULARIES = ROOT / ".cache" / "tiktoken"
API_KEY = "canary-api-key-0123456789"
CANARIES = {
    "GITHUB_COPILOT_TOKEN": GITHUB_TOKEN,
    "API_KEYS": API_KEY,
    "ADMIN_KEY": "canary-admin-key-0123456789",
    "REDIS_PASSWORD": "canary-redis-password",
}
_LIMIT_SECONDS = 60


class Told(NamedTuple):
    """What one run said. `found` is by the name of the check."""

    exit_code: int
    output: str
    status: str
    found: dict[str, Finding]


class Operator:
    """Somebody in a folder of their own, with nothing in the environment but what is given."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "COPILOTAPI_HOME": str(folder / "home"),
            # Reading the real ones takes half a second.
            "TIKTOKEN_CACHE_DIR": str(folder / "vocabularies"),
            "REDIS_URL": "memory://",
            "PORT": str(free_port()),
            "GITHUB_COPILOT_TOKEN": GITHUB_TOKEN,
            **environment,
        }

    def at(self, url: str, **more: str) -> "Operator":
        return Operator(self.folder, **{**self.environment, "GITHUB_URL": url, "GITHUB_API_URL": url, **more})

    def without(self, *names: str) -> "Operator":
        changed = Operator(self.folder, **self.environment)
        for name in names:
            del changed.environment[name]
        return changed

    def run(self, *arguments: str, finds_first: tuple[Path, ...] = ()) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": os.pathsep.join(map(str, (*finds_first, ROOT)))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )

    def run_at_once(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """As `run`, in a process that has everything imported already: that takes longer than all the rest."""
        return run_forked(["doctor", *arguments], self.folder, self.environment, _LIMIT_SECONDS)

    def asks(self, *arguments: str) -> Told:
        """The doctor's JSON, once it is known that neither it nor anything beside it holds a secret."""
        done = self.run_at_once("--json", *arguments)
        for canary in (*CANARIES.values(), GITHUB_TOKEN, "tid="):
            assert canary not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        told = json.loads(done.stdout)
        found = {one["name"]: Finding(one["result"], one["reason"], one["remedy"]) for one in told["checks"]}
        assert list(found) == [check.name for check in CHECKS]
        assert all(one.remedy for one in found.values() if one.result in ("warning", "failed"))
        is_failed = "failed" in {one.result for one in found.values()}
        assert (done.returncode, told["status"] == "failed") == (int(is_failed), is_failed)
        return Told(done.returncode, done.stdout + done.stderr, told["status"], found)


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path)


def results(told: Told, *names: str) -> list[str]:
    return [told.found[name].result for name in names]


# Whatever the machine's clock and libraries are, these have nothing to do with the account.
ACCOUNT = ("sign-in", "exchange", "copilot-host", "models", "model-names")


def test_where_all_is_well_nothing_fails(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url).asks()
    assert told.exit_code == 0
    assert results(told, "settings", "github-web", "github-api", "port", "store", *ACCOUNT) == ["ok"] * 10
    assert "Signed in as octocat, plan individual, by GITHUB_COPILOT_TOKEN" in told.found["sign-in"].reason
    assert "it lives 26 min, its renewal is due after 23 min" in told.found["exchange"].reason
    assert re.search(r"has \d+ models", told.found["models"].reason)
    assert "gpt-4.1" in told.found["model-names"].reason
    assert "EDITOR_VERSION=vscode/1.104.1" in told.found["identification"].reason
    assert told.found["versions"].result == "ok"
    assert simulator.recorder.counts().get("chat", 0) == 0


def test_off_a_terminal_each_check_is_one_plain_line(operator: Operator, simulator: Simulator) -> None:
    done = operator.at(simulator.url).run()
    lines = done.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:2]] == [["ok", "settings"], ["ok", "env-file"]]
    assert [line.split()[1] for line in lines] == [check.name for check in CHECKS]
    assert "\x1b" not in done.stdout
    assert done.stderr == ""
    assert done.returncode == 0


def test_a_failure_is_told_and_ends_with_status_1(operator: Operator) -> None:
    done = operator.at(f"http://127.0.0.1:{free_port()}").run()
    assert re.search(r"^failed   github-api      Could not connect to 127.0.0.1: .* -> Check", done.stdout, re.M)
    assert done.stderr == ""
    assert done.returncode == 1


def on_a_terminal(operator: Operator, **environment: str) -> str:
    far, near = pty.openpty()
    settled = {**operator.environment, "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", **environment}
    process = subprocess.Popen(COMMAND, cwd=operator.folder, env=settled, stdin=near, stdout=near, stderr=near)
    os.close(near)
    shown = b""
    deadline = time.monotonic() + _LIMIT_SECONDS
    try:
        while time.monotonic() < deadline and select.select([far], [], [], _LIMIT_SECONDS)[0]:
            shown += os.read(far, 65_536)
    except OSError:
        pass  # the other end is closed: Linux answers EIO
    finally:
        os.close(far)
        process.wait(_LIMIT_SECONDS)
    return shown.decode()


def test_a_terminal_shows_colour_progress_and_a_sum(operator: Operator, simulator: Simulator) -> None:
    shown = on_a_terminal(operator.at(simulator.url))
    assert "\x1b[32mok" in shown
    assert "Looking at" in shown
    assert re.search(r"\d+ ok, .*\d+ skipped\.", shown)


def test_no_color_is_honoured(operator: Operator, simulator: Simulator) -> None:
    shown = on_a_terminal(operator.at(simulator.url), NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", shown)
    assert "settings" in shown


def test_every_problem_of_the_settings_is_named_and_the_rest_is_skipped(operator: Operator) -> None:
    told = operator.at("http://example.com", PORT="eight", MAX_TOKENS="-1").asks()
    reason = told.found["settings"].reason
    assert all(name in reason for name in ("PORT", "MAX_TOKENS", "GITHUB_URL", "GITHUB_API_URL"))
    assert told.found["exchange"] == Finding("skipped", "Not looked at, for settings failed.")
    assert results(told, "env-file", "versions") == ["ok", "ok"]


def test_an_env_file_that_cannot_be_read_is_told(operator: Operator, simulator: Simulator) -> None:
    (operator.folder / ".env").mkdir()
    told = operator.at(simulator.url).asks()
    assert ".env: cannot be read" in told.found["settings"].reason


def test_an_env_file_with_secrets_that_others_can_read_is_a_warning(operator: Operator, simulator: Simulator) -> None:
    env_file = operator.folder / ".env"
    env_file.write_text(f"API_KEYS={API_KEY}\nLOG_LEVEL=INFO\n")
    env_file.chmod(0o644)
    told = operator.at(simulator.url).asks()
    assert told.found["env-file"].result == "warning"
    assert "holds API_KEYS and has mode 0644" in told.found["env-file"].reason
    assert told.found["env-file"].remedy == f"Run: chmod 600 {env_file}"
    env_file.chmod(0o600)
    assert results(operator.at(simulator.url).asks(), "env-file") == ["ok"]


def test_a_stored_sign_in_is_used_and_named(operator: Operator, simulator: Simulator) -> None:
    save(operator.folder / "home", GITHUB_TOKEN)
    told = operator.at(simulator.url).without("GITHUB_COPILOT_TOKEN").asks()
    assert results(told, "token-file", *ACCOUNT) == ["ok"] * 6
    assert "by the stored sign-in" in told.found["sign-in"].reason


def test_a_token_file_that_others_can_read_fails_and_is_not_used(operator: Operator, simulator: Simulator) -> None:
    save(operator.folder / "home", GITHUB_TOKEN)
    (operator.folder / "home" / "github-token").chmod(0o644)
    told = operator.at(simulator.url).without("GITHUB_COPILOT_TOKEN").asks()
    assert told.found["token-file"].result == "failed"
    assert "chmod 600" in told.found["token-file"].reason
    assert told.found["sign-in"].reason == "Not looked at, for token-file failed."
    assert simulator.recorder.counts().get("copilot_user", 0) == 0


def test_a_home_folder_that_others_can_look_into_is_a_warning(operator: Operator, simulator: Simulator) -> None:
    home = operator.folder / "home"
    save(home, GITHUB_TOKEN)
    home.chmod(0o755)
    told = operator.at(simulator.url).without("GITHUB_COPILOT_TOKEN").asks()
    assert told.found["token-file"] == Finding(
        "warning",
        f"{home} has mode 0755: others can look into the folder of the stored sign-in.",
        f"Run: chmod 700 {home}",
    )
    assert told.found["sign-in"].result == "ok"


def test_without_a_token_the_sign_in_fails(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url).without("GITHUB_COPILOT_TOKEN").asks()
    assert told.found["sign-in"].reason == "There is no GitHub token."
    assert "copilotapi login" in told.found["sign-in"].remedy


def test_a_log_file_that_cannot_be_written_is_told(operator: Operator, simulator: Simulator) -> None:
    # What even root cannot open for writing: a FIFO that nobody reads.
    os.mkfifo(operator.folder / "log")
    told = operator.at(simulator.url, LOG_FILE=str(operator.folder / "log")).asks()
    assert told.found["log-file"].result == "failed"
    assert "cannot be written" in told.found["log-file"].reason


def test_a_revoked_token_is_told(operator: Operator) -> None:
    with Simulator(github_tokens=frozenset({"another"})) as simulator:
        told = operator.at(simulator.url).asks()
    assert told.found["sign-in"].result == "failed"
    assert "GitHub does not accept the GitHub token" in told.found["sign-in"].reason
    assert told.found["models"].reason == "Not looked at, for sign-in failed."


def test_an_account_without_copilot_is_told_in_githubs_words(operator: Operator) -> None:
    with Simulator(scenario="no-seat") as simulator:
        told = operator.at(simulator.url).asks()
    assert results(told, "sign-in", "exchange") == ["ok", "failed"]
    assert "GitHub refuses Copilot to this account" in told.found["exchange"].reason
    assert "plan" in told.found["exchange"].remedy


def test_a_limited_account_is_told_to_wait(operator: Operator) -> None:
    with Simulator(scenario="github-rate-limited") as simulator:
        told = operator.at(simulator.url).asks()
    assert results(told, "sign-in", "exchange") == ["ok", "failed"]
    assert "limits the requests" in told.found["exchange"].reason
    assert told.found["exchange"].remedy.startswith("Wait")


def test_that_github_does_not_tell_about_the_account_stops_nothing(operator: Operator, simulator: Simulator) -> None:
    simulator.faults.push(Fault("status", "copilot_user", status=503, times=0))
    told = operator.at(simulator.url).asks()
    assert results(told, *ACCOUNT) == ["warning", "ok", "ok", "ok", "ok"]


def test_an_account_that_is_taken_directly_is_in_order(operator: Operator) -> None:
    with Simulator(scenario="direct-only") as simulator:
        told = operator.at(simulator.url).asks()
    assert results(told, *ACCOUNT) == ["ok"] * 5
    assert "nothing is exchanged" in told.found["exchange"].reason


def test_a_catalogue_that_is_out_of_order_fails(operator: Operator, simulator: Simulator) -> None:
    simulator.faults.push(Fault("status", "models", status=503, times=0))
    told = operator.at(simulator.url).asks()
    assert results(told, "copilot-host", "models", "model-names") == ["ok", "failed", "skipped"]


def test_a_model_that_another_stands_in_for_is_a_warning(operator: Operator, simulator: Simulator) -> None:
    found = operator.at(simulator.url, DEFAULT_MODEL="claude-sonnet-9").asks().found["model-names"]
    assert found.result == "warning"
    assert re.search(r"lacks claude-sonnet-9; claude-sonnet-[\d.]+ stands in for it", found.reason)


def test_a_copilot_token_in_the_place_of_a_github_token_is_a_warning(operator: Operator, simulator: Simulator) -> None:
    copilot_token = f"tid=1;exp={int(time.time()) + 1200}:{'c' * 40}"
    told = operator.at(simulator.url, GITHUB_COPILOT_TOKEN=copilot_token).asks()
    assert results(told, "sign-in", "exchange", "models") == ["warning", "ok", "failed"]
    assert "ends within the hour" in told.found["sign-in"].reason
    assert "it lives 20 min" in told.found["exchange"].reason


def test_a_library_out_of_its_range_and_one_that_is_missing_are_named(operator: Operator, simulator: Simulator) -> None:
    (about := operator.folder / "copilotapi-9.dist-info").mkdir()
    wanted = ["click<1", "no-such-library>=2", "rich", "tzdata; sys_platform == 'nowhere'"]
    lines = ["Metadata-Version: 2.1", "Name: copilotapi", "Version: 9", "Requires-Python: >=3.99"]
    (about / "METADATA").write_text("\n".join([*lines, *(f"Requires-Dist: {one}" for one in wanted), ""]))
    done = operator.at(simulator.url).run(finds_first=(operator.folder,))
    [line] = [line for line in done.stdout.splitlines() if " versions " in line]
    assert line.startswith("failed")
    assert re.search(
        r"Python 3\S+ where >=3.99 is wanted; click 8\S+ where <1 is wanted; no-such-library is missing\.", line
    )


def test_names_that_are_no_models_are_told(operator: Operator, simulator: Simulator) -> None:
    there = operator.at(simulator.url, FALLBACK_MODEL="gpt-4.l", MODEL_ALIASES="fast=nothing-of-the-kind")
    found = there.asks().found["model-names"]
    assert found.result == "failed"
    assert "FALLBACK_MODEL: The model 'gpt-4.l' does not exist" in found.reason
    found = operator.at(simulator.url, MODEL_ALIASES="fast=nothing-of-the-kind").asks().found["model-names"]
    assert found.result == "warning"
    assert "'fast'" in found.reason


def test_no_network_is_told_at_the_host(operator: Operator) -> None:
    told = operator.at(f"http://127.0.0.1:{free_port()}").asks()
    # With a token at hand, only a new sign-in would need the website.
    assert results(told, "github-web", "github-api") == ["warning", "failed"]
    assert told.found["github-api"].reason == "Could not connect to 127.0.0.1: Connection refused."
    assert {told.found[name].reason for name in (*ACCOUNT, "clock")} == {"Not looked at, for github-api failed."}


def test_a_host_that_does_not_exist_is_told(operator: Operator) -> None:
    told = operator.at("https://github.invalid").asks()
    assert told.found["github-api"].result == "failed"
    assert "The name github.invalid has no address" in told.found["github-api"].reason
    assert "GITHUB_API_URL" in told.found["github-api"].remedy


def tls_server(context: ssl.SSLContext) -> RawServer:
    def script(connection: socket.socket, number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            while read_request(wrapped):
                wrapped.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    return RawServer(script)


def test_who_signed_an_unknown_certificate_is_named(operator: Operator) -> None:
    bundle, context = certified(operator.folder, "Nosy Scanner Ltd")
    with tls_server(context) as server:
        url = server.url.replace("http:", "https:")
        found = operator.at(url).asks().found["github-api"]
        assert found.result == "failed"
        assert "The TLS certificate of 127.0.0.1 was not accepted" in found.reason
        assert "It was issued by O=Nosy Scanner Ltd" in found.reason
        assert "REQUESTS_CA_BUNDLE" in found.remedy
        told = operator.at(url, REQUESTS_CA_BUNDLE=str(bundle)).asks()
    assert results(told, "certificates", "github-api") == ["ok", "ok"]
    assert told.found["certificates"].reason.startswith("1 authorities are trusted")
    assert "TLSv1.3, certificate of Nosy Scanner Ltd" in told.found["github-api"].reason


def test_a_bundle_that_holds_no_certificates_is_told(operator: Operator, simulator: Simulator) -> None:
    (operator.folder / "empty.pem").write_text("nothing\n")
    told = operator.at(simulator.url, REQUESTS_CA_BUNDLE=str(operator.folder / "empty.pem")).asks()
    assert told.found["certificates"].result == "failed"


def test_a_proxy_that_refuses_is_told_without_its_password(operator: Operator) -> None:
    refusing = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with RawServer(refusing) as server:
        proxy = server.url.replace("//", "//somebody:canary-proxy-password@")
        told = operator.at("https://github.invalid", HTTPS_PROXY=proxy).asks()
    assert results(told, "proxy", "github-api") == ["ok", "failed"]
    assert "the proxy answered 407" in told.found["github-api"].reason
    assert "canary-proxy-password" not in told.output


def test_a_proxy_that_is_not_there_is_told(operator: Operator, simulator: Simulator) -> None:
    proxy = f"http://somebody:canary-proxy-password@127.0.0.1:{free_port()}"
    told = operator.at(simulator.url, HTTPS_PROXY=proxy).asks()
    assert told.found["proxy"].result == "failed"
    assert "Connection refused" in told.found["proxy"].reason
    assert "canary-proxy-password" not in told.output


@pytest.mark.parametrize(("ahead_seconds", "result"), [(-50, "ok"), (-600, "warning"), (600, "warning")])
def test_the_clock_is_held_against_githubs(operator: Operator, ahead_seconds: int, result: str) -> None:
    def script(connection: socket.socket, number: int) -> None:
        while read_request(connection):
            date = formatdate(time.time() + ahead_seconds, usegmt=True)
            connection.sendall(f"HTTP/1.1 401 No\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())

    with RawServer(script) as server:
        found = operator.at(server.url).asks().found["clock"]
    assert found.result == result
    if result == "warning":
        assert ("behind" if ahead_seconds > 0 else "ahead of") in found.reason


def test_a_real_answer_is_asked_for_only_on_demand_and_once(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url).asks("--live")
    assert told.found["live"].result == "ok"
    assert "gpt-4.1 answered" in told.found["live"].reason
    assert "it is included" in told.found["live"].reason
    assert "at most one premium request" in told.output.partition("}\n")[2] or told.output.startswith("--live")
    assert simulator.recorder.counts()["chat"] == 1


def test_a_model_that_does_not_answer_is_asked_once_only(operator: Operator, simulator: Simulator) -> None:
    simulator.faults.push(Fault("status", "chat", status=503, times=0))
    told = operator.at(simulator.url).asks("--live")
    assert told.found["live"].result == "failed"
    assert simulator.recorder.counts()["chat"] == 1


def test_redis_is_used_as_the_gateway_uses_it(operator: Operator, simulator: Simulator) -> None:
    require_redis()
    with RedisServer("--requirepass", CANARIES["REDIS_PASSWORD"]) as redis_server:
        there = operator.at(simulator.url, REDIS_URL=redis_server.patient_url)
        told = there.at(simulator.url, REDIS_PASSWORD=CANARIES["REDIS_PASSWORD"]).asks()
        assert told.found["store"].result == "ok"
        assert re.search(r"a read took [\d.]+ ms", told.found["store"].reason)
        told = there.at(simulator.url, REDIS_PASSWORD="canary-wrong-password").asks()
    assert told.found["store"].result == "failed"
    assert "does not accept the user or password" in told.found["store"].reason
    assert "canary-wrong-password" not in told.output


def test_a_redis_that_takes_no_writes_fails(operator: Operator, simulator: Simulator) -> None:
    require_redis()
    with RedisServer("--replicaof", "127.0.0.1", "1") as redis_server:
        found = operator.at(simulator.url, REDIS_URL=redis_server.patient_url).asks().found["store"]
    assert found.result == "failed"
    assert "is a replica that takes no writes" in found.reason


def test_a_redis_that_was_named_and_is_away_fails(operator: Operator, simulator: Simulator) -> None:
    found = operator.at(simulator.url, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0").asks().found["store"]
    assert found.result == "failed"
    assert "Redis cannot be reached" in found.reason


def test_missing_vocabularies_are_a_warning(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url).asks()
    assert told.found["vocabularies"].result == "warning"
    assert told.found["vocabularies"].remedy == "Run: copilotapi vocabularies"
    assert (told.status, told.exit_code) == ("warning", 0)


@pytest.mark.skipif(not VOCABULARIES.is_dir(), reason="there are no vocabularies: make vocabularies")
def test_vocabularies_that_are_there_are_in_order(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url, TIKTOKEN_CACHE_DIR=str(VOCABULARIES)).asks()
    assert told.found["vocabularies"].result == "ok"
    assert told.status == "ok"


def test_an_older_identification_is_a_warning(operator: Operator, simulator: Simulator) -> None:
    told = operator.at(simulator.url, EDITOR_VERSION="vscode/1.99.0", GITHUB_API_VERSION="2025-04-01").asks()
    assert told.found["identification"].result == "warning"
    assert told.found["identification"].reason.startswith("EDITOR_VERSION and GITHUB_API_VERSION is older")
    told = operator.at(simulator.url, EDITOR_VERSION="JetBrains/2024.1").asks()
    assert told.found["identification"].result == "ok"


def test_a_port_that_a_stranger_holds_fails(operator: Operator, simulator: Simulator) -> None:
    stranger = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}')
    with RawServer(stranger) as server:
        found = operator.at(simulator.url, PORT=server.url.rpartition(":")[2]).asks().found["port"]
    assert found.result == "failed"
    assert "is taken by another program" in found.reason


def test_a_secret_that_is_told_back_to_the_doctor_is_not_shown(operator: Operator, simulator: Simulator) -> None:
    def script(connection: socket.socket, number: int) -> None:
        request = read_request(connection)
        request_id = re.search(rb"X-Request-Id: (\S+)", request)
        reasons = [{"name": "echo", "detail": f"The key is {API_KEY}."}]
        told = {"status": "ok"} if b"/health" in request else {"status": "unready", "reasons": reasons}
        body = json.dumps(told).encode()
        head = b"HTTP/1.1 200 OK\r\nX-GitHub-Request-Id: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        connection.sendall(head % (request_id[1] if request_id else b"", len(body)) + body)
        connection.close()

    with RawServer(script) as server:
        there = operator.at(simulator.url, PORT=server.url.rpartition(":")[2], API_KEYS=API_KEY)
        found = there.asks().found["port"]
    assert found.reason.endswith("is unready: echo, The key is [redacted].")


def test_where_something_else_answers_no_account_is_asked(operator: Operator, simulator: Simulator) -> None:
    local = {"LOCAL_MODEL_URL": f"{simulator.url}/v1", "LOCAL_MODEL": "any"}
    told = operator.at(simulator.url, **local).without("GITHUB_COPILOT_TOKEN").asks()
    assert told.exit_code == 0
    assert told.found["github-api"].reason == "LOCAL_MODEL_URL answers here; no account is asked."
    assert told.found["exchange"].result == "skipped"
    assert simulator.recorder.requests == []


@pytest.fixture(scope="module")
def keyed() -> Iterator[GatewayProcess]:
    """A gateway as one stands behind a proxy, with a key and an account in order."""
    more = {"API_KEYS": API_KEY, "ADMIN_KEY": CANARIES["ADMIN_KEY"], "TRUSTED_PROXY_COUNT": "1"}
    with Simulator() as simulator, GatewayProcess(simulator.url, **more) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def keyless() -> Iterator[GatewayProcess]:
    """A gateway without keys whose account is refused."""
    with Simulator(scenario="token-refused") as simulator:
        gateway = GatewayProcess(simulator.url)
        try:
            yield gateway.start("/health")
        finally:
            gateway.stop()


def behind(operator: Operator, simulator: Simulator, **more: str) -> Operator:
    keys = {name: CANARIES[name] for name in ("API_KEYS", "ADMIN_KEY")}
    return operator.at(simulator.url, **keys, **{"TRUSTED_PROXY_COUNT": "1", **more})


WELL_SET = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "127.0.0.1"}


def test_the_gateway_itself_at_its_port_is_known_and_ready(
    operator: Operator, simulator: Simulator, keyed: GatewayProcess
) -> None:
    found = behind(operator, simulator, PORT=str(keyed.port)).asks().found["port"]
    assert found == Finding("ok", f"The gateway runs at {keyed.url} and is ready.")


def test_the_reasons_of_a_gateway_that_is_not_ready_are_shown(
    operator: Operator, simulator: Simulator, keyless: GatewayProcess
) -> None:
    found = operator.at(simulator.url, PORT=str(keyless.port)).asks().found["port"]
    assert found.result == "failed"
    assert "is unready: copilot_sign_in_required, " in found.reason


def test_a_proxy_that_is_well_set_up_is_in_order(
    operator: Operator, simulator: Simulator, keyed: GatewayProcess
) -> None:
    with FrontProxy(keyed.port, sets=WELL_SET) as front:
        told = behind(operator, simulator).asks("--live", "--public-url", f"http://127.0.0.1:{front.port}/v1/")
    assert told.found["public-url"].result == "warning"
    assert "without TLS" in told.found["public-url"].reason
    assert told.found["forwarding"].result == "ok"


def test_a_proxy_that_lets_strangers_set_its_headers_fails(
    operator: Operator, simulator: Simulator, keyed: GatewayProcess
) -> None:
    with FrontProxy(keyed.port, sets={"X-Forwarded-For": "192.0.2.7"}) as front:
        told = behind(operator, simulator).asks("--public-url", f"http://127.0.0.1:{front.port}")
    assert told.found["forwarding"].result == "failed"
    assert "X-Forwarded-Host of a stranger is believed" in told.found["forwarding"].reason


def test_a_proxy_that_makes_everyone_a_local_program_fails(
    operator: Operator, simulator: Simulator, keyless: GatewayProcess
) -> None:
    with FrontProxy(keyless.port) as front:
        told = operator.at(simulator.url).asks("--public-url", f"http://127.0.0.1:{front.port}")
    assert told.found["forwarding"].result == "failed"
    assert "/metrics to everyone" in told.found["forwarding"].reason


def test_tls_in_front_with_no_trusted_proxy_is_a_warning_and_streams_are_looked_at(
    operator: Operator, simulator: Simulator, keyed: GatewayProcess
) -> None:
    bundle, context = certified(operator.folder, "Test Authority")
    there = behind(operator, simulator, REQUESTS_CA_BUNDLE=str(bundle), TRUSTED_PROXY_COUNT="0")
    with FrontProxy(keyed.port, sets=WELL_SET, tls=context) as front:
        told = there.asks("--live", "--public-url", f"https://127.0.0.1:{front.port}")
    assert results(told, "public-url", "forwarding", "streaming") == ["ok", "warning", "ok"]
    assert "TRUSTED_PROXY_COUNT=0" in told.found["forwarding"].reason
    with FrontProxy(keyed.port, sets=WELL_SET, tls=context, collects=True) as front:
        found = there.asks("--live", "--public-url", f"https://127.0.0.1:{front.port}").found["streaming"]
    assert found.result == "warning"
    assert "bears Content-Length" in found.reason


def test_a_name_that_the_gateway_does_not_serve_is_told(
    operator: Operator, simulator: Simulator, keyed: GatewayProcess
) -> None:
    named = {**WELL_SET, "X-Forwarded-Host": "copilot.example.com"}
    with FrontProxy(keyed.port, sets=named) as front:
        found = behind(operator, simulator).asks("--public-url", f"http://127.0.0.1:{front.port}").found["public-url"]
    assert found.result == "failed"
    assert "ALLOWED_HOSTS" in found.remedy


def test_a_public_address_of_somebody_else_is_told(operator: Operator, simulator: Simulator) -> None:
    stranger = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n" + b'{"status":"ok"}')
    with RawServer(stranger) as server:
        told = operator.at(simulator.url).asks("--public-url", server.url)
    assert told.found["public-url"].result == "failed"
    assert "not by the gateway itself" in told.found["public-url"].reason


@pytest.mark.parametrize("url", ["ftp://example.com", "example.com", "https://me:canary-in-url@example.com"])
def test_a_public_address_that_is_none_is_refused_in_one_line(operator: Operator, url: str) -> None:
    done = operator.run_at_once("--public-url", url)
    assert done.returncode == 2
    assert "Error: Invalid value for '--public-url': must be" in done.stderr
    assert done.stdout == ""
    assert "canary-in-url" not in done.stderr


def test_help_shows_an_example(operator: Operator) -> None:
    done = operator.run_at_once("--help")
    assert "copilotapi doctor --json --public-url" in done.stdout


class PublicAddress(requests.Session):
    """Answers 200 to /health, 401 to the rest."""

    def get(self, url: str | bytes, **more: object) -> requests.Response:
        response = requests.Response()
        response.status_code = 200 if str(url).endswith("/health") else 401
        return response


@pytest.mark.parametrize(
    ("url", "hops", "result"),
    [
        ("http://gateway.example.com:8123", "1", "warning"),
        ("http://gateway.example.com:8123", "0", "ok"),
        ("http://gateway.example.com", "1", "ok"),
        ("https://gateway.example.com", "1", "ok"),
        ("https://gateway.example.com", "0", "warning"),
        ("http://127.0.0.1:8123", "1", "skipped"),
    ],
)
def test_the_count_of_proxies_is_held_against_the_address(url: str, hops: str, result: str) -> None:
    asked = Known(asks_live=False, public_url=url)
    asked.settings, asked.session = Settings(port=8123, trusted_proxy_count=hops), PublicAddress()
    assert forwarding(asked).result == result


def listing(*models: tuple[str, float | None, str]) -> Catalogue:
    listed = [
        {"id": name, "billing": {} if cost is None else {"multiplier": cost}, "policy": {"state": state}}
        for name, cost, state in models
    ]
    return Catalogue(lambda: listed, MemoryStore(), lambda: "models", {})


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ([("dear", 3.0, "enabled"), ("usual", 1.0, "enabled"), ("cheap", 0.33, "enabled")], "cheap"),
        ([("cheap", 0.33, "enabled"), ("included", 0, "enabled")], "included"),
        ([("included", 0, "unconfigured"), ("usual", 1, "enabled")], "usual"),
        ([("dear", 3, "enabled"), ("unknown", None, "enabled")], None),
    ],
)
def test_no_model_that_costs_more_than_one_request_is_asked(
    models: list[tuple[str, float | None, str]], chosen: str | None
) -> None:
    found = cheapest(listing(*models))
    assert (found.id if found else None) == chosen


def known() -> Known:
    return Known(asks_live=False, public_url=None)


def test_a_check_that_hangs_ends_by_itself_and_the_next_one_runs() -> None:
    wait, waits = socket.socketpair()
    with wait, waits:
        checks = (Check("silent", lambda _: ok(waits.recv(1).decode()), (), 0.4), Check("next", lambda _: ok("done")))
        found = dict(examined(checks, known()))
    assert found["silent"].result == "failed"
    assert "no result within 0.4 s" in found["silent"].reason
    assert found["next"] == ok("done")


def test_what_rests_on_a_failure_is_skipped_and_names_its_root() -> None:
    checks = (
        Check("a", lambda _: failed("no", "do")),
        Check("b", lambda _: ok("yes"), ("a",)),
        Check("c", lambda _: ok("yes"), ("b",)),
        Check("d", lambda _: warning("hm", "do")),
        Check("e", lambda _: ok("yes"), ("d",)),
    )
    found = dict(examined(checks, known()))
    assert found["b"].reason == found["c"].reason == "Not looked at, for a failed."
    assert found["e"] == ok("yes")


def test_secrets_that_the_checks_came_to_know_are_taken_out_of_what_they_say() -> None:
    def tells(known: Known) -> Finding:
        known.secrets.add("canary-learnt-by-a-check")
        return failed("It is canary-learnt-by-a-check.", "Forget canary-learnt-by-a-check.")

    [(_, found)] = examined((Check("tells", tells),), known())
    assert found == failed("It is [redacted].", "Forget [redacted].")


def test_every_need_is_a_check_that_runs_before() -> None:
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    for position, check in enumerate(CHECKS):
        assert set(check.needs) <= set(names[:position])


def test_the_operations_page_names_every_check_and_no_other() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    section = page.partition("\n## When something is wrong: copilotapi doctor\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.M) == [check.name for check in CHECKS]
