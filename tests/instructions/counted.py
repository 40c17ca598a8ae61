"""What gunicorn serves while its instructions are counted: the gateway, a bare Flask app beside it, and the switch of the
counter. Loaded by gunicorn under valgrind, never by pytest.
"""

import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask, Response

from wsgi import app as gateway

_counter = ctypes.CDLL(os.environ["CALLGRIND_SWITCH"])
_bare = Flask("bare")


@_bare.post("/bare")
def bare() -> Response:
    return Response(b"x" * 900, content_type="application/json")


@_bare.post("/counter/start")
def start() -> str:
    _counter.start()
    return ""


@_bare.post("/counter/zero")
def zero() -> str:
    _counter.zero()
    return ""


@_bare.post("/counter/dump/<name>")
def dump(name: str) -> str:
    _counter.dump(name.encode())
    return ""


class Both:
    extensions = gateway.extensions

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        is_ours = environ["PATH_INFO"].startswith("/v1/")
        return (gateway if is_ours else _bare)(environ, start_response)


app = Both()
