"""Who may come in. The order on every request: request id, Host, Origin, per-address limit, authentication; then the body.

Decides on the endpoint Flask matched, never on the path as it was written.
"""

import functools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from flask import Flask, Request

from copilotapi.blueprints.quota import AddressQuota
from copilotapi.blueprints.web_app import this_request
from copilotapi.errors import ApiError, bad_request
from copilotapi.metering.editor_tokens import EditorTokens
from copilotapi.metering.keys import ANONYMOUS, Caller, KeyRing
from copilotapi.settings import Settings

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{0,5})?")

_REMEMBERED_HOSTS = 256

# What a view declares itself to be, by the decorators below; a view that declares nothing wants a key.
PUBLIC, KEY, ADMIN, LOOPBACK_OR_ADMIN = "public", "key", "admin", "loopback or admin"
# Not the token issued for a key: it could be used to renew itself for ever.
OWN_KEY = "the key itself"
# GitHub's own API takes its tokens as `Authorization: token` (copilot-wire 2.1).
_EDITORS = ("copilot", "completions")
_EXEMPT_ATTRIBUTE = "exempt_from_limit"
_ACCESS_ATTRIBUTE = "access"

View = TypeVar("View", bound=Callable[..., Any])


def access(level: str, *, exempt_from_limit: bool = False) -> Callable[[View], View]:
    """Declares who may call a view."""

    def declare(view: View) -> View:
        setattr(view, _ACCESS_ATTRIBUTE, level)
        setattr(view, _EXEMPT_ATTRIBUTE, exempt_from_limit)
        return view

    return declare


class Guard:
    """Installed once per app. Raises ApiError 401, 403, 421 or 429 before any view runs."""

    def __init__(self, settings: Settings, keys: KeyRing, editor_tokens: EditorTokens, quota: AddressQuota) -> None:
        self._hosts = _LOOPBACK_NAMES | {host.lower() for host in (*settings.allowed_hosts, settings.host)}
        self._origins = frozenset(settings.allow_origins)
        self._keys = keys
        self._editor_tokens = editor_tokens
        self._quota = quota
        self._views: Mapping[str, Callable[..., Any]] = {}
        self._takes_keyless = keys.is_empty and not settings.require_auth and settings.is_loopback

    def install(self, app: Flask) -> None:
        self._views = app.view_functions
        app.before_request(self._admit)

    def _admit(self) -> None:
        incoming = this_request()
        incoming.request_id = _request_id(incoming.environ.get("HTTP_X_REQUEST_ID"))
        _check_folding(incoming)
        self._check_host(incoming)
        self._check_origin(incoming)
        view = None if incoming.endpoint is None else self._views.get(incoming.endpoint)
        self._check_limit(incoming, view)
        level = PUBLIC if view is None else getattr(view, _ACCESS_ATTRIBUTE, KEY)
        incoming.caller = self._authenticated(incoming, level)

    def _check_host(self, incoming: Request) -> None:
        if not all(host_name(host) in self._hosts for host in _asked_hosts(incoming)):
            message = "This gateway does not serve the host name asked for. The operator can add it to ALLOWED_HOSTS."
            raise ApiError(message, status=421, kind="invalid_request_error", code="misdirected_request")

    def _check_origin(self, incoming: Request) -> None:
        """A page of another site may not use a browser to call us, key or no key (CSRF, DNS rebinding)."""
        origin = incoming.environ.get("HTTP_ORIGIN")
        if origin is None or origin in self._origins or "*" in self._origins or _is_same_origin(incoming, origin):
            return
        message = "Requests from this web origin are not allowed. The operator can add it to ALLOW_ORIGINS."
        raise ApiError(message, status=403, kind="permission_error", code="origin_not_allowed")

    def _check_limit(self, incoming: Request, view: object) -> None:
        if incoming.method != "OPTIONS" and not getattr(view, _EXEMPT_ATTRIBUTE, False):
            self._quota.spend(incoming.remote_addr or "unknown")

    def _authenticated(self, incoming: Request, level: str) -> Caller | None:
        if level == PUBLIC or incoming.method == "OPTIONS":
            return None
        if level == LOOPBACK_OR_ADMIN and self._is_local(incoming):
            return None
        caller = self._caller(incoming, level)
        if level in (ADMIN, LOOPBACK_OR_ADMIN) and not caller.is_admin:
            hint = "" if self._keys.has_admin else " None is set: the operator can set ADMIN_KEY."
            raise ApiError(
                f"This path needs the admin key.{hint}", status=403, kind="permission_error", code="admin_key_required"
            )
        return caller

    def _caller(self, incoming: Request, level: str) -> Caller:
        if self._takes_keyless and self._is_local(incoming):
            return ANONYMOUS
        api_key = _given_key(incoming)
        if api_key is None:
            raise _unauthorized(self._why_a_key())
        caller = self._keys.caller(api_key) or (self._editor(api_key) if level != OWN_KEY else None)
        if caller is None:
            raise _unauthorized(self._why_a_key() if self._keys.is_empty else _why_unknown(api_key))
        return caller

    def _editor(self, given: str) -> Caller | None:
        """Whom we issued a token to, while the key it was issued for is one of ours. Copilot's own tokens are nobody's."""
        caller = self._editor_tokens.caller(given)
        return caller if caller is not None and caller.key_id in self._keys.key_ids else None

    def _why_a_key(self) -> str:
        if self._takes_keyless:
            return (
                "Without API_KEYS this gateway serves only programs on its own machine that call it directly: "
                "this request came through a proxy, from a web page or from elsewhere."
            )
        return "An API key is needed, in the header Authorization (as Bearer) or x-api-key."

    def _is_local(self, incoming: Request) -> bool:
        """A program on this machine that calls us directly (contract 7.5)."""
        return (
            incoming.remote_addr in _LOOPBACK_NAMES
            and host_name(incoming.environ.get("HTTP_HOST", "")) in _LOOPBACK_NAMES
            and not any(map(_tells_of_a_proxy, incoming.environ))
            and incoming.environ.get("HTTP_SEC_FETCH_SITE", "none") in ("none", "same-origin", "same-site")
        )


@functools.lru_cache(maxsize=_REMEMBERED_HOSTS)
def host_name(host: str) -> str:
    """The name in a Host header, without port and brackets; "" when it is none."""
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]).lower() if found else ""


def _asked_hosts(incoming: Request) -> Iterator[str]:
    """The Host header, and the host of an absolute-form target, which wins over it (RFC 9112, 3.2.2)."""
    yield incoming.environ.get("HTTP_HOST", "")
    target = incoming.environ.get("RAW_URI", "")
    if "://" in target and not target.startswith("/"):
        yield target.partition("://")[2].partition("/")[0]


def _tells_of_a_proxy(name: str) -> bool:
    return name.startswith("HTTP_X_FORWARDED") or name in ("HTTP_FORWARDED", "HTTP_X_REAL_IP")


def _check_folding(incoming: Request) -> None:
    """gunicorn_h1c 0.6.9 takes a folded line for a header without a name; RFC 9112, 5.2 wants it refused."""
    if "HTTP_" in incoming.environ:
        raise bad_request("A header of this request is folded over two lines.")


def _request_id(given: str | None) -> str:
    return given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


def _given_key(incoming: Request) -> str | None:
    """From `Authorization: Bearer`, on an editor's paths also `token`, or `x-api-key`; None when neither is there."""
    scheme, _, given = incoming.environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    scheme, api_key = scheme.lower(), str(given.strip())
    if not api_key or not (scheme == "bearer" or (scheme == "token" and incoming.blueprint in _EDITORS)):
        api_key = str(incoming.environ.get("HTTP_X_API_KEY", ""))
    return api_key or None


def _is_same_origin(incoming: Request, origin: str) -> bool:
    return origin.lower() == f"{incoming.scheme}://{incoming.environ.get('HTTP_HOST', '')}".lower()


def _why_unknown(given: str) -> str:
    if given.startswith("tid="):
        return "This Copilot token was not issued by this gateway, or it has ended. Sign in here with an API key."
    return "The API key is not known here."


def _unauthorized(message: str) -> ApiError:
    # Without the second, Claude Code 2.1 asks ten times more with the same key before it says what is wrong.
    headers = {"WWW-Authenticate": 'Bearer realm="copilotapi"', "X-Should-Retry": "false"}
    return ApiError(message, status=401, kind="invalid_request_error", code="invalid_api_key", headers=headers)


def views_without_access(app: Flask, known: Iterable[str] = ("static",)) -> list[str]:
    """Endpoints whose view does not say who may call it."""
    return [
        endpoint
        for endpoint, view in app.view_functions.items()
        if not hasattr(view, _ACCESS_ATTRIBUTE) and endpoint not in known
    ]
