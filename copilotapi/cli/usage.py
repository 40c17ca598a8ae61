"""`copilotapi usage`: what the account has left at GitHub, and what went through the gateway."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console, RenderableType
from rich.progress_bar import ProgressBar

from copilotapi.cli.asking import asking, rows
from copilotapi.cli.terminal import console, is_plain, one_line, quiet_interrupt, settings_or_exit, table

_EPILOG = """\b
Examples:
  copilotapi usage
  copilotapi usage --days 30 --json
"""
_NO_GATEWAY = "No gateway is running here, so it has counted nothing. Start it with: copilotapi serve"
_NO_ADMIN = "Only the gateway's operator sees the account's quota and all callers: set ADMIN_KEY to the gateway's."
_SIGN_IN = "Run `copilotapi login`."
_LOOK = "What is wrong on the way there: copilotapi doctor."
_BAR_COLUMNS = 30
_COUNTERS = ("requests", "errors", "input_tokens", "output_tokens", "estimated_requests")


@click.command(epilog=_EPILOG, short_help="Show the quota, and what was used by model.")
@click.option("--days", default=7, show_default=True, type=click.IntRange(1, 62), help="Days of the gateway's usage.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object: gateway, quota, usage.")
@click.option("--url", metavar="URL", help="A gateway elsewhere. Default: the one of HOST and PORT.")
def usage(days: int, as_json: bool, url: str | None) -> None:
    """Show the account's quota and what the gateway was used for, by model.

    The quota is GitHub's own count, of all programs together. The gateway's is its own: requests and tokens of all
    callers with ADMIN_KEY, of this key without.
    """
    settings = settings_or_exit()
    with quiet_interrupt(), asking(settings, url=url) as gateway:
        told = gateway.listing(f"/v1/usage?days={days}")
    quota = _mapping(told, "copilot") if "copilot" in told else None
    if gateway.in_process and quota is not None and "unavailable" in quota:
        advice = _SIGN_IN if settings.github_copilot_token is None else _LOOK
        raise click.ClickException(f"No gateway is running here, and the {_unavailable(quota)} {advice}")
    counted = None if gateway.in_process else by_model(rows(told))
    if as_json:
        running = None if gateway.in_process else gateway.base_url
        click.echo(json.dumps({"gateway": running, "quota": quota, "days": days, "usage": counted}, indent=2))
        return
    out = console()
    _show_quota(out, quota)
    out.print()
    _show_usage(out, counted, days)


def by_model(uses: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of /v1/usage summed over days and keys, the most asked model first."""
    sums: dict[str, dict[str, int]] = {}
    for row in uses:
        counts = sums.setdefault(str(row.get("model")), dict.fromkeys(_COUNTERS, 0))
        for name in _COUNTERS:
            counts[name] += int(_number(row.get(name)) or 0)
    busiest = sorted(sums.items(), key=lambda item: (-item[1]["requests"], item[0]))
    return [{"model": model, **counts} for model, counts in busiest]


def _show_quota(out: Console, quota: Mapping[str, Any] | None) -> None:
    if quota is None or "unavailable" in quota:
        out.print(_NO_ADMIN if quota is None else f"The {_unavailable(quota)}")
        return
    reset = _date(quota.get("quota_reset_date") or quota.get("limited_user_reset_date"))
    until = f"; the quota starts anew on {reset}" if reset else ""
    out.print(f"Copilot plan {one_line(str(quota.get('copilot_plan') or 'unknown'))}{until}", style="bold")
    shown = table(out, "quota", "used", "of", "left", "", "", right=("used", "of", "left"))
    for row in (*_snapshots(out, quota), *_free_plan(out, quota)):
        shown.add_row(*row)
    out.print(shown if shown.row_count else "GitHub tells no quota of this account.")


def _unavailable(quota: Mapping[str, Any]) -> str:
    return f"quota is unavailable: {one_line(str(quota['unavailable']))}"


def _snapshots(out: Console, quota: Mapping[str, Any]) -> Iterable[tuple[RenderableType, ...]]:
    """Of paid plans: GitHub's snapshots, any of which may be missing (copilot-wire 3.1)."""
    for name, snapshot in _mapping(quota, "quota_snapshots").items():
        if not isinstance(snapshot, dict):
            continue
        if snapshot.get("unlimited") is True:
            yield _line(out, name, None, None, "unlimited")
            continue
        left = _number(snapshot.get("quota_remaining", snapshot.get("remaining")))
        beyond = _number(snapshot.get("overage_count"))
        note = f"{beyond:g} beyond it" if beyond else ""
        note = note or ("more is allowed, and billed" if snapshot.get("overage_permitted") is True else "")
        yield _line(out, name, _number(snapshot.get("entitlement")), left, note)


def _free_plan(out: Console, quota: Mapping[str, Any]) -> Iterable[tuple[RenderableType, ...]]:
    """Of the free plan: what is left of each month's amounts (copilot-wire 3.1)."""
    left = _mapping(quota, "limited_user_quotas")
    for name, entitlement in _mapping(quota, "monthly_quotas").items():
        if name in left:
            yield _line(out, name, _number(entitlement), _number(left[name]), "")


def _line(
    out: Console, name: str, entitlement: float | None, left: float | None, note: str
) -> tuple[RenderableType, ...]:
    name = one_line(name).replace("_", " ")
    if entitlement is None or left is None:
        return (name, "", "", "", "", note)
    used = max(entitlement - left, 0)
    percent = 100 * left / entitlement if entitlement else 0
    # A sliver of a bar is no colour's work alone: the numbers stand beside it.
    bar = ProgressBar(entitlement or 1, used, _BAR_COLUMNS, complete_style="red" if percent < 10 else "green")
    return (name, f"{used:g}", f"{entitlement:g}", f"{percent:.0f} %", "" if is_plain(out) else bar, note)


def _show_usage(out: Console, counted: list[dict[str, Any]] | None, days: int) -> None:
    if counted is None:
        out.print(_NO_GATEWAY)
        return
    if not counted:
        out.print(f"Nothing went through the gateway in {_days(days)}.")
        return
    out.print(f"Through the gateway in {_days(days)}", style="bold")
    numbers = ("requests", "failed", "tokens in", "tokens out", "estimated")
    shown = table(out, "model", *numbers, right=numbers)
    for row in counted:
        shown.add_row(one_line(row["model"]), *(f"{row[name]:,}" for name in _COUNTERS))
    out.print(shown)
    if any(row["estimated_requests"] for row in counted):
        out.print(
            "estimated: requests of which Copilot told no numbers, so that their tokens are the gateway's estimate"
        )


def _date(told: object) -> str:
    """Free plans have seconds of the epoch in the place of a date (copilot-wire 2.2)."""
    if isinstance(told, int):
        return datetime.fromtimestamp(told, UTC).date().isoformat()
    return one_line(str(told)) if told else ""


def _days(days: int) -> str:
    return "one day" if days == 1 else f"{days} days"


def _mapping(holder: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = holder.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
