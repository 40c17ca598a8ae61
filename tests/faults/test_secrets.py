"""Canaries: every secret is known to the test and looked for, in many spellings, wherever this program writes."""

import base64
import json
import socket
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from copilotapi.simulator import Simulator
from tests.faults.played_copilot import (
    COPILOT_TOKEN,
    DONE,
    Act,
    Chat,
    PlayedCopilot,
    answered,
    chunk,
    event,
    exchanged,
    refused,
    resetting,
    response,
    saying,
    streamed,
)
from tests.faults.played_copilot import STREAM_HEAD as HEAD
from tests.faults.processes import eventually
from tests.faults.raw_caller import RawCaller
from tests.gateway_process import GITHUB_TOKEN, GatewayProcess, Reply
from tests.redis_server import RedisServer, require_redis

API_KEY = "canary-api-key-T4vBq92LmX"
ADMIN_KEY = "canary-admin-key-Hs83KdPw0"
REDIS_PASSWORD = "canary:redis/password+Jd7Q"
PROMPT = "canary prompt: the aunt's recipe, Ünïcode 7731"
SECRETS = (GITHUB_TOKEN, COPILOT_TOKEN, API_KEY, ADMIN_KEY, REDIS_PASSWORD)


def spellings(secret: str) -> Iterator[bytes]:
    """The secret raw, in hex, escaped for URLs and JSON, and in base64 at each of its three offsets."""
    raw = secret.encode()
    yield raw
    yield from (raw.hex().encode(), raw.hex().upper().encode())
    yield urllib.parse.quote(secret, safe="").encode()
    yield urllib.parse.quote_plus(secret).encode()
    yield json.dumps(secret)[1:-1].encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # The first and last characters depend on what stands beside the secret.
            yield encode(b"\0" * offset + raw)[4 if offset else 0 : -4]


def found(secrets: tuple[str, ...], sinks: Mapping[str, bytes]) -> list[tuple[str, str]]:
    return [
        (secret, name)
        for secret in secrets
        for name, sink in sinks.items()
        if any(spelling in sink for spelling in spellings(secret))
    ]


def as_sink(reply: Reply) -> bytes:
    return repr(sorted(reply.headers.items())).encode() + reply.body


class Rig:
    """A gateway that knows every secret, and everything it has said."""

    def __init__(self, gateway: GatewayProcess, redis_server: RedisServer) -> None:
        self._gateway = gateway
        self._redis_server = redis_server
        self.answers = b""

    def request(self, method: str, path: str, api_key: str = API_KEY, body: object = None, **headers: str) -> Reply:
        given = {"Authorization": f"Bearer {api_key}", **headers}
        reply = self._gateway.request(method, path, body, given)
        self.answers += as_sink(reply)
        return reply

    def chat(self, is_streamed: bool, text: str = PROMPT) -> Reply:
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": text}], "stream": is_streamed}
        return self.request("POST", "/v1/chat/completions", body=body)

    def say(self, data: bytes) -> None:
        """Bytes that no HTTP client would send."""
        with socket.create_connection(("127.0.0.1", self._gateway.port), timeout=10) as raw:
            raw.sendall(data)
            with suppress(ConnectionError):
                while received := raw.recv(65536):
                    self.answers += received

    def sinks(self) -> dict[str, bytes]:
        """Where a secret could have gone. The answers are apart: a prompt may well be in its own answer."""
        for path in ("/metrics", "/v1/usage", "/ready", "/v1/models", "/"):
            self.request("GET", path, ADMIN_KEY)
        return {
            "log": self._gateway.log_path.read_bytes(),
            "metrics": self.request("GET", "/metrics", ADMIN_KEY).body,
            "redis": dumped(self._redis_server),
            "arguments": b"".join(map(arguments, [self._gateway.worker_pids()[0], self._master])),
        }

    @property
    def _master(self) -> int:
        assert self._gateway.process is not None
        return self._gateway.process.pid


def arguments(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def dumped(redis_server: RedisServer) -> bytes:
    """All names and values of a Redis; not by DUMP, which may compress them."""
    client = redis_server.client
    names = list(client.scan_iter())
    values = [client.hgetall(name) if client.type(name) == b"hash" else client.get(name) for name in names]
    return repr(list(zip(names, values, strict=True))).encode()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    require_redis()
    server = RedisServer("--requirepass", REDIS_PASSWORD)
    server.client.connection_pool.connection_kwargs["password"] = REDIS_PASSWORD
    with server:
        yield server


def settings(redis_server: RedisServer) -> dict[str, str]:
    return {
        "API_KEYS": API_KEY,
        "ADMIN_KEY": ADMIN_KEY,
        "REDIS_URL": f"redis://:{urllib.parse.quote(REDIS_PASSWORD, safe='')}@127.0.0.1:{redis_server.port}/0",
        "LOG_LEVEL": "DEBUG",
        "RATE_LIMIT_PER_MINUTE": "0",
    }


def echo_head(chat: Chat) -> None:
    """An error that quotes the whole request, in every field it has."""
    told = chat.request.decode("latin-1")
    chat.send(response(400, json.dumps({"error": {"message": told[:400], "code": told[:300], "param": told}}).encode()))
    chat.close()


def echoes() -> list[tuple[str, Act]]:
    token = COPILOT_TOKEN.encode()
    told = json.dumps({"error": {"message": f"bad {COPILOT_TOKEN}", "code": COPILOT_TOKEN}}).encode()
    return [
        ("a plain answer", saying(answered())),
        ("a plain stream", saying(streamed(event("Hello"), event("", "stop"), DONE))),
        ("an error that quotes the bearer", saying(response(400, told))),
        ("a page that quotes the bearer", saying(response(403, b"<html>" + token))),
        ("a text that quotes the bearer", saying(response(500, b"Bearer " + token))),
        ("a limit that quotes the bearer", saying(refused(429, "user_model_rate_limited", COPILOT_TOKEN))),
        ("an outage that quotes the bearer", saying(refused(503, COPILOT_TOKEN, COPILOT_TOKEN))),
        ("a whole request quoted", echo_head),
        ("an error inside the stream", saying(streamed(event("Hello"), b"data: " + told + b"\n\n"))),
        ("garbage inside the stream", saying(streamed(event("Hello"), b"data: {" + token + b"\n\n"))),
        ("no JSON", saying(response(200, token))),
        ("a cut", resetting(HEAD, chunk(event("Hello")))),
        ("a header that quotes the bearer", saying(refused(400, "", "", f"X-Request-Id: {COPILOT_TOKEN}"))),
        ("a limit header that quotes the bearer", saying(refused(429, "", "", f"X-RateLimit-Reset: {COPILOT_TOKEN}"))),
    ]


@pytest.mark.redis
def test_no_secret_is_told_whatever_copilot_does(redis_server: RedisServer) -> None:
    with (
        PlayedCopilot() as copilot,
        GatewayProcess(copilot.url, **settings(redis_server)) as gateway,
    ):
        rig = Rig(gateway, redis_server)
        for name, act in echoes():
            for is_streamed in (False, True):
                copilot.play(act)
                rig.chat(is_streamed)
                assert copilot.chat_count >= 1, name
                assert not found(SECRETS, {name: rig.answers})
        copilot.play(saying(refused(401, "", COPILOT_TOKEN)))
        rig.chat(False)
        assert dumped(redis_server)
        assert_nothing_is_told(rig)


@pytest.mark.redis
def test_no_secret_is_told_whatever_the_caller_does(redis_server: RedisServer) -> None:
    with (
        PlayedCopilot(saying(answered())) as copilot,
        GatewayProcess(copilot.url, **settings(redis_server)) as gateway,
    ):
        rig = Rig(gateway, redis_server)
        for path in (f"/v1/models?key={API_KEY}", f"/{ADMIN_KEY}", f"/v1/models/{API_KEY}", "/v1/usage"):
            rig.request("GET", path)
            rig.request("GET", path, ADMIN_KEY + "x")
        for body in (f'{{"model": "{PROMPT}', f'{{"{PROMPT}": 1}}', json.dumps({"model": API_KEY, "messages": PROMPT})):
            rig.request("POST", "/v1/chat/completions", body=body.encode())
        rig.request("GET", "/v1/models", Host=f"{API_KEY}.example", Origin=f"http://{ADMIN_KEY}.example")
        rig.request("POST", "/v1/token/refresh")
        rig.request("POST", "/v1/token/refresh", ADMIN_KEY)
        rig.request("TRACE", "/v1/models")
        rig.say(f"GET /v1/models?key={API_KEY} nonsense\r\nAuthorization: Bearer {API_KEY}\r\n\r\n".encode())
        rig.say(f"GET / HTTP/1.1\r\nHost: a\r\nAuthorization {API_KEY}\r\n\r\n".encode())
        caller = RawCaller(gateway, PROMPT)
        caller.reset()
        assert_nothing_is_told(rig, but_the_callers_own=True)


@pytest.mark.redis
def test_no_secret_is_told_while_redis_and_github_fail(redis_server: RedisServer) -> None:
    with PlayedCopilot(saying(answered())) as copilot:
        told = {"message": GITHUB_TOKEN, "error_details": {"message": f"No seat for {GITHUB_TOKEN}"}}
        copilot.exchange = lambda number: response(403, json.dumps(told).encode()) if number else exchanged()
        with GatewayProcess(copilot.url, **settings(redis_server)) as gateway:
            rig = Rig(gateway, redis_server)
            assert rig.chat(False).status == 200
            assert dumped(redis_server)
            assert_nothing_is_told(rig)
            copilot.play(saying(refused(401)))
            assert rig.chat(False).status == 503
            redis_server.client.config_set("requirepass", "changed-" + REDIS_PASSWORD)
            redis_server.client.client_kill_filter(_type="normal", skipme=True)
            for is_streamed in (False, True):
                rig.chat(is_streamed)
                rig.request("GET", "/ready")
            redis_server.client.config_set("requirepass", REDIS_PASSWORD)
            redis_server.kill()
            for is_streamed in (False, True):
                rig.chat(is_streamed)
                rig.request("GET", "/ready")
            redis_server.start()
            assert_nothing_is_told(rig)


@pytest.mark.redis
def test_a_token_of_the_usual_shape_lies_encrypted_and_is_never_told(
    simulator: Simulator, redis_server: RedisServer
) -> None:
    with GatewayProcess(simulator.url, **settings(redis_server)) as gateway:
        rig = Rig(gateway, redis_server)
        for directive in ("", "status=400 message=x", "cut", "error", "expire times=1", "garbage"):
            for is_streamed in (False, True):
                rig.chat(is_streamed, f"[[simulate: {directive}]]" if directive else PROMPT)
        bearers = {chat.headers["authorization"].removeprefix("Bearer ") for chat in simulator.recorder.to("chat")}
        assert bearers
        assert all(bearer.startswith("tid=") for bearer in bearers)
        sinks = rig.sinks()
        assert b"token:" in sinks["redis"]
        assert not found((*SECRETS, *bearers), {**sinks, "answers": rig.answers})
        assert not any(b"tid=" in sink for sink in sinks.values())


@pytest.mark.parametrize("secret", [*SECRETS, PROMPT])
@pytest.mark.parametrize(
    "spell",
    [
        str.encode,
        lambda secret: secret.encode().hex().encode(),
        lambda secret: base64.b64encode(secret.encode()),
        lambda secret: base64.b64encode(b"user:" + secret.encode()),
        lambda secret: base64.urlsafe_b64encode(b"Bearer " + secret.encode() + b" and more"),
        lambda secret: urllib.parse.quote(secret, safe="").encode(),
        lambda secret: urllib.parse.urlencode({"key": secret}).encode(),
        lambda secret: json.dumps({"key": secret}).encode(),
    ],
)
def test_a_leak_would_be_found(secret: str, spell: Callable[[str], bytes]) -> None:
    assert found((secret,), {"sink": b"something before " + spell(secret) + b" and after"}) == [(secret, "sink")]
    assert not found((secret,), {"sink": b"something before and after"})


def test_a_leak_into_the_log_would_be_found() -> None:
    """The log is read where the gateway writes it, at DEBUG: what is public in a request is there."""
    with PlayedCopilot(saying(answered())) as copilot, GatewayProcess(copilot.url, LOG_LEVEL="DEBUG") as gateway:
        gateway.chat(headers={"X-Request-Id": "planted-request-id"})
        assert eventually(lambda: bool(found(("planted-request-id",), {"log": gateway.log_path.read_bytes()})))
        assert '"debug"' in gateway.log


def assert_nothing_is_told(rig: Rig, *, but_the_callers_own: bool = False) -> None:
    """`but_the_callers_own`: what callers wrote where no secret belongs may come back to them, and to no one else."""
    sinks = rig.sinks()
    assert sinks["log"].count(b'"event"') > 5
    assert b"copilotapi_requests_total" in sinks["metrics"]
    assert not found((*SECRETS, PROMPT), sinks)
    answers = SECRETS if not but_the_callers_own else (GITHUB_TOKEN, COPILOT_TOKEN, REDIS_PASSWORD)
    assert not found(answers, {"answers": rig.answers})
