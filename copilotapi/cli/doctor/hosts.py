"""The way to each upstream host, as the gateway goes it: proxy, name, certificates, TLS; and whether the clocks agree."""

import email.utils
import http.client
import socket
import ssl
import time
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from cryptography import x509
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from copilotapi.cli.doctor.findings import Finding, Known, failed, ok, printable, skipped, warning
from copilotapi.errors import UpstreamFailed
from copilotapi.upstream.connections import Connection, ConnectionPool, Network, Origin, origin_of

_LOOK_SECONDS = 4.0
_MAX_SKEW_SECONDS = 60.0


def certificates(known: Known) -> Finding:
    """Whom TLS trusts."""
    bundle = known.network.ca_bundle
    try:
        context = ssl.create_default_context(cafile=bundle or DEFAULT_CA_BUNDLE_PATH)
    except OSError as exc:
        reason = f"REQUESTS_CA_BUNDLE {bundle} cannot be read as certificates: {exc.strerror or type(exc).__name__}."
        return failed(reason, "Name a file with certificates in PEM, or unset it to trust the built-in ones.")
    count = context.cert_store_stats()["x509_ca"]
    where = f"REQUESTS_CA_BUNDLE {bundle}" if bundle else "the built-in list"
    return ok(f"{count} authorities are trusted, by {where}.")


def proxy(known: Known) -> Finding:
    """Whether the proxy takes connections. Whether it lets us through is seen at each host."""
    given = known.network.https_proxy
    if given is None:
        return ok("None is set: hosts are reached directly.")
    parts = origin_of(given)
    shown = f"{parts.host} port {parts.port}"
    try:
        ConnectionPool(Network()).open(Origin("http", parts.host, parts.port), _LOOK_SECONDS).close()
    except UpstreamFailed as exc:
        return failed(f"HTTPS_PROXY, {shown}: {exc.message}", "Correct or unset HTTPS_PROXY.")
    aside = f", not for {', '.join(known.network.no_proxy)}" if known.network.no_proxy else ""
    return ok(f"{shown} takes connections; it is used for https{aside}.")


def github_web(known: Known) -> Finding:
    """Where people sign in."""
    if by := known.answers_itself:
        return skipped(f"{by} answers here; no account is asked.")
    finding = _reached(known, known.settings.github_url, "GITHUB_URL")
    if finding.result == "failed" and known.settings.github_copilot_token is not None:
        return warning(f"{finding.reason} Only `copilotapi login` needs this host.", finding.remedy)
    return finding


def github_api(known: Known) -> Finding:
    """Where the GitHub token is exchanged."""
    if by := known.answers_itself:
        return skipped(f"{by} answers here; no account is asked.")
    return _reached(known, known.settings.github_api_url, "GITHUB_API_URL")


def copilot_host(known: Known) -> Finding:
    """Where chat goes, as the token exchange or COPILOT_API_URL says."""
    return _reached(known, known.copilot_token.api_url, "COPILOT_API_URL")


def clock(known: Known) -> Finding:
    """The Date header of GitHub's answer against our clock: a token's life is reckoned from both."""
    try:
        response = known.session.get(f"{known.settings.github_api_url}/", timeout=_LOOK_SECONDS, allow_redirects=False)
    except UpstreamFailed as exc:
        return skipped(f"GitHub did not tell its time: {exc.message.replace('Copilot', 'GitHub')}")
    now = time.time()
    try:
        skew_seconds = now - email.utils.parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
    except ValueError:
        return skipped("GitHub's answer bears no Date that can be read.")
    if abs(skew_seconds) > _MAX_SKEW_SECONDS:
        direction = "ahead of" if skew_seconds > 0 else "behind"
        reason = f"The clock of this machine is {abs(skew_seconds):.0f} s {direction} GitHub's."
        return warning(reason, "Set the clock and let NTP keep it. Run: timedatectl set-ntp true")
    return ok(f"The clock of this machine agrees with GitHub's to {abs(skew_seconds):.0f} s.")


def _reached(known: Known, url: str, setting: str) -> Finding:
    origin = origin_of(url)
    given = known.network.proxy_for(origin)
    way = "through the proxy"
    if given is None:
        try:
            found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            why = getattr(exc, "strerror", None) or type(exc).__name__
            remedy = f"Check {setting} and the resolver (DNS); where only a proxy leads out, set HTTPS_PROXY."
            return failed(f"The name {origin.host} has no address: {why}.", remedy)
        way = f"at {found[0][4][0]}"
    try:
        connection = ConnectionPool(known.network).open(origin, min(known.settings.connect_timeout, _LOOK_SECONDS))
    except UpstreamFailed as exc:
        return _not_reached(known, origin, exc, setting)
    try:
        return ok(f"{origin.host} {way}, {_tls_of(connection)}.")
    finally:
        connection.close()


def _not_reached(known: Known, origin: Origin, exc: UpstreamFailed, setting: str) -> Finding:
    if exc.code == "upstream_tls_failed":
        issuer = _presented_issuer(known.network, origin)
        told = f" It was issued by {issuer}." if issuer else ""
        remedy = (
            "Is there a proxy or a scanner that opens TLS? Put its authority beside the usual ones into a file "
            "and name that in REQUESTS_CA_BUNDLE."
        )
        return failed(f"{exc.message}{told}", remedy)
    if known.network.proxy_for(origin):
        return failed(f"{exc.message} The way was through the proxy.", "Check HTTPS_PROXY, its account and NO_PROXY.")
    return failed(
        exc.message, f"Check the network, a firewall and {setting}; where only a proxy leads out, HTTPS_PROXY."
    )


def _tls_of(connection: Connection) -> str:
    if connection.tls is None:
        return "plain http"
    session = connection.tls.session
    issuer: dict[str, str] = {}
    # A tuple of tuples of pairs, by ssl's own documentation.
    for part in (session.getpeercert() or {}).get("issuer", ()):
        issuer.update(dict(part))  # type: ignore[arg-type]
    name = issuer.get("organizationName") or issuer.get("commonName") or "nobody named"
    return f"{session.version()}, certificate of {printable(name)}"


def _presented_issuer(network: Network, origin: Origin) -> str:
    """Who signed what the far end shows. Nothing but the handshake is sent: this connection is not to be trusted."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = _unverified(network, origin, context)
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        return printable(x509.load_der_x509_certificate(shown or b"").issuer.rfc4514_string())
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _unverified(network: Network, origin: Origin, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    given = network.proxy_for(origin)
    if given is None:
        return http.client.HTTPSConnection(origin.host, origin.port, timeout=_LOOK_SECONDS, context=context)
    through = origin_of(given)
    connection = http.client.HTTPSConnection(through.host, through.port, timeout=_LOOK_SECONDS, context=context)
    account = urlsplit(given)
    headers = {}
    if account.username:
        words = f"{unquote(account.username)}:{unquote(account.password or '')}"
        headers["Proxy-Authorization"] = "Basic " + b64encode(words.encode()).decode()
    connection.set_tunnel(origin.host, origin.port, headers)
    return connection
