"""The shipped nginx configuration in front of two real gateways: what passes, what does not, and what is believed."""

import contextlib
import http.client
import json
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from copilotapi.app import create_app
from copilotapi.blueprints.guard import ADMIN, LOOPBACK_OR_ADMIN
from copilotapi.settings import Settings
from tests.deploy.nginx_process import NAME, SHIPPED, NginxProcess, asked, require_nginx, two_gateways
from tests.faults.played_copilot import (
    DONE,
    LAST_CHUNK,
    STREAM_HEAD,
    PlayedCopilot,
    answered,
    chunk,
    event,
    saying,
)
from tests.faults.processes import eventually
from tests.gateway_process import GatewayProcess, Reply, free_port
from tests.raw_server import RawServer, read_request

API_KEY, ADMIN_KEY = "canary-api-key-of-deploy", "canary-admin-key-of-deploy"
KEY = {"Authorization": f"Bearer {API_KEY}"}
# An address of this machine that nginx does not know for the operator's.
STRANGER = "127.0.0.3"
MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT = json.dumps({"model": "gpt-4.1", "messages": MESSAGES}).encode()
STREAM = json.dumps({"model": "gpt-4.1", "messages": MESSAGES, "stream": True}).encode()


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    require_nginx()
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def gateways(copilot: PlayedCopilot) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    with two_gateways(copilot.url, API_KEYS=API_KEY, ADMIN_KEY=ADMIN_KEY) as gateways:
        yield gateways


@pytest.fixture(scope="module")
def nginx(gateways: tuple[GatewayProcess, GatewayProcess]) -> Iterator[NginxProcess]:
    with NginxProcess((gateways[0].port, gateways[1].port)) as nginx:
        yield nginx
        # Of all that the tests below sent.
        for canary in ("canary-", "Hello"):
            assert canary not in nginx.access_log
            assert canary not in nginx.error_log


def error(reply: Reply) -> dict[str, Any]:
    """In a shape that clients of both protocols read."""
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json["type"] == "error"
    found: dict[str, Any] = reply.json["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


# What passes.


def test_events_arrive_one_by_one_however_much_the_caller_likes_gzip(
    nginx: NginxProcess, copilot: PlayedCopilot
) -> None:
    copilot.play()
    connection = nginx.connection(source=STRANGER)
    headers = {**KEY, "Host": NAME, "Content-Type": "application/json", "Accept-Encoding": "gzip"}
    connection.request("POST", "/v1/chat/completions", STREAM, headers)
    chat = copilot.next_chat()
    chat.send(STREAM_HEAD, chunk(event("one")))
    response = connection.getresponse()
    assert (response.status, response.headers["Content-Encoding"]) == (200, None)
    assert b"one" in response.readline()
    chat.send(chunk(event("two")), chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)
    assert b"two" in response.read()
    connection.close()


def test_events_arrive_one_by_one_over_http_2(nginx: NginxProcess, copilot: PlayedCopilot) -> None:
    if b"HTTP2" not in subprocess.run(["curl", "-V"], capture_output=True, check=False).stdout:
        pytest.skip("curl speaks no HTTP/2")
    copilot.play()
    command = ["curl", "--silent", "--no-buffer", "--max-time", "30", "--http2", "--cacert", str(nginx.certificate)]
    command += ["--resolve", f"{NAME}:{nginx.port}:127.0.0.1", "--write-out", "%{http_version}", "--data-binary", "@-"]
    command += ["-H", f"Authorization: Bearer {API_KEY}", "-H", "Content-Type: application/json"]
    with subprocess.Popen(
        [*command, f"https://{NAME}:{nginx.port}/v1/chat/completions"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as curl:
        assert curl.stdin is not None
        assert curl.stdout is not None
        curl.stdin.write(STREAM)
        curl.stdin.close()
        chat = copilot.next_chat()
        chat.send(STREAM_HEAD, chunk(event("one")))
        assert b"one" in curl.stdout.readline()
        chat.send(chunk(event("two")), chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)
        rest = curl.stdout.read()
    assert b"two" in rest
    assert rest.endswith(b"\n2")


def test_a_caller_who_leaves_ends_the_call_to_copilot(nginx: NginxProcess, copilot: PlayedCopilot) -> None:
    copilot.play()
    caller = nginx.tls_socket(STRANGER)
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {NAME}\r\nAuthorization: Bearer {API_KEY}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(STREAM)}\r\n\r\n"
    caller.sendall(head.encode() + STREAM)
    chat = copilot.next_chat()
    caller.close()
    assert chat.seconds_until_gone() < 2
    chat.close()


def test_health_is_public_and_tells_nothing_of_the_server(nginx: NginxProcess) -> None:
    reply = nginx.request("GET", "/health", source=STRANGER)
    assert (reply.status, reply.json) == (200, {"status": "ok"})
    assert reply.headers["Server"] == "nginx"


@pytest.mark.parametrize("path", ["/health", "/nothing-here", "/metrics"])
def test_every_answer_asks_for_https_in_future(nginx: NginxProcess, path: str) -> None:
    assert nginx.request("GET", path, source=STRANGER).headers["Strict-Transport-Security"] == "max-age=31536000"


# Who is believed.


SPOOFS = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Real-IP": "203.0.113.9",
    "Forwarded": "for=203.0.113.9;host=evil.example;proto=http",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "http",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "X_Forwarded_For": "203.0.113.9",
    "Script-Name": "/evil",
}


def test_the_log_has_the_callers_own_address_whatever_the_caller_says(
    nginx: NginxProcess, gateways: tuple[GatewayProcess, GatewayProcess]
) -> None:
    reply = nginx.request("GET", "/v1/usage", headers={**KEY, **SPOOFS, "X-Request-Id": "who-is-it"}, source=STRANGER)
    assert reply.status == 200
    # Written when the answer has gone.
    assert eventually(lambda: any("who-is-it" in gateway.log for gateway in gateways))
    [line] = [line for gateway in gateways for line in gateway.log.splitlines() if "who-is-it" in line]
    assert json.loads(line)["address"] == STRANGER
    assert eventually(lambda: "who-is-it" in nginx.access_log)
    [line] = [line for line in nginx.access_log.splitlines() if "who-is-it" in line]
    assert json.loads(line)["address"] == STRANGER


def test_a_page_of_another_site_is_refused_whatever_host_it_claims(nginx: NginxProcess) -> None:
    theirs = nginx.request("GET", "/health", headers={**SPOOFS, "Origin": "http://evil.example"}, source=STRANGER)
    assert (theirs.status, theirs.json["error"]["code"]) == (403, "origin_not_allowed")
    ours = nginx.request("GET", "/health", headers={**SPOOFS, "Origin": f"https://{NAME}"}, source=STRANGER)
    assert ours.status == 200


def test_a_caller_on_the_same_machine_needs_a_key_too(nginx: NginxProcess) -> None:
    reply = nginx.request("GET", "/v1/models", source="127.0.0.1")
    assert (reply.status, reply.json["error"]["code"]) == (401, "invalid_api_key")


# What does not pass.


def test_another_host_name_is_refused(nginx: NginxProcess) -> None:
    reply = nginx.request("GET", "/health", headers={"Host": "evil.example"}, source=STRANGER)
    assert (reply.status, error(reply)["code"]) == (421, "misdirected_request")


@pytest.mark.parametrize("name", ["evil.example", None])
def test_another_name_in_the_handshake_gets_no_certificate(nginx: NginxProcess, name: str | None) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as bare, pytest.raises(ssl.SSLError):
        context.wrap_socket(bare, server_hostname=name)


def test_without_tls_a_request_fails_loudly_and_another_name_gets_no_answer(nginx: NginxProcess) -> None:
    reply = nginx.request("GET", "/v1/models", headers=KEY, plain=True)
    assert (reply.status, error(reply)["code"]) == (403, "https_required")
    with pytest.raises(http.client.RemoteDisconnected):
        nginx.request("GET", "/", headers={"Host": "evil.example"}, plain=True)


def test_the_certificates_renewal_is_served_without_tls(nginx: NginxProcess) -> None:
    challenge = nginx.folder / "html" / ".well-known" / "acme-challenge" / "proof"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("it is me")
    for folder in (nginx.folder, *list(challenge.parents)[:3]):
        folder.chmod(0o755)
    reply = nginx.request("GET", "/.well-known/acme-challenge/proof", plain=True)
    assert (reply.status, reply.body) == (200, b"it is me")


def operator_paths() -> list[str]:
    """What the gateway itself keeps for the admin key or this machine; and /ready, which names hosts."""
    app = create_app(Settings(redis_url="memory://", github_copilot_token="gho_x"))
    levels = {name: getattr(view, "access", None) for name, view in app.view_functions.items()}
    rules = [rule.rule for rule in app.url_map.iter_rules() if levels[rule.endpoint] in (ADMIN, LOOPBACK_OR_ADMIN)]
    return [*rules, "/ready"]


SPELLINGS = (str, lambda path: f"{path}/", lambda path: f"/x/..{path}", lambda path: path.replace("e", "%65", 1))


def test_the_operators_paths_are_not_public_even_with_the_admin_key(nginx: NginxProcess) -> None:
    paths = [re.sub(r"<[^>]+>", "x", path) for path in operator_paths()]
    assert {"/metrics", "/v1/token/refresh", "/token/refresh"} <= set(paths)
    for spelled in [spelling(path) for path in paths for spelling in SPELLINGS]:
        reply = nginx.request("GET", spelled, headers={"x-api-key": ADMIN_KEY}, source=STRANGER)
        assert (spelled, reply.status, error(reply)["code"]) == (spelled, 403, "not_public")


def test_on_the_same_machine_the_admin_key_opens_them(nginx: NginxProcess) -> None:
    assert nginx.request("GET", "/metrics").status == 401
    assert b"copilotapi_requests_total" in nginx.request("GET", "/metrics", headers={"x-api-key": ADMIN_KEY}).body


def test_a_body_above_the_gateways_limit_is_refused_in_the_callers_protocol(nginx: NginxProcess) -> None:
    limit_bytes = Settings.model_fields["max_body_bytes"].default
    body = b'{"x": "' + b"Hello" * (limit_bytes // 5) + b'"}'
    reply = nginx.request("POST", "/v1/messages", body, KEY, source=STRANGER)
    assert reply.status == 413
    assert reply.json["type"] == "error"
    assert "request_id" in reply.json
    assert "temporary file" not in nginx.error_log


def test_a_body_far_above_it_is_refused_by_nginx(nginx: NginxProcess) -> None:
    head = f"POST /v1/messages HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: {12 * 1024 * 1024}\r\n\r\n"
    with nginx.tls_socket(STRANGER) as caller:
        caller.sendall(head.encode())
        response = http.client.HTTPResponse(caller)
        response.begin()
        reply = Reply(response.status, dict(response.headers), response.read())
    assert (reply.status, error(reply)["code"]) == (413, "request_too_large")


@pytest.mark.parametrize("headers", [{"X-Long": "x" * 9000}, {f"X-{number}": "x" * 4000 for number in range(9)}])
def test_headers_that_are_too_long_are_refused(nginx: NginxProcess, headers: dict[str, str]) -> None:
    reply = nginx.request("GET", "/health", headers=headers, source=STRANGER)
    assert (reply.status, error(reply)["code"]) == (400, "malformed_request")


def test_the_access_log_has_the_path_without_the_query(nginx: NginxProcess) -> None:
    nginx.request("GET", "/health?api_key=canary-in-the-query", headers={"X-Request-Id": "asked-once"}, source=STRANGER)
    assert eventually(lambda: "asked-once" in nginx.access_log)
    [line] = [line for line in nginx.access_log.splitlines() if "asked-once" in line]
    assert json.loads(line)["path"] == "/health"


# With another nginx before the same gateways, or before none.


def test_one_address_has_a_bounded_number_of_requests_at_a_time(
    gateways: tuple[GatewayProcess, GatewayProcess], copilot: PlayedCopilot
) -> None:
    copilot.play()
    with NginxProcess(
        (gateways[0].port, gateways[1].port),
        {"limit_conn copilotapi_addresses 100": "limit_conn copilotapi_addresses 1"},
    ) as nginx:
        connection = nginx.connection(source=STRANGER)
        connection.request("POST", "/v1/chat/completions", STREAM, {**KEY, "Content-Type": "application/json"})
        chat = copilot.next_chat()
        reply = nginx.request("GET", "/health", source=STRANGER)
        assert (reply.status, error(reply)["type"], reply.headers["Retry-After"]) == (429, "rate_limit_error", "5")
        assert nginx.request("GET", "/health", source="127.0.0.4").status == 200
        chat.close()
        connection.close()


def test_without_a_gateway_the_answer_says_so() -> None:
    with NginxProcess((free_port(), free_port())) as nginx:
        reply = nginx.request("POST", "/v1/chat/completions", CHAT, KEY)
    assert (reply.status, error(reply)["code"], reply.headers["Retry-After"]) == (502, "gateway_unreachable", "5")
    assert "Strict-Transport-Security" in reply.headers


def test_a_post_goes_to_the_other_gateway_only_if_it_was_not_sent(
    gateways: tuple[GatewayProcess, GatewayProcess], copilot: PlayedCopilot
) -> None:
    copilot.play(saying(answered()))
    with NginxProcess((free_port(), gateways[0].port)) as nginx:
        assert [nginx.request("POST", "/v1/chat/completions", CHAT, KEY).status for _ in range(4)] == [200] * 4
    taken: list[bytes] = []

    def take_and_leave(connection: socket.socket, number: int) -> None:
        with contextlib.closing(connection):
            taken.append(read_request(connection))

    with RawServer(take_and_leave) as first, RawServer(take_and_leave) as second:
        ports = [int(server.url.rpartition(":")[2]) for server in (first, second)]
        with NginxProcess((ports[0], ports[1])) as nginx:
            assert nginx.request("POST", "/v1/chat/completions", CHAT, KEY).status == 502
    assert len(taken) == 1


def test_connections_to_a_gateway_are_used_again() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    def answer_twice(connection: socket.socket, number: int) -> None:
        for _ in range(2):
            read_request(connection)
            connection.sendall(answer)
        connection.close()

    with RawServer(answer_twice) as server:
        port = int(server.url.rpartition(":")[2])
        with NginxProcess((port, port)) as nginx:
            connection = nginx.connection()
            assert [asked(connection, "GET", "/").body for _ in range(2)] == [b"ok"] * 2
            connection.close()
        assert server.accepted == 1


# The numbers in the file against the gateway's own.


def directive(name: str) -> str:
    [value] = re.findall(rf"^\s*{name} (.+);$", SHIPPED.read_text(), re.M)
    return str(value)


def test_the_sizes_and_times_fit_those_of_the_gateway() -> None:
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    largest_body_bytes = int(directive("client_max_body_size").removesuffix("m")) * 1024 * 1024
    assert defaults["max_body_bytes"] < largest_body_bytes
    assert directive("client_body_buffer_size") == directive("client_max_body_size")
    assert int(directive("proxy_read_timeout").removesuffix("s")) > defaults["total_timeout"]
    own = (Path(__file__).parents[2] / "copilotapi" / "server" / "worker.py").read_text()
    [silent_seconds] = re.findall(r"^_SILENT_SECONDS = (.+)$", own, re.M)
    upstream = SHIPPED.read_text().partition("server {")[0]
    [kept] = re.findall(r"keepalive_timeout (\d+)s;", upstream)
    assert float(kept) < float(silent_seconds)
