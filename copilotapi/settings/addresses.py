"""What hosts, origins and URLs may be, as types for the fields, and what can be told from them.

A check raises ValueError with what to do, and never repeats the value: a URL may hold a password.
"""

import ipaddress
import re
from typing import Annotated
from urllib.parse import SplitResult, quote, urlsplit

from pydantic import AfterValidator, SecretStr

from copilotapi.settings.values import is_unbroken

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_HOST_NAME = re.compile(_NAME)
_ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://({_NAME}|\[[0-9a-f:.]+\])(:[0-9]{{1,5}})?", re.IGNORECASE)


def is_loopback(host: str) -> bool:
    """True for localhost and for loopback addresses; no name is looked up."""
    return host.lower() == "localhost" or (_is_ip_address(host) and ipaddress.ip_address(host).is_loopback)


def with_password(url: str, password: SecretStr | None) -> str:
    """The store's URL with the password, encoded, in the place of its own; without one, and for memory://, as it is."""
    parts = urlsplit(url)
    if password is None or parts.scheme == "memory":
        return url
    address = parts.netloc.rpartition("@")[2]
    netloc = f"{parts.username or ''}:{quote(password.get_secret_value(), safe='')}@{address}"
    return parts._replace(netloc=netloc).geturl()


def _is_ip_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _host(value: str) -> str:
    if not _HOST_NAME.fullmatch(value) and not _is_ip_address(value):
        raise ValueError("must be a host name or an IP address only: no scheme, port, path, bracket or wildcard")
    return value.lower()


def _origin(value: str) -> str:
    if value == "*":
        return value
    if not _ORIGIN.fullmatch(value):
        raise ValueError("must be an exact scheme://host[:port]: no path, wildcard or trailing slash, and never null")
    origin = value.lower()
    # A browser leaves the scheme's own port out of the Origin header (RFC 6454, 6.1).
    return re.sub(r"^(http://.*):80$|^(https://.*):443$", r"\1\2", origin)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError(
            "is not a valid URL; in a password, / # ? and @ are written %2F %23 %3F %40"
        ) from None  # urlsplit's own text repeats the value, perhaps a password
    if not is_unbroken(url) or "\\" in url:
        raise ValueError("must be a URL without blanks, control or non-ASCII characters")
    return parts


def _http_parts(url: str) -> SplitResult:
    parts = _split(url)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not (_HOST_NAME.fullmatch(host) or _is_ip_address(host)):
        raise ValueError("must be an http:// or https:// URL with a host")
    return parts


def _plain_url(value: str) -> str:
    parts = _http_parts(value)
    if "@" in parts.netloc or "?" in value or "#" in value:
        raise ValueError("must be a URL without user information, query and fragment")
    return parts._replace(netloc=parts.netloc.lower()).geturl().rstrip("/")


def _url(value: str) -> str:
    parts = _http_parts(value)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("must be https://, for a token travels there; plain http:// is for loopback hosts only")
    return _plain_url(value)


def _proxy(value: SecretStr) -> SecretStr:
    parts = _http_parts(value.get_secret_value())
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be http://[user:password@]host:port")
    return value


def _redis(value: SecretStr) -> SecretStr:
    url = value.get_secret_value()
    parts = _split(url)
    if parts.fragment or parts.scheme not in {"redis", "rediss", "unix", "memory"}:
        raise ValueError("must be redis://, rediss://, unix:// or memory:// without a #")
    if parts.scheme == "memory" and url != "memory://":
        raise ValueError("must be exactly memory:// to choose memory")
    if parts.scheme in {"redis", "rediss"} and not (parts.hostname and re.fullmatch(r"(/[0-9]{0,4})?", parts.path)):
        raise ValueError("must be redis://[user:password@]host[:port][/number]")
    if parts.scheme == "unix" and len(parts.path) < 2:
        raise ValueError("must be unix:///path/to/socket")
    if "ssl_cert_reqs=none" in parts.query.lower() or "ssl_check_hostname=false" in parts.query.lower():
        raise ValueError("must not switch certificate checks off")
    return value


Host = Annotated[str, AfterValidator(_host)]
Origin = Annotated[str, AfterValidator(_origin)]
Url = Annotated[str, AfterValidator(_url)]
PlainUrl = Annotated[str, AfterValidator(_plain_url)]
ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy)]
StoreUrl = Annotated[SecretStr, AfterValidator(_redis)]
