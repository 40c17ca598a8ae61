"""What gunicorn serves, with one more path, /held: what its worker holds in memory."""

import gc
import json
from collections.abc import Callable, Iterable
from typing import Any

from greenlet import greenlet

from wsgi import app


def _held() -> dict[str, int]:
    gc.collect()
    tracked = gc.get_objects()
    return {"greenlets": sum(isinstance(each, greenlet) for each in tracked), "objects": len(tracked)}


def _counted(wsgi_app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def counted(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != "/held":
            return wsgi_app(environ, start_response)
        body = json.dumps(_held()).encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    return counted


app.wsgi_app = _counted(app.wsgi_app)  # type: ignore[method-assign]
