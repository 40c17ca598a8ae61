"""How the gateway is: alive, ready, measured. Touches no upstream; /health touches nothing at all."""

from typing import Any

from flask import Blueprint, Response

from copilotapi.blueprints.guard import LOOPBACK_OR_ADMIN, PUBLIC, access
from copilotapi.blueprints.http import json_response
from copilotapi.metering.metrics import CONTENT_TYPE, Metrics
from copilotapi.store import Store
from copilotapi.upstream.credentials import Credentials, NoAccount
from copilotapi.upstream.models import Catalogue

_READY, _DEGRADED, _UNREADY = "ready", "degraded", "unready"


def build(
    credentials: Credentials | NoAccount, catalogue: Catalogue, store: Store, metrics: Metrics, about: dict[str, Any]
) -> Blueprint:
    status = Blueprint("status", __name__)

    @status.route("/", methods=["GET", "HEAD"])
    @access(PUBLIC)
    def show_about() -> Response:
        return json_response(about)

    @status.route("/health", methods=["GET", "HEAD"])
    @access(PUBLIC, exempt_from_limit=True)
    def show_health() -> Response:
        return json_response({"status": "ok"})

    @status.route("/ready", methods=["GET", "HEAD"])
    @access(PUBLIC, exempt_from_limit=True)
    def show_readiness() -> Response:
        state, reasons = readiness(credentials, catalogue, store)
        return json_response({"status": state, "reasons": reasons}, 503 if state == _UNREADY else 200)

    @status.get("/metrics")
    @access(LOOPBACK_OR_ADMIN)
    def show_metrics() -> Response:
        seconds_left = credentials.status().seconds_left
        metrics.token_seconds_left.set(seconds_left or 0)
        metrics.redis_up.set(0 if store.degraded else 1)
        return Response(metrics.text(), 200, content_type=CONTENT_TYPE)

    return status


def readiness(
    credentials: Credentials | NoAccount, catalogue: Catalogue, store: Store
) -> tuple[str, list[dict[str, str]]]:
    """The state and each reason for it (contract 7.4): unready without a usable token, degraded for what merely limps."""
    reasons = []
    token = credentials.status()
    if token.seconds_left is None:
        name = token.refusal.code if token.refusal else "copilot_token_pending"
        detail = token.refusal.message if token.refusal else "The first Copilot token has not been fetched yet."
        reasons.append({"name": name, "detail": detail})
    elif token.refusal is not None:
        reasons.append({"name": "token_refresh_failing", "detail": token.refusal.message})
    if store.degraded:
        reasons.append({"name": "redis_unavailable", "detail": store.degraded})
    if (stale_seconds := catalogue.stale_seconds) is not None:
        detail = f"The list of models is {stale_seconds / 60:.0f} minutes old and could not be renewed."
        reasons.append({"name": "catalogue_stale", "detail": detail})
    if token.seconds_left is None:
        return _UNREADY, reasons
    return (_DEGRADED if reasons else _READY), reasons
