"""`copilotapi serve`: the gateway under gunicorn, as `make run` starts it, once all is known that would stop it."""

import errno
import os
import socket
from collections.abc import Mapping

import click
from rich.table import Table

from copilotapi.cli.asking import running_url
from copilotapi.cli.overview import overview
from copilotapi.cli.server import gunicorn_command
from copilotapi.cli.terminal import console, quiet_interrupt, reason, refuse_settings
from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import path_in, signed_in

_EPILOG = """\b
Examples:
  copilotapi login && copilotapi serve
  copilotapi serve --port 8001
"""
_LABEL_COLUMNS = 9


@click.command(epilog=_EPILOG, short_help="Serve the gateway until Ctrl-C.")
@click.option("--host", metavar="HOST", help="Address to listen on, in the place of HOST.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on, in the place of PORT; 0: a free one.")
def serve(host: str | None, port: int | None) -> None:
    """Serve the gateway with the settings of the environment and .env, until Ctrl-C."""
    environment = _with(_with(dict(os.environ), "HOST", host), "PORT", port)
    try:
        given = Settings.from_env(environment)
        settings = signed_in(given)
    except SettingsError as exc:
        refuse_settings(exc)
    command = gunicorn_command()
    with quiet_interrupt():
        _check_free(settings)
        _show(settings, _token_source(given, settings))
    os.execve(command[0], command, _for_gunicorn(environment))


def _with(environment: dict[str, str], name: str, value: object) -> dict[str, str]:
    """An option wins over both ways to set the same."""
    if value is None:
        return environment
    return {**{key: one for key, one in environment.items() if key != f"{name}_FILE"}, name: str(value)}


def _for_gunicorn(environment: Mapping[str, str]) -> dict[str, str]:
    """gunicorn itself reads WEB_CONCURRENCY by int(), before our configuration: an empty one would be a traceback."""
    return {name: one for name, one in environment.items() if name != "WEB_CONCURRENCY" or one}


def _token_source(given: Settings, settings: Settings) -> str | None:
    """Where the GitHub token comes from, in words; None when there is none."""
    if given.github_copilot_token is not None:
        return f"{settings.github_url} with the token in GITHUB_COPILOT_TOKEN"
    if settings.github_copilot_token is not None and settings.copilotapi_home is not None:
        return f"{settings.github_url} with the stored sign-in ({path_in(settings.copilotapi_home)})"
    return None


def _check_free(settings: Settings) -> None:
    """ClickException when gunicorn could not listen: it would try for five seconds and log each failure."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            url = running_url(settings)
            who = f"the gateway that runs at {url}" if url else "another program"
            raise click.ClickException(f"Port {settings.port} is taken by {who}. Take another with --port.") from exc
        where = f"{settings.host} port {settings.port}"
        raise click.ClickException(f"Cannot listen on {where}: {reason(exc)}. Look at HOST and PORT.") from exc


def _show(settings: Settings, token_source: str | None) -> None:
    out = console()
    for line in overview(settings, token_source):
        row = Table.grid(padding=(0, 1, 0, 0))
        row.add_column(width=_LABEL_COLUMNS, style="bold red" if line.label == "Warning" else "bold")
        row.add_column(overflow="fold")
        row.add_row(line.label, line.text)
        out.print(row)
    out.print("Ctrl-C stops it once the answers under way are complete.")
