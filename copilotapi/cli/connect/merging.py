"""Entries of ours in a client's tree: put in, told apart from what others wrote, taken out again.

An entry is a leaf, a whole mapping under our own name, or an item of a list known by its `name`.
"""

from collections.abc import Callable, Iterator, Mapping, MutableSequence
from dataclasses import dataclass
from typing import Any

from copilotapi.cli.connect.documents import Tree

OURS = "copilotapi"


@dataclass(frozen=True, slots=True)
class Named:
    """The item of a list that has this `name`."""

    name: str


Path = tuple[str | Named, ...]
# Makes a mapping that the tree may hold: tomlkit has one of its own.
Table = Callable[[Mapping[str, Any]], Any]
_MISSING = object()


class CannotMerge(Exception):
    """Something else stands where our entries belong. The message names the place."""


def entries(content: Mapping[str, Any], prefix: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The entries of a tree, by their path."""
    for key, value in content.items():
        path = (*prefix, key)
        if isinstance(value, Mapping) and key != OURS:
            yield from entries(value, path)
        elif _is_list_of_named(value):
            yield from (((*path, Named(item["name"])), item) for item in value)
        else:
            yield path, value


def put_in(tree: Tree, content: Mapping[str, Any], defaults: tuple[str, ...], table: Table) -> None:
    """Our entries into the tree; those of `defaults`, names at the top, only where nothing is. CannotMerge."""
    for path, value in entries(content):
        if path[0] not in defaults or path[0] not in tree:
            _put(tree, path, value, table)


def take_out(tree: Tree, before: Mapping[str, Any], written: Mapping[str, Any], table: Table) -> None:
    """Entries that are as `written` has them become what they were `before`; what was changed since stays."""
    earlier = dict(entries(before))
    for path, value in entries(written):
        if earlier.get(path, _MISSING) == value or _at(tree, path) != value:
            continue
        if path in earlier:
            _put(tree, path, earlier[path], table)
        else:
            _drop(tree, path, before)


def shown(path: Path) -> str:
    """As people write it: model_providers.copilotapi, or models[CopilotAPI]."""
    return "".join(f"[{step.name}]" if isinstance(step, Named) else f".{step}" for step in path).lstrip(".")


def _put(tree: Any, path: Path, value: Any, table: Table) -> None:
    for index, step in enumerate(path[:-1]):
        tree = _child(tree, step, path[: index + 1], table, in_list=isinstance(path[index + 1], Named))
    last = path[-1]
    if isinstance(last, Named):
        position = _position(tree, last)
        tree[position : len(tree) if position == len(tree) else position + 1] = [value]
    else:
        tree[last] = table(value) if isinstance(value, Mapping) else value


def _child(tree: Any, step: str | Named, path: Path, table: Table, *, in_list: bool) -> Any:
    if step not in tree or tree[step] is None:
        tree[step] = [] if in_list else table({})
    child = tree[step]
    if not isinstance(child, MutableSequence if in_list else Mapping):
        raise CannotMerge(f"{shown(path)} is there, but is not a {'list' if in_list else 'table'}")
    return child


def _drop(tree: Any, path: Path, before: Mapping[str, Any]) -> None:
    """With what it leaves empty, as far as that was not there before."""
    parent = _at(tree, path[:-1])
    last = path[-1]
    del parent[_position(parent, last) if isinstance(last, Named) else last]
    if not parent and len(path) > 1 and _at(before, path[:-1]) is _MISSING:
        _drop(tree, path[:-1], before)


def _at(tree: Any, path: Path) -> Any:
    for step in path:
        if isinstance(step, Named):
            position = _position(tree, step) if isinstance(tree, MutableSequence) else None
            tree = tree[position] if position is not None and position < len(tree) else _MISSING
        else:
            tree = tree.get(step, _MISSING) if isinstance(tree, Mapping) else _MISSING
    return tree


def _position(items: Any, named: Named) -> int:
    """Where it is, or the end."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    return names.index(named.name) if named.name in names else len(names)


def _is_list_of_named(value: Any) -> bool:
    return (
        isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value) and value != []
    )
