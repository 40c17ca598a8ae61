"""What the gateway stands on and how it is reached: the shared store, its port, the address that others use."""

import errno
import socket
import time
import uuid
from typing import Any
from urllib.parse import urlsplit

import orjson
import requests

from copilotapi.cli.asking import local_url, running_url
from copilotapi.cli.doctor.account import cheapest, cost
from copilotapi.cli.doctor.findings import Finding, Known, failed, ok, printable, skipped, warning
from copilotapi.errors import UpstreamFailed
from copilotapi.settings.addresses import is_loopback
from copilotapi.store import RedisStore, open_store

_ASK_SECONDS = 4.0
_STREAM_SECONDS = 30.0
_KEPT_SECONDS = 1.0
# Long enough to come in several pieces, short enough to be done soon.
_COUNTING = "Count from 1 to 40, one number a line."
_NO_SUCH_HOST = "doctor.invalid"


def store(known: Known) -> Finding:
    """Redis, with every operation that the gateway needs; or memory, by choice."""
    given = known.settings
    try:
        opened = open_store(given.redis_url.get_secret_value())
    except ValueError as exc:
        return failed(f"REDIS_URL: {exc}.", "Correct REDIS_URL.")
    if not isinstance(opened, RedisStore):
        return ok("Memory is chosen: each worker keeps its own token, counts and limits.")
    known.resources.callback(opened.connection_pool.disconnect)
    _use(opened)
    if opened.degraded is None:
        began = time.monotonic()
        opened.get("doctor")
        latency_ms = (time.monotonic() - began) * 1000
        return ok(f"Redis takes reads, writes, locks and counts; a read took {latency_ms:.1f} ms.")
    if _is_redis_chosen(known):
        return failed(opened.degraded, "Repair Redis, or correct REDIS_URL. The gateway serves meanwhile, degraded.")
    remedy = "Set REDIS_URL=memory:// if one machine is enough, else start Redis and set REDIS_URL."
    return warning(f"No store is set, and at the usual place: {opened.degraded}", remedy)


def _use(opened: RedisStore) -> None:
    opened.probe()
    with opened.lock("doctor:lock", _KEPT_SECONDS):
        pass
    opened.compare_and_set("doctor", b"", int(time.time()), _KEPT_SECONDS)
    opened.increment("doctor:counters", {"looks": 1}, _KEPT_SECONDS)


def _is_redis_chosen(known: Known) -> bool:
    return bool({"given_redis_url", "redis_url", "redis_host", "redis_port"} & known.settings.model_fields_set)


def port(known: Known) -> Finding:
    """Free, or held by the gateway itself, or by a stranger."""
    given = known.settings
    where = f"{given.host} port {given.port}"
    if given.port == 0:
        return ok("PORT=0: a free one is taken at the start.")
    family = socket.AF_INET6 if ":" in given.host else socket.AF_INET
    try:
        socket.create_server((given.host, given.port), family=family).close()
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            reason = f"{where} cannot be listened on: {exc.strerror or type(exc).__name__}."
            return failed(reason, "Set HOST to an address of this machine, and PORT to one this user may take.")
        if running_url(given) is None:
            return failed(f"{where} is taken by another program.", "Stop that program, or set another PORT.")
        return _readiness(known)
    return ok(f"{where} is free; no gateway is running there.")


def _readiness(known: Known) -> Finding:
    where = local_url(known.settings)
    try:
        told = _json(known.session.get(f"{where}/ready", timeout=_ASK_SECONDS, allow_redirects=False))
    except UpstreamFailed:
        told = None
    state = told.get("status") if isinstance(told, dict) else None
    if not isinstance(told, dict) or state not in ("ready", "degraded", "unready"):
        return failed(f"The gateway at {where} does not tell whether it is ready.", "Look into its log.")
    if state == "ready":
        return ok(f"The gateway runs at {where} and is ready.")
    reason = f"The gateway at {where} is {state}: {'; '.join(_reasons(told))}"
    remedy = "docs/operations.md, reasons of /ready."
    return failed(reason, remedy) if state == "unready" else warning(reason, remedy)


def _reasons(told: dict[str, Any]) -> list[str]:
    reasons = told.get("reasons")
    listed = [reason for reason in reasons if isinstance(reason, dict)] if isinstance(reasons, list) else []
    return [printable(f"{reason.get('name')}, {reason.get('detail')}", 300) for reason in listed]


def public_url(known: Known) -> Finding:
    """Whether others reach the gateway there: TLS, Host, and that it is ours."""
    url = known.public_url
    if url is None:
        return skipped("No public address was named.", "Name it with --public-url https://…")
    request_id = uuid.uuid4().hex
    try:
        response = _asked(known, "/health", {"X-Request-Id": request_id})
    except UpstreamFailed as exc:
        remedy = "Check the name, the proxy in front and its certificate."
        return failed(f"{url} cannot be reached: {_of(url, exc)}", remedy)
    if response.status_code == 421:
        reason = f"{url} is answered 421: the name is not served, by the gateway or by the proxy in front of it."
        return failed(reason, f"Add {urlsplit(url).hostname} to ALLOWED_HOSTS and to the proxy's server names.")
    is_ours = response.headers.get("X-GitHub-Request-Id") == request_id and _json(response) == {"status": "ok"}
    if response.status_code != 200 or not is_ours:
        reason = f"{url}/health is answered {response.status_code}, and not by the gateway itself."
        return failed(
            reason, "Let the proxy in front pass /health and X-Request-Id on, and look whether the gateway runs."
        )
    if url.startswith("http://"):
        return warning(f"{url} reaches the gateway without TLS: keys travel unprotected.", "Use https.")
    return ok(f"{url} reaches the gateway; its certificate and its name are accepted.")


def forwarding(known: Known) -> Finding:
    """What a stranger can make the gateway believe, as far as that shows from outside."""
    if (url := known.public_url) is None:
        return skipped("No public address was named.")
    hops = known.settings.trusted_proxy_count
    if _is_direct(known, url) and is_loopback(urlsplit(url).hostname or ""):
        return skipped(f"{url} is this machine's own: nobody else comes that way.")
    try:
        open_paths = [path for path in ("/v1/models", "/metrics") if _asked(known, path, {}).status_code == 200]
        spoofed = _asked(known, "/health", {"X-Forwarded-Host": _NO_SUCH_HOST, "X-Forwarded-For": "127.0.0.1"})
    except UpstreamFailed as exc:
        return failed(f"{url} broke off: {_of(url, exc)}", "Try again; persisting, look into the proxy's log.")
    if open_paths:
        remedy = "Set API_KEYS, and let the proxy in front set X-Forwarded-For on every request."
        return failed(f"Without a key {url} serves {' and '.join(open_paths)} to everyone.", remedy)
    if spoofed.status_code == 421:
        remedy = (
            "Let the proxy overwrite X-Forwarded-For, -Proto and -Host; TRUSTED_PROXY_COUNT must not be above the hops."
        )
        return failed("X-Forwarded-Host of a stranger is believed, so X-Forwarded-For may be as well.", remedy)
    if url.startswith("https://") and hops == 0:
        reason = "Something in front ends TLS, but TRUSTED_PROXY_COUNT=0: all callers share the limit of one address."
        return warning(reason, "Set TRUSTED_PROXY_COUNT to the number of proxies in front.")
    if _is_direct(known, url) and hops:
        reason = f"TRUSTED_PROXY_COUNT={hops}, but {url} is the gateway itself: callers can make up their address."
        return warning(reason, "Set TRUSTED_PROXY_COUNT=0, or let only the proxy reach this port.")
    return ok(f"Keys are wanted, a made-up X-Forwarded-Host is not believed, TRUSTED_PROXY_COUNT={hops} is plausible.")


def _is_direct(known: Known, url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "http" and (parts.port or 80) == known.settings.port


def streaming(known: Known) -> Finding:
    """Whether events come one by one through the public address. Asks only a model that costs nothing."""
    url = known.public_url
    if url is None or not known.asks_live:
        return skipped("Needs a real stream through the public address.", "Ask for it with --public-url and --live.")
    model = cheapest(known.catalogue)
    if model is None or cost(model) > 0:
        return skipped("The account has no included model, and one more answer would cost more than was said.")
    if url.startswith("http://") and not _is_direct(known, url):
        return skipped("Without TLS no key is sent there.")
    body = {"model": model.id, "stream": True, "messages": [{"role": "user", "content": _COUNTING}]}
    keys = known.settings.api_keys
    # A proxy that compresses an event stream holds it back: it is let do so if it wants to.
    headers = {"Accept-Encoding": "gzip"} | ({"Authorization": f"Bearer {keys[0].get_secret_value()}"} if keys else {})
    began = time.monotonic()
    try:
        response = known.session.post(
            f"{url}/v1/chat/completions",
            json=body,
            headers=headers,
            timeout=(_ASK_SECONDS, _STREAM_SECONDS),
            stream=True,
        )
        head_seconds = time.monotonic() - began
        if response.status_code != 200:
            return failed(f"A chat through {url} was answered {response.status_code}.", "Look into the gateway's log.")
        first_seconds, last_seconds = _arrivals(response, began)
    except UpstreamFailed as exc:
        return failed(
            f"A stream through {url} broke off: {_of(url, exc)}", "Look into the proxy's and the gateway's log."
        )
    return _streaming_found(response, head_seconds, first_seconds, last_seconds)


def _arrivals(response: requests.Response, began: float) -> tuple[float, float]:
    """When the first bytes of the body came and when the last, in seconds."""
    moments = [time.monotonic() - began for _ in response.iter_content(chunk_size=None)]
    return (moments[0], moments[-1]) if moments else (0.0, 0.0)


def _streaming_found(response: requests.Response, head: float, first: float, last: float) -> Finding:
    remedy = "Switch buffering and compression off for event streams; nginx: proxy_buffering off; gzip off;"
    told = [name for name in ("Content-Encoding", "Content-Length") if name in response.headers]
    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
        return failed("The answer is no event stream although one was asked for.", remedy)
    if told:
        return warning(f"The stream bears {' and '.join(told)}: something in front collects it first.", remedy)
    # An answer that took its time and came in one piece was collected on the way.
    if last > 2 and last - first < last / 20:
        return warning(f"All events came at once after {last:.1f} s: something in front collects them.", remedy)
    return ok(
        f"Events come one by one: the head after {head:.1f} s, the first after {first:.1f} s, the last {last:.1f} s."
    )


def _asked(known: Known, path: str, headers: dict[str, str]) -> requests.Response:
    return known.session.get(f"{known.public_url}{path}", headers=headers, timeout=_ASK_SECONDS, allow_redirects=False)


def _of(url: str, exc: UpstreamFailed) -> str:
    return exc.message.replace("Copilot", urlsplit(url).hostname or "it")


def _json(response: requests.Response) -> Any:
    try:
        return orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return None
