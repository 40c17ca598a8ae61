"""What an endpoint gives back: a whole answer or a stream of events, and the shapes errors take (copilot-wire 8.1).

It must not know sockets, nor which endpoint it serves.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stream:
    """`events` are complete SSE records. `error_event` makes the record that tells of a failure: (code, message)."""

    events: Iterable[bytes]
    error_event: Callable[[str, str], bytes]
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`body` counts when there is no `stream`. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    stream: Stream | None = field(default=None, repr=False)


class Refused(Exception):
    """Raised where a request is found wanting; `answer` is what the client gets."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def dump(body: Any) -> bytes:
    # Lone surrogates can be written in JSON but not in UTF-8: they become question marks.
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def json_answer(body: Any, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"content-type": "application/json"} | named, dump(body))


def text_answer(text: str, status: int = 200, content_type: str = "text/plain; charset=utf-8") -> Answer:
    return Answer(status, {"content-type": content_type}, text.encode("utf-8", "replace"))


def stream_answer(events: Iterable[bytes], error_event: Callable[[str, str], bytes], pause_seconds: float) -> Answer:
    return Answer(200, {"content-type": "text/event-stream"}, stream=Stream(events, error_event, pause_seconds))


def envelope(message: str, code: str, **more: str) -> JSON:
    return {"error": {"message": message, "code": code} | more}


def refuse(status: int, message: str, code: str = "", **more: str) -> Refused:
    """CAPI's usual error. Its Content-Type says text although the body is JSON (seen 2026, copilot-wire 4.2)."""
    body = dump(envelope(message, code, **more)).decode()
    return Refused(text_answer(body, status))


def refuse_text(status: int, text: str) -> Refused:
    return Refused(text_answer(text, status))


def event(body: Any, name: str | None = None) -> bytes:
    """One SSE record, with an `event:` line when it has a name."""
    opening = f"event: {name}\n".encode() if name else b""
    return opening + b"data: " + dump(body) + b"\n\n"


DONE = b"data: [DONE]\n\n"
