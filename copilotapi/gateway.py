"""Who answers a request: the model it means, Copilot's answer to it, the fallback, the account of what it used.

The one path of every completion. Knows neither Flask nor requests; a codec is a module of `protocols`.
"""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import orjson

from copilotapi.composed import Composed
from copilotapi.errors import ApiError, CallerGone, UpstreamFailed, UpstreamRefused, bad_request
from copilotapi.handlers import CompletionHandler, ask, model_name
from copilotapi.metering.calibration import Calibration
from copilotapi.metering.ledger import Ledger
from copilotapi.metering.metrics import Metrics
from copilotapi.protocols import chat, completions, embeddings, messages, responses
from copilotapi.protocols.conversation import JSON, CompletionRequest, Delta
from copilotapi.protocols.cursor import as_conversation, limited, without_repetition
from copilotapi.relay import Call, Codec, Opened, Relay
from copilotapi.reply import Reply
from copilotapi.token_count import TokenCounter
from copilotapi.upstream.client import CopilotClient, Outgoing, Waiting
from copilotapi.upstream.models import Catalogue, Model, unknown_model
from copilotapi.upstream.refusals import is_account_wide
from copilotapi.upstream.transport import TICK_SECONDS

log = logging.getLogger(__name__)

_EMBEDDINGS_HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "Openai-Intent": "copilot-panel",
}
_MAX_HEADER_CHARS = 1000
_COUNT_PATH = "/v1/messages/count_tokens"
_FALLBACK_STATUSES = (429, 502, 503, 504)


# In the order of preference for a model that has several and not the caller's own (copilot-wire 6.1, 7.1).
_CODECS: tuple[Codec, ...] = (responses, messages, chat)
_ENDPOINTS = frozenset(codec.ENDPOINT for codec in _CODECS)

Answering: TypeAlias = Relay | Composed
Source: TypeAlias = Iterator[Delta | None]


class Gateway:
    """`handler` answers everything where there is one, within its timeout. Else Copilot does.

    `default_model` answers requests that name none; `fallback_model` those whose model is limited or out of order.
    """

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
        handler: CompletionHandler | None = None,
        handler_timeout_seconds: float = 1800.0,
    ) -> None:
        self._client = client
        self._catalogue = catalogue
        self._counter = counter
        self._ledger = ledger
        self._metrics = metrics
        self._default_model = default_model
        self._fallback_model = fallback_model
        self._handler = handler
        self._handler_timeout_seconds = handler_timeout_seconds
        self._renames: dict[tuple[str, str], Mapping[str, str]] = {}
        self._unserved: set[tuple[str, str]] = set()
        self._calibration = Calibration()

    def complete(self, codec: Codec, body: JSON, call: Call) -> Waiting[Reply]:
        """One answer. Raises ApiError while it can still be told by a status."""
        codec.check_request(body)
        attempts: list[Answering] = []
        try:
            opened = yield from self._opened(codec, body, call, attempts)
        except BaseException:
            if attempts:
                self._settle(attempts[-1], failed=True)
            raise
        # Nobody is asked again from here on.
        call.raw_body = b""
        headers = _with_warnings(opened.headers, call)
        return Reply(headers, opened.first, opened.rest, opened.source, partial(self._settle, attempts[-1]))

    def _opened(self, codec: Codec, body: JSON, call: Call, attempts: list[Answering]) -> Waiting[Opened]:
        """The asked model's answer, or the fallback's; if that fails too, the first error is the one to tell."""
        asked = self._asked(codec, body, call)
        try:
            return (yield from self._attempt(codec, body, call, asked, attempts))
        except ApiError as exc:
            fallback = self._fallback_for(asked, exc, call) if codec.HOST == "api" else None
            if fallback is None:
                raise
            log.info("fallback", extra={"request_id": call.request_id, "asked": asked, "used": fallback})
            first_error = exc
        try:
            opened = yield from self._attempt(codec, body, call, fallback, attempts)
        except CallerGone:
            raise
        except ApiError as exc:
            raise first_error from exc
        self._metrics.fallbacks.inc()
        opened.headers["X-CopilotAPI-Fallback"] = _header_text(f"{asked}->{fallback}")
        call.facts["fallback"] = fallback
        return opened

    def _attempt(self, codec: Codec, body: JSON, call: Call, model: str, attempts: list[Answering]) -> Waiting[Opened]:
        """One model's answer. An endpoint that turns out not to serve it is remembered, and another one asked."""
        try:
            return (yield from self._begun(codec, body, call, model, attempts))
        except UpstreamRefused as exc:
            endpoint = attempts[-1].endpoint
            if exc.upstream_code != "unsupported_api_for_model" or endpoint not in _ENDPOINTS:
                raise
            self._unserved.add((model, endpoint))
            if endpoint == self._served_by(codec if codec.HOST == "api" else chat, model).ENDPOINT:
                raise
            log.info("endpoint_learnt", extra={"model": model, "endpoint": endpoint})
        return (yield from self._begun(codec, body, call, model, attempts))

    def _begun(self, codec: Codec, body: JSON, call: Call, model: str, attempts: list[Answering]) -> Waiting[Opened]:
        answering = self._answering(codec, body, call, model)
        attempts.append(answering)
        started = time.monotonic()
        opened = yield from answering.open(model)
        seconds = time.monotonic() - started
        self._metrics.observe_first_byte(model, seconds)
        call.facts["first_byte_ms"] = round(seconds * 1000, 1)
        return opened

    def _asked(self, codec: Codec, body: JSON, call: Call) -> str:
        """The model that is to answer: the handler's, an engine for inline completions, a model of the catalogue."""
        if self._handler is not None:
            return model_name(self._handler)
        if codec.HOST == "api":
            return self._model_for(body, call)
        engine = self._catalogue.completion_engine(body.get("model"))
        if engine is not None and self._client.has_completion_host():
            return engine
        return self._model_for({**body, "model": self._catalogue.chat_model(body.get("model"))}, call)

    def _answering(self, codec: Codec, body: JSON, call: Call, model: str) -> Answering:
        """Who answers: the handler, Copilot in the caller's own protocol, or Copilot translated."""
        if self._handler is not None:
            # Editors tell an engine much that a handler has no use for, and read no warnings.
            lost = codec.losses(body) if codec.HOST == "api" else ()
            sources = self._by_handler(codec, body, call, self._handler)
            return Composed(codec, body, call, self._counter, sources, lost=lost)
        if codec.HOST == "api":
            return self._by_copilot(codec, body, call, model)
        requests = completions.decode_requests(body)
        if self._catalogue.chat_model(model) is not None:
            served = self._served_by(chat, model)
            lost = codec.losses(body)
            sources = [self._by_conversation(served, request, model, call) for request in requests]
            return Composed(codec, body, call, self._counter, sources, endpoint=served.ENDPOINT, lost=lost)
        if len(requests) == (body.get("n") or 1):
            return self._relay(codec, body, call, call.headers)
        bodies = ({**body, "prompt": request.prompt, "n": 1, "stream": True} for request in requests)
        sources = [self._deltas(completions, single, model, call, {}) for single in bodies]
        return Composed(codec, body, call, self._counter, sources)

    def _by_copilot(self, codec: Codec, body: JSON, call: Call, model: str) -> Answering:
        """Forwarded where Copilot serves the model in the caller's own protocol, else through the vocabulary."""
        served = self._served_by(codec, model)
        if codec.ENDPOINT == messages.ENDPOINT:
            body = self._within_output_limit(body, call, model)
        if served.ENDPOINT == codec.ENDPOINT:
            return self._relay(codec, body, call, call.headers)
        lost = codec.losses(body)
        asked = translated(codec, served, body, model)
        # Told from what the caller said: a translation may make several messages of the last one.
        headers = {"X-Initiator": codec.traits(body).initiator}
        sources = [self._deltas(served, asked, model, call, headers) for _ in codec.decode_requests(body)]
        return Composed(codec, body, call, self._counter, sources, endpoint=served.ENDPOINT, lost=lost)

    def _within_output_limit(self, body: JSON, call: Call, model: str) -> JSON:
        limit = self._catalogue.max_output_tokens(model) or body["max_tokens"]
        if body["max_tokens"] > limit:
            call.warnings.append(f"max_tokens:{body['max_tokens']}->{limit}")
        return messages.within_output_limit(body, limit)

    def _served_by(self, codec: Codec, model: str) -> Codec:
        """The protocol to ask Copilot in: the caller's own where the model has it, or nothing better is known."""
        listed = self._catalogue.models().get(model)
        if listed and codec.ENDPOINT in listed.endpoints and (model, codec.ENDPOINT) not in self._unserved:
            return codec
        endpoints = listed.endpoints if listed else (codec.ENDPOINT,)
        served = [
            other for other in _CODECS if other.ENDPOINT in endpoints and (model, other.ENDPOINT) not in self._unserved
        ]
        return served[0] if served else codec

    def _relay(self, codec: Codec, body: JSON, call: Call, headers: Mapping[str, str]) -> Relay:
        return Relay(self._client, self._catalogue, self._counter, self._renames, codec, body, call, headers)

    def _by_handler(self, codec: Codec, body: JSON, call: Call, handler: CompletionHandler) -> list[Source]:
        return [
            ask(
                handler,
                request,
                timeout_seconds=self._handler_timeout_seconds,
                tick_seconds=TICK_SECONDS,
                is_caller_gone=lambda: call.hangup.is_set,
            )
            for request in codec.decode_requests(body)
        ]

    def _by_conversation(self, served: Codec, request: CompletionRequest, model: str, call: Call) -> Source:
        """A completion by a chat model, for an account or a model without an engine."""
        body = served.encode_request(replace(as_conversation(request), model=model))
        deltas = self._deltas(served, body, model, call, {})
        return limited(without_repetition(deltas, request), request)

    def _deltas(self, codec: Codec, body: JSON, model: str, call: Call, headers: Mapping[str, str]) -> Source:
        opened = yield from self._relay(codec, body, call, headers).open(model)
        _pass_on(opened.headers, call)
        with closing(opened.to_its_end()) as pieces:
            yield from codec.decode_stream(pieces)

    def _fallback_for(self, asked: str, error: ApiError, call: Call) -> str | None:
        """Another model helps against its own limit or outage, not against one of the whole account (contract 7.8)."""
        if self._fallback_model is None or call.refuses_fallback or not isinstance(error, UpstreamRefused):
            return None
        if is_account_wide(error) or not (
            error.upstream_status in _FALLBACK_STATUSES or error.upstream_code == "model_overloaded"
        ):
            return None
        fallback = self._known(self._fallback_model)
        return fallback if fallback != asked else None

    def _model_for(self, body: JSON, call: Call) -> str:
        named = body.get("model") or self._default_model or self._catalogue.default()
        if not named:
            raise self._unnamed()
        model = self._known(named)
        if (replaced := self._catalogue.replaced(named)) is not None:
            call.warnings.append(f"model:{replaced}->{model}")
        return model

    def _unnamed(self) -> ApiError:
        """Why a request that names no model fails: it should have, or there is no list to take the default from."""
        self._catalogue.listed()
        return bad_request("Name a 'model'; GET /v1/models lists those of this account.", param="model")

    def _known(self, name: str) -> str:
        found = self._catalogue.find(name)
        return found.id if found else self._catalogue.alias(name)

    def _settle(self, relay: Answering, *, failed: bool) -> None:
        """The account of a request, however it ended."""
        usage = relay.usage()
        model = relay.model
        if usage is not None and not usage.estimated and self._calibration.is_due(model, usage.input_tokens):
            self._calibration.learn(model, usage.input_tokens, relay.estimated_input_tokens())
        relay.call.facts |= {"model": model, "endpoint": relay.endpoint}
        if usage is not None:
            self._metrics.count_usage(model, usage)
            relay.call.facts |= {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "usage_source": "estimate" if usage.estimated else "upstream",
            }
        label = self._metrics.model_label(model)
        self._ledger.record(relay.call.key_id, label, usage, failed=failed)

    def embed(self, body: JSON, call: Call) -> Waiting[Reply]:
        """An embeddings answer, whole: as many calls as the model's limit of inputs makes of it."""
        embeddings.check_request(body)
        if self._handler is not None:
            message = "Embeddings are not answered while a completion handler is set."
            raise ApiError(message, status=404, kind="invalid_request_error", code="not_found")
        named = body.get("model") or self._catalogue.embeddings_model()
        if not named:
            raise self._unnamed()
        model = self._known(named)
        call.facts |= {"model": model, "endpoint": embeddings.ENDPOINT}
        usage, failed = None, True
        try:
            answers = []
            for batch in embeddings.for_upstream(body, model, self._catalogue.max_inputs(model)):
                payload = orjson.dumps(batch)
                outgoing = Outgoing(embeddings.ENDPOINT, call.request_id, body=payload, headers=_EMBEDDINGS_HEADERS)
                answer = yield from self._client.send(outgoing, call.hangup)
                answers.append((yield from answer.read_json()))
            merged, usage = embeddings.merge(answers, body, model)
            failed = False
            return Reply({"X-CopilotAPI-Usage": "upstream"}, orjson.dumps(merged))
        finally:
            if usage is not None:
                self._metrics.count_usage(model, usage)
            self._ledger.record(call.key_id, self._metrics.model_label(model), usage, failed=failed)

    def count_tokens(self, body: JSON, call: Call) -> Waiting[Reply]:
        """A count of a Messages prompt: Copilot's own where it counts for the model, else an estimate."""
        messages.check_prompt(body)
        counted: int | None = None
        model = ""
        if self._handler is None:
            model = self._model_for(body, call)
            call.facts |= {"model": model, "endpoint": _COUNT_PATH}
            if self._served_by(messages, model).ENDPOINT == messages.ENDPOINT:
                counted = yield from self._counted(body, model, call)
        head = {"X-CopilotAPI-Usage": "estimate" if counted is None else "upstream"}
        if counted is None:
            counted = self._calibration.apply(model, self._counter.count(messages.decode_request(body)))
        return Reply(_with_warnings(head, call), orjson.dumps({"input_tokens": counted}))

    def _counted(self, body: JSON, model: str, call: Call) -> Waiting[int | None]:
        """None when Copilot has no counter for this."""
        payload, _ = messages.for_upstream(body, model, {})
        headers = {**call.headers, "Content-Type": "application/json"}
        outgoing = Outgoing(_COUNT_PATH, call.request_id, body=orjson.dumps(payload), headers=headers)
        try:
            answer = yield from self._client.send(outgoing, call.hangup, attempts=1)
            told = yield from answer.read_json()
        except (UpstreamRefused, UpstreamFailed) as exc:
            log.info("count_estimated", extra={"request_id": call.request_id, "code": exc.code})
            return None
        count = told.get("input_tokens") if isinstance(told, dict) else None
        return count if isinstance(count, int) else None

    def models(self) -> dict[str, Model]:
        """Raises what went wrong while no catalogue could ever be fetched."""
        return self._catalogue.listed()

    def default_model(self) -> str | None:
        """The id of the model that answers where none is named; None when there is none, or the account lacks it."""
        named = self._default_model or self._catalogue.default()
        try:
            model = self._catalogue.find(named) if named else None
        except ApiError:
            return None
        return model.id if model else None

    def model(self, name: str) -> Model:
        """404 naming near matches when the account has no such model."""
        listed = self._catalogue.listed()
        found = self._catalogue.find(name)
        if found is None:
            raise unknown_model(name, listed)
        return found


def _pass_on(headers: Mapping[str, str], call: Call) -> None:
    """What an answer that will be translated says beside its body: Copilot's limits, and what it was not asked."""
    call.limits.update({name: value for name, value in headers.items() if not name.startswith("X-CopilotAPI-")})
    call.warnings.append(headers.get("X-CopilotAPI-Warnings", ""))


def _with_warnings(headers: dict[str, str], call: Call) -> dict[str, str]:
    """The response headers, with what the call has to tell before what the answer tells already.

    Fields are told by the names the caller gave them: only what a header can hold comes through.
    """
    told = ", ".join(filter(None, dict.fromkeys((*call.warnings, headers.get("X-CopilotAPI-Warnings")))))
    headers = {**call.limits, **headers}
    return {**headers, "X-CopilotAPI-Warnings": _header_text(told)} if told else headers


def _header_text(text: str) -> str:
    return "".join(char if " " <= char <= "~" else "?" for char in text[:_MAX_HEADER_CHARS])


def translated(codec: Codec, served: Codec, body: JSON, model: str) -> JSON:
    """The body to ask with. ApiError 400 for what cannot be asked there; its `param` is a field of the caller's."""
    try:
        return served.encode_request(replace(codec.decode_request(body), model=model))
    except ApiError as exc:
        exc.param = codec.FIELD_NAMES.get(exc.param or "", exc.param)
        raise
