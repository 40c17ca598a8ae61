"""Where values come from: the environment, `.env` and the files that NAME_FILE variables name; and the home folder.

Reads what it is told to read and judges no value. A problem never shows what may be a secret.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

_MAX_FILE_BYTES = 65_536
_DOTENV_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=(.*)")
_DOTENV_QUOTED = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)")\s*(?:#.*)?""")
# A line that is no setting may be a secret pasted by itself; a name is repeated only if it looks like one.
_SHOWABLE_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,31}|[a-z][a-z_]{0,31}")
# curl and requests read these two in lower case as well.
_ALSO_LOWER_CASE = frozenset({"HTTPS_PROXY", "NO_PROXY"})


@dataclass(frozen=True, slots=True)
class Unusable:
    """Stands for a value that could not be read, and says why."""

    reason: str


def lookup(name: str, source: Mapping[str, str]) -> str | Unusable | None:
    """The value of `name`, or of the file that NAME_FILE names. None when it is unset or empty."""
    value = source.get(name) or (source.get(name.lower()) if name in _ALSO_LOWER_CASE else None)
    path = source.get(f"{name}_FILE")
    if value and path:
        return Unusable(f"is set together with {name}_FILE; keep one of them")
    return _read_secret(Path(path), name) if path else value or None


def read_dotenv(path: Path, variables: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The file's values and its problems, one line each; a name outside `variables` is one. No file is an empty one."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        return {}, []
    except OSError as exc:
        return {}, [f"{path.name}: cannot be read: {exc.strerror}"]
    except UnicodeDecodeError:
        return {}, [f"{path.name}: is not text in UTF-8"]
    values: dict[str, str] = {}
    problems = []
    for number, line in enumerate(lines, start=1):
        if (text := line.strip()) and not text.startswith("#"):
            problem = _read_line(text, values, variables)
            problems += [f"{path.name} line {number}: {problem}"] if problem else []
    return values, problems


def suggestion(name: str, variables: Sequence[str]) -> str:
    """The end of a sentence about a name that is none of `variables`."""
    known = [spelling for variable in variables for spelling in (variable, f"{variable}_FILE")]
    near = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else "; remove it or look for its name in docs/configuration.md"


def config_folder(environ: Mapping[str, str], platform: str) -> Path | None:
    """Where the stored login belongs. None when the account has no home folder."""
    if platform == "win32" and PureWindowsPath(environ.get("APPDATA", "")).is_absolute():
        return Path(environ["APPDATA"], "copilotapi")
    # The XDG specification says to ignore a relative path.
    if platform != "darwin" and PurePosixPath(environ.get("XDG_CONFIG_HOME", "")).is_absolute():
        return Path(environ["XDG_CONFIG_HOME"], "copilotapi")
    try:
        home = Path(environ.get("HOME") or Path.home())
    except RuntimeError:
        return None
    return (
        home
        / {"win32": "AppData/Roaming", "darwin": "Library/Application Support"}.get(platform, ".config")
        / "copilotapi"
    )


def _read_secret(path: Path, name: str) -> str | Unusable:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        text = content.decode("utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not text in UTF-8"
        return Unusable(f"the file that {name}_FILE names cannot be read: {reason}")
    if not text or len(content) > _MAX_FILE_BYTES:
        return Unusable(f"the file that {name}_FILE names is empty or larger than {_MAX_FILE_BYTES} bytes")
    return text


def _read_line(line: str, values: dict[str, str], variables: Sequence[str]) -> str:
    """Puts the line's value into `values`, or says what is wrong with the line."""
    match = _DOTENV_LINE.fullmatch(line)
    if match is None or (value := _unquoted(match[2])) is None:
        return "is not NAME=value; quotes must be closed on the same line"
    name = match[1]
    if name in values:
        return f"{name} is set a second time; keep one"
    spelling = name.upper() if name.upper() in _ALSO_LOWER_CASE else name
    if spelling.removesuffix("_FILE") not in variables and spelling not in variables:
        shown = name if _SHOWABLE_NAME.fullmatch(name) else "this"
        return f"{shown} is not a setting{suggestion(name, variables)}"
    values[name] = value
    return ""


def _unquoted(raw: str) -> str | None:
    text = raw.strip()
    if not text.startswith(("'", '"')):
        return re.sub(r"\s#.*", "", raw).strip()
    match = _DOTENV_QUOTED.fullmatch(text)
    if match is None:
        return None
    if match[1] is not None:
        return match[1]
    return re.sub(r'\\(["\\])', r"\1", match[2])
