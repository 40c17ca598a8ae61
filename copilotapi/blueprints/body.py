"""A request's JSON body, read to its end and parsed strictly. What it lets through means the same to every JSON reader."""

import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import orjson
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException

from copilotapi.blueprints.web_app import Incoming
from copilotapi.errors import ApiError, bad_request
from copilotapi.loop import let_others_run, limit_total
from copilotapi.protocols.conversation import JSON

_READ_BYTES = 65_536
_MAX_DEPTH = 64
# Parsing so much takes as long as a piece of somebody's stream may wait; what follows takes as long again.
_LONG_BYTES = 262_144
# A body that stalls this long, or takes this long in all, is given up (reliability: client body receive).
_GAP_SECONDS = 10.0
_TOTAL_SECONDS = 30.0
_STEERING_KEYS = frozenset(
    {"model", "stream", "messages", "n", "max_tokens", "max_completion_tokens", "tools", "input", "prompt"}
)
# Two readers may take different ones of two equal keys. An ASCII letter written as \u00xx could spell such a key.
_STEERING = re.compile(rb'"(?:(?:%b)"|[a-z_]*+\\u00[2-7])' % "|".join(sorted(_STEERING_KEYS)).encode())
# Every ninth byte, a digit as 0 and all else as another: a run of 18 digits shows as two zeros.
_STRIDE = 9
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_LONG_NUMBER = b"0" * (2 * _STRIDE)
# Where a key, a colon and a space would stand in a body with spaces between its parts.
_BEGINNING = 64
_INT64 = range(-(2**63), 2**64)


def json_body(incoming: Incoming, max_bytes: int) -> JSON:
    """The body as an object. `incoming` keeps it, and how it came.

    ApiError 400, 408, 413 or 415; every byte the caller announced has then been judged.
    """
    _check_headers(incoming.environ, max_bytes)
    body = _read(incoming, max_bytes)
    if not body or body.isspace():
        raise bad_request("The request has no body; send a JSON object.")
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise bad_request(_why_unreadable(body, exc)) from exc
    if not isinstance(parsed, dict):
        raise bad_request("The body must be a JSON object.")
    if len(body) > _LONG_BYTES:
        let_others_run()
    if _is_too_deep(parsed):
        raise bad_request(f"The body is nested deeper than {_MAX_DEPTH} levels.")
    if _may_be_ambiguous(body, parsed):
        _check_slowly(body)
    if len(body) > _LONG_BYTES:
        let_others_run()
    incoming.json_body, incoming.raw_body = parsed, body
    return parsed


def _check_headers(environ: Mapping[str, Any], max_bytes: int) -> None:
    media_type = environ.get("CONTENT_TYPE", "").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        message = "Send the body as JSON, with the header 'Content-Type: application/json'."
        raise ApiError(message, status=415, kind="invalid_request_error", code="unsupported_media_type")
    if environ.get("HTTP_CONTENT_ENCODING", "identity").lower() != "identity":
        message = "Send the body uncompressed: Content-Encoding is not supported."
        raise ApiError(message, status=415, kind="invalid_request_error", code="unsupported_content_encoding")
    if environ.get("HTTP_TRANSFER_ENCODING", "chunked").strip().lower() != "chunked":
        raise bad_request("Send the body as it is or in chunks: no other Transfer-Encoding is supported.")
    if (_length(environ) or 0) > max_bytes:
        raise too_large(max_bytes)


def _length(environ: Mapping[str, Any]) -> int | None:
    """What Content-Length says; None without one, as in a body that comes in chunks."""
    told = str(environ.get("CONTENT_LENGTH", ""))
    return int(told) if told.isdecimal() and "HTTP_TRANSFER_ENCODING" not in environ else None


def _read(incoming: Incoming, max_bytes: int) -> bytes:
    """Reads in a loop: one read of a chunked body over a limit would come back short, without an error."""
    environ = incoming.environ
    stream = environ["wsgi.input"] if environ.get("wsgi.input_terminated") else incoming.stream
    length = _length(environ)
    pieces: list[bytes] = []
    size = 0
    incoming.caller_socket.limit_waits(_GAP_SECONDS)
    try:
        with nullcontext() if _has_come(stream, length) else limit_total(_TOTAL_SECONDS):
            while size != length and (received := stream.read(min(_READ_BYTES, max_bytes + 1 - size))):
                pieces.append(received)
                size += len(received)
                if size > max_bytes:
                    raise too_large(max_bytes)
                if len(received) == _READ_BYTES:
                    let_others_run()
    except TimeoutError as exc:
        message = "The body did not arrive in time."
        raise ApiError(message, status=408, kind="invalid_request_error", code="request_timeout") from exc
    except (OSError, ParseException, HTTPException) as exc:
        raise bad_request("The body could not be read: it ended early or its framing is broken.") from exc
    if length is not None and size < length:
        raise bad_request("The body is shorter than its Content-Length.")
    return b"".join(pieces)


def _has_come(body: Any, length: int | None) -> bool:
    """Whether all of it was read together with its head: then nothing will wait for it."""
    if (told := getattr(body, "has_come", None)) is not None:
        return bool(told)
    # gunicorn's own.
    unreader = getattr(getattr(body, "reader", None), "unreader", None)
    return unreader is not None and length is not None and unreader.buf.tell() >= length


def _why_unreadable(body: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        body.decode()
    except UnicodeDecodeError as exc:
        return f"The body is not valid UTF-8: see byte {exc.start}."
    return f"The body is not valid JSON: {error.msg} at character {error.pos}."


def too_large(max_bytes: int) -> ApiError:
    message = f"The body is larger than the {max_bytes} bytes this gateway takes (MAX_BODY_BYTES)."
    return ApiError(message, status=413, kind="invalid_request_error", code="request_too_large")


def _is_too_deep(parsed: JSON) -> bool:
    level: list[Any] = [parsed]
    for _ in range(_MAX_DEPTH):
        # orjson makes dicts and lists, no subclasses.
        level = [
            child
            for container in level
            for child in (container.values() if container.__class__ is dict else container)
            if child.__class__ is dict or child.__class__ is list
        ]
        if not level:
            return False
    return True


def _may_be_ambiguous(body: bytes, parsed: JSON) -> bool:
    """False when every reader takes the body for the same. What is written as it was read holds nothing that got lost."""
    if body.find(b'": ', 0, _BEGINNING) < 0 and orjson.dumps(parsed) == body:
        return False
    steering = _STEERING.findall(body)
    return len(steering) != len(set(steering)) or any(b"\\" in key for key in steering) or _has_a_long_number(body)


def _has_a_long_number(body: bytes) -> bool:
    digits = body[_STRIDE - 1 :: _STRIDE].translate(_DIGITS)
    return digits.find(b"00") >= 0 and body.translate(_DIGITS).find(_LONG_NUMBER) >= 0


def _check_slowly(body: bytes) -> None:
    """The standard parser shows what orjson swallows: equal keys, and integers that only a float could hold."""
    top_level: list[tuple[str, Any]] = []

    def pairs(found: list[tuple[str, Any]]) -> JSON:
        nonlocal top_level
        top_level = found
        return dict(found)

    json.loads(body, object_pairs_hook=pairs, parse_int=_checked_int)
    names = [name for name, _ in top_level]
    twice = sorted(_STEERING_KEYS & {name for name in names if names.count(name) > 1})
    if twice:
        raise bad_request(f"The field '{twice[0]}' stands twice in the body.", param=twice[0])


def _checked_int(digits: str) -> int:
    if len(digits) > 20 or int(digits) not in _INT64:
        raise bad_request("The body holds an integer of more than 64 bits.")
    return int(digits)
