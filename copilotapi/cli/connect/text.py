"""What is shown to people: the settings as they would be written, variables, a line to try it, a diff. Asks nobody."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from copilotapi.cli.connect.clients import Client, Connection, Machine
from copilotapi.cli.connect.documents import FORMATS
from copilotapi.cli.connect.shells import Shell

_HIDDEN = "(hidden)"
_NAMED_VALUE = re.compile(r"^([ +-]\s*(?:-\s+)?\"?([\w.-]+)\"?\s*[:=]\s*)(.+?)(,?)$")
_SECRET_NAME = re.compile(r"key|token|secret|passw|auth|credential", re.I)


def printed(client: Client, connection: Connection, shell: Shell, machine: Machine) -> str:
    """Settings and their place, variables, a line to try it. Whatever is no setting is a comment of the shell."""
    parts = [_file_part(client, connection, shell, machine), *_environment_part(client, connection, shell)]
    steps = "".join(f"{shell.comment}{step}\n" for step in client.steps(connection))
    return "\n".join(
        part for part in [*parts, steps, f"{shell.comment}Try it: {try_line(client, connection)}\n"] if part
    )


def next_steps(client: Client, connection: Connection, shell: Shell) -> str:
    """What is left to do once the file is written."""
    try_it = f"{shell.comment}Try it: {try_line(client, connection)}\n"
    return "\n".join([*_environment_part(client, connection, shell), try_it])


def try_line(client: Client, connection: Connection) -> str:
    template = client.keyed_try_it if connection.needs_key and client.keyed_try_it else client.try_it
    return template.format(model=connection.model.id, url=connection.url, base_url=connection.base_url)


def content_text(client: Client, connection: Connection) -> str:
    """The client's settings in its own format; empty where it has no file."""
    if client.file is None:
        return ""
    return FORMATS[client.file.format].dump(client.file.content(connection))


def diff(path: Path, before: bytes | None, after: bytes, content: Any) -> Iterator[str]:
    """Lines of a unified diff. Values of names that sound like a secret are hidden, unless we write them ourselves."""
    ours = set(_values(content))
    old, new = ((text or b"").decode(errors="replace").splitlines() for text in (before, after))
    for line in difflib.unified_diff(old, new, str(path), str(path), lineterm=""):
        yield _without_secrets(line, ours)


def _without_secrets(line: str, ours: set[str]) -> str:
    named = _NAMED_VALUE.match(line)
    if named is None or not _SECRET_NAME.search(named[2]) or named[3].strip("\"'") in ours:
        return line
    # A mapping or a list that begins here.
    return line if named[3] in ("{", "[", "{}", "[]") else f"{named[1]}{_HIDDEN}{named[4]}"


def _values(content: Any) -> Iterator[str]:
    if isinstance(content, Mapping):
        for value in content.values():
            yield from _values(value)
    elif isinstance(content, list):
        for value in content:
            yield from _values(value)
    else:
        yield str(content)


def _file_part(client: Client, connection: Connection, shell: Shell, machine: Machine) -> str:
    if client.file is None:
        return ""
    where = client.file.where(machine) if client.file.where else f"a file of your choice ({client.file.format})"
    return f"{shell.comment}{where}\n{content_text(client, connection)}"


def _environment_part(client: Client, connection: Connection, shell: Shell) -> list[str]:
    environment = client.environment(connection)
    if not environment:
        return []
    advice = f"{shell.comment}Put one of the gateway's API_KEYS in place of your-key.\n" if connection.needs_key else ""
    return [advice + "".join(f"{line}\n" for line in shell.lines(environment))]
