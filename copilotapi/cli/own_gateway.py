"""The gateway on a loopback port of this process, for a command that finds none running. Only who has its key gets in."""

import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from pydantic import SecretStr

from copilotapi.cli.terminal import reason
from copilotapi.settings import Settings

_STOP_SECONDS = 2.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def own_gateway(settings: Settings) -> Iterator[tuple[str, str]]:
    """Its address and its key, which opens everything and ends with the block.

    It shares the Copilot token through Redis where the settings name one that answers. SettingsError when they cannot
    be used, ClickException when it cannot start.
    """
    # The whole gateway: a command that finds one running starts without loading it.
    from copilotapi.proxy import CopilotProxy  # noqa: PLC0415

    key = secrets.token_urlsafe(32)
    try:
        proxy = CopilotProxy(settings=_closed(settings, key), stop_timeout_seconds=_STOP_SECONDS)
        _start_beside(proxy.start)
    except OSError as exc:
        raise click.ClickException(f"The gateway could not start in this process: {reason(exc)}.") from exc
    try:
        yield proxy.url, key
    finally:
        proxy.stop()


def _closed(settings: Settings, key: str) -> Settings:
    """The same account and models, for this process alone."""
    return settings.model_copy(
        update={
            "host": "127.0.0.1",
            "port": 0,
            "api_keys": (),
            "admin_key": SecretStr(key),
            "require_auth": False,
            "allow_origins": (),
            "trusted_proxy_count": 0,
            "rate_limit_per_minute": 0,
        }
    )


def _start_beside(start: Callable[[], None]) -> None:
    """Threads inherit which signals they take. The server's take none, so that Ctrl-C wakes the command itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
