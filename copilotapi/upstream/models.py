"""The account's models as Copilot lists them: fetched rarely, kept when a fetch fails, shared by all workers."""

import logging
import threading
import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.store import Store
from copilotapi.upstream.model_names import follow, near_matches, resolve, stand_in

log = logging.getLogger(__name__)

# VS Code asks at most every 10 minutes (copilot-wire 4.4).
_FRESH_SECONDS = 600.0
_STALE_SECONDS = 1800.0
_RETRY_SECONDS = 30.0
_WAIT_SECONDS = 15.0
# What VS Code assumes where a model does not say (copilot-wire 6.4).
_USUAL_MAX_INPUTS = 256
_USUAL_ENGINE = "gpt-41-copilot"
# Callers name the same few models; what they invent must not fill the memory.
_REMEMBERED_NAMES = 1024


@dataclass(frozen=True, slots=True)
class Model:
    """`kind` is chat, embeddings or completion. `wire` is Copilot's own object, duplicates merged, always with
    `capabilities`."""

    id: str
    kind: str
    vendor: str
    endpoints: tuple[str, ...]
    tokenizer: str
    wire: Mapping[str, Any] = field(repr=False)


class _Resolved(NamedTuple):
    """`model_id` a name leads to, if any; `replaced` what the name stands for when that is another model's stand-in."""

    model_id: str | None
    replaced: str | None


class Catalogue:
    """`fetch` returns the `data` of GET /models and raises ApiError. `store_key` is where workers share it."""

    def __init__(
        self,
        fetch: Callable[[], list[dict[str, Any]]],
        store: Store,
        store_key: Callable[[], str],
        aliases: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetch = fetch
        self._store = store
        self._store_key = store_key
        self._aliases = aliases
        self._clock = clock
        self._wall_clock = wall_clock
        self._models: dict[str, Model] = {}
        self._meanings: dict[str, _Resolved] = {}
        self._fetched = float("-inf")
        self._failed = float("-inf")
        self._failure: ApiError | None = None
        self._flight = threading.Lock()

    def listed(self) -> dict[str, Model]:
        """As `models`, but raises what went wrong instead of an empty answer."""
        models = self.models()
        if not models and self._failure is not None:
            raise self._failure
        return models

    def models(self) -> dict[str, Model]:
        """By id, in Copilot's order; empty when none could ever be fetched.

        One caller renews what is due; the others wait for it only while there is nothing to serve.
        """
        if self._is_due():
            self._refresh(wait=not self._models)
        return self._models

    def known_ids(self) -> Container[str]:
        """What was fetched so far: never waits, never asks."""
        return self._models

    def find(self, name: str) -> Model | None:
        """The model a caller means by `name`, or its stand-in; None while there is no catalogue to know by.

        ApiError 404 naming near matches.
        """
        models = self.models()
        if not models:
            return None
        model_id = self._meaning(name, models).model_id
        if model_id is None:
            raise unknown_model(name, models)
        return models[model_id]

    def replaced(self, name: str) -> str | None:
        """What `name` stands for when `find` answers it with a stand-in; None when the account has that very model."""
        return self._meaning(name, self.models()).replaced

    def completion_engine(self, named: str | None) -> str | None:
        """The engine for inline completions: the one named, else the account's first; None when it has none.

        None as well for the name of a chat model: then that one is meant to answer. Without a catalogue, the engine
        that editors take for want of another (copilot-wire 9.1).
        """
        models = self.models()
        if not models:
            return _USUAL_ENGINE
        model = models.get(resolve(named, self._aliases, models) or "") if named else None
        if model is not None:
            return model.id if model.kind == "completion" else None
        return next((model.id for model in models.values() if model.kind == "completion"), None)

    def chat_model(self, named: str | None) -> str | None:
        """`named` when it means a chat model of this account: what editors name is often an engine."""
        models = self.models()
        model = models.get(resolve(named, self._aliases, models) or "") if named else None
        return named if model is not None and model.kind == "chat" else None

    def embeddings_model(self) -> str | None:
        """The account's first model for embeddings."""
        return next((model.id for model in self.models().values() if model.kind == "embeddings"), None)

    def max_inputs(self, model_id: str) -> int:
        """How many texts one call may embed."""
        return self._limit(model_id, "max_inputs") or _USUAL_MAX_INPUTS

    def max_output_tokens(self, model_id: str) -> int | None:
        """How much one answer may hold; None when the list does not say."""
        return self._limit(model_id, "max_output_tokens")

    def default(self) -> str | None:
        """The chat model Copilot itself takes when none is chosen."""
        chosen = (model for model in self.models().values() if model.wire.get("is_chat_default") is True)
        return next((model.id for model in chosen), None)

    def alias(self, name: str) -> str:
        """What `name` stands for while there is no catalogue to know by."""
        return follow(name, self._aliases)

    def refresh_if_due(self) -> None:
        """The scheduled fetch; a failure is logged and retried later."""
        self.models()

    @property
    def stale_seconds(self) -> float | None:
        """Age of a catalogue that could not be renewed for long; None while all is well or nothing was asked yet."""
        age_seconds = self._clock() - self._fetched
        return age_seconds if self._models and age_seconds > _STALE_SECONDS else None

    def _meaning(self, name: str, models: Mapping[str, Model]) -> "_Resolved":
        if (known := self._meanings.get(name)) is not None:
            return known
        if len(self._meanings) >= _REMEMBERED_NAMES:
            self._meanings.clear()
        usable = _usable(models)
        own = resolve(name, self._aliases, models)
        model_id = resolve(name, self._aliases, usable) or own
        replacing = None if model_id else stand_in(name, self._aliases, usable)
        replaced = follow(name, self._aliases) if own is None and replacing else None
        meaning = self._meanings[name] = _Resolved(model_id or replacing, replaced)
        return meaning

    def _adopt(self, models: dict[str, Model], fetched: float) -> None:
        self._models, self._fetched, self._meanings = models, fetched, {}

    def _limit(self, model_id: str, name: str) -> int | None:
        model = self.models().get(model_id)
        limits = model.wire["capabilities"].get("limits") if model else None
        limit = limits.get(name) if isinstance(limits, dict) else None
        return limit if isinstance(limit, int) and limit > 0 else None

    def _is_due(self) -> bool:
        now = self._clock()
        return now - self._fetched >= _FRESH_SECONDS and now - self._failed >= _RETRY_SECONDS

    def _refresh(self, wait: bool) -> None:
        if not self._flight.acquire(blocking=wait, timeout=_WAIT_SECONDS if wait else -1):
            return
        try:
            if self._is_due() and not self._adopt_shared():
                self._fetch_unless_another_does()
        except ApiError as exc:
            self._failed, self._failure = self._clock(), exc
            log.warning("catalogue_refresh_failed", extra={"code": exc.code, "reason": exc.message})
        finally:
            self._flight.release()

    def _adopt_shared(self) -> bool:
        """What another worker fetched, as old as it is; False when there is nothing fresh."""
        try:
            shared = orjson.loads(self._store.get(self._store_key()) or b"{}")
            models, age_seconds = merged(shared["models"]), self._wall_clock() - shared["fetched_at"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return False
        if not models or not 0 <= age_seconds < _FRESH_SECONDS:
            return False
        self._adopt(models, self._clock() - age_seconds)
        return True

    def _fetch_unless_another_does(self) -> None:
        """Workers come due together. Who has nothing to serve fetches all the same."""
        with self._store.lock(f"{self._store_key()}:fetch", _WAIT_SECONDS) as is_ours:
            if (is_ours or not self._models) and not self._adopt_shared():
                self._fetch_and_share()

    def _fetch_and_share(self) -> None:
        listed = self._fetch()
        models = merged(listed)
        if not models:
            raise UpstreamFailed("Copilot lists no models for this account.", code="upstream_bad_response")
        self._adopt(models, self._clock())
        shared = {"fetched_at": self._wall_clock(), "models": listed}
        self._store.set(self._store_key(), orjson.dumps(shared), _FRESH_SECONDS)


def merged(listed: list[dict[str, Any]]) -> dict[str, Model]:
    """One Model per id: Copilot lists some ids twice (copilot-wire 4.4); the first entry's fields win."""
    by_id: dict[str, dict[str, Any]] = {}
    for wire in listed:
        if isinstance(wire, dict) and isinstance(wire.get("id"), str) and wire["id"]:
            by_id[wire["id"]] = {**wire, **by_id.get(wire["id"], {})}
    return {model_id: _model(wire) for model_id, wire in by_id.items()}


def _usable(models: Mapping[str, Model]) -> list[str]:
    """Those whose terms need no acceptance any more (copilot-wire 4.6): only they are chosen without being named."""
    policies = ((model_id, model.wire.get("policy")) for model_id, model in models.items())
    return [
        model_id for model_id, policy in policies if not isinstance(policy, dict) or policy.get("state") == "enabled"
    ]


def unknown_model(name: str, ids: Mapping[str, Model]) -> ApiError:
    near = near_matches(name, ids)
    hint = f" Did you mean {', '.join(near)}?" if near else " GET /v1/models lists the models of this account."
    return ApiError(
        f"The model {name[:100]!r} does not exist or this account may not use it.{hint}",
        status=404,
        kind="invalid_request_error",
        code="model_not_found",
        param="model",
    )


def _model(wire: dict[str, Any]) -> Model:
    capabilities = wire.get("capabilities")
    capabilities = capabilities if isinstance(capabilities, dict) else {}
    endpoints = wire.get("supported_endpoints")
    kind = str(capabilities.get("type", "chat"))
    if not isinstance(endpoints, list):
        # Absent means chat completions only (copilot-wire 4.4).
        endpoints = ["/chat/completions"] if kind == "chat" else []
    return Model(
        id=wire["id"],
        kind=kind,
        vendor=str(wire.get("vendor") or ""),
        endpoints=tuple(str(endpoint) for endpoint in endpoints),
        tokenizer=str(capabilities.get("tokenizer", "o200k_base")),
        wire={**wire, "capabilities": capabilities},
    )
