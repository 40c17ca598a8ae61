"""Environment variables and comments in the form of the shell a user types into. Knows no client and no gateway."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shell:
    """`assign` makes the line that sets a variable for this session and for what is started from it."""

    name: str
    comment: str
    assign: Callable[[str, str], str]

    def lines(self, environment: Mapping[str, str]) -> list[str]:
        return [self.assign(name, value) for name, value in environment.items()]


def _bash(name: str, value: str) -> str:
    return f"export {name}='" + value.replace("'", "'\\''") + "'"


def _fish(name: str, value: str) -> str:
    """In fish's single quotes a backslash escapes itself and the quote: https://fishshell.com/docs/current/language.html."""
    return f"set -gx {name} '" + re.sub(r"(['\\])", r"\\\1", value) + "'"


def _powershell(name: str, value: str) -> str:
    return f"$env:{name} = '" + value.replace("'", "''") + "'"


def _cmd(name: str, value: str) -> str:
    """The quotes around the whole keep & and | from ending it, and are not part of the value."""
    return f'set "{name}={value}"'


SHELLS = {
    shell.name: shell
    for shell in (
        Shell("bash", "# ", _bash),
        Shell("fish", "# ", _fish),
        Shell("powershell", "# ", _powershell),
        Shell("cmd", "REM ", _cmd),
    )
}


def usual_shell(environ: Mapping[str, str], platform: str) -> Shell:
    """The one that is probably typed into; zsh and sh read what bash reads."""
    if platform == "win32":
        return SHELLS["powershell"]
    return SHELLS["fish" if environ.get("SHELL", "").endswith("fish") else "bash"]
