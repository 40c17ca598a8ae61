"""`copilotapi models`: what the account may use, what it takes and what it costs, as a table."""

import json
from collections.abc import Mapping
from typing import Any

import click

from copilotapi.cli.asking import asking
from copilotapi.cli.terminal import console, is_plain, one_line, quiet_interrupt, settings_or_exit, table

_EPILOG = """\b
Examples:
  copilotapi models
  copilotapi models --json
"""
_ENDPOINTS = {"/chat/completions": "chat", "/responses": "responses", "/v1/messages": "messages"}
_KINDS = {"embeddings": "embeddings", "completion": "completions"}
_COLUMNS = ("id", "name", "vendor", "endpoints", "context", "output", "price", "notes")
_WHOLE = ("id", "context", "output", "price")
# How wide a terminal must be for what nobody needs to name a model. The longest id has 33 characters.
_LEAST_WIDTHS = {"name": 132, "vendor": 110, "output": 90}
_PRICES = ("input_price", "cache_price", "output_price")


@click.command(epilog=_EPILOG)
@click.option("--json", "as_json", is_flag=True, help="The list as GET /v1/models tells it.")
@click.option(
    "--url", metavar="URL", help="A gateway elsewhere. Default: the one of HOST and PORT, else none is needed."
)
def models(as_json: bool, url: str | None) -> None:
    """List the models of the account.

    endpoints: where Copilot itself serves the model; the gateway takes any of its protocols for any chat model. context
    and output: tokens. price: premium requests for one of yours, or what tokens cost.
    """
    with quiet_interrupt(), asking(settings_or_exit(), url=url) as gateway:
        listed = gateway.models()
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    out = console()
    width = 0 if out.is_terminal and is_plain(out) else out.width
    columns = [name for name in _COLUMNS if width >= _LEAST_WIDTHS.get(name, 0)]
    shown = table(out, *columns, right=("context", "output"), whole=_WHOLE)
    for model in listed:
        told = cells(model)
        row = (one_line(told[name]) for name in columns)
        shown.add_row(*row, style="bold" if model.get("is_default") else "")
    out.print(shown)


def cells(model: Mapping[str, Any]) -> dict[str, str]:
    """By column."""
    limits = _table(model, "limits")
    return {
        "id": str(model.get("id") or ""),
        "name": str(model.get("display_name") or ""),
        "vendor": str(model.get("owned_by") or ""),
        "endpoints": _endpoints(model),
        "context": _count(limits.get("max_context_window_tokens")),
        "output": _count(limits.get("max_output_tokens")),
        "price": _price(_table(model, "billing")),
        "notes": _notes(model),
    }


def _table(model: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = model.get(name)
    return value if isinstance(value, dict) else {}


def _endpoints(model: Mapping[str, Any]) -> str:
    if (of_kind := _KINDS.get(str(model.get("kind")))) is not None:
        return of_kind
    endpoints = model.get("endpoints")
    return ", ".join(_ENDPOINTS.get(str(one), str(one)) for one in endpoints) if isinstance(endpoints, list) else ""


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _price(billing: Mapping[str, Any]) -> str:
    """The multiplier of premium requests; where tokens are billed, their prices in the order input, cached, output."""
    prices = billing.get("token_prices")
    if isinstance(prices, dict):
        told = "/".join(str(prices.get(name, "-")) for name in _PRICES)
        return f"{told} per {prices.get('batch_size', '?')} tokens"
    multiplier = billing.get("multiplier")
    if not isinstance(multiplier, int | float):
        return ""
    return f"×{multiplier:g}" if multiplier else "included"


def _notes(model: Mapping[str, Any]) -> str:
    restricted_to = _table(model, "billing").get("restricted_to")
    notes = (
        "default" if model.get("is_default") else "",
        "preview" if model.get("preview") else "",
        f"terms {model['policy']}" if model.get("policy") not in (None, "enabled") else "",
        f"only {', '.join(map(str, restricted_to))}" if isinstance(restricted_to, list) and restricted_to else "",
    )
    return "; ".join(filter(None, notes))
