"""Calls to an OpenAI-compatible server of the operator's own, such as one that runs a model on this machine."""

from collections.abc import Iterator, Mapping

import orjson
import requests

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.upstream.headers import USER_AGENT
from copilotapi.upstream.refusals import read_envelope, retry_after_seconds
from copilotapi.upstream.transport import Transport

_MAX_ERROR_BYTES = 65_536


class LocalServer:
    """`base_url` is what OpenAI's clients call so, with its /v1. `api_key` is sent where one is given."""

    def __init__(self, transport: Transport, base_url: str, api_key: str | None = None) -> None:
        self._transport = transport
        self._base_url = base_url
        self._headers = {
            "Accept": "text/event-stream",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
        }
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"

    def stream(self, path: str, body: dict[str, object]) -> Iterator[bytes]:
        """The bytes of a streamed answer as they come. ApiError 502 or 504 when the server gives none."""
        request = requests.PreparedRequest()
        request.prepare(method="POST", url=self._base_url + path, headers=self._headers, data=orjson.dumps(body))
        try:
            exchange = self._transport.begin(request)
            try:
                response = None
                while response is None:
                    response = exchange.wait_head(self._transport.clocks.total_seconds)
                if response.status_code != 200:
                    told = b"".join(iter(exchange.read1, b""))[:_MAX_ERROR_BYTES]
                    raise _refused(response.status_code, response.headers, told)
                yield from iter(exchange.read1, b"")
            finally:
                exchange.close()
        except UpstreamFailed as exc:
            exc.message = exc.message.replace("Copilot", "The local server")
            raise


def _refused(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    told = read_envelope(body)
    message = f"The local server answered {status}: {told.message or 'it did not say why'}"
    if status == 429:
        code = told.code or "rate_limit_exceeded"
        wait_seconds = retry_after_seconds(headers)
        return ApiError(message, status=429, kind="rate_limit_error", code=code, retry_after_seconds=wait_seconds)
    if 400 <= status < 500 and status not in (401, 403):
        return ApiError(message, status=status, kind="invalid_request_error", code=told.code or None)
    return ApiError(message, status=502, kind="server_error", code="local_server_error")
