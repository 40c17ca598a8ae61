"""The README's picture shows what the commands say today."""

import re
from collections import defaultdict
from itertools import zip_longest
from pathlib import Path
from xml.etree import ElementTree

from rich.text import Text

from tests.docs_recording import COLUMNS, PICTURE, drawn, recorded
from tests.gateway_process import free_port

_SVG = "{http://www.w3.org/2000/svg}"
_MOST_BYTES = 30_000


def lines_of(svg: str) -> list[str]:
    """The text in the picture, line by line, each piece at its column."""
    matrix = next(one for one in ElementTree.fromstring(svg).iter(f"{_SVG}g") if one.get("class") == "terminal-matrix")
    pieces: dict[float, str] = defaultdict(str)
    for text in matrix.iter(f"{_SVG}text"):
        at, before = float(text.get("y", "")), pieces[float(text.get("y", ""))]
        column = round(float(text.get("x", "")) / 12.2)
        pieces[at] = f"{before:{column}}{text.text or ''}".replace("\N{NO-BREAK SPACE}", " ")
    return [pieces[at].rstrip() for at in sorted(pieces)]


def steady(lines: list[str]) -> list[str]:
    """Without what differs from one run to the next: ports and the date of the quota."""
    return [re.sub(r"(?<=127\.0\.0\.1:)\d+|\d{4}-\d\d-\d\d", "…", line) for line in lines if line]


def test_the_picture_shows_what_the_commands_say() -> None:
    lines = recorded(free_port())
    said = [Text.from_ansi(line).plain.rstrip() for line in lines]
    again = lines_of(drawn(lines))
    assert "".join(again).replace(" ", "") == "".join(said).replace(" ", "")
    assert not [
        (then, now) for then, now in zip_longest(steady(lines_of(PICTURE.read_text())), steady(again)) if then != now
    ], "run: python -m tests.docs_recording"


def test_the_picture_is_light_whole_and_tells_nothing_of_a_machine() -> None:
    svg = PICTURE.read_text()
    assert len(svg.encode()) < _MOST_BYTES
    assert not re.search(r"url\(\"?http|<script|<image|@font-face", svg)
    text = "\n".join(lines_of(svg))
    assert max(map(len, lines_of(svg))) <= COLUMNS
    assert not [word for word in (str(Path.home()) + "/", "/tmp/", "Traceback", "Error") if word in text]
    assert {"$ copilotapi demo &", "$ copilotapi usage", "$ copilotapi connect claude-code"} <= set(text.splitlines())
