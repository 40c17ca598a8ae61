"""Which model of the account suits a client: by what /v1/models tells of each, never by a name of the day.

Pure: the list in, models out, best first. It asks nobody.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_VERSION = re.compile(r"\d+(?:\.\d+)?")
_PLAIN_ID = re.compile(r"[\w.:/@+-]+", re.ASCII)
# Parts of a name that tell a smaller, cheaper sibling, and those that tell a dearer or special one.
_SMALL = frozenset({"mini", "nano", "small", "lite", "flash", "haiku", "fast"})
_SPECIAL = frozenset({"max", "1m", "pro", "preview"})


@dataclass(frozen=True, slots=True)
class Model:
    """`endpoints` is never empty. `is_allowed`: its terms are accepted, or need not be. A limit that is not told is None."""

    id: str
    endpoints: tuple[str, ...]
    calls_tools: bool = True
    is_preview: bool = False
    is_allowed: bool = True
    is_default: bool = False
    context_tokens: int | None = None
    output_tokens: int | None = None

    @property
    def words(self) -> frozenset[str]:
        return frozenset(re.split(r"[-_/:@ ]", self.id.lower()))

    @property
    def version(self) -> tuple[int, ...]:
        """The first number in its name; (0,) without one."""
        found = _VERSION.search(self.id)
        return tuple(int(part) for part in found[0].split(".")) if found else (0,)


@dataclass(frozen=True, slots=True)
class Wish:
    """What suits a client: a model that Copilot serves at `endpoint`, of the earliest family in `families` (how ids
    begin) that the account has; among equals the one with `word` in its name. With `takes_default` the account's own
    default comes before all others."""

    endpoint: str
    families: tuple[str, ...]
    word: str = ""
    takes_default: bool = False


def chat_models(listed: Iterable[Mapping[str, Any]]) -> tuple[Model, ...]:
    """Those of /v1/models that chat, in their order; without ids that could mean something to a shell."""
    return tuple(
        _model(one) for one in listed if one.get("kind") == "chat" and _PLAIN_ID.fullmatch(str(one.get("id", "")))
    )


def ranked(models: Sequence[Model], wish: Wish) -> list[Model]:
    """All of them, the most suitable first."""
    return sorted(models, key=lambda model: _suitability(model, wish), reverse=True)


def small_sibling(models: Sequence[Model], model: Model) -> Model:
    """The newest small one of the same maker, for a client's chores; the model itself where there is none."""
    maker = model.id.partition("-")[0]
    small = [
        one
        for one in models
        if one.id.partition("-")[0] == maker and one.words & _SMALL and one.calls_tools and one.is_allowed
    ]
    return max(small, key=lambda one: (not one.is_preview, one.version), default=model)


def _suitability(model: Model, wish: Wish) -> tuple[Any, ...]:
    family = next(
        (index for index, begin in enumerate(wish.families) if model.id.startswith(begin)), len(wish.families)
    )
    return (
        model.is_allowed,
        wish.takes_default and model.is_default,
        wish.endpoint in model.endpoints,
        -family,
        model.calls_tools,
        not model.is_preview,
        not model.words & (_SMALL | _SPECIAL),
        model.version,
        wish.word in model.words,
        -len(model.id),
    )


def _model(one: Mapping[str, Any]) -> Model:
    supports, limits = _mapping(one.get("supports")), _mapping(one.get("limits"))
    endpoints = one.get("endpoints")
    return Model(
        id=one["id"],
        # Copilot leaves the field out where a model has chat completions only (copilot-wire 4.4).
        endpoints=tuple(endpoints) if isinstance(endpoints, list) and endpoints else ("/chat/completions",),
        # A handler's model tells nothing of itself, and is asked for tools like any other.
        calls_tools=bool(supports.get("tool_calls", not supports)),
        is_preview=one.get("preview") is True,
        is_allowed=one.get("policy") in (None, "enabled"),
        is_default=one.get("is_default") is True,
        context_tokens=_count(limits.get("max_context_window_tokens")),
        output_tokens=_count(limits.get("max_output_tokens")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None
