"""What the commands share of the terminal: where people's words and programs' go, and how bad settings are told."""

import errno
import io
import os
import sys
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import IO, Any, NoReturn

import click
from rich import box
from rich.console import Console
from rich.table import Table

from copilotapi.settings import Settings, SettingsError
from copilotapi.token_file import signed_in

# What is piped is cut into lines by whoever reads it; a narrow terminal wraps lines better than it holds columns.
_UNBOUNDED_COLUMNS = 10_000
_NARROW_COLUMNS = 60
_MOST_CHARS = 1000
# 128 and the number of SIGINT, as shells have it.
_INTERRUPTED = 130
_CANNOT_BE_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Program(click.Group):
    """A group of commands that end without a traceback where their words cannot be written.

    A character that the terminal's encoding lacks becomes a question mark; a full disk behind `>` is one line.
    """

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
        try:
            return super().main(*args, **kwargs)
        except OSError as exc:
            if exc.errno not in _CANNOT_BE_WRITTEN or exc.filename is not None:
                raise
            # Else the interpreter would try to write the rest once more, and fail with words of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            click.echo(f"Error: The output could not be written: {os.strerror(exc.errno)}.", err=True)
            sys.exit(1)


def console(*, stderr: bool = False) -> Console:
    """Standard output, or standard error. Off a terminal: no colour, no wrapping. NO_COLOR is honoured."""
    stream = sys.stderr if stderr else sys.stdout
    is_terminal = is_at_terminal(stream)
    made = Console(
        stderr=stderr,
        force_terminal=is_terminal,
        width=None if is_terminal else _UNBOUNDED_COLUMNS,
        highlight=False,
        markup=False,
        emoji=False,
    )
    if made.width < _NARROW_COLUMNS:
        made.width = _UNBOUNDED_COLUMNS
    return made


def is_at_terminal(stream: IO[str] | None) -> bool:
    """Whether a person reads it. A closed stream is None (Python's `sys`)."""
    return stream is not None and stream.isatty()


def is_plain(of: Console) -> bool:
    """Whether lines are to be whole: off a terminal, and on a narrow one."""
    return not of.is_terminal or of.width == _UNBOUNDED_COLUMNS


def table(of: Console, *columns: str, right: Container[str] = (), whole: Container[str] = ()) -> Table:
    """An empty table with these columns: `right` ones right-aligned, `whole` ones narrowed last and never wrapped.

    Where `of` is no terminal, or a narrow one, nothing is drawn and nothing wrapped.
    """
    drawn = None if is_plain(of) else box.SIMPLE_HEAD
    made = Table(box=drawn, show_edge=False, padding=(0, 1 if drawn else 2, 0, 0), pad_edge=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=is_plain(of) or column in whole,
            overflow="fold",
        )
    return made


def one_line(text: str) -> str:
    """Words from elsewhere as one line that can do nothing to a terminal; at most 1,000 characters."""
    words = " ".join(text.split())
    return "".join(char for char in words if char.isprintable())[:_MOST_CHARS]


def reason(error: OSError) -> str:
    """The system's own words, without what `socket.create_server` adds to them."""
    return (error.strerror or type(error).__name__).partition(" (while attempting")[0]


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
