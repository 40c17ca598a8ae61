"""gunicorn as a child of a command: the shipped configuration, found beside the package."""

import os
import sys
from pathlib import Path

import click

_ROOT = Path(__file__).resolve().parents[2]


def gunicorn_command() -> list[str]:
    """The command line that serves the gateway. ClickException where the shipped configuration is not there."""
    configuration = _ROOT / "gunicorn.conf.py"
    if not configuration.is_file() or not (_ROOT / "wsgi.py").is_file():
        raise click.ClickException("gunicorn.conf.py and wsgi.py were not found: run this from a clone of the project.")
    return [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        os.fspath(configuration),
        "--pythonpath",
        os.fspath(_ROOT),
        "wsgi:app",
    ]


def default_vocabulary_folder() -> Path:
    """Where `make vocabularies` puts the files in a clone."""
    return _ROOT / ".cache" / "tiktoken"
