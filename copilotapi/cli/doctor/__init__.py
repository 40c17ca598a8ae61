"""`copilotapi doctor`: what is wrong, what to do about it, and what is in order. Changes nothing anywhere."""

import click
from pydantic import TypeAdapter, ValidationError

from copilotapi.cli.terminal import console
from copilotapi.settings.addresses import PlainUrl

_EPILOG = """\b
Examples:
  copilotapi doctor
  copilotapi doctor --live
  copilotapi doctor --json --public-url https://copilot.example.com
"""
_COST = "--live asks Copilot one short question: at most one premium request, none if a model is included in the plan."


def _public_url(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given is None:
        return None
    try:
        url: str = TypeAdapter(PlainUrl).validate_python(given)
    except ValidationError as exc:
        # Not repeated: it may hold a password.
        raise click.BadParameter(str(exc.errors()[0]["msg"]).removeprefix("Value error, ")) from exc
    return url.removesuffix("/v1")


@click.command(epilog=_EPILOG, short_help="Say what is wrong, and what to do about it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
@click.option("--live", is_flag=True, help="Ask Copilot one short question; may cost one premium request.")
@click.option("--public-url", metavar="URL", callback=_public_url, help="Also look at the address that others use.")
@click.pass_context
def doctor(context: click.Context, as_json: bool, live: bool, public_url: str | None) -> None:
    """Look at everything the gateway needs, and say what is wrong and what to do.

    Settings, files, versions, network, sign-in, models, Redis, the port. Nothing is changed. The exit status is 1 when
    something failed, else 0; warnings do not count.
    """
    # The whole gateway: the other commands start without loading it.
    from copilotapi.cli.doctor import examination, findings, report  # noqa: PLC0415
    from copilotapi.cli.doctor.checks import CHECKS  # noqa: PLC0415

    if live:
        click.echo(_COST, err=True)
    out, aside = console(), console(stderr=True)
    known = findings.Known(asks_live=live, public_url=public_url)
    name_columns = max(len(check.name) for check in CHECKS)
    seen: list[report.Named] = []
    with known.resources, report.progress(aside if as_json else out) as progress:
        for named in examination.examined(CHECKS, known, progress.begins):
            seen.append(named)
            if not as_json:
                report.show(named, out, name_columns)
    if as_json:
        click.echo(report.as_json(seen))
    elif out.is_terminal:
        report.show_sum(seen, out)
    context.exit(1 if report.overall(seen) == "failed" else 0)
