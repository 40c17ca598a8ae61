"""The operator's acts, and what a caller may know of its own use. Never shows a credential."""

import re
from collections.abc import Callable

from flask import Blueprint, Response, request

from copilotapi.blueprints.guard import ADMIN, KEY, access
from copilotapi.blueprints.http import json_response
from copilotapi.blueprints.web_app import this_request
from copilotapi.errors import bad_request
from copilotapi.metering.ledger import Ledger
from copilotapi.protocols.conversation import JSON
from copilotapi.upstream.credentials import Credentials, NoAccount

_DEFAULT_DAYS, _MAX_DAYS = 7, 62
_DAYS = re.compile(r"[0-9]{1,9}")


def build(credentials: Credentials | NoAccount, ledger: Ledger, account: Callable[[], JSON]) -> Blueprint:
    admin = Blueprint("admin", __name__)

    @admin.route("/v1/token/refresh", methods=["GET", "POST"])
    @admin.route("/token/refresh", methods=["GET", "POST"])
    @access(ADMIN)
    def refresh_token() -> Response:
        refreshed = credentials.refresh_now()
        return json_response(
            {
                "status": refreshed.status,
                "generation": refreshed.generation,
                "expires_in": refreshed.expires_in,
                "refresh_in": refreshed.refresh_in,
            }
        )

    @admin.get("/v1/usage")
    @admin.get("/usage")
    @access(KEY)
    def show_usage() -> Response:
        days = _days(request.args.get("days"))
        caller = this_request().known_caller()
        if not caller.is_admin:
            return json_response(_usage(ledger.usage_of(caller.key_id, days), days))
        usage = _usage(ledger.usage_of_all(days), days)
        usage["copilot"] = account()
        return json_response(usage)

    return admin


def _usage(rows: list[JSON], days: int) -> JSON:
    totals: JSON = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, int):
                totals[name] = totals.get(name, 0) + value
    return {"object": "usage", "days": days, "total": totals, "data": rows}


def _days(given: str | None) -> int:
    if given is None:
        return _DEFAULT_DAYS
    if not _DAYS.fullmatch(given) or not 1 <= int(given) <= _MAX_DAYS:
        raise bad_request(f"'days' must be a whole number from 1 to {_MAX_DAYS}.", param="days")
    return int(given)
