"""The pages made from the descriptions: docs/configuration.md and .env.example."""

import textwrap

from copilotapi.settings.model import Settings

_HEADINGS = {
    "HOST": "The server",
    "GITHUB_COPILOT_TOKEN": "GitHub and Copilot",
    "DEFAULT_MODEL": "Models and completions",
    "REDIS_URL": "The shared store",
    "API_KEYS": "Who may call, and how much",
    "CONNECT_TIMEOUT": "Clocks and room",
    "LOG_LEVEL": "Logs and files",
}

_INTRODUCTION = """\
# Configuration

Written by `python -m copilotapi.settings` from the descriptions in `copilotapi/settings/fields.py`; change them there.

Settings are read once, at the start, from the environment and from a file `.env` in the working folder. The environment
wins over the file. An empty value is an unset one. A value that is not understood, an unknown name or a bad line in
`.env`, or an unsafe combination stops the start; all problems are printed at once, one line each.

- `NAME_FILE` reads the value of `NAME` from a file, less the newline at its end. `NAME` and `NAME_FILE` together in one
  place are an error.
- `.env` holds `NAME=value` lines and `#` comments. Quotes are optional; nothing is expanded; ` #` ends an unquoted value.
- Lists are separated by commas; an empty item is an error. Switches take true/false, yes/no, on/off or 1/0.
- URLs are http(s) without user information, query or fragment. Plain http is accepted for loopback hosts only.
- Values marked *secret* never appear in logs, errors or `repr()`.
"""

_REFUSED = """
## Refused at the start

- a HOST that other machines can reach, without API_KEYS; ADMIN_KEY alone is not enough
- ALLOW_ORIGINS with `*` unless HOST is loopback and one of API_KEYS, ADMIN_KEY, REQUIRE_AUTH is set; `*` beside others;
  `null`; anything but an exact origin
- the same key twice in API_KEYS, ADMIN_KEY among API_KEYS, REQUIRE_AUTH without a key
- example values (`changeme`, `your-key`) and keys with blanks, control or non-ASCII characters
- a classic GitHub token (`ghp_`): Copilot refuses them
- two passwords for the store, in REDIS_URL and in REDIS_PASSWORD, or a store URL that switches certificate checks off
- MAX_TOKENS above MAX_TOKENS_LIMIT; CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT or IDLE_TIMEOUT above TOTAL_TIMEOUT
"""


def configuration_page() -> str:
    """The text of docs/configuration.md."""
    lines = [_INTRODUCTION]
    for row in Settings.documentation():
        if row.name in _HEADINGS:
            lines.append(f"\n## {_HEADINGS[row.name]}\n\n| variable | default | meaning |\n|---|---|---|\n")
        default = f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {default} | {row.meaning}{' *Secret.*' if row.secret else ''} |\n")
    return "".join([*lines, _REFUSED])


def env_example() -> str:
    """The text of .env.example: every setting with its default, commented out."""
    lines = ["# Copy to .env and uncomment what you change. Rules and meanings: docs/configuration.md\n"]
    for row in Settings.documentation():
        if row.name in _HEADINGS:
            lines.append(f"\n# --- {_HEADINGS[row.name]} ---\n")
        lines.append("\n" + textwrap.fill(row.meaning, 110, initial_indent="# ", subsequent_indent="# "))
        lines.append(f"\n#{row.name}={row.default}\n")
    return "".join(lines)
