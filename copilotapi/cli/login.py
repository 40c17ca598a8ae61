"""`copilotapi login` and `logout`: the GitHub token comes into its file, or goes. The token itself is never shown."""

import math
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr
from rich.align import Align
from rich.console import Console, Group
from rich.panel import Panel
from rich.text import Text

from copilotapi import token_file
from copilotapi.cli.terminal import is_at_terminal, refuse_settings
from copilotapi.errors import SignInFailed
from copilotapi.settings import Settings, SettingsError
from copilotapi.store import MemoryStore
from copilotapi.token_file import TokenFileError
from copilotapi.upstream.device_flow import DeviceCode, DeviceFlow, DeviceFlowFailed
from copilotapi.upstream.github import ExchangeRefused, GitHub
from copilotapi.upstream.transport import Transport

_EPILOG = """\b
Examples:
  copilotapi login
  copilotapi login --host acme.ghe.com
  copilotapi login --with-token < token.txt
"""
_RESPONSIBLE_USE = (
    "Unofficial: it may break at any time, and using it may be against the terms of your account. One seat is one "
    "person, no bulk jobs; where an official road exists, prefer it."
)
_GITHUB = ("https://github.com", "https://api.github.com")
_ENTERPRISE_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.ghe\.com")
_MAX_INPUT_BYTES = 65_536
_MORE = " What is wrong on the way there: copilotapi doctor."
_INTERRUPTED = 130


@click.command(epilog=_EPILOG)
@click.option(
    "--host", metavar="HOST", help="Your company's GitHub, such as acme.ghe.com. Default: that of GITHUB_URL."
)
@click.option("--with-token", is_flag=True, help="Read a GitHub token from standard input instead of asking GitHub.")
@click.argument("stray", nargs=-1, metavar="")
def login(host: str | None, with_token: bool, stray: tuple[str, ...]) -> None:
    """Sign in to GitHub and store the token.

    Shows a code to enter at GitHub in any browser, waits until you have done so, checks that the account has Copilot,
    and stores the token for `copilotapi serve` where only you can read it.
    """
    if stray:
        # Not repeated: it may be a token.
        raise click.ClickException(
            "login takes no argument. A token is read from standard input only: copilotapi login --with-token < file"
        )
    with _one_line_errors():
        _sign_in(host, with_token)


@click.command(epilog="Example: copilotapi logout")
def logout() -> None:
    """Forget the stored GitHub token."""
    with _one_line_errors():
        settings = Settings.from_env()
        home = _home(settings)
        if not token_file.forget(home):
            click.echo(f"No GitHub token is stored in {home}.")
            return
    click.echo(
        f"Forgot the GitHub token in {token_file.path_in(home)}. A gateway that runs keeps it until it is stopped."
    )
    click.echo(f"To make it worthless everywhere, revoke it at {settings.github_url}/settings/applications")


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ExchangeRefused, SignInFailed) as exc:
        hint = _MORE if exc.code == "copilot_token_unavailable" else ""
        raise click.ClickException(f"{exc.message}{hint} Nothing was stored.") from exc
    except SettingsError as exc:
        refuse_settings(exc)
    except DeviceFlowFailed as exc:
        # Caused by the network, not by GitHub's word.
        raise click.ClickException(f"{exc}{_MORE if exc.__cause__ is not None else ''}") from exc
    except TokenFileError as exc:
        raise click.ClickException(str(exc)) from exc
    except (KeyboardInterrupt, click.Abort) as exc:
        raise click.exceptions.Exit(_INTERRUPTED) from exc


def _sign_in(host: str | None, with_token: bool) -> None:
    # The whole gateway: the other commands start without loading it.
    from copilotapi.app import clocks, network  # noqa: PLC0415

    given = Settings.from_env()
    settings = _at_host(given, host)
    home = _home(settings)
    token_file.check_writable(home)
    click.echo(f"{_RESPONSIBLE_USE}\n")
    with closing(Transport(network(settings), clocks(settings))) as transport:
        github_token = _read_token() if with_token else _ask_github(settings, transport)
        user = _checked_user(settings, transport, github_token)
    token_file.save(home, github_token)
    click.echo(f"Signed in as {_shown(user.get('login'))}, Copilot plan {_shown(user.get('copilot_plan'))}.")
    click.echo(f"The GitHub token is stored in {token_file.path_in(home)}, readable by you only.")
    _say_what_to_do(given, settings)


def _at_host(settings: Settings, host: str | None) -> Settings:
    """Where data residency has its two hosts: copilot-wire 1.5."""
    if host is None:
        return settings
    name = host.lower().removeprefix("https://").rstrip("/")
    if name != "github.com" and not _ENTERPRISE_HOST.fullmatch(name):
        raise click.ClickException(
            "--host must be github.com or a host such as acme.ghe.com; "
            "for any other set GITHUB_URL and GITHUB_API_URL and leave --host out."
        )
    web, api = _GITHUB if name == "github.com" else (f"https://{name}", f"https://api.{name}")
    return settings.model_copy(update={"github_url": web, "github_api_url": api})


def _home(settings: Settings) -> Path:
    if settings.copilotapi_home is None:
        raise click.ClickException("This account has no home folder; set COPILOTAPI_HOME to a folder of your own.")
    return settings.copilotapi_home


def _read_token() -> str:
    if sys.stdin is None:
        raise click.ClickException("Standard input is closed; use: copilotapi login --with-token < file")
    if is_at_terminal(sys.stdin):
        text = str(click.prompt("GitHub token (not shown)", hide_input=True))
    else:
        text = sys.stdin.buffer.read(_MAX_INPUT_BYTES).decode("utf-8-sig", "replace")
    github_token = text.strip()
    if not github_token:
        raise click.ClickException("Standard input held no GitHub token; use: copilotapi login --with-token < file")
    if github_token.startswith("tid="):
        raise click.ClickException("That is a Copilot token, which ends within the hour; give a GitHub token.")
    try:
        Settings(github_copilot_token=SecretStr(github_token))
    except SettingsError as exc:
        raise click.ClickException(str(exc).replace("GITHUB_COPILOT_TOKEN:", "The GitHub token")) from exc
    return github_token


def _ask_github(settings: Settings, transport: Transport) -> str:
    flow = DeviceFlow(transport, settings.github_url, settings.github_client_id)
    code = flow.begin()
    console = Console(highlight=False)
    if not is_at_terminal(sys.stdout) or console.is_dumb_terminal:
        click.echo(f"Open   {code.verification_uri}\nEnter  {code.user_code}")
        click.echo(f"Waiting for you at GitHub, {_minutes(code.expires_in_seconds)} at most.")
        return flow.poll(code)
    console.print(_panel(code))
    with console.status("Waiting for you at GitHub.") as status:
        return flow.poll(code, _counting_down(code, status.update))


def _panel(code: DeviceCode) -> Panel:
    lines = (
        Text.assemble("Open ", (code.verification_uri, "bold underline")),
        Text("and enter this code:"),
        Text(" "),
        Text(f"   {code.user_code}   ", style="bold reverse"),
    )
    return Panel.fit(Group(*map(Align.center, lines)), title="Sign in to GitHub", padding=(1, 6))


def _counting_down(code: DeviceCode, show: Callable[[str], None]) -> Callable[[float], None]:
    """A sleep that tells each second how long the code still lives."""
    deadline = time.monotonic() + code.expires_in_seconds

    def sleep(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left_seconds := end - time.monotonic()) > 0:
            life = _minutes(math.ceil(max(deadline - time.monotonic(), 0)))
            show(f"Waiting for you at GitHub, {life} left. Ctrl-C gives up.")
            time.sleep(min(left_seconds, 1.0))

    return sleep


def _checked_user(settings: Settings, transport: Transport, github_token: str) -> Mapping[str, Any]:
    """GitHub's word on the account, once a Copilot token could be had for it as the gateway will."""
    from copilotapi.app import build_credentials, identification  # noqa: PLC0415
    from copilotapi.metering.metrics import Metrics  # noqa: PLC0415

    user = GitHub(transport, settings.github_api_url, identification(settings)).user(github_token)
    signed_in = settings.model_copy(update={"github_copilot_token": SecretStr(github_token)})
    build_credentials(signed_in, transport, MemoryStore(), Metrics()).current()
    return user


def _say_what_to_do(given: Settings, used: Settings) -> None:
    if given.github_copilot_token is not None:
        click.echo(
            "GITHUB_COPILOT_TOKEN is set as well and wins over the stored token: remove it from where it is set."
        )
    if (given.github_url, given.github_api_url) != (used.github_url, used.github_api_url):
        click.echo("The token is for this host only. Tell the gateway so, in .env or its environment:")
        click.echo(f"  GITHUB_URL={used.github_url}\n  GITHUB_API_URL={used.github_api_url}")
    click.echo("Next: copilotapi serve")


def _minutes(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02}"


def _shown(value: object) -> str:
    text = value if isinstance(value, str) and value.isprintable() else ""
    return text[:100] or "unknown"
