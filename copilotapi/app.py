"""The composition root: every part is built here, once, and handed to those who need it. Starts nothing."""

import re
from collections.abc import Callable

import requests
from flask import Flask, Response
from flask_cors import CORS
from werkzeug.middleware.proxy_fix import ProxyFix

from copilotapi import loop
from copilotapi.blueprints import admin, anthropic, completions, copilot, explorer, http, openai, status
from copilotapi.blueprints.guard import Guard
from copilotapi.blueprints.quota import AddressQuota
from copilotapi.blueprints.web_app import WebApp
from copilotapi.gateway import Gateway
from copilotapi.handlers import CompletionHandler, check_handler, handler_models, load_handler
from copilotapi.local_model import LocalModel
from copilotapi.metering.editor_tokens import EditorTokens, signing_secret
from copilotapi.metering.keys import ANONYMOUS, KeyRing
from copilotapi.metering.ledger import Ledger
from copilotapi.metering.metrics import Metrics
from copilotapi.protocols.completions import TokenLimits
from copilotapi.refresher import Refresher
from copilotapi.settings import Settings, SettingsError
from copilotapi.store import MemoryStore, RedisStore, Store, open_store
from copilotapi.token_count import TokenCounter
from copilotapi.token_file import signed_in
from copilotapi.upstream.client import CopilotClient
from copilotapi.upstream.connections import Network
from copilotapi.upstream.credentials import Credentials, NoAccount
from copilotapi.upstream.endpoints import EndpointRules
from copilotapi.upstream.github import GitHub
from copilotapi.upstream.headers import Identification
from copilotapi.upstream.local_server import LocalServer
from copilotapi.upstream.models import Catalogue
from copilotapi.upstream.transport import Clocks, Transport
from copilotapi.version import VERSION
from copilotapi.vocabularies import open_vocabularies

_METHODS = ["GET", "HEAD", "POST", "OPTIONS"]
_EXPOSED_HEADERS = [
    "X-Request-Id",
    "Request-Id",
    "Retry-After",
    "X-CopilotAPI-Fallback",
    "X-CopilotAPI-Usage",
    "X-CopilotAPI-Warnings",
]


def create_app(settings: Settings, *, handler: CompletionHandler | None = None) -> Flask:
    """The WSGI application. `app.extensions["copilotapi.refresher"]` has start() and stop() for the server's life.

    `handler` answers instead of Copilot, before COMPLETION_HANDLER; then no GitHub token is needed. TypeError when it
    is no function of one argument, SettingsError when COMPLETION_HANDLER names none.
    """
    if handler is not None:
        check_handler(handler)
    app = WebApp(__name__)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    aside = loop.start_aside if loop.is_cooperative() else None
    store = open_store(settings.redis_url.get_secret_value(), aside=aside)
    transport = Transport(network(settings), clocks(settings))
    metrics = Metrics()
    handler = handler or configured_handler(settings, transport)
    credentials = build_credentials(settings, transport, store, metrics)
    account = credentials if handler is None else NoAccount()
    session = requests.Session()
    session.trust_env = False
    session.mount("https://", transport)
    session.mount("http://", transport)
    client = CopilotClient(
        credentials,
        identification(settings),
        session,
        clocks(settings),
        settings.upstream_concurrency,
        on_retry=lambda reason: metrics.retries.labels(reason).inc(),
    )
    catalogue = Catalogue(client.list_models, store, lambda: f"models:{credentials.account}", settings.aliases)
    if handler is not None:
        listed = handler_models(handler)
        catalogue = Catalogue(lambda: listed, MemoryStore(), lambda: "models", settings.aliases)
    metrics.known_models = catalogue.known_ids
    keys = KeyRing(
        (key.get_secret_value() for key in settings.api_keys),
        settings.admin_key.get_secret_value() if settings.admin_key else None,
    )
    ledger = Ledger(store, [ANONYMOUS.key_id, *sorted(keys.key_ids)])
    counter = TokenCounter(open_vocabularies(settings.tiktoken_cache_dir), run_off_loop=loop.run_aside)
    gateway = Gateway(
        client,
        catalogue,
        counter,
        ledger,
        metrics,
        default_model=settings.default_model,
        fallback_model=settings.fallback_model,
        handler=handler,
        handler_timeout_seconds=settings.total_timeout,
    )
    about = {
        "title": settings.api_title,
        "description": settings.api_description,
        "version": settings.api_version or VERSION,
    }
    http.install(app, metrics, anthropic.dialect_of)
    responder = http.Responder(metrics, settings.max_streams)
    quota = AddressQuota(store, settings.rate_limit_per_minute, settings.web_concurrency)
    editor_tokens = EditorTokens(editor_secret(settings))
    Guard(settings, keys, editor_tokens, quota).install(app)
    if settings.allow_origins:
        _allow_origins(app, settings.allow_origins)
    app.register_blueprint(openai.build(gateway, responder, settings.max_body_bytes))
    limits = TokenLimits(settings.max_tokens, settings.max_tokens_limit)
    app.register_blueprint(anthropic.build(gateway, responder, settings.max_body_bytes))
    app.register_blueprint(completions.build(gateway, responder, settings.max_body_bytes, limits))
    app.register_blueprint(copilot.build(editor_tokens, lambda: account.sku, gateway.models))
    app.register_blueprint(admin.build(account, ledger, account.quota))
    app.register_blueprint(status.build(account, catalogue, store, metrics, about))
    app.register_blueprint(explorer.build(**about))
    app.extensions["copilotapi.refresher"] = Refresher(
        account, catalogue, _tidier(store, transport), _closer(store, transport)
    )
    if settings.trusted_proxy_count:
        hops = settings.trusted_proxy_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=hops)  # type: ignore[method-assign]
    return app


def configured_handler(settings: Settings, transport: Transport) -> CompletionHandler | None:
    """The handler the settings name, if they name one. SettingsError when it cannot be had."""
    if settings.completion_handler:
        try:
            return load_handler(settings.completion_handler)
        except ValueError as exc:
            raise SettingsError((str(exc),)) from exc
    if settings.local_model_url is None or settings.local_model is None:
        return None
    key = settings.local_model_key
    server = LocalServer(transport, settings.local_model_url, key.get_secret_value() if key else None)
    return LocalModel(server.stream, settings.local_model, settings.local_model_template)


def _allow_origins(app: Flask, origins: tuple[str, ...]) -> None:
    """CORS headers for exactly these origins, on requests that name one; never a grant to reach a private network."""
    # flask-cors takes a text with brackets, as in http://[::1]:3000, for a pattern.
    exact = [origin if origin == "*" else re.compile(re.escape(origin) + r"\Z") for origin in origins]
    app.after_request(_without_private_network)
    CORS(app, origins=exact, methods=_METHODS, expose_headers=_EXPOSED_HEADERS, send_wildcard=False, always_send=False)


def _without_private_network(response: Response) -> Response:
    response.headers.remove("Access-Control-Allow-Private-Network")
    return response


def network(settings: Settings) -> Network:
    return Network(
        https_proxy=settings.https_proxy.get_secret_value() if settings.https_proxy else None,
        no_proxy=settings.no_proxy,
        ca_bundle=str(settings.requests_ca_bundle) if settings.requests_ca_bundle else None,
    )


def clocks(settings: Settings) -> Clocks:
    return Clocks(
        connect_seconds=settings.connect_timeout,
        first_byte_seconds=settings.first_byte_timeout,
        idle_seconds=settings.idle_timeout,
        total_seconds=settings.total_timeout,
    )


def identification(settings: Settings) -> Identification:
    return Identification(
        editor_version=settings.editor_version,
        editor_plugin_version=settings.editor_plugin_version,
        integration_id=settings.copilot_integration_id,
        github_api_version=settings.github_api_version,
    )


def editor_secret(settings: Settings) -> bytes:
    github_token = signed_in(settings).github_copilot_token
    return signing_secret(
        tuple(key.get_secret_value() for key in settings.token_encryption_key),
        github_token.get_secret_value() if github_token else None,
    )


def build_credentials(settings: Settings, transport: Transport, store: Store, metrics: Metrics) -> Credentials:
    """Of the GitHub token given, else of the stored one. SettingsError when what is stored cannot be used."""
    github_token = signed_in(settings).github_copilot_token
    return Credentials(
        github_token.get_secret_value() if github_token else None,
        GitHub(transport, settings.github_api_url, identification(settings)),
        EndpointRules(
            github_url=settings.github_url,
            github_api_url=settings.github_api_url,
            api_override=settings.copilot_api_url,
            proxy_override=settings.copilot_proxy_url,
        ),
        store,
        encryption_keys=tuple(key.get_secret_value() for key in settings.token_encryption_key),
        on_exchange=lambda outcome: metrics.exchanges.labels(outcome).inc(),
    )


def _tidier(store: Store, transport: Transport) -> Callable[[], None]:
    def tidy() -> None:
        if isinstance(store, RedisStore):
            store.probe()
        transport.drop_stale()

    return tidy


def _closer(store: Store, transport: Transport) -> Callable[[], None]:
    def close() -> None:
        store.close()
        transport.close()

    return close
