"""docs/clients.md, made from the table of clients: `python -m copilotapi.cli.connect.page` writes it anew."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copilotapi.cli.connect.clients import CLIENTS, Client, Connection, File, Machine
from copilotapi.cli.connect.merging import entries, shown
from copilotapi.cli.connect.models import Model
from copilotapi.cli.connect.shells import SHELLS
from copilotapi.cli.connect.text import content_text, try_line

_PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
_MODEL = Model("MODEL", ("/chat/completions",), context_tokens=128_000, output_tokens=16_000)
_WITHOUT_KEY = Connection("http://127.0.0.1:8000", _MODEL, _MODEL, (_MODEL,), needs_key=False)
_WITH_KEY = Connection("http://127.0.0.1:8000", _MODEL, _MODEL, (_MODEL,), needs_key=True)
_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}
_REGISTRIES = {"npm": "https://www.npmjs.com/package/", "pypi": "https://pypi.org/project/"}
_HEAD = """\
# Clients

Written by `python -m copilotapi.cli.connect.page` from the table in `copilotapi/cli/connect/clients.py`; change it there.

`copilotapi connect CLIENT` prints what a client needs to use this gateway, and where it belongs, with a model that your
account really has in the place of `MODEL` below. `--write` writes it, where the section says so: it shows the change,
asks, keeps a backup beside the file and leaves everything else in it as it is. `--undo` takes it back. `--list` names
the clients, `--model` chooses the model, `--url` names a gateway elsewhere, `--shell` the form of the variables.

A real key is never printed or written: where the gateway wants one, settings name the variable `$COPILOTAPI_API_KEY`.

- **tried**: `tests/cli/test_connect_clients.py` runs the client itself with exactly these settings.
- **from documentation**: built from the client's own documentation, not run by a test of ours.
"""


class _Asked(dict[str, str]):
    """An environment that remembers which variables it was asked for."""

    def __init__(self, **values: str) -> None:
        super().__init__(values)
        self.names: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.names.append(name)
        return super().get(name, default)


def page() -> str:
    return "\n".join([_HEAD, *(_section(client) for client in CLIENTS)])


def _section(client: Client) -> str:
    try_it = try_line(client, _WITHOUT_KEY)
    parts = [
        f"## {client.title} ({'tried' if client.tried else 'from documentation'})",
        _summary(client),
        _file_part(client.file, client) if client.file else "",
        _fenced("sh", "\n".join(SHELLS["bash"].lines(client.environment(_WITHOUT_KEY)))),
        "\n".join(f"- {step}" for step in client.steps(_WITHOUT_KEY)),
        _key_part(client),
        " ".join(remark if remark.endswith(".") else f"{remark}." for remark in client.remarks),
        f"To try it, {try_it}." if client.try_by_hand else f"To try it:\n\n{_fenced('sh', try_it)}",
        _undo_part(client),
    ]
    return "\n\n".join(part for part in parts if part).replace("docs/editors.md", "[editors.md](editors.md)") + "\n"


def _summary(client: Client) -> str:
    writes = ", `--write`, `--undo`" if client.file and client.file.writable else ""
    registry, _, name = client.package.partition(":")
    package = f" · [`{name}`]({_REGISTRIES[registry]}{name})" if name else ""
    return (
        f"`copilotapi connect {client.name}`{writes} · {client.protocol}{package} · "
        f"[its documentation]({client.settings_page})"
    )


def _file_part(file: File, client: Client) -> str:
    content = _fenced(file.format, content_text(client, _WITHOUT_KEY).rstrip("\n"))
    return f"{_places(file)}\n\n{content}"


def _places(file: File) -> str:
    """Where the file lies, on each system where they differ."""
    if file.where is None:
        return "In a file of your choice:"
    asked = _Asked(APPDATA="%APPDATA%")
    paths = {title: str(file.where(Machine(asked, Path("~"), system))) for system, title in _SYSTEMS.items()}
    paths["Windows"] = paths["Windows"].replace("/", "\\") if "%" in paths["Windows"] else paths["Windows"]
    if len(set(paths.values())) == 1:
        places = f"`{paths['Linux']}`"
    else:
        places = ", ".join(f"`{path}` ({title})" for title, path in paths.items())
    variables = [name for name in dict.fromkeys(asked.names) if name != "APPDATA"]
    moved = f", moved by {' and '.join(f'`${name}`' for name in variables)}" if variables else ""
    return f"In {places}{moved}:"


def _key_part(client: Client) -> str:
    """What is different where the gateway wants a key."""
    parts = [f"`{line}`" for line in _differing_lines(client)]
    before, after = client.environment(_WITHOUT_KEY), client.environment(_WITH_KEY)
    differing = {name: value for name, value in after.items() if before.get(name) != value}
    parts += [f"`{line}` in the environment" for line in SHELLS["bash"].lines(differing)]
    parts += [f"`{step}`" for step in client.steps(_WITH_KEY) if step not in client.steps(_WITHOUT_KEY)]
    remarks = " ".join(remark if remark.endswith(".") else f"{remark}." for remark in client.key_remarks)
    told = f"Where the gateway wants a key: {', '.join(parts)}." if parts else ""
    return " ".join(part for part in (told, remarks) if part)


def _differing_lines(client: Client) -> list[str]:
    without_key = content_text(client, _WITHOUT_KEY).splitlines()
    lines = [line.strip().rstrip(",") for line in content_text(client, _WITH_KEY).splitlines()]
    known = {line.strip().rstrip(",") for line in without_key}
    return [line for line in lines if line not in known]


def _undo_part(client: Client) -> str:
    """By hand; --undo does it where --write did it."""
    content = client.file.content(_WITHOUT_KEY) if client.file else None
    if isinstance(content, Mapping) and client.file:
        found = [(shown(path), value) for path, value in entries(content) if path[0] not in client.file.defaults]
        names = [f"the item of `{name}`" if isinstance(value, list) else f"`{name}`" for name, value in found]
        return f"To undo it by hand, remove {', '.join(names)} from the file."
    if content is not None:
        return "To undo it by hand, remove the item from the file."
    if variables := client.environment(_WITHOUT_KEY):
        return f"To undo it, leave the {len(variables)} variables out."
    return "To undo it, switch the settings off again." if client.steps(_WITHOUT_KEY) else ""


def _fenced(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```" if text else ""


if __name__ == "__main__":
    _PAGE.write_text(page())
