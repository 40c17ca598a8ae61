"""`copilotapi vocabularies`: fetches the files that exact token counts need."""

from pathlib import Path

import click

from copilotapi.cli.terminal import refuse_settings
from copilotapi.settings import Settings, SettingsError
from copilotapi.vocabularies import VocabularyUnavailable, fetch


@click.command(
    epilog="Example: copilotapi vocabularies --folder .cache/tiktoken",
    short_help="Fetch the files (5 MB) for exact token counts.",
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where to put them. Default: TIKTOKEN_CACHE_DIR.",
)
@click.option("--optional", is_flag=True, help="Succeed, with a warning, when they cannot be fetched.")
def vocabularies(folder: Path | None, optional: bool) -> None:
    """Fetch the two files (5 MB) that token counts need. Without them counts are estimated."""
    try:
        fetch(folder or _configured_folder(), click.echo)
    except VocabularyUnavailable as problem:
        if not optional:
            raise click.ClickException(str(problem)) from problem
        click.echo(f"Warning: {problem}", err=True)


def _configured_folder() -> Path:
    try:
        return Settings.from_env().tiktoken_cache_dir
    except SettingsError as problem:
        refuse_settings(problem)
