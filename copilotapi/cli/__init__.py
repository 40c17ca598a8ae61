"""The `copilotapi` command: one file per subcommand. Edges only: each makes Settings and owns its process."""

import logging

import click

from copilotapi.cli.chat import chat
from copilotapi.cli.connect import connect
from copilotapi.cli.demo import demo
from copilotapi.cli.doctor import doctor
from copilotapi.cli.login import login, logout
from copilotapi.cli.models import models
from copilotapi.cli.serve import serve
from copilotapi.cli.simulate import simulate
from copilotapi.cli.terminal import Program
from copilotapi.cli.usage import usage
from copilotapi.cli.vocabularies import vocabularies
from copilotapi.version import VERSION

_EPILOG = """\b
Examples:
  copilotapi demo
  copilotapi login && copilotapi serve
"""


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@click.version_option(VERSION, prog_name="copilotapi")
def main() -> None:
    """A gateway in front of GitHub Copilot for tools that speak OpenAI's, Anthropic's or Copilot's own protocol.

    Unofficial: it may break at any time, and using it may be against the terms of your account.
    """
    # Without a handler Python prints warnings to standard error; a command tells what matters itself.
    logging.getLogger().addHandler(logging.NullHandler())


for _command in (serve, demo, doctor, login, logout, connect, chat, models, usage, simulate, vocabularies):
    main.add_command(_command)
