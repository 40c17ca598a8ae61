"""Who answers a request: the model it means, Copilot's answer to it, the fallback, the account of what it used.

The one path of every completion. Knows neither Flask nor requests; a codec is a module of `protocols`.
"""

import logging
import time
from collections.abc import Mapping

from copilotapi.errors import ApiError, CallerGone, UpstreamRefused, bad_request
from copilotapi.metering.ledger import Ledger
from copilotapi.metering.metrics import Metrics
from copilotapi.protocols.conversation import JSON
from copilotapi.relay import Call, Codec, Head, Opened, Relay, Steps
from copilotapi.token_count import TokenCounter
from copilotapi.upstream.client import CopilotClient, Waiting
from copilotapi.upstream.models import Catalogue, Model, unknown_model
from copilotapi.upstream.refusals import is_account_wide

log = logging.getLogger(__name__)

_FALLBACK_STATUSES = (429, 502, 503, 504)


class Gateway:
    """`default_model` answers requests that name none; `fallback_model` those whose model is limited or out of order."""

    def __init__(
        self,
        client: CopilotClient,
        catalogue: Catalogue,
        counter: TokenCounter,
        ledger: Ledger,
        metrics: Metrics,
        *,
        default_model: str | None = None,
        fallback_model: str | None = None,
    ) -> None:
        self._client = client
        self._catalogue = catalogue
        self._counter = counter
        self._ledger = ledger
        self._metrics = metrics
        self._default_model = default_model
        self._fallback_model = fallback_model
        self._renames: dict[str, Mapping[str, str]] = {}

    def complete(self, codec: Codec, body: JSON, call: Call) -> Steps:
        """The steps of one answer. ApiError before its Head can still be a status; after it, it is the stream's end."""
        codec.check_request(body)
        asked = self._model_for(body)
        relay = Relay(self._client, self._catalogue, self._counter, self._renames, codec, body, call)
        failed = True
        try:
            opened = yield from self._opened(relay, asked)
            try:
                yield Head(opened.headers)
                yield opened.first
                yield from opened.rest
                failed = False
            finally:
                opened.close()
        except CallerGone:
            call.facts["outcome"] = "caller_gone"
            raise
        except ApiError as exc:
            call.facts["outcome"] = exc.code or exc.kind
            raise
        finally:
            self._settle(relay, failed)

    def _opened(self, relay: Relay, asked: str) -> Waiting[Opened]:
        """The asked model's answer, or the fallback's; if that fails too, the first error is the one to tell."""
        try:
            return (yield from self._timed(relay, asked))
        except ApiError as exc:
            fallback = self._fallback_for(asked, exc, relay.call)
            if fallback is None:
                raise
            log.info("fallback", extra={"request_id": relay.call.request_id, "asked": asked, "used": fallback})
            first_error = exc
        try:
            opened = yield from self._timed(relay, fallback)
        except CallerGone:
            raise
        except ApiError as exc:
            raise first_error from exc
        self._metrics.fallbacks.inc()
        opened.headers["X-CopilotAPI-Fallback"] = f"{asked}->{fallback}"
        relay.call.facts["fallback"] = fallback
        return opened

    def _timed(self, relay: Relay, model: str) -> Waiting[Opened]:
        started = time.monotonic()
        opened = yield from relay.open(model)
        seconds = time.monotonic() - started
        self._metrics.first_byte.labels(self._metrics.model_label(model)).observe(seconds)
        relay.call.facts["first_byte_ms"] = round(seconds * 1000, 1)
        return opened

    def _fallback_for(self, asked: str, error: ApiError, call: Call) -> str | None:
        """Another model helps against its own limit or outage, not against one of the whole account (contract 7.8)."""
        if self._fallback_model is None or call.refuses_fallback or not isinstance(error, UpstreamRefused):
            return None
        if error.status not in _FALLBACK_STATUSES or is_account_wide(error):
            return None
        fallback = self._known(self._fallback_model)
        return fallback if fallback != asked else None

    def _model_for(self, body: JSON) -> str:
        named = body.get("model") or self._default_model or self._catalogue.default()
        if not named:
            raise bad_request("Name a 'model'; GET /v1/models lists those of this account.", param="model")
        return self._known(named)

    def _known(self, name: str) -> str:
        found = self._catalogue.find(name)
        return found.id if found else self._catalogue.alias(name)

    def _settle(self, relay: Relay, failed: bool) -> None:
        """The account of a request, however it ended."""
        usage = relay.usage()
        model = relay.model
        relay.call.facts |= {"model": model, "endpoint": relay.codec.ENDPOINT}
        if usage is not None:
            self._metrics.count_usage(model, usage)
            relay.call.facts |= {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "usage_source": "estimate" if usage.estimated else "upstream",
            }
        label = self._metrics.model_label(model)
        self._ledger.record(relay.call.key_id, label, usage, failed=failed)

    def models(self) -> dict[str, Model]:
        """Raises what went wrong while no catalogue could ever be fetched."""
        return self._catalogue.listed()

    def model(self, name: str) -> Model:
        """404 naming near matches when the account has no such model."""
        listed = self._catalogue.listed()
        found = self._catalogue.find(name)
        if found is None:
            raise unknown_model(name, listed)
        return found
