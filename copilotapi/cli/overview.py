"""What an operator sees when the gateway starts: where it is, who may call, whose account it uses, what is amiss.

It asks GitHub and Redis, but not for long: a start waits for nobody.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from copilotapi.cli.asking import Asking, local_url
from copilotapi.cli.own_gateway import own_gateway
from copilotapi.cli.terminal import one_line
from copilotapi.settings import Settings, SettingsError
from copilotapi.store import RedisStore, open_store
from copilotapi.upstream.github import ExchangeRefused, GitHub
from copilotapi.upstream.transport import Transport
from copilotapi.vocabularies import VOCABULARIES

_LOOK_SECONDS = 3.0
_CLOCKS = ("connect_timeout", "first_byte_timeout", "idle_timeout", "total_timeout")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the block."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a look brought: its words, or why it brought none. Both are None when it took too long."""

    text: str | None = None
    failure: str | None = None


def overview(settings: Settings, token_source: str | None) -> Iterator[Line]:
    """The block, line by line; the first two come at once, the others within about three seconds.

    `token_source` says where the GitHub token is from; None when there is none.
    """
    yield Line("Gateway", _address(settings))
    yield Line("Callers", _callers(settings))
    found = _look(settings, token_source)
    answering = _answering(settings)
    if answering is not None:
        yield Line("Account", f"not asked: {answering} answers")
    elif token_source is None:
        yield Line("Account", "none")
    else:
        yield Line("Account", f"{found['account'].text or 'unknown'}, {token_source}")
        yield Line("Models", found["models"].text or "not known yet")
    store = found["store"]
    yield Line("Store", store.text or f"memory of each worker, until {_redis_address(settings)} answers")
    for warning in _warnings(settings, token_source, found):
        yield Line("Warning", warning)


def _address(settings: Settings) -> str:
    if settings.port == 0:
        return f"a free port of {settings.host}; the log names it"
    url = f"{local_url(settings)}/v1"
    if settings.host in ("0.0.0.0", "::"):
        return f"{url}, and every other address of this machine"
    return url


def _callers(settings: Settings) -> str:
    count = len(settings.api_keys)
    keys = "one API key" if count == 1 else f"one of {count} API keys"
    if not count and settings.admin_key is None:
        return "programs on this machine that call directly, no key needed"
    who = f"whoever sends {keys if count else 'ADMIN_KEY'}"
    where = ", on this machine only" if settings.is_loopback and not settings.trusted_proxy_count else ""
    proxies = settings.trusted_proxy_count
    behind = f", behind {proxies} {'proxy' if proxies == 1 else 'proxies'}" if proxies else ""
    return who + where + behind


def _answering(settings: Settings) -> str | None:
    """What answers instead of Copilot, if something does."""
    if settings.completion_handler:
        return f"COMPLETION_HANDLER {settings.completion_handler}"
    return f"LOCAL_MODEL {settings.local_model}" if settings.local_model else None


def _warnings(settings: Settings, token_source: str | None, found: Mapping[str, Found]) -> Iterator[str]:
    if token_source is None and _answering(settings) is None:
        yield "NO TOKEN: run `copilotapi login`, or set GITHUB_COPILOT_TOKEN. Until then nothing is answered."
    if settings.trusted_proxy_count and not settings.api_keys and settings.admin_key is None:
        yield "No API_KEYS: whatever comes through the proxy is refused."
    yield from _account_warning(found)
    if (failure := found["store"].failure) is not None and _names_a_store(settings):
        yield failure
    if missing := [one.name for one in VOCABULARIES if not (settings.tiktoken_cache_dir / one.file_name).is_file()]:
        yield f"No vocabulary {', '.join(missing)}: token counts are rough estimates. Run: copilotapi vocabularies"


def _account_warning(found: Mapping[str, Found]) -> Iterator[str]:
    """One at most: where the account could not be asked, its models could not be either."""
    late = f"no answer within {_LOOK_SECONDS:g} s; the gateway goes on trying."
    for name, asked in (
        ("account", "GitHub was asked for the account"),
        ("models", "Copilot was asked for its models"),
    ):
        if name in found and found[name].text is None:
            yield f"{asked}: {found[name].failure or late}"
            return


def _look(settings: Settings, token_source: str | None) -> dict[str, Found]:
    """At account, models and store, all at once."""
    looks: dict[str, Callable[[], str]] = {"store": lambda: _store(settings)}
    github_token = settings.github_copilot_token
    if github_token is not None and token_source is not None and _answering(settings) is None:
        # The whole gateway: the other commands start without loading it.
        from copilotapi.app import clocks, identification, network  # noqa: PLC0415

        brief = settings.model_copy(update=dict.fromkeys(_CLOCKS, _LOOK_SECONDS))
        transport = Transport(network(brief), clocks(brief))
        github = GitHub(transport, settings.github_api_url, identification(settings))
        looks["account"] = lambda: _account(transport, github, github_token.get_secret_value())
        looks["models"] = lambda: _models(brief)
    return _within(_LOOK_SECONDS, looks)


def _account(transport: Transport, github: GitHub, github_token: str) -> str:
    """Closes the transport."""
    if github_token.startswith("tid="):
        return "a Copilot token, which ends within the hour"
    try:
        with closing(transport):
            user = github.user(github_token)
    except ExchangeRefused as exc:
        raise click.ClickException(exc.message) from exc
    return f"{_word(user.get('login'))}, Copilot plan {_word(user.get('copilot_plan'))}"


def _models(settings: Settings) -> str:
    """Of a gateway that keeps its token to itself: this process may end with a lock of the store in its hands."""
    apart = settings.model_copy(update={"given_redis_url": SecretStr("memory://")})
    try:
        with own_gateway(apart) as (url, key):
            listed = Asking(url, apart, key).models()
    except SettingsError as exc:
        raise click.ClickException(one_line(str(exc))) from exc
    default = next((one_line(str(model.get("id"))) for model in listed if model.get("is_default")), None)
    return f"{len(listed)}, default {default}" if default else f"{len(listed)}, no default"


def _store(settings: Settings) -> str:
    store = open_store(settings.redis_url.get_secret_value())
    if not isinstance(store, RedisStore):
        return "memory of each worker; nothing is shared"
    try:
        if not store.probe():
            raise click.ClickException(one_line(store.degraded or "Redis does not answer."))
    finally:
        store.connection_pool.disconnect()
    return f"Redis at {_redis_address(settings)}"


def _redis_address(settings: Settings) -> str:
    """Without its password, and without a query, which may hold one."""
    parts = urlsplit(settings.redis_url.get_secret_value())
    return parts.path if parts.scheme == "unix" else f"{parts.netloc.rpartition('@')[2]}{parts.path}"


def _names_a_store(settings: Settings) -> bool:
    """Whether an operator wants Redis: without a word about it the gateway merely tries its usual place."""
    return bool(settings.model_fields_set & {"given_redis_url", "redis_host", "redis_port", "redis_db"})


def _word(told: object) -> str:
    return one_line(told) if isinstance(told, str) and told else "unknown"


def _within(seconds: float, looks: Mapping[str, Callable[[], str]]) -> dict[str, Found]:
    """What each look found. Those that take longer are left to themselves."""
    results: queue.SimpleQueue[tuple[str, Found]] = queue.SimpleQueue()

    def look(name: str, ask: Callable[[], str]) -> None:
        try:
            results.put((name, Found(ask())))
        except click.ClickException as exc:
            results.put((name, Found(failure=exc.message)))

    for name, ask in looks.items():
        threading.Thread(target=look, args=(name, ask), daemon=True).start()
    found = dict.fromkeys(looks, Found())
    deadline = time.monotonic() + seconds
    try:
        for _ in looks:
            name, one = results.get(timeout=max(deadline - time.monotonic(), 0))
            found[name] = one
    except queue.Empty:
        pass
    return found
