"""The same job as the manuals of Flask, gunicorn, gevent and requests say: one Session, the stream in blocks as they
come. No keys, no limit, no log, no repairs.
"""

import os

import requests
from flask import Flask, Response, jsonify, request
from flask.typing import ResponseReturnValue
from requests.adapters import HTTPAdapter

_UPSTREAM = os.environ["UPSTREAM"] + "/chat/completions"
_HEADERS = {
    "Authorization": "Bearer bench",
    "Content-Type": "application/json",
    "Accept-Encoding": "identity",
    "Editor-Version": "vscode/1.104.1",
    "Editor-Plugin-Version": "copilot-chat/0.31.0",
    "Copilot-Integration-Id": "vscode-chat",
}
_session = requests.Session()
_session.trust_env = False
_session.verify = os.environ.get("REQUESTS_CA_BUNDLE", True)
for _scheme in ("http://", "https://"):
    _session.mount(_scheme, HTTPAdapter(pool_connections=10, pool_maxsize=10_000))

app = Flask(__name__)


@app.post("/v1/chat/completions")
def chat() -> ResponseReturnValue:
    body = request.get_json()
    if not isinstance(body.get("messages"), list) or not isinstance(body.get("model"), str):
        return jsonify(error={"message": "messages and model are needed"}), 400
    upstream = _session.post(_UPSTREAM, data=request.get_data(), headers=_HEADERS, stream=True, timeout=(5, 300))
    kind = upstream.headers.get("Content-Type", "application/json")
    if body.get("stream"):
        return Response(upstream.iter_content(None), upstream.status_code, content_type=kind)
    return Response(upstream.content, upstream.status_code, content_type=kind)
