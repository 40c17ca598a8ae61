"""What the gateway is asked before a client can be told: its models, whether it wants a key, whether a model answers."""

import re
from urllib.parse import quote

import click

from copilotapi.cli.asking import Asking, asking, local_url
from copilotapi.cli.connect.clients import Client, Connection
from copilotapi.cli.connect.models import Model, chat_models, ranked, small_sibling
from copilotapi.cli.terminal import one_line, settings_or_exit
from copilotapi.settings import Settings

_PROBE = "Reply with OK."
_PROBE_TOKENS = 16
_MOST_PROBES = 3
# What may stand in a line for any shell without quotes of its own.
_PLAIN_URL = re.compile(r"https?://[\w.:/~\[\]%-]+", re.ASCII)


def connection_for(client: Client, wanted: str | None, url: str | None, *, probes: bool) -> Connection:
    """With a model that the account lists, the `wanted` one or the one that suits best, which has answered if it `probes`.

    ClickException in plain words.
    """
    settings = settings_or_exit()
    with asking(settings, url=url) as gateway:
        models = _usable(gateway)
        candidates = [_named(gateway, models, wanted)] if wanted else ranked(models, client.wish)
        model = _answering(gateway, client, candidates) if probes else candidates[0]
        return Connection(
            url=_address(gateway, settings),
            model=model,
            small_model=small_sibling(models, model),
            models=models,
            needs_key=_needs_key(gateway, settings),
        )


def _usable(gateway: Asking) -> tuple[Model, ...]:
    models = chat_models(gateway.models())
    if not models:
        raise click.ClickException("The account lists no model that chats; `copilotapi models` shows what there is.")
    return models


def _named(gateway: Asking, models: tuple[Model, ...], name: str) -> Model:
    """As the gateway understands the name; its own words, with near ones, when it does not."""
    model_id = gateway.get(f"/v1/models/{quote(name, safe='')}").get("id")
    found = next((model for model in models if model.id == model_id), None)
    if found is None:
        raise click.ClickException(f"{one_line(name)} is not a model that chats; `copilotapi models` shows which do.")
    return found


def _answering(gateway: Asking, client: Client, candidates: list[Model]) -> Model:
    """The first of them that answers. ClickException with the last one's reason."""
    refused: click.ClickException | None = None
    for model in candidates[:_MOST_PROBES]:
        click.echo(f"Trying {model.id} with one tiny request, which counts like any other.", err=True)
        try:
            gateway.post(*_probe(client, model))
        except click.ClickException as exc:
            click.echo(f"{model.id} does not answer: {exc.message}", err=True)
            refused = exc
        else:
            return model
    raise click.ClickException(
        "No model that suits answered. Nothing was written; --model names another, --no-probe does not try."
    ) from refused


def _probe(client: Client, model: Model) -> tuple[str, dict[str, object]]:
    """In the client's own protocol."""
    messages = [{"role": "user", "content": _PROBE}]
    match client.wish.endpoint:
        case "/responses":
            return "/v1/responses", {"model": model.id, "input": _PROBE, "max_output_tokens": _PROBE_TOKENS}
        case "/v1/messages":
            return "/v1/messages", {"model": model.id, "messages": messages, "max_tokens": _PROBE_TOKENS}
        case _:
            return "/v1/chat/completions", {"model": model.id, "messages": messages, "max_tokens": _PROBE_TOKENS}


def _address(gateway: Asking, settings: Settings) -> str:
    if not gateway.in_process:
        address = gateway.base_url
    elif settings.port == 0:
        raise click.ClickException("PORT is 0, so the gateway's address changes at each start; give it with --url.")
    else:
        address = local_url(settings)
        click.echo(f"No gateway runs at {address} now; start it with: copilotapi serve", err=True)
    if not _PLAIN_URL.fullmatch(address):
        raise click.ClickException("The gateway's address has characters that do not belong into settings.")
    return address


def _needs_key(gateway: Asking, settings: Settings) -> bool:
    if gateway.in_process:
        return bool(settings.api_keys or settings.admin_key)
    without_key = Asking(gateway.base_url, settings.model_copy(update={"api_keys": (), "admin_key": None}))
    try:
        without_key.models()
    except click.ClickException:
        return True
    return False
