"""Which hosts a Copilot token may be sent to. The token answer names them; only known hosts are believed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_COMPLETION_HOST = "copilot-proxy.githubusercontent.com"
_DEFAULT_PORTS = {"http": 80, "https": 443}
# No user, no query, no fragment, and nothing that two readers of URLs could take apart differently.
_PLAIN_URL = re.compile(
    r"(https?)://([a-z0-9.-]+|\[::1\])(?::([0-9]{1,5}))?(?:/[a-z0-9._~/-]*)?", re.IGNORECASE | re.ASCII
)


class ForeignEndpoint(Exception):
    """The answer names a host that may not receive the token, or none at all. The message is fit for the operator."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Base URLs without a trailing slash. `proxy_url` serves inline completions."""

    api_url: str
    proxy_url: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointRules:
    """`api_override` and `proxy_override` are the operator's own word and are not checked."""

    github_url: str
    github_api_url: str
    api_override: str | None = None
    proxy_override: str | None = None

    def choose(self, named: Mapping[str, Any], copilot_token: str = "") -> Endpoints:
        """`named` is the `endpoints` object of a token or user answer, perhaps empty.

        Order of trust: override, `endpoints`, `proxy-ep` inside the token, the API host itself when it is loopback
        (copilot-wire 2.3; contract 7.9). ForeignEndpoint when nothing usable is left.
        """
        hint = proxy_host_in(copilot_token)
        api_url = self.api_override or self._checked(named.get("api"))
        proxy_url = self.proxy_override or self._checked(named.get("proxy"))
        if api_url is None and hint.startswith("proxy."):
            api_url = self._checked("https://api." + hint.removeprefix("proxy."))
        if proxy_url is None and hint:
            proxy_url = self._checked("https://" + hint)
        if api_url is None and _host(self.github_api_url) in _LOOPBACK_HOSTS:
            api_url = self.github_api_url
        if api_url is None:
            raise ForeignEndpoint("GitHub's answer names no Copilot host; set COPILOT_API_URL")
        return Endpoints(api_url, proxy_url)

    def _checked(self, url: object) -> str | None:
        if not url:
            return None
        if not isinstance(url, str) or not self._is_trusted(url):
            shown = repr(url[:100]) if isinstance(url, str) else f"a {type(url).__name__}"
            raise ForeignEndpoint(f"GitHub's answer names {shown} as a host, which may not receive a Copilot token")
        return url.rstrip("/")

    def _is_trusted(self, url: str) -> bool:
        parts = _PLAIN_URL.fullmatch(url)
        if parts is None:
            return False
        scheme, host = parts[1].lower(), parts[2].lower().strip("[]")
        port = int(parts[3] or _DEFAULT_PORTS[scheme])
        api = urlsplit(self.github_api_url)
        if host == api.hostname and host in _LOOPBACK_HOSTS:
            return port < 65_536
        if scheme != "https":
            return False
        if host == api.hostname:
            return port == (api.port or _DEFAULT_PORTS["https"])
        return port == _DEFAULT_PORTS["https"] and self._is_copilot_host(host)

    def _is_copilot_host(self, host: str) -> bool:
        if host.endswith(".githubcopilot.com") or host == _COMPLETION_HOST:
            return True
        enterprise = _host(self.github_url)
        return enterprise != "github.com" and "." in enterprise and host.endswith("." + enterprise)


def proxy_host_in(copilot_token: str) -> str:
    """`proxy-ep` of a `key=value;…:<hmac>` token (copilot-wire 2.3); "" when there is none."""
    return token_fields(copilot_token).get("proxy-ep", "")


def token_fields(copilot_token: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in copilot_token.partition(":")[0].split(";"))
    return {name: value for name, _, value in pairs}


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
