"""The `copilotapi` command in processes that are quick to make: forked from one that has imported it, and nothing more."""

import multiprocessing
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from copilotapi.cli import main


def run_forked(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], limit_seconds: float
) -> "subprocess.CompletedProcess[str]":
    """What the command says in `folder`, with this environment only. AssertionError when it takes longer."""
    with tempfile.TemporaryDirectory(prefix="copilotapi-test-") as kept:
        out, err = Path(kept, "out"), Path(kept, "err")
        process = _context().Process(target=_run, args=(list(arguments), folder, dict(environment), out, err))
        process.start()
        process.join(limit_seconds)
        is_over = not process.is_alive()
        process.kill()
        process.join()
        assert is_over, f"copilotapi {' '.join(arguments)} took longer than {limit_seconds:g} s"
        done = subprocess.CompletedProcess(
            list(arguments), process.exitcode or 0, out.read_text(errors="replace"), err.read_text(errors="replace")
        )
        process.close()
        return done


@cache
def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    # pytest, because each such process imports anew what the first program was.
    context.set_forkserver_preload(["pytest", "tests.cli.forked", "copilotapi.cli.doctor.checks"])
    return context


def _run(arguments: list[str], folder: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    main(arguments, prog_name="copilotapi")
