"""A client that does nothing for anybody: bytes out, bytes in, as http.client sees them."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from copilotapi.simulator import Simulator

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[Any]:
        """The data of each event, "[DONE]" left as text."""
        data = [line[6:] for line in self.text.splitlines() if line.startswith("data: ")]
        return [one if one == "[DONE]" else json.loads(one) for one in data]

    @property
    def code(self) -> str:
        return str(self.json()["error"]["code"])


class Client:
    """Signs in once and then speaks to Copilot as an editor does."""

    def __init__(self, simulator: Simulator, github_token: str = "gho_test") -> None:
        self.address = urlsplit(simulator.url).netloc
        self.github_token = github_token
        self.bearer: str | None = None

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """One request on a connection of its own, with these headers only; `_` in their names stands for `-`."""
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT_SECONDS)
        try:
            data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            named = {name.replace("_", "-"): value for name, value in headers.items() if value}
            connection.request(method, path, data, named)
            response = connection.getresponse()
            return Got(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def github(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        usual = {"Authorization": f"token {self.github_token}", "User-Agent": "test", "Accept": "application/json"}
        return self.send(method, path, body, **(usual | headers))

    def exchange(self) -> Any:
        return self.github("GET", "/copilot_internal/v2/token").json()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Got:
        """A request to Copilot, signed in; an empty header value leaves that header out."""
        return self.send(method, path, body, **(self.headers() | headers))

    def headers(self) -> dict[str, str]:
        self.bearer = self.bearer or str(self.exchange()["token"])
        return {"Authorization": f"Bearer {self.bearer}", "Editor_Version": "vscode/1.104.1", "User_Agent": "test"}

    def chat(self, prompt: str = "hello", model: str = "gpt-4.1", **more: Any) -> Got:
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]} | more
        return self.ask("POST", "/chat/completions", body)

    def stream(self, prompt: str = "hello", model: str = "gpt-4.1", **more: Any) -> Got:
        return self.chat(prompt, model, stream=True, **more)

    @contextmanager
    def raw(self, path: str, body: Any) -> Iterator[socket.socket]:
        """A socket on which a request to Copilot has just been sent."""
        data = json.dumps(body).encode()
        headers = {"Host": self.address, "Content_Length": str(len(data))} | self.headers()
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        host, _, port = self.address.partition(":")
        with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as sock:
            sock.sendall(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
            yield sock


def read_until(sock: socket.socket, mark: bytes) -> bytes:
    received = b""
    while mark not in received:
        part = sock.recv(65_536)
        assert part, f"closed after {received[-200:]!r}"
        received += part
    return received


def tool(name: str, **properties: Any) -> dict[str, Any]:
    return {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": properties, "required": list(properties)},
        },
    }


def spoken(events: list[Any]) -> str:
    """The text of a chat stream."""
    choices = [choice for event in events if event != "[DONE]" for choice in event.get("choices", [])]
    return "".join(choice["delta"].get("content") or "" for choice in choices)
