"""Puts an answer on the wire, with the faults that happen to it: early ends, silences, odd framing, broken events.

Order: faults of events first, then those of bytes, however they were listed.
"""

import http
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from copilotapi.simulator.answers import Answer, Stream, dump, envelope
from copilotapi.simulator.faults import Fault
from copilotapi.simulator.wire import Connection, Request

_PHRASES = {status.value: status.phrase for status in http.HTTPStatus}
_DEFAULT_EVENTS = 3
_DEFAULT_PIECE_BYTES = 16
_DEFAULT_PAUSE_SECONDS = 0.002
_GARBAGE_EVENT = 'data: {"choices":[{"delta":{"con\n\n'
_GARBAGE_BODY = '{"choices":[{"message":{"con'
_ERROR_CODE = "internal_error"
_ERROR_MESSAGE = "the model died while it answered"


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence; None lasts until the client leaves."""

    seconds: float | None


@dataclass(frozen=True, slots=True)
class Break:
    """The connection ends here, in the middle."""

    reset: bool


Step = bytes | Pause | Break


class Broken(Exception):
    """The answer was cut off as a fault asked; the connection is of no more use."""


def deliver(connection: Connection, request: Request, answer: Answer, faults: Sequence[Fault]) -> bool:
    """Sends the answer; True when the connection may serve another. Raises ClientGone, and Broken."""
    _before_head(connection, faults)
    body = _whole_body(answer, faults)
    framing = _framing(request, answer, faults)
    connection.send(_head(request, answer, framing, len(body)))
    if request.method != "HEAD":
        for step in _steps(answer, body, faults):
            _take(connection, step, framing)
        if framing == "chunked":
            connection.send(b"0\r\n\r\n")
    return framing != "close" and request.keeps_alive


def _before_head(connection: Connection, faults: Sequence[Fault]) -> None:
    connection.wait(sum(fault.delay_seconds for fault in faults))
    for fault in faults:
        if fault.kind == "hang":
            connection.wait(None)
        if fault.kind == "reset" and fault.after_events is None and fault.after_bytes is None:
            connection.reset()
            raise Broken


def _take(connection: Connection, step: Step, framing: str) -> None:
    match step:
        case Pause(seconds):
            connection.wait(seconds)
        case Break(reset):
            if reset:
                connection.reset()
            connection.close()
            raise Broken
        case bytes():
            connection.send(b"%x\r\n%b\r\n" % (len(step), step) if framing == "chunked" and step else step)


def _framing(request: Request, answer: Answer, faults: Sequence[Fault]) -> str:
    if any(fault.kind == "close_delimited" for fault in faults):
        return "close"
    if answer.stream is None:
        return "length"
    return "chunked" if request.minor_version else "close"


def _head(request: Request, answer: Answer, framing: str, length_bytes: int) -> bytes:
    phrase = _PHRASES.get(answer.status, "Unnamed")
    headers = dict(answer.headers)
    if framing == "chunked":
        headers["transfer-encoding"] = "chunked"
    if framing == "length":
        headers["content-length"] = str(length_bytes)
    if framing == "close" or not request.keeps_alive:
        headers["connection"] = "close"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


def _whole_body(answer: Answer, faults: Sequence[Fault]) -> bytes:
    body = answer.body
    for fault in faults:
        match fault.kind:
            case "garbage":
                body = (fault.text or _GARBAGE_BODY).encode("utf-8", "replace")
            case "error":
                body = _failure(fault, answer)
            case "end":
                body = body[: len(body) // 2]
    return body


def _failure(fault: Fault, answer: Answer) -> bytes:
    code, message = fault.code or _ERROR_CODE, fault.message or _ERROR_MESSAGE
    if answer.stream is None:
        return dump(envelope(message, code))
    return answer.stream.error_event(code, message)


def _steps(answer: Answer, body: bytes, faults: Sequence[Fault]) -> Iterator[Step]:
    if answer.stream is None:
        steps: Iterator[Step] = iter((body,))
    else:
        steps = _stream_steps(answer, answer.stream, faults)
    for kind, transform in _CONNECTION_FAULTS.items():
        for fault in _of_kind(faults, kind):
            steps = transform(steps, fault, None if answer.stream else len(body))
    for kind, reshape in _BYTE_FAULTS.items() if answer.stream is None else (_EVENT_FAULTS | _BYTE_FAULTS).items():
        for fault in _of_kind(faults, kind):
            steps = reshape(steps, fault)
    return steps


def _stream_steps(answer: Answer, stream: Stream, faults: Sequence[Fault]) -> Iterator[Step]:
    steps = _paced(stream.events, stream.pause_seconds)
    for fault in _of_kind(faults, "garbage"):
        steps = _interrupted(
            steps, fault, None, [(fault.text or _GARBAGE_EVENT).encode("utf-8", "replace")], resumes=True
        )
    for fault in _of_kind(faults, "error"):
        steps = _interrupted(steps, fault, None, [_failure(fault, answer)], resumes=False)
    for fault in _of_kind(faults, "end"):
        steps = _interrupted(steps, fault, None, [], resumes=False)
    return steps


def _of_kind(faults: Sequence[Fault], kind: str) -> list[Fault]:
    return [fault for fault in faults if fault.kind == kind]


def _paced(events: Iterable[bytes], pause_seconds: float) -> Iterator[Step]:
    for event in events:
        yield event
        if pause_seconds:
            yield Pause(pause_seconds)


def _cut(steps: Iterator[Step], fault: Fault, whole_bytes: int | None) -> Iterator[Step]:
    return _interrupted(steps, fault, whole_bytes, [Break(reset=False)], resumes=False)


def _reset(steps: Iterator[Step], fault: Fault, whole_bytes: int | None) -> Iterator[Step]:
    return _interrupted(steps, fault, whole_bytes, [Break(reset=True)], resumes=False)


def _stall(steps: Iterator[Step], fault: Fault, whole_bytes: int | None) -> Iterator[Step]:
    return _interrupted(steps, fault, whole_bytes, [Pause(fault.stall_seconds)], resumes=True)


def _interrupted(
    steps: Iterator[Step], fault: Fault, whole_bytes: int | None, intruders: Sequence[Step], *, resumes: bool
) -> Iterator[Step]:
    """The steps with `intruders` where the fault says, or at their end; whether anything follows is `resumes`."""
    after_bytes = fault.after_bytes
    if after_bytes is None and whole_bytes is not None:
        after_bytes = whole_bytes // 2
    after_events = _DEFAULT_EVENTS if fault.after_events is None else fault.after_events
    sent_bytes = sent_events = 0
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        kept = len(step) if after_bytes is None else after_bytes - sent_bytes
        if kept < len(step) or (after_bytes is None and sent_events == after_events):
            head, tail = (step[:kept], step[kept:]) if after_bytes is not None else (b"", step)
            yield head
            yield from intruders
            if resumes:
                yield tail
                yield from steps
            return
        sent_bytes += len(step)
        sent_events += 1
        yield step
    yield from intruders


def _crlf(steps: Iterator[Step], fault: Fault) -> Iterator[Step]:
    for step in steps:
        yield step.replace(b"\n", b"\r\n") if isinstance(step, bytes) else step


def _comments(steps: Iterator[Step], fault: Fault) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, bytes) and step.startswith((b"data:", b"event:")):
            yield b": keep-alive\n\n"
        yield step


def _split_utf8(steps: Iterator[Step], fault: Fault) -> Iterator[Step]:
    pause = _DEFAULT_PAUSE_SECONDS if fault.pause_seconds is None else fault.pause_seconds
    for step in steps:
        if isinstance(step, bytes) and len(step) > 1:
            at = next((index + 1 for index, byte in enumerate(step) if byte >= 0xC0), len(step) // 2)
            yield step[:at]
            yield Pause(pause)
            yield step[at:]
        else:
            yield step


def _drip(steps: Iterator[Step], fault: Fault) -> Iterator[Step]:
    size = fault.piece_bytes or _DEFAULT_PIECE_BYTES
    pause = _DEFAULT_PAUSE_SECONDS if fault.pause_seconds is None else fault.pause_seconds
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        for at in range(0, len(step), size):
            yield step[at : at + size]
            yield Pause(pause)


_CONNECTION_FAULTS: dict[str, Callable[[Iterator[Step], Fault, int | None], Iterator[Step]]] = {
    "cut": _cut,
    "stall": _stall,
    "reset": _reset,
}
_EVENT_FAULTS: dict[str, Callable[[Iterator[Step], Fault], Iterator[Step]]] = {"comments": _comments, "crlf": _crlf}
_BYTE_FAULTS: dict[str, Callable[[Iterator[Step], Fault], Iterator[Step]]] = {
    "split_utf8": _split_utf8,
    "drip": _drip,
}
