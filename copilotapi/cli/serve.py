"""`copilotapi serve`: the gateway under gunicorn, as `make run` starts it."""

import os
import sys

import click

from copilotapi.cli.server import gunicorn_command
from copilotapi.settings import Settings, SettingsError


@click.command(epilog="Example: GITHUB_COPILOT_TOKEN=ghu_… copilotapi serve")
def serve() -> None:
    """Serve the gateway with the settings of the environment and .env, until Ctrl-C."""
    try:
        settings = Settings.from_env()
    except SettingsError as exc:
        for problem in exc.problems:
            click.echo(f"copilotapi: {problem}", err=True)
        sys.exit(os.EX_CONFIG)
    click.echo(f"Gateway   http://{settings.host}:{settings.port}/v1")
    click.echo(f"Callers   {'with an API key' if settings.api_keys or settings.admin_key else 'programs here, no key'}")
    click.echo(f"GitHub    {'token given' if settings.github_copilot_token else 'NO TOKEN: set GITHUB_COPILOT_TOKEN'}")
    click.echo("Ctrl-C stops it once the answers under way are complete.")
    command = gunicorn_command()
    os.execv(command[0], command)
