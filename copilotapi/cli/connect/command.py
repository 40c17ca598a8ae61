"""The command itself: what was asked for, the gateway asked, the client's settings shown or written."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.text import Text

from copilotapi.cli.connect.clients import CLIENTS, Client, Connection, File, Machine, find
from copilotapi.cli.connect.connection import connection_for
from copilotapi.cli.connect.documents import FORMATS
from copilotapi.cli.connect.files import Change, FileRefused, NothingToUndo, check, planned, undo, write
from copilotapi.cli.connect.shells import SHELLS, Shell, usual_shell
from copilotapi.cli.connect.text import content_text, diff, next_steps, printed
from copilotapi.cli.terminal import console, one_line, table

_EPILOG = """\b
Examples:
  copilotapi connect codex
  copilotapi connect claude-code --write
  copilotapi connect claude-code --undo
  eval "$(copilotapi connect openai-python)"
"""
_DIFF_STYLES = {"+": "green", "-": "red", "@": "cyan"}


@click.command(epilog=_EPILOG, short_help="Print or write the settings of a client.")
@click.argument("client_name", metavar="CLIENT", required=False)
@click.option("--print", "mode", flag_value="print", default="print", help="Print what belongs where (the default).")
@click.option("--write", "mode", flag_value="write", help="Write it, after showing the change; a backup is kept.")
@click.option("--undo", "mode", flag_value="undo", help="Take back what --write wrote.")
@click.option("--list", "mode", flag_value="list", help="List the clients and stop.")
@click.option("--model", metavar="ID", help="The model to use. Default: one of the account that suits the client.")
@click.option("--url", metavar="URL", help="Where the gateway is. Default: HOST and PORT of the settings.")
@click.option("--shell", "shell_name", type=click.Choice(list(SHELLS)), help="For the variables. zsh: bash.")
@click.option("--yes", is_flag=True, help="With --write: do not ask.")
@click.option(
    "--probe/--no-probe", default=None, help="Try the model with one tiny request; --write does so by itself."
)
def connect(
    client_name: str | None,
    mode: str,
    model: str | None,
    url: str | None,
    shell_name: str | None,
    yes: bool,
    probe: bool | None,
) -> None:
    """Point a client at this gateway: an agent, an editor, a library.

    Prints the client's settings and where they belong, with a model the account really has. Some clients' files can be
    written directly, and taken back. A real key is never printed and never written.
    """
    if mode == "list":
        _show_list()
        return
    client = _known(client_name)
    machine = Machine(os.environ, _home(), sys.platform)
    try:
        if mode == "undo":
            file, path = _written_file(client, machine)
            click.echo(undo(path, FORMATS[file.format]))
            return
        shell = SHELLS[shell_name] if shell_name else usual_shell(os.environ, sys.platform)
        if mode == "write":
            _check_before_asking(*_written_file(client, machine), yes)
        connection = connection_for(client, model, url, probes=mode == "write" if probe is None else probe)
        for remark in (*client.remarks, *(client.key_remarks if connection.needs_key else ())):
            click.echo(remark, err=True)
        if mode == "write":
            _write(client, connection, shell, machine, yes)
        else:
            click.echo(printed(client, connection, shell, machine), nl=False)
    except (FileRefused, NothingToUndo) as exc:
        raise click.ClickException(str(exc)) from exc


def _show_list() -> None:
    terminal = console()
    listed = table(terminal, "client", "name", "speaks", "--write")
    for client in CLIENTS:
        names = ", ".join((client.name, *client.aliases))
        listed.add_row(names, client.title, client.protocol, "yes" if client.file and client.file.writable else "")
    terminal.print(listed)


def _known(name: str | None) -> Client:
    if name is None:
        raise click.UsageError("Which client? `copilotapi connect --list` names those there are.")
    client = find(name)
    if client is None:
        raise click.ClickException(
            f"{one_line(name)} is not known here; `copilotapi connect --list` names the clients."
        )
    return client


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as exc:
        raise click.ClickException("This account has no home folder, where clients keep their settings.") from exc


def _written_file(client: Client, machine: Machine) -> tuple[File, Path]:
    """What --write and --undo are about."""
    if client.file is None or client.file.where is None or not client.file.writable:
        raise click.ClickException(
            f"copilotapi does not write {client.title}'s settings; without --write or --undo it prints them."
        )
    return client.file, client.file.where(machine)


def _check_before_asking(file: File, path: Path, yes: bool) -> None:
    """A file with comments is let pass: what to paste into it can only be told later."""
    if not yes and not (sys.stdin and sys.stdin.isatty()):
        raise click.ClickException("There is no terminal to ask on; add --yes to write without asking.")
    try:
        check(path, FORMATS[file.format])
    except FileRefused as exc:
        if not exc.has_comments:
            raise


def _write(client: Client, connection: Connection, shell: Shell, machine: Machine, yes: bool) -> None:
    file, path = _written_file(client, machine)
    content = file.content(connection)
    try:
        change = planned(path, FORMATS[file.format], content, file.defaults)
    except FileRefused as exc:
        if exc.has_comments:
            click.echo(content_text(client, connection), nl=False)
            click.echo("Put the above into it by hand.", err=True)
        raise
    if change.changes_nothing:
        click.echo(f"{path} is as it should be; nothing was changed.", err=True)
    else:
        _show_diff(path, change, content)
        if not yes:
            click.confirm("Write this?", abort=True, err=True)
        backup = write(change, datetime.now(UTC))
        kept = f" What it was is in {backup}." if backup else ""
        click.echo(f"Wrote {path}.{kept} To take it back: copilotapi connect {client.name} --undo", err=True)
    click.echo(next_steps(client, connection, shell), nl=False)


def _show_diff(path: Path, change: Change, content: object) -> None:
    terminal = console(stderr=True)
    for line in diff(path, change.before, change.after, content):
        terminal.print(Text(line, style=_DIFF_STYLES.get(line[:1], "")), soft_wrap=True)
