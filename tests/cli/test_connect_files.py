"""Clients' own files: what is ours goes in and comes out again, what is not stays as it is, to the byte."""

import json
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from copilotapi.cli.connect.clients import CLIENTS, Client, Connection
from copilotapi.cli.connect.documents import FORMATS, BrokenDocument
from copilotapi.cli.connect.files import Change, FileRefused, NothingToUndo, planned, undo, write
from copilotapi.cli.connect.models import Model

NOW = datetime(2026, 11, 21, 5, 0, 0, tzinfo=UTC)
MODEL = Model("a-model", ("/chat/completions",), context_tokens=100_000, output_tokens=8_000)
SMALL = Model("a-small-model", ("/chat/completions",))
WRITTEN = [client for client in CLIENTS if client.file and client.file.writable]
READERS = {"toml": tomllib.loads, "yaml": yaml.safe_load, "json": json.loads}

EXISTING = {
    "claude-code": """{
    "permissions": {
        "allow": ["Bash(ls)"],
        "ratio": 1.50
    },
    "env": {
        "FOO": "bär",
        "ANTHROPIC_MODEL": "opus"
    }
}""",
    "codex": """# mine
model = "o3"   # the old one
approval_policy = "never"

[mcp_servers.docs]
command = 'npx'
args = [ "-y",
  "docs" ]

[model_providers.other] # keep
name = "Other"
base_url = "https://example.com/v1"

[projects."/home/me/x"]
trust_level = "trusted"
""",
    "opencode": '{\n\t"theme": "dark",\n\t"provider": {\n\t\t"other": {"name": "x"}\n\t}\n}\n',
    "aider": """# aider
dark-mode: true
model: sonnet  # mine

read:
- CONVENTIONS.md
alias:
- "fast:gpt-4o"
""",
    "continue": """name: Mine
version: 0.0.1
schema: v1
models:
  # local
  - name: Llama
    provider: ollama
    model: llama3
rules:
  - Be brief.
""",
}


def connection(*, needs_key: bool = False, model: Model = MODEL) -> Connection:
    return Connection("http://127.0.0.1:8000", model, SMALL, (MODEL, SMALL), needs_key)


def plan(client: Client, path: Path, told: Connection | None = None) -> Change:
    assert client.file
    return planned(path, FORMATS[client.file.format], client.file.content(told or connection()), client.file.defaults)


def put(client: Client, path: Path, told: Connection | None = None, now: datetime = NOW) -> Path | None:
    return write(plan(client, path, told), now)


def taken_back(client: Client, path: Path) -> str:
    assert client.file
    return undo(path, FORMATS[client.file.format])


def parsed(client: Client, path: Path) -> Any:
    return read(client, path.read_text())


def read(client: Client, text: str) -> Any:
    assert client.file
    return READERS[client.file.format](text)


def with_something_added(client: Client, text: str) -> str:
    """At the top, where each format has room for it."""
    assert client.file
    if client.file.format == "json":
        return text.replace("{", '{"added": 1,', 1)
    return ("added = 1\n" if client.file.format == "toml" else "added: 1\n") + text


def holds(tree: Any, part: Any) -> bool:
    """Whether everything in `part` is in `tree`; of lists, each item."""
    if isinstance(part, Mapping):
        return all(key in tree and holds(tree[key], value) for key, value in part.items())
    if isinstance(part, list):
        return all(any(holds(item, one) for item in tree) for one in part)
    return bool(tree == part)


@pytest.fixture(params=WRITTEN, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    assert isinstance(request.param, Client)
    return request.param


@pytest.fixture
def path(client: Client, tmp_path: Path) -> Path:
    assert client.file
    return tmp_path / "folder" / f"config.{client.file.format}"


@pytest.fixture
def existing(client: Client, path: Path) -> str:
    path.parent.mkdir()
    path.write_text(EXISTING[client.name])
    path.chmod(0o640)
    return EXISTING[client.name]


def beside(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.parent.iterdir() if entry != path)


@pytest.mark.parametrize("needs_key", [False, True])
def test_a_new_file_is_read_by_the_clients_own_parser_and_is_private(
    client: Client, path: Path, needs_key: bool
) -> None:
    assert put(client, path, connection(needs_key=needs_key)) is None
    assert client.file
    assert parsed(client, path) == client.file.content(connection(needs_key=needs_key))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert taken_back(client, path) == f"Removed {path}, which copilotapi had made."
    assert list(path.parent.iterdir()) == []


def test_what_others_wrote_stays_and_the_round_trip_is_exact_to_the_byte(
    client: Client, path: Path, existing: str
) -> None:
    before = parsed(client, path)
    backup = put(client, path)
    assert client.file
    ours = {name: value for name, value in client.file.content(connection()).items() if name not in before}
    after = parsed(client, path)
    assert holds(after, ours)
    assert "http://127.0.0.1:8000" in json.dumps(after)
    foreign = {name: value for name, value in before.items() if name not in ("model", "env", "version", "name")}
    assert holds(after, foreign)
    for comment in ("# mine", "# aider", "# local", "# keep"):
        assert (comment in existing) == (comment in path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert backup is not None
    assert (backup.read_text(), stat.S_IMODE(backup.stat().st_mode)) == (existing, 0o600)
    assert backup.name == f"{path.name}.copilotapi-20261121T050000Z.bak"
    assert taken_back(client, path) == f"{path} is as it was before."
    assert path.read_text() == existing
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert beside(path) == []


def test_the_layout_of_others_lines_is_kept(client: Client, path: Path, existing: str) -> None:
    put(client, path)
    after = path.read_text().splitlines()
    assert client.file
    if client.file.format == "json":
        unit = existing.splitlines()[1].partition('"')[0]
        assert {line.partition('"')[0] for line in after if re.match(r'\s+"(env|provider|model)"', line)} == {unit}
    else:
        replaced = ('model = "o3"   # the old one', "model: sonnet  # mine")
        assert [line for line in existing.splitlines() if line not in (*after, *replaced)] == []


def test_what_is_only_a_default_does_not_replace_what_is_there(client: Client, path: Path, existing: str) -> None:
    before = parsed(client, path)
    put(client, path)
    assert client.file
    for name in client.file.defaults:
        assert parsed(client, path)[name] == before.get(name, client.file.content(connection())[name])


def test_no_empty_table_is_left_behind(client: Client, path: Path) -> None:
    path.parent.mkdir()
    assert client.file
    path.write_text({"json": '{"x": 1}', "toml": "x = 1\n", "yaml": "x: 1\n"}[client.file.format])
    put(client, path)
    path.write_text(with_something_added(client, path.read_text()))
    taken_back(client, path)
    assert parsed(client, path) == {"x": 1, "added": 1}


def test_the_second_run_changes_nothing(client: Client, path: Path, existing: str) -> None:
    put(client, path)
    assert plan(client, path).changes_nothing


def test_another_model_takes_the_place_of_the_first_and_undoing_leads_to_the_start(
    client: Client, path: Path, existing: str
) -> None:
    put(client, path)
    put(client, path, connection(model=SMALL, needs_key=True), NOW + timedelta(seconds=1))
    assert "a-small-model" in path.read_text()
    assert len(beside(path)) == 2
    taken_back(client, path)
    assert path.read_text() == existing


def test_a_file_changed_since_loses_our_entries_only(client: Client, path: Path, existing: str) -> None:
    put(client, path)
    path.write_text(with_something_added(client, path.read_text()))
    told = taken_back(client, path)
    assert "only copilotapi's entries were taken out" in told
    assert parsed(client, path) == read(client, existing) | {"added": 1}
    assert [name.rpartition(".")[2] for name in beside(path)] == ["bak"]
    with pytest.raises(NothingToUndo):
        taken_back(client, path)


def test_an_entry_that_was_changed_since_is_left(path: Path, tmp_path: Path) -> None:
    [codex] = [client for client in WRITTEN if client.name == "codex"]
    path = tmp_path / "config.toml"
    put(codex, path)
    path.write_text(path.read_text().replace('model = "a-model"', 'model = "mine"'))
    taken_back(codex, path)
    assert tomllib.loads(path.read_text()) == {"model": "mine"}


def test_a_change_between_two_writes_is_kept_by_the_undoing_of_the_second(
    client: Client, path: Path, existing: str
) -> None:
    put(client, path)
    path.write_text(with_something_added(client, path.read_text()))
    put(client, path, connection(model=SMALL), NOW + timedelta(seconds=1))
    taken_back(client, path)
    assert parsed(client, path) == read(client, existing) | {"added": 1}


def test_nothing_is_undone_where_nothing_was_written(client: Client, path: Path, existing: str) -> None:
    with pytest.raises(NothingToUndo, match="nothing to undo"):
        taken_back(client, path)
    assert path.read_text() == existing


def test_line_ends_and_a_mark_at_the_start_are_kept(client: Client, path: Path, existing: str) -> None:
    content = b"\xef\xbb\xbf" + existing.replace("\n", "\r\n").encode()
    path.write_bytes(content)
    put(client, path)
    after = path.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf")
    assert after.count(b"\n") == after.count(b"\r") == after.count(b"\r\n") > 0
    taken_back(client, path)
    assert path.read_bytes() == content


def test_a_symbolic_link_stays_one_and_its_target_is_written(client: Client, path: Path, existing: str) -> None:
    link = path.parent.parent / "link"
    link.symlink_to(path)
    put(client, link)
    assert link.is_symlink()
    assert "a-model" in path.read_text()
    taken_back(client, link)
    assert (link.is_symlink(), path.read_text()) == (True, existing)


BROKEN = {"toml": ('a = 1\nb = "x\n', 2), "yaml": ("a: 1\nb: [1\n", 3), "json": ('{\n  "a": 1,\n  "b": oops\n}\n', 3)}
NO_TABLE = {
    "claude-code": '{"env": []}',
    "codex": "model_providers = 3\n",
    "opencode": '{"provider": "x"}',
    "aider": "- a\n",
    "continue": "models: none\n",
}


def refused(client: Client, path: Path) -> str:
    """The one line; nothing is written and nothing is left."""
    before = (path.read_bytes() if path.is_file() else None, sorted(path.parent.parent.rglob("*")))
    with pytest.raises(FileRefused) as refusal:
        put(client, path)
    assert (path.read_bytes() if path.is_file() else None, sorted(path.parent.parent.rglob("*"))) == before
    assert "\n" not in str(refusal.value)
    assert "Nothing was written" in str(refusal.value)
    return str(refusal.value)


def test_a_broken_file_is_told_with_its_line(client: Client, path: Path) -> None:
    assert client.file
    text, line = BROKEN[client.file.format]
    path.parent.mkdir()
    path.write_text(text)
    assert f"{path}, line {line}: " in refused(client, path)


def test_something_else_in_the_place_of_our_entries_is_told(client: Client, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(NO_TABLE[client.name])
    assert str(path) in refused(client, path)


def test_bytes_that_are_no_text_are_told_with_their_line(client: Client, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"# a\n\xff\n")
    assert f"{path}, line 2: it is not UTF-8" in refused(client, path)


def test_a_read_only_file_is_left(client: Client, path: Path, existing: str) -> None:
    path.chmod(0o440)
    assert "is read-only" in refused(client, path)


def test_a_home_that_cannot_be_written_is_told(client: Client, path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    assert "cannot be" in refused(client, path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_is_read_only_is_told(client: Client, path: Path, existing: str) -> None:
    path.parent.chmod(0o500)
    try:
        assert "cannot be written" in refused(client, path)
    finally:
        path.parent.chmod(0o700)


def test_a_folder_a_fifo_and_links_in_a_circle_are_told(client: Client, path: Path) -> None:
    path.mkdir(parents=True)
    refused(client, path)
    path.rmdir()
    os.mkfifo(path)
    refused(client, path)
    path.unlink()
    path.symlink_to(path)
    refused(client, path)


def test_a_file_that_changes_while_one_decides_is_left(client: Client, path: Path, existing: str) -> None:
    change = plan(client, path)
    path.write_text(existing + "\n")
    with pytest.raises(FileRefused, match="changed meanwhile"):
        write(change, NOW)
    assert path.read_text() == existing + "\n"
    assert beside(path) == []


def test_a_write_that_fails_half_way_leaves_everything_as_it_was(
    client: Client, path: Path, existing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = plan(client, path)

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(FileRefused, match="No space left on device"):
            write(change, NOW)
    assert path.read_text() == existing
    assert beside(path) == []


@pytest.mark.parametrize("text", ["", "\n", "# only this\n"])
def test_a_file_with_nothing_in_it_is_filled_and_emptied(tmp_path: Path, text: str) -> None:
    for client in WRITTEN:
        assert client.file
        if client.file.format == "json" and "#" in text:
            continue
        path = tmp_path / f"{client.name}.{client.file.format}"
        path.write_text(text)
        put(client, path)
        assert holds(parsed(client, path), client.file.content(connection()))
        assert text.strip() in path.read_text()
        taken_back(client, path)
        assert path.read_text() == text


@pytest.mark.parametrize("text", ['{\n  // mine\n  "a": "//"\n}', '{"a": [1,],}', "{/* x */}"])
def test_json_with_comments_is_told_from_json_that_is_broken(text: str) -> None:
    with pytest.raises(BrokenDocument) as broken:
        FORMATS["json"].read(text)
    assert broken.value.has_comments
    with pytest.raises(BrokenDocument) as broken:
        FORMATS["json"].read(f"{text} oops")
    assert not broken.value.has_comments


@pytest.mark.parametrize(
    ("form", "text"),
    [("json", '{"a": 1, "a": 2}'), ("yaml", "a: 1\na: 2\n"), ("toml", "a = 1\na = 2\n"), ("yaml", "a: 1\n---\nb: 1\n")],
)
def test_a_name_that_is_there_twice_is_no_document_to_change(form: str, text: str) -> None:
    with pytest.raises(BrokenDocument):
        FORMATS[form].read(text)
