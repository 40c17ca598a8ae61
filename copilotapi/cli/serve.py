"""`copilotapi serve`: the gateway under gunicorn, as `make run` starts it."""

import os
import sys

import click

from copilotapi.cli.server import gunicorn_command
from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import path_in, signed_in


@click.command(epilog="Example: copilotapi login && copilotapi serve")
def serve() -> None:
    """Serve the gateway with the settings of the environment and .env, until Ctrl-C."""
    try:
        settings = Settings.from_env()
        upstream = _account(settings)
    except SettingsError as exc:
        for problem in exc.problems:
            click.echo(f"copilotapi: {problem}", err=True)
        sys.exit(os.EX_CONFIG)
    click.echo(f"Gateway   http://{settings.host}:{settings.port}/v1")
    click.echo(f"Callers   {'with an API key' if settings.api_keys or settings.admin_key else 'programs here, no key'}")
    click.echo(f"GitHub    {upstream}")
    click.echo("Ctrl-C stops it once the answers under way are complete.")
    command = gunicorn_command()
    os.execv(command[0], command)


def _account(settings: Settings) -> str:
    """Where the GitHub token comes from. SettingsError when the stored one cannot be used."""
    if settings.github_copilot_token is not None:
        return f"{settings.github_url} with the token in GITHUB_COPILOT_TOKEN"
    if settings.copilotapi_home is not None and signed_in(settings) is not settings:
        return f"{settings.github_url} with the stored sign-in ({path_in(settings.copilotapi_home)})"
    return "NO TOKEN: run `copilotapi login`, or set GITHUB_COPILOT_TOKEN"
