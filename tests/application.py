"""The gateway's application without a server: settings in, a client out that calls from this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from copilotapi.app import create_app
from copilotapi.settings import Settings

# Where nothing listens: for tests that must not get that far.
NOWHERE = "http://127.0.0.1:9"


def application(upstream_url: str = NOWHERE, **settings: Any) -> Flask:
    """One worker's app with its store in memory, without a limit per address unless `settings` say so."""
    defaults: dict[str, Any] = {
        "github_copilot_token": "gho_canary_github_token_0123456789",
        "github_url": upstream_url,
        "github_api_url": upstream_url,
        "redis_url": "memory://",
        "web_concurrency": 1,
        "rate_limit_per_minute": 0,
        # Without vocabularies token estimates are rougher, and an app is made in a hundredth of the time.
        "tiktoken_cache_dir": Path(os.devnull) / "none",
    }
    return create_app(Settings(**{**defaults, **settings}))


def caller(**settings: Any) -> FlaskClient:
    """For requests that end before Copilot."""
    return application(**settings).test_client()


@contextmanager
def connected(upstream_url: str, **settings: Any) -> Iterator[FlaskClient]:
    """For requests that reach the upstream; its connections are closed at the end."""
    app = application(upstream_url, **settings)
    try:
        yield app.test_client()
    finally:
        app.extensions["copilotapi.refresher"].stop()
