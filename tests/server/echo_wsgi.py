"""An application that says what it was asked, and answers as its query wants: for a server's own tests."""

import gc
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qs

from greenlet import greenlet

from copilotapi.loop import Arrivals, CallerConnection

# What a server says of itself, and objects.
_OF_THE_SERVER = ("gunicorn.", "wsgi.", "copilotapi.", "SERVER_SOFTWARE", "REMOTE_PORT")


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`status`, `header` (as "name: value"), `piece`, `raises` (after as many pieces) and `unread` come in the query."""
    asked = parse_qs(environ["QUERY_STRING"])
    if environ["PATH_INFO"] == "/held":
        start_response("200 OK", [("Content-Length", str(len(held := json.dumps(_held()).encode())))])
        return [held]
    body = b"" if "unread" in asked else b"".join(iter(lambda: environ["wsgi.input"].read(65_536), b""))
    headers = [tuple(header.split(": ", 1)) for header in asked.get("header", [])]
    if "piece" in asked or "status" in asked or "raises" in asked:
        start_response(asked.get("status", ["200 OK"])[0], headers)
        return _pieces(asked)
    told = {name: value for name, value in environ.items() if not name.startswith(_OF_THE_SERVER)}
    answer = json.dumps({"environ": told, "body": body.decode("latin-1")}, sort_keys=True).encode()
    start_response("200 OK", [("Content-Length", str(len(answer))), *headers])
    return [answer]


def _pieces(asked: dict[str, list[str]]) -> Iterator[bytes]:
    pieces = asked.get("piece", [])
    fails_after = int(asked["raises"][0]) if "raises" in asked else None
    for number, piece in enumerate(pieces):
        if number == fails_after:
            raise RuntimeError("as asked")
        yield piece.encode("latin-1")
    if fails_after == len(pieces):
        raise RuntimeError("as asked")


def _held() -> dict[str, int]:
    """What the process has of all that a connection costs."""
    gc.collect()
    kinds = (Arrivals, CallerConnection, greenlet)
    counts = {kind.__name__: sum(isinstance(each, kind) for each in gc.get_objects()) for kind in kinds}
    return {**counts, "descriptors": len(os.listdir("/proc/self/fd"))}
