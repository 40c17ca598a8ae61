"""`copilotapi chat`: one question, and the answer as it comes. Only the answer goes to standard output."""

import json
import os
import sys
import unicodedata
from collections.abc import Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import click

from copilotapi.cli.asking import Asking, asking, events_of
from copilotapi.cli.terminal import console, is_at_terminal, one_line, quiet_interrupt, settings_or_exit

_EPILOG = """\b
Examples:
  copilotapi chat "Which day is it?"
  git diff | copilotapi chat --system "Write a commit message." --model claude-sonnet-4.5
  copilotapi chat --json Hello
"""


@click.command(epilog=_EPILOG)
@click.argument("prompt", required=False)
@click.option("--model", metavar="NAME", help="Which model is asked. Default: that of DEFAULT_MODEL, else Copilot's.")
@click.option("--system", metavar="TEXT", help="What the model is told before the prompt.")
@click.option(
    "--url", metavar="URL", help="A gateway elsewhere. Default: the one of HOST and PORT, else none is needed."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object in the end: model, text, usage.")
def chat(prompt: str | None, model: str | None, system: str | None, url: str | None, as_json: bool) -> None:
    """Ask a model and see its answer as it is written.

    PROMPT is the question; without it, or with "-", it is read from standard input. The gateway that runs is asked;
    where none runs, this command is the gateway for as long as it takes.
    """
    with quiet_interrupt():
        body = _body(prompt if prompt not in (None, "-") else _piped(), model, system)
        with asking(settings_or_exit(), url=url) as gateway:
            told = Told()
            with closing(_texts(gateway, body, told)) as texts:
                if as_json:
                    _collect(texts)
                else:
                    _write(texts)
        if as_json:
            click.echo(json.dumps(told.as_json()))
        else:
            console(stderr=True).print(told.summary(), style="dim")


@dataclass(slots=True)
class Told:
    """What an answer tells of itself besides its text."""

    model: str = ""
    text: str = ""
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    fallback: str | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def source(self) -> str | None:
        """Who counted the tokens: Copilot, or the gateway where Copilot does not say."""
        if self.usage is None:
            return None
        return "estimate" if self.usage.get("estimated") is True else "upstream"

    def take_headers(self, headers: Mapping[str, str]) -> None:
        self.fallback = headers.get("X-CopilotAPI-Fallback")
        self.warnings = [warning for warning in (headers.get("X-CopilotAPI-Warnings") or "").split(", ") if warning]

    def take(self, event: Mapping[str, Any]) -> str:
        """The text in one event of the stream."""
        self.model = str(event.get("model") or self.model)
        if isinstance(event.get("usage"), dict):
            self.usage = event["usage"]
        text = ""
        for choice in event.get("choices") or ():
            text += choice.get("delta", {}).get("content") or ""
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
        # An escape for half a character cannot be written anywhere.
        text = text.encode("utf-8", "replace").decode()
        self.text += text
        return text

    def as_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "text": self.text,
            "finish_reason": self.finish_reason,
            "usage": self.usage,
            "usage_source": self.source,
            "fallback": self.fallback,
            "warnings": self.warnings,
        }

    def summary(self) -> str:
        """One line: who answered, what it cost, and what was not as it should be."""
        parts = [one_line(self.model)]
        if self.usage is not None:
            asked, answered = self.usage.get("prompt_tokens"), self.usage.get("completion_tokens")
            parts.append(f"{asked} tokens in, {answered} out ({self.source})")
        if self.fallback:
            parts.append(f"fallback {one_line(self.fallback)}")
        if self.finish_reason != "stop":
            parts.append(f"ended by {self.finish_reason}")
        return " · ".join([*parts, *map(one_line, self.warnings)])


def _body(prompt: str, model: str | None, system: str | None) -> dict[str, Any]:
    if not prompt.strip():
        raise click.ClickException('There is nothing to ask: give a PROMPT, as in copilotapi chat "Hello".')
    messages = [{"role": "system", "content": _text(system)}] if system else []
    messages.append({"role": "user", "content": _text(prompt)})
    named = {"model": model} if model else {}
    return {**named, "stream": True, "stream_options": {"include_usage": True}, "messages": messages}


def _text(typed: str) -> str:
    """As it was typed, also where the locale takes arguments for ASCII: Python keeps their bytes as half characters."""
    try:
        return os.fsencode(typed).decode() if any("\udc80" <= char <= "\udcff" for char in typed) else typed
    except UnicodeError as exc:
        raise click.ClickException("What was typed is not UTF-8 text.") from exc


def _piped() -> str:
    if sys.stdin is None or is_at_terminal(sys.stdin):
        raise click.ClickException('Give a PROMPT, as in copilotapi chat "Hello", or pipe one in.')
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise click.ClickException("Standard input is not UTF-8 text.") from exc


def _texts(gateway: Asking, body: Mapping[str, Any], told: Told) -> Generator[str, None, None]:
    """The pieces of the answer. ClickException when it fails, or ends before its end was told."""
    with gateway.answer("POST", "/v1/chat/completions", body) as response:
        told.take_headers(dict(response.headers))
        for event in events_of(response):
            yield told.take(event)
    if told.finish_reason is None:
        raise click.ClickException("The answer broke off before its end.")


def _collect(texts: Iterator[str]) -> None:
    for _ in texts:
        pass


def _write(texts: Iterator[str]) -> None:
    """As it comes. A failure leaves what was written, with its line ended."""
    is_terminal = is_at_terminal(sys.stdout)
    last = "\n"
    try:
        with _waiting(is_terminal):
            first = next(filter(None, texts), "")
        for text in filter(None, chain((first,), texts)):
            text = _harmless(text) if is_terminal else text
            click.echo(text, nl=False)
            last = text or last
    finally:
        if not last.endswith("\n"):
            click.echo()


def _waiting(is_terminal: bool) -> AbstractContextManager[object]:
    err = console(stderr=True)
    return err.status("Waiting for the answer. Ctrl-C gives up.") if is_terminal and err.is_terminal else nullcontext()


def _harmless(text: str) -> str:
    """What a model writes must not steer the terminal."""
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) != "Cc")
