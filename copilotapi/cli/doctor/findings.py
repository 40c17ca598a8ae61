"""What a check of the doctor found, and what the checks have learned for those after them. Asks nothing itself."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

import requests
from pydantic import SecretStr

from copilotapi.settings import Settings
from copilotapi.upstream.client import CopilotClient
from copilotapi.upstream.connections import Network
from copilotapi.upstream.credentials import CopilotToken, Credentials
from copilotapi.upstream.models import Catalogue
from copilotapi.upstream.transport import Transport

Result = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`reason`: what was seen, in a sentence without secrets. `remedy`: what to do; "" when there is nothing to do."""

    result: Result
    reason: str
    remedy: str = ""


def ok(reason: str) -> Finding:
    return Finding("ok", reason)


def warning(reason: str, remedy: str) -> Finding:
    return Finding("warning", reason, remedy)


def failed(reason: str, remedy: str) -> Finding:
    return Finding("failed", reason, remedy)


def skipped(reason: str, remedy: str = "") -> Finding:
    return Finding("skipped", reason, remedy)


@dataclass(slots=True)
class Known:
    """What was asked of the doctor, and what the checks so far have learned.

    A field without a default is filled by the check of that matter; whoever reads it names that check in its `needs`.
    """

    asks_live: bool
    public_url: str | None
    settings: Settings = field(init=False)
    uses_stored_sign_in: bool = False
    network: Network = field(init=False)
    transport: Transport = field(init=False)
    session: requests.Session = field(init=False)
    credentials: Credentials = field(init=False)
    copilot_token: CopilotToken = field(init=False)
    client: CopilotClient = field(init=False)
    catalogue: Catalogue = field(init=False)
    # Closed at the end, by whoever made this.
    resources: ExitStack = field(default_factory=ExitStack)
    # Of the settings, and what was obtained with them. To be kept out of every report.
    secrets: set[str] = field(default_factory=set)

    @property
    def answers_itself(self) -> str:
        """The setting that lets something else than Copilot answer; "" when Copilot does."""
        if self.settings.completion_handler:
            return "COMPLETION_HANDLER"
        return "LOCAL_MODEL_URL" if self.settings.local_model_url else ""


def secrets_of(settings: Settings) -> Iterator[str]:
    """Every secret of the settings, a password also as it stands inside its URL."""
    for value in dict(settings).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, SecretStr):
                secret = item.get_secret_value()
                yield secret
                if "://" in secret and (password := urlsplit(secret).password):
                    yield from (password, unquote(password))


def printable(text: str, most_chars: int = 100) -> str:
    """A stranger's words, fit to be shown on one line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:most_chars]
