"""What the commands share of the terminal: where people's words and programs' go, and how bad settings are told."""

import os
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table

from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import signed_in

# What is piped is cut into lines by whoever reads it.
_UNBOUNDED_COLUMNS = 10_000
_MOST_CHARS = 1000
# 128 and the number of SIGINT, as shells have it.
_INTERRUPTED = 130


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error. Off a terminal: no colour, no wrapping. NO_COLOR is honoured."""
    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream is not None and stream.isatty()
    return Console(
        stderr=stderr,
        force_terminal=is_terminal,
        width=None if is_terminal else _UNBOUNDED_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(of: Console, *columns: str, right: Container[str] = (), whole: Container[str] = ()) -> Table:
    """An empty table with these columns: `right` ones right-aligned, `whole` ones narrowed last and never wrapped.

    Where `of` is no terminal nothing is drawn and nothing wrapped.
    """
    drawn = box.SIMPLE_HEAD if of.is_terminal else None
    made = Table(box=drawn, show_edge=False, padding=(0, 1 if drawn else 2, 0, 0), pad_edge=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not of.is_terminal or column in whole,
            overflow="fold",
        )
    return made


def one_line(text: str) -> str:
    """Words from elsewhere as one line that can do nothing to a terminal; at most 1,000 characters."""
    words = " ".join(text.split())
    return "".join(char for char in words if char.isprintable())[:_MOST_CHARS]


def settings_or_exit() -> Settings:
    """The settings of the environment and .env, signed in. Each problem is a line of its own, and exit code 78."""
    try:
        return signed_in(Settings.from_env())
    except SettingsError as exc:
        refuse_settings(exc)


def refuse_settings(error: SettingsError) -> NoReturn:
    """Tells each problem and ends the command."""
    for problem in error.problems:
        click.echo(f"copilotapi: {problem}", err=True)
    sys.exit(os.EX_CONFIG)


@contextmanager
def quiet_interrupt() -> Iterator[None]:
    """Ctrl-C ends the command with exit code 130 and not a word."""
    try:
        yield
    except (KeyboardInterrupt, click.Abort) as exc:
        raise click.exceptions.Exit(_INTERRUPTED) from exc
