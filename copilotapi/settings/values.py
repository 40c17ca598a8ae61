"""What numbers, switches, words, lists, paths and model aliases may be, as types for the fields.

A check raises ValueError with what to do, and never repeats the value: it may be a secret in the wrong place.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

_Item = TypeVar("_Item")

_PRINTABLE = re.compile(r"[ -~]+")
_UNBROKEN = re.compile(r"[!-~]+")
_HANDLER = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_unbroken(text: str) -> bool:
    """Printable ASCII without a blank, and not empty."""
    return bool(_UNBROKEN.fullmatch(text))


def _whole_number(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError("must be a whole number, digits only")


def _seconds(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", value):
        return float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError("must be a number of seconds, such as 30 or 2.5")


def _switch(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"true", "1", "yes", "on"}:
        return True
    if isinstance(value, str) and value.lower() in {"false", "0", "no", "off"}:
        return False
    raise ValueError("must be true or false (1/0, yes/no and on/off do as well)")


def _items(value: object) -> object:
    if not isinstance(value, str):
        return value
    items = tuple(item.strip() for item in value.split(","))
    if not all(items):
        raise ValueError("has an empty item; remove the stray comma")
    return items


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _header_value(value: str) -> str:
    if not _PRINTABLE.fullmatch(value) or value != value.strip():
        raise ValueError("must be printable ASCII without blanks around it, for it is sent in a header")
    return value


def _word(value: str) -> str:
    if not is_unbroken(value):
        raise ValueError("must be one word of printable ASCII")
    return value


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line without control characters")
    return value


def _handler(value: str) -> str:
    if not _HANDLER.fullmatch(value):
        raise ValueError("must be package.module:function")
    return value


def _path(value: Path) -> Path:
    if not str(value).isprintable() or str(value).startswith("~"):
        raise ValueError("must be a path without control characters, and a leading ~ is not expanded: write it out")
    return value


def _log_file(value: Path) -> Path:
    if value.is_dir() or not value.parent.is_dir():
        raise ValueError("must name a file in an existing folder")
    return value


def _existing(value: Path) -> Path:
    if not value.exists():
        raise ValueError("there is no such file or folder")
    return value


def _aliases(value: object) -> object:
    if isinstance(value, Mapping):
        return tuple(value.items())
    items = _items(value)
    if not isinstance(value, str) or not isinstance(items, tuple):
        return value
    pairs = tuple(tuple(side.strip() for side in item.partition("=")[::2]) for item in items)
    if not all(left and right for left, right in pairs):
        raise ValueError("must be name=model,name=model with both sides filled")
    return pairs


def _acyclic(pairs: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("names an alias twice")
    for name in table:
        seen = {name}
        while (name := table.get(name, "")) and name not in seen:
            seen.add(name)
        if name:
            raise ValueError("has an alias that leads back to itself")
    return pairs


WholeNumber = Annotated[int, BeforeValidator(_whole_number)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0, le=86_400)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Text = Annotated[str, AfterValidator(_text)]
Word = Annotated[str, AfterValidator(_word)]
HeaderValue = Annotated[str, AfterValidator(_header_value)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
LogFormat = Annotated[Literal["json", "console"], BeforeValidator(_lower)]
HandlerName = Annotated[str, AfterValidator(_handler)]
FilePath = Annotated[Path, AfterValidator(_path)]
LogFile = Annotated[FilePath, AfterValidator(_log_file)]
ExistingPath = Annotated[FilePath, AfterValidator(_existing)]
Aliases = Annotated[tuple[tuple[Word, Word], ...], BeforeValidator(_aliases), AfterValidator(_acyclic)]
CommaSeparated = Annotated[tuple[_Item, ...], BeforeValidator(_items)]
