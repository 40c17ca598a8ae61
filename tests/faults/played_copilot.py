"""GitHub and Copilot as a test plays them: each chat answered byte by byte, from a list or by the test's own thread."""

import contextlib
import json
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from tests.faults.processes import eventually, unread_bytes
from tests.gateway_process import GITHUB_TOKEN
from tests.raw_server import RawServer, read_request

COPILOT_TOKEN = "canary-copilot-token-Zq81xWm3"
# One chat for each connection: nothing here reads a second request.
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
LAST_CHUNK = b"0\r\n\r\n"
DONE = b"data: [DONE]\n\n"
_WAIT_SECONDS = 10.0
_INFERENCE = (b"/chat/completions", b"/responses", b"/v1/messages", b"/v1/engines/gpt-41-copilot/completions")


class Chat:
    """One chat that reached Copilot. Whoever holds it answers it."""

    def __init__(self, connection: socket.socket, request: bytes) -> None:
        self.request = request
        self._connection = connection

    @property
    def body(self) -> Any:
        return json.loads(self.request.partition(b"\r\n\r\n")[2])

    def send(self, *pieces: bytes) -> None:
        self._connection.sendall(b"".join(pieces))

    def receive(self) -> bytes:
        """What the gateway sends next on this connection."""
        return self._connection.recv(65536)

    def wait_until_read(self) -> None:
        """Until the gateway has taken up all that was sent."""
        near, far = self._connection.getsockname()[1], self._connection.getpeername()[1]
        assert eventually(lambda: unread_bytes(far, near) == 0, pause_seconds=0)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def reset(self) -> None:
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def seconds_until_gone(self, limit_seconds: float = 5.0) -> float:
        """How long it takes from now until the gateway has closed this connection; TimeoutError past the limit."""
        started = time.monotonic()
        self._connection.settimeout(limit_seconds)
        with contextlib.suppress(ConnectionError):
            while self._connection.recv(65536):
                pass
        return time.monotonic() - started


Act = Callable[[Chat], None]


class PlayedCopilot:
    """Chats are answered by `acts` in turn (the last one again and again), or wait in `chats` while there are none.

    `exchange` answers the n-th token exchange, counted from 0. `requests` holds every request as it came. With
    `reads_chats` off, only the head of a chat is taken: the gateway has to wait with the rest. With `tls`, it answers TLS.
    """

    def __init__(self, *acts: Act) -> None:
        self.acts = list(acts)
        self.chats: queue.Queue[Chat] = queue.Queue()
        self.exchange: Callable[[int], bytes] = lambda number: exchanged()
        self.requests: list[bytes] = []
        self.reads_chats = True
        self.tls: ssl.SSLContext | None = None
        self._counting = threading.Lock()
        self._server = RawServer(self._serve)

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def __enter__(self) -> "PlayedCopilot":
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    def next_chat(self) -> Chat:
        return self.chats.get(timeout=_WAIT_SECONDS)

    def play(self, *acts: Act) -> None:
        """From now on; forgets what was asked before."""
        with self._counting:
            self.acts = list(acts)
            self.reads_chats = True
            self.requests.clear()

    def count(self, path: bytes) -> int:
        with self._counting:
            return sum(request.split(b" ", 2)[1] == path for request in self.requests)

    @property
    def chat_count(self) -> int:
        return self.count(b"/chat/completions")

    @property
    def exchange_count(self) -> int:
        return self.count(b"/copilot_internal/v2/token")

    def _serve(self, connection: socket.socket, number: int) -> None:
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True)
        request = read_request(connection) if self.reads_chats else connection.recv(1024)
        if not request:
            connection.close()
            return
        path = request.split(b" ", 2)[1]
        with self._counting:
            seen = sum(earlier.split(b" ", 2)[1] == path for earlier in self.requests)
            self.requests.append(request)
        if path in _INFERENCE:
            # May hand the connection over: it is not closed here.
            self._next_act()(Chat(connection, request))
            return
        connection.sendall(self._answer(path, request, seen))
        connection.close()

    def _answer(self, path: bytes, request: bytes, seen: int) -> bytes:
        if path == b"/copilot_internal/v2/token":
            return self.exchange(seen)
        if path == b"/copilot_internal/user":
            return response(200, b"{}")
        return refused(401) if GITHUB_TOKEN.encode() in request else _models()

    def _next_act(self) -> Act:
        with self._counting:
            if not self.acts:
                return self.chats.put
            return self.acts.pop(0) if len(self.acts) > 1 else self.acts[0]


def saying(*pieces: bytes) -> Act:
    """Sends these bytes and closes."""

    def act(chat: Chat) -> None:
        chat.send(*pieces)
        chat.close()

    return act


def resetting(*pieces: bytes) -> Act:
    """Sends these bytes and resets the connection."""

    def act(chat: Chat) -> None:
        chat.send(*pieces)
        chat.reset()

    return act


def response(status: int, body: bytes, *headers: str, content_type: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status} Played", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "Connection: close", *headers, "", ""]).encode() + body


def refused(status: int, code: str = "", message: str = "refused", *headers: str) -> bytes:
    return response(status, json.dumps({"error": {"message": message, "code": code}}).encode(), *headers)


def exchanged(copilot_token: str = COPILOT_TOKEN, **more: object) -> bytes:
    answer = {"token": copilot_token, "expires_at": int(time.time()) + 1800, "refresh_in": 1500, **more}
    return response(200, json.dumps(answer).encode())


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(text: str, finish_reason: str | None = None, model: str = "gpt-4.1") -> bytes:
    """One chunk of a chat as OpenAI writes it, with nothing to repair."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish_reason}
    answer = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
    return b"data: " + json.dumps({**answer, "choices": [choice]}).encode() + b"\n\n"


def streamed(*frames: bytes) -> bytes:
    """A whole stream, properly ended as HTTP: what it lacks, it lacks as a stream of events."""
    return STREAM_HEAD + b"".join(map(chunk, frames)) + LAST_CHUNK


def answered(text: str = "Hello", model: str = "gpt-4.1") -> bytes:
    message = {"role": "assistant", "content": text}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return response(200, json.dumps({**body, "choices": choices, "usage": usage}).encode())


GOOD_STREAM = streamed(event("Hello"), event("", "stop"), DONE)


def _models() -> bytes:
    models: list[dict[str, Any]] = [
        {"id": model_id, "object": "model", "vendor": "OpenAI", "capabilities": {"type": "chat"}}
        for model_id in ("gpt-4.1", "gpt-4o")
    ]
    models += [
        {**models[0], "id": "gpt-5.1-codex", "supported_endpoints": ["/responses"]},
        {**models[0], "id": "claude-sonnet-4.5", "supported_endpoints": ["/chat/completions", "/v1/messages"]},
        {**models[0], "id": "gpt-41-copilot", "capabilities": {"type": "completion"}},
    ]
    return response(200, json.dumps({"object": "list", "data": models}).encode())
