"""Settings: the fields filled from where values come from, judged together, with all that is wrong said at once."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, field_validator
from pydantic.fields import FieldInfo

from copilotapi.settings.conflicts import conflicts
from copilotapi.settings.fields import Fields
from copilotapi.settings.sources import Unusable, config_folder, lookup, read_dotenv, suggestion


class SettingsError(ValueError):
    """The settings cannot be used. `problems`: one line each, naming the variable and what to do, without secrets."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting for the reader. `default` is written as in `.env`, empty when there is none."""

    name: str
    default: str
    meaning: str
    secret: bool


class Settings(Fields):
    """Checked settings. `Settings.from_env()` reads the environment; `Settings(port=0)` reads nothing outside itself.

    Both raise SettingsError with every problem at once. Seconds are seconds, sizes are bytes, URLs end without a slash.
    """

    def __init__(self, **values: Any) -> None:
        problems: list[str] = []
        bad: set[str] = set()
        try:
            super().__init__(**values)
        except ValidationError as exc:
            problems = [_problem(error) for error in exc.errors()]
            bad = {str(error["loc"][0]) for error in exc.errors()}
            # Once more with the sound values only, so that combinations are judged in the same round.
            super().__init__(**{name: value for name, value in values.items() if name not in bad})
        bad_names = {name.upper() for name in bad}
        judged = [conflict for conflict in conflicts(self) if not bad_names.intersection(conflict.names)]
        problems += [f"{conflict.names[0]}: {conflict.advice}" for conflict in judged]
        if problems:
            raise SettingsError(tuple(dict.fromkeys(problems)))

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, dotenv: Path | None = Path(".env")) -> "Settings":
        """Settings from `environ` (default: the process's), then from the file `dotenv` if there is one.

        An empty value is an unset one. NAME_FILE names a file that holds the value. SettingsError as the class says.
        """
        environ = os.environ if environ is None else environ
        in_file, problems = read_dotenv(dotenv, _variables()) if dotenv else ({}, [])
        values: dict[str, Any] = {}
        for name in _variables():
            value = lookup(name, environ) or lookup(name, in_file)
            if value is not None:
                values[name.lower()] = value
        values.setdefault("copilotapi_home", config_folder(environ, sys.platform))
        try:
            settings = cls(**values)
        except SettingsError as exc:
            raise SettingsError((*problems, *exc.problems)) from None  # the same error, only longer
        if problems:
            raise SettingsError(tuple(problems))
        return settings

    @classmethod
    def documentation(cls) -> list[SettingRow]:
        """One row for each variable, in the order of the pages."""
        return [
            SettingRow(_variable(name, field), _shown(field.default), field.description or "", _is_secret(field))
            for name, field in cls.model_fields.items()
        ]

    @field_validator("*", mode="before")
    @classmethod
    def _usable(cls, value: object) -> object:
        match value:
            case Unusable(reason=reason):
                raise ValueError(reason)
        return value


def _problem(error: Mapping[str, Any]) -> str:
    name, *inner = error["loc"]
    where = f"{name}".upper() + (f" (item {inner[0] + 1})" if inner and isinstance(inner[0], int) else "")
    if error["type"] == "extra_forbidden":
        return f"{where}: is not a setting{suggestion(str(name), _variables())}"
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be")
    return f"{where}: {message}"


def _variables() -> list[str]:
    return [_variable(name, field) for name, field in Fields.model_fields.items()]


def _variable(name: str, field: FieldInfo) -> str:
    return (field.validation_alias if isinstance(field.validation_alias, str) else name).upper()


def _shown(default: object) -> str:
    match default:
        case None | ():
            return ""
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case Path():
            return default.as_posix()
        case _:
            return str(default)


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)
