"""/openapi.json and /docs: the document of this gateway, and Swagger UI over it, from files of this machine only.

The assets are the package flask-swagger-ui's; the page and the script that starts it are ours, for the package's own page
needs a script within the page, which the policy forbids.
"""

import hashlib
import html
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath
from types import MappingProxyType

import orjson
from flask import Blueprint, Response, request

from copilotapi.blueprints.guard import PUBLIC, access
from copilotapi.errors import ApiError
from copilotapi.openapi import document

_FILES = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_START = "start.js"
# queryConfigEnabled: else a link to /docs?url=… could show another's document under our name. The plugin keeps the key
# out of the command that Swagger UI shows for each request.
_SCRIPT = b"""\
"use strict";
function masked(value, name) {
  return /^(authorization|x-api-key)$/i.test(name) ? "YOUR-KEY" : value;
}
function withoutKeys(Curl, system) {
  return function (props) {
    var request = props.request.update("headers", function (headers) { return headers && headers.map(masked); });
    return system.React.createElement(Curl, Object.assign({}, props, { request: request }));
  };
}
window.addEventListener("load", function () {
  window.SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#explorer",
    layout: "BaseLayout",
    presets: [window.SwaggerUIBundle.presets.apis],
    plugins: [function () { return { wrapComponents: { curl: withoutKeys } }; }],
    deepLinking: true,
    displayRequestDuration: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    persistAuthorization: false,
    queryConfigEnabled: false,
    validatorUrl: null
  });
});
"""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-cache",
}
_SHOWN = ["GET", "HEAD"]
_TYPES: Mapping[str, str] = MappingProxyType(
    {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".png": "image/png"}
)


def build(*, title: str, description: str, version: str) -> Blueprint:
    explorer = Blueprint("explorer", __name__)
    told = orjson.dumps(document(title=title, description=description, version=version))
    folder = resources.files("flask_swagger_ui") / "dist"
    assets_version = _assets_version(folder)
    page = _page(title, f"/docs/{assets_version}")

    @explorer.route("/openapi.json", methods=_SHOWN)
    @access(PUBLIC)
    def show_document() -> Response:
        response = Response(told, content_type="application/json", headers={"Cache-Control": "no-cache"})
        response.add_etag()
        response.make_conditional(request)
        return response

    @explorer.route("/docs", methods=_SHOWN)
    @access(PUBLIC)
    def show_explorer() -> Response:
        return Response(page, content_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)

    @explorer.route("/docs/<asked_version>/<name>", methods=_SHOWN)
    @access(PUBLIC)
    def show_asset(asked_version: str, name: str) -> Response:
        if asked_version != assets_version or name not in (*_FILES, _START):
            message = "There is no such file of the explorer; its page is at /docs."
            raise ApiError(message, status=404, kind="invalid_request_error", code="not_found")
        content = _SCRIPT if name == _START else (folder / name).read_bytes()
        response = Response(content, content_type=_TYPES[PurePath(name).suffix])
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    return explorer


def _assets_version(folder: Traversable) -> str:
    """Of Swagger UI and of our script: another one makes other addresses, so that either may be kept for ever."""
    version = (folder / "VERSION").read_text(encoding="ascii").strip()
    return f"{version}-{hashlib.sha256(_SCRIPT).hexdigest()[:8]}"


def _page(title: str, assets: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n"
        f'<link rel="icon" href="{assets}/favicon-32x32.png">\n'
        f'<link rel="stylesheet" href="{assets}/swagger-ui.css">\n'
        f'</head>\n<body>\n<div id="explorer"></div>\n<noscript>This page needs JavaScript; /openapi.json does not.</noscript>\n'
        f'<script src="{assets}/swagger-ui-bundle.js"></script>\n<script src="{assets}/{_START}"></script>\n'
        "</body>\n</html>\n"
    )
