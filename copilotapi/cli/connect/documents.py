"""A client's configuration as a tree that keeps its comments and its order: TOML, YAML and JSON, read and written.

It knows no file and no client.
"""

import io
import json
import re
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import tomlkit
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.util import load_yaml_guess_indent
from tomlkit.exceptions import ParseError, TOMLKitError

Tree = MutableMapping[str, Any]
_NEVER_WRAP = 1_000_000


class BrokenDocument(Exception):
    """The text is not in its format. `line` counts from 1; `has_comments` where only comments or commas stand against it."""

    def __init__(self, reason: str, line: int, *, has_comments: bool = False) -> None:
        super().__init__(reason)
        self.line = line
        self.has_comments = has_comments


@dataclass(frozen=True, slots=True)
class Document:
    """`tree` may be changed in place; `render` gives the text as it then is."""

    tree: Tree
    render: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Format:
    """`read` raises BrokenDocument; `plain` is the same tree as the format's usual reader sees it; `table` makes a
    mapping that `tree` may hold."""

    name: str
    read: Callable[[str], Document]
    plain: Callable[[str], Any]
    dump: Callable[[Any], str]
    table: Callable[[Mapping[str, Any]], Any]


def _read_toml(text: str) -> Document:
    try:
        document = tomlkit.parse(text)
    except ParseError as exc:
        raise BrokenDocument(_first_line(exc), exc.line) from exc
    except TOMLKitError as exc:
        raise BrokenDocument(_first_line(exc), 1) from exc
    return Document(document, lambda: tomlkit.dumps(document))


def _toml_table(values: Mapping[str, Any]) -> Any:
    """One that holds tables only needs no heading of its own."""
    table = tomlkit.table(is_super_table=not values)
    table.update(values)
    return table


def _read_yaml(text: str) -> Document:
    try:
        _, indent, dash_indent = load_yaml_guess_indent(text)
        writer = _yaml_writer(indent, dash_indent)
        tree = writer.load(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        raise BrokenDocument(exc.problem or "it is not YAML", mark.line + 1 if mark else 1) from exc
    except YAMLError as exc:
        raise BrokenDocument(_first_line(exc), 1) from exc
    if tree is None:
        fresh: dict[str, Any] = {}
        return Document(fresh, lambda: _ended(text) + _dumped(writer, fresh))
    return Document(_mapping(tree), lambda: _dumped(writer, tree))


def _yaml_writer(indent: int | None = None, dash_indent: int | None = None) -> YAML:
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = _NEVER_WRAP
    writer.indent(sequence=indent or 4, offset=2 if dash_indent is None else dash_indent)
    return writer


def _plain_yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _dumped(writer: YAML, tree: Any) -> str:
    if not tree:
        return ""
    stream = io.StringIO()
    writer.dump(tree, stream)
    return stream.getvalue()


def _read_json(text: str) -> Document:
    try:
        tree = json.loads(text, object_pairs_hook=_without_doubles) if text.strip() else {}
    except json.JSONDecodeError as exc:
        raise BrokenDocument(exc.msg, exc.lineno, has_comments=_is_json_with_comments(text)) from exc
    indent = re.search(r"^([ \t]+)\"", text, re.M)
    step = indent[1] if indent else "  "
    end = "\n" if text.endswith("\n") or not text.strip() else ""
    return Document(_mapping(tree), lambda: json.dumps(tree, indent=step, ensure_ascii=text.isascii()) + end)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two equal keys one would be lost by writing."""
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        double = next(key for key in keys if keys.count(key) > 1)
        raise BrokenDocument(f"{double} is there twice", 1)
    return tree


def _is_json_with_comments(text: str) -> bool:
    """As editors write it: it would be JSON without its comments and without commas before a closing bracket."""
    token = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.S)
    bare = token.sub(lambda match: match[1] or "", text)
    bare = re.sub(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])', lambda match: match[1] or "", bare)
    try:
        json.loads(bare)
    except json.JSONDecodeError:
        return False
    return True


def _mapping(tree: Any) -> Tree:
    if not isinstance(tree, MutableMapping):
        raise BrokenDocument("its top level has no names", 1)
    return tree


def _dump_yaml(tree: Any) -> str:
    return _dumped(_yaml_writer(), tree)


def _dump_json(tree: Any) -> str:
    return json.dumps(tree, indent=2) + "\n"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _first_line(exc: Exception) -> str:
    return str(exc).strip().partition("\n")[0]


FORMATS = {
    known.name: known
    for known in (
        Format("toml", _read_toml, tomllib.loads, tomlkit.dumps, _toml_table),
        Format("yaml", _read_yaml, lambda text: _plain_yaml(text) or {}, _dump_yaml, dict),
        Format("json", _read_json, lambda text: json.loads(text) if text.strip() else {}, _dump_json, dict),
    )
}
