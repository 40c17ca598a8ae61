"""The picture in the README: commands run in a pseudo-terminal against the demo, and what they wrote as an SVG.

`python -m tests.docs_recording` writes it anew, `--port` where 8000 is taken. Nothing in it is made up: the prompts are all
that is added.
"""

import argparse
import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "terminal.svg"
COLUMNS = 96
_COMMAND = (sys.executable, "-c", "from copilotapi.cli import main; main(prog_name='copilotapi')")
_SHOWN = (
    ("chat", "--model", "claude-sonnet-4.5", "Who are you?"),
    ("usage",),
    ("connect", "claude-code"),
)
_UP = "Ctrl-C stops both."
_LIMIT_SECONDS = 60.0
# What rich writes to take its line about waiting back: a line up, and that line erased.
_LINE_TAKEN_BACK = "\x1b[1A\x1b[2K"
# GitHub serves pictures without what they would fetch from elsewhere.
_WEB_FONTS = re.compile(r"@font-face \{.*?\}\n", re.S)
_FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"


def recorded(port: int) -> list[str]:
    """The lines of a terminal, with their colours: the demo at `port`, then commands that find it there."""
    with tempfile.TemporaryDirectory(prefix="copilotapi-recording-") as folder:
        environment = {
            "PATH": os.defpath,
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
            # Named in what `connect` prints; nothing is written there.
            "HOME": "/home/me",
            "PORT": str(port),
            "COPILOTAPI_HOME": folder,
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        with _running(("demo", "--port", str(port)), environment, folder) as (demo, descriptor):
            lines = [_prompt(("demo", "&")), *_lines(_read(descriptor, until=_UP))]
            for arguments in _SHOWN:
                with _running(arguments, environment, folder) as (_, other):
                    lines += ["", _prompt(arguments), *_lines(_read(other))]
            demo.send_signal(signal.SIGINT)
            demo.wait(_LIMIT_SECONDS)
    return lines


def drawn(lines: Sequence[str]) -> str:
    """An SVG of a terminal with these lines."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=False, highlight=False)
    svg = console.export_svg(title="copilotapi", theme=DIMMED_MONOKAI, unique_id="terminal")
    svg = _WEB_FONTS.sub("", svg).replace("Fira Code, monospace", _FONTS)
    return re.sub(r"[ \t]+$", "", svg, flags=re.M)


def _prompt(arguments: Sequence[str]) -> str:
    words = " ".join(f'"{word}"' if " " in word else word for word in arguments)
    return f"\x1b[1;32m$\x1b[0m \x1b[1mcopilotapi {words}\x1b[0m"


@contextmanager
def _running(
    arguments: Sequence[str], environment: Mapping[str, str], folder: str
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*_COMMAND, *arguments], cwd=folder, env=dict(environment), stdin=its, stdout=its, stderr=its
    )
    os.close(its)
    try:
        yield process, ours
    finally:
        process.terminate()
        process.wait(_LIMIT_SECONDS)
        os.close(ours)


def _read(descriptor: int, until: str = "") -> str:
    """What is written to the terminal up to `until`, else to the end of the command."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    written = b""
    while not until or until.encode() not in written:
        ready, _, _ = select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))
        if not ready:
            raise TimeoutError(written.decode(errors="replace"))
        try:
            written += os.read(descriptor, 65_536)
        except OSError:
            # Linux's way to say that the other side is closed.
            break
    return written.decode()


def _lines(written: str) -> list[str]:
    """As they stand on the screen in the end."""
    lines: list[str] = []
    for line in written.replace("\r\n", "\n").removesuffix("\n").split("\n"):
        for _ in range(line.count(_LINE_TAKEN_BACK)):
            lines.pop()
        lines.append(line.rpartition(_LINE_TAKEN_BACK)[2].rpartition("\r")[2])
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(drawn(recorded(parser.parse_args().port)))
    print(f"Wrote {PICTURE}, {PICTURE.stat().st_size:,} bytes.")


if __name__ == "__main__":
    main()
