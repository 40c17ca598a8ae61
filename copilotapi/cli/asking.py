"""How a command asks the gateway: the one that runs, else the same app in this process for as long as it is needed.

It knows the gateway's paths and errors, and no command. The key it sends is never shown, and goes to no stranger.
"""

import http.client
import json
import ssl
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import SplitResult, urlsplit

import click

from copilotapi.cli.own_gateway import own_gateway
from copilotapi.cli.terminal import one_line, refuse_settings
from copilotapi.errors import UpstreamFailed
from copilotapi.settings import Settings, SettingsError
from copilotapi.sse import FrameBuffer, load

_LOOK_SECONDS = 2.0
# Above the gateway's longest wait for its upstream before it answers, and above the pause between two heartbeats.
_SILENCE_SECONDS = 60.0
_READ_BYTES = 65_536
_MOST_LOOK_BYTES = 65_536
_CALLABLE_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_FAR_END = ("copilot_token_unavailable", "upstream_unreachable", "upstream_tls_failed")
_ADMIN_PATHS = ("/v1/usage", "/v1/token/refresh", "/metrics")


class Asking:
    """One gateway. Every method raises ClickException with the gateway's own words, in one line.

    `base_url` has neither /v1 nor a slash at its end. `in_process`: nothing runs, and this process is the gateway.
    """

    def __init__(self, base_url: str, settings: Settings, own_key: str | None = None) -> None:
        self.base_url = base_url
        self.in_process = own_key is not None
        self._settings = settings
        self._own_key = own_key

    def get(self, path: str) -> Any:
        """The parsed JSON at `path`."""
        with self.answer("GET", path) as response:
            return _parsed(_read(response))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The parsed JSON that comes for `body`; waits as long as the gateway waits for Copilot."""
        with self.answer("POST", path, body, self._settings.total_timeout + _SILENCE_SECONDS) as response:
            return _parsed(_read(response))

    def events(self, path: str, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The data of each event of the stream that comes for `body`; an error in it is raised."""
        with self.answer("POST", path, body) as response:
            yield from events_of(response)

    def models(self) -> list[dict[str, Any]]:
        """The `data` of GET /v1/models."""
        return rows(self.listing("/v1/models"))

    def listing(self, path: str) -> dict[str, Any]:
        """The object at `path`, whose `data` are rows."""
        listed = self.get(path)
        if not isinstance(listed, dict) or not isinstance(listed.get("data"), list):
            raise _not_ours(self.base_url)
        return listed

    @contextmanager
    def answer(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        silence_seconds: float = _SILENCE_SECONDS,
    ) -> Iterator[http.client.HTTPResponse]:
        """A 200 to be read inside the block; leaving the block hangs up."""
        key = self._key_for(path)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        payload = None if body is None else json.dumps(body).encode()
        if payload is not None:
            headers["Content-Type"] = "application/json"
        with _answer(self.base_url, self._settings, method, path, payload, headers, silence_seconds) as response:
            if response.status != 200:
                refusal = _refusal(response.status, _read(response, _MOST_LOOK_BYTES))
                raise click.ClickException(refusal + _when(response.headers.get("Retry-After")))
            yield response

    def _key_for(self, path: str) -> str | None:
        if self._own_key is not None:
            return self._own_key
        keys = list(self._settings.api_keys)
        if (admin_key := self._settings.admin_key) is not None:
            is_admins = path.partition("?")[0] in _ADMIN_PATHS
            keys = [admin_key, *keys] if is_admins else [*keys, admin_key]
        return keys[0].get_secret_value() if keys else None


@contextmanager
def asking(settings: Settings, *, url: str | None = None) -> Iterator[Asking]:
    """The gateway at `url`, or at the HOST and PORT of the settings, else one in this process for the time of the block.

    ClickException in plain words when `url` was given and no gateway answers there. Settings that only show here to be
    unusable end the command like all others.
    """
    if url is not None:
        base_url = _base_url(url)
        if not _is_gateway(base_url, settings):
            raise _not_ours(base_url)
        yield Asking(base_url, settings)
        return
    running = running_url(settings)
    if running is not None:
        yield Asking(running, settings)
        return
    with ExitStack() as stack:
        try:
            base_url, own_key = stack.enter_context(own_gateway(settings))
        except SettingsError as exc:
            refuse_settings(exc)
        yield Asking(base_url, settings, own_key)


def rows(listing: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects in its `data`."""
    return [row for row in listing["data"] if isinstance(row, dict)]


def running_url(settings: Settings) -> str | None:
    """Where the gateway of these settings answers at this moment; None when it does not run."""
    if settings.port == 0:
        return None
    base_url = local_url(settings)
    try:
        return base_url if _is_gateway(base_url, settings) else None
    except click.ClickException:
        return None


def local_url(settings: Settings) -> str:
    """Where programs on this machine reach the gateway, without /v1."""
    host = _CALLABLE_HOSTS.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def events_of(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """The data of each event that is JSON, as it comes. ClickException for an error in the stream, or a cut one."""
    buffer = FrameBuffer()
    while block := _read_some(response):
        for frame in load(_whole_frames(buffer, block)):
            if frame.data is not None and frame.data != b"[DONE]":
                yield _event(frame.data)


def _read_some(response: http.client.HTTPResponse) -> bytes:
    with _breaks_told():
        return response.read1(_READ_BYTES)


def _whole_frames(buffer: FrameBuffer, block: bytes) -> bytes:
    try:
        return buffer.feed(block)
    except UpstreamFailed as exc:
        raise click.ClickException(exc.message) from exc


def _event(data: bytes) -> dict[str, Any]:
    event = _parsed(data)
    if not isinstance(event, dict):
        raise click.ClickException("The gateway sent an event that is no JSON object.")
    # Chat and Messages carry `error`, Responses an event `error` or a failed response.
    response = event.get("response")
    failed = event.get("error") or (response.get("error") if isinstance(response, dict) else None)
    if failed or event.get("type") == "error":
        raise click.ClickException(_message(failed or event) or "The answer ended in an error.")
    return event


def _is_gateway(base_url: str, settings: Settings) -> bool:
    """Whether /health answers as ours does: with its body, and the request id we made up in a header of its own.

    ClickException in plain words when nothing answers, or when the gateway refuses even this.
    """
    request_id = uuid.uuid4().hex
    headers = {"X-Request-Id": request_id}
    with _answer(base_url, settings, "GET", "/health", None, headers, _LOOK_SECONDS) as response:
        body = _read(response, _MOST_LOOK_BYTES)
        if response.headers.get("X-GitHub-Request-Id") != request_id:
            return False
        if response.status != 200:
            raise click.ClickException(_refusal(response.status, body))
        return bool(_parsed(body) == {"status": "ok"})


@contextmanager
def _answer(
    base_url: str,
    settings: Settings,
    method: str,
    path: str,
    payload: bytes | None,
    headers: Mapping[str, str],
    silence_seconds: float,
) -> Iterator[http.client.HTTPResponse]:
    """The head of an answer, whatever its status. ClickException when none comes."""
    connection = _connection(urlsplit(base_url), settings, silence_seconds)
    try:
        with _failures_told(base_url, silence_seconds):
            connection.request(method, urlsplit(base_url).path + path, payload, dict(headers))
            response = connection.getresponse()
        yield response
    finally:
        connection.close()


@contextmanager
def _failures_told(base_url: str, silence_seconds: float) -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise click.ClickException(f"{base_url} gave no answer within {silence_seconds:g} s.") from exc
    except ssl.SSLCertVerificationError as exc:
        advice = "Set REQUESTS_CA_BUNDLE to the authority that signed it."
        raise click.ClickException(f"The certificate of {base_url} was not accepted. {advice}") from exc
    except (OSError, http.client.HTTPException) as exc:
        why = getattr(exc, "strerror", None) or "no HTTP answer"
        advice = "Is the gateway running? Start it with: copilotapi serve"
        raise click.ClickException(f"Nothing usable answers at {base_url} ({one_line(why)}). {advice}") from exc


def _read(response: http.client.HTTPResponse, most_bytes: int | None = None) -> bytes:
    with _breaks_told():
        return response.read(most_bytes)


@contextmanager
def _breaks_told() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as exc:
        raise click.ClickException("The gateway broke off in the middle of its answer. Its log says why.") from exc


def _connection(at: SplitResult, settings: Settings, timeout_seconds: float) -> http.client.HTTPConnection:
    host = at.hostname or ""
    if at.scheme == "http":
        return http.client.HTTPConnection(host, at.port, timeout=timeout_seconds)
    bundle = settings.requests_ca_bundle
    context = ssl.create_default_context()
    if bundle is not None:
        context.load_verify_locations(*((None, bundle) if bundle.is_dir() else (bundle,)))
    return http.client.HTTPSConnection(host, at.port, timeout=timeout_seconds, context=context)


def _base_url(url: str) -> str:
    """As people type it: with /v1 or without, with a scheme or without."""
    parts = _split(url if "://" in url else f"http://{url}")
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise click.ClickException("--url must be the gateway's address, such as http://127.0.0.1:8000")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1').rstrip('/')}"


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        return parts if parts.port != 0 and url.isascii() and url.isprintable() and " " not in url else None
    except ValueError:
        return None


def _not_ours(base_url: str) -> click.ClickException:
    return click.ClickException(f"What answers at {base_url} is not this gateway; it was sent no key. Look at --url.")


def _refusal(status: int, body: bytes) -> str:
    try:
        error = json.loads(body).get("error")
    except (ValueError, AttributeError):
        error = None
    message = _message(error) or f"The gateway answered {status}."
    if isinstance(error, dict) and error.get("code") in _FAR_END:
        message += " What is wrong on the way there: copilotapi doctor."
    if status == 401:
        message += " This command sends the first of API_KEYS, or ADMIN_KEY, of its own environment and .env."
    return message


def _when(retry_after: str | None) -> str:
    """Of a refusal that tells when it ends, in seconds."""
    if retry_after is None or not retry_after.isdecimal():
        return ""
    return f" Try again in {int(retry_after):,} s."


def _message(error: object) -> str:
    told = error.get("message") if isinstance(error, dict) else error
    return one_line(told) if isinstance(told, str) else ""


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as exc:
        raise click.ClickException("The gateway's answer is not JSON. Is something else in between?") from exc
