"""Which settings do not go together, and what to do about it. Each of them is sound by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from copilotapi.settings.fields import Fields


@dataclass(frozen=True, slots=True)
class Conflict:
    """Values that do not go together. The first name leads the line; nothing is said when one of them is bad itself."""

    names: tuple[str, ...]
    advice: str


def conflicts(settings: Fields) -> Iterator[Conflict]:
    """Every combination that must not start."""
    yield from _exposure(settings)
    yield from _keys(settings)
    yield from _amounts(settings)
    yield from _local_model(settings)


def _exposure(settings: Fields) -> Iterator[Conflict]:
    if not settings.is_loopback and not settings.api_keys:
        advice = "is reachable from other machines; set API_KEYS (ADMIN_KEY alone is not enough) or HOST=127.0.0.1"
        yield Conflict(("HOST", "API_KEYS"), advice)
    if "*" not in settings.allow_origins:
        return
    if len(settings.allow_origins) > 1:
        yield Conflict(("ALLOW_ORIGINS",), "has * beside other origins; list exact origins only")
    if not settings.is_loopback or not (settings.api_keys or settings.admin_key or settings.require_auth):
        advice = "* needs a loopback HOST and API_KEYS, ADMIN_KEY or REQUIRE_AUTH; list exact origins instead"
        yield Conflict(("ALLOW_ORIGINS", "HOST", "API_KEYS", "ADMIN_KEY", "REQUIRE_AUTH"), advice)


def _keys(settings: Fields) -> Iterator[Conflict]:
    if len(set(settings.api_keys)) < len(settings.api_keys):
        yield Conflict(("API_KEYS",), "holds the same key twice; give each client its own")
    if settings.admin_key in settings.api_keys:
        yield Conflict(
            ("ADMIN_KEY", "API_KEYS"), "is also one of API_KEYS, so each such client is an operator; change it"
        )
    if settings.require_auth and not settings.api_keys and settings.admin_key is None:
        yield Conflict(("REQUIRE_AUTH", "API_KEYS", "ADMIN_KEY"), "refuses everyone, for no key exists; set API_KEYS")
    given = settings.given_redis_url
    if given is not None and urlsplit(given.get_secret_value()).password and settings.redis_password is not None:
        yield Conflict(("REDIS_PASSWORD", "REDIS_URL"), "is set, but REDIS_URL holds a password already; keep one")


def _amounts(settings: Fields) -> Iterator[Conflict]:
    if settings.max_tokens > settings.max_tokens_limit:
        yield Conflict(("MAX_TOKENS", "MAX_TOKENS_LIMIT"), "must not be larger than MAX_TOKENS_LIMIT")
    for name in ("CONNECT_TIMEOUT", "FIRST_BYTE_TIMEOUT", "IDLE_TIMEOUT"):
        if getattr(settings, name.lower()) > settings.total_timeout:
            yield Conflict((name, "TOTAL_TIMEOUT"), "must not be longer than TOTAL_TIMEOUT")


def _local_model(settings: Fields) -> Iterator[Conflict]:
    if (settings.local_model_url is None) != (settings.local_model is None):
        yield Conflict(("LOCAL_MODEL_URL", "LOCAL_MODEL"), "LOCAL_MODEL_URL and LOCAL_MODEL go together; set both")
    if settings.local_model_url and settings.completion_handler:
        advice = "another handler is set by LOCAL_MODEL_URL; choose one of them"
        yield Conflict(("COMPLETION_HANDLER", "LOCAL_MODEL_URL"), advice)
    template = settings.local_model_template
    if template is not None and not ("{prompt}" in template and "{suffix}" in template):
        yield Conflict(("LOCAL_MODEL_TEMPLATE",), "must hold {prompt} and {suffix}")
