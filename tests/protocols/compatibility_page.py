"""The section "What each pair carries" of docs/compatibility.md, made of the matrix and of what comes of it.

    python -m tests.protocols.compatibility_page

writes it anew. Nothing is written that does not come out as the tables say.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import collect
from tests.protocols.answers import ANSWERS, Answer, as_shown, notes
from tests.protocols.asks import ASKS, Ask
from tests.protocols.losses import LOSSES, REFUSALS
from tests.protocols.pairs import CLIENTS, UPSTREAMS, answered, asked, read

PAGE = Path(__file__).parent.parent.parent / "docs" / "compatibility.md"
HEADING = "## What each pair carries\n"
_INTRODUCTION = """
Every client protocol over every endpoint of Copilot, and over a handler of your own. These tables are generated:
`tests/protocols/test_matrix.py` takes every row through every pair, streamed and whole, and reads the answers with
OpenAI's and Anthropic's own Python clients. `python -m tests.protocols.compatibility_page` writes them anew.

In the same protocol on both sides requests and answers are forwarded, repaired where Copilot is known to be wrong.
*yes*: carried whole. *400*: refused before anything is asked, naming the field. Anything else says how it is carried.
A client's table has the rows its protocol has words for; *–* is what the endpoint has no words for. A stream that is
cut or fails is an error in the client's own protocol in all pairs, and never a finished answer.
"""
_CLIENT_NAMES = {
    "chat": "Chat Completions clients",
    "responses": "Responses clients",
    "messages": "Messages clients",
    "completions": "Completions clients, legacy and inline",
}
_UPSTREAM_NAMES = {
    "chat": "`/chat/completions`",
    "responses": "`/responses`",
    "messages": "`/v1/messages`",
    "handler": "handler",
}
_LEFT_OUT = """
### What is left out

Of a request for a model of another endpoint. Hints are dropped and named in `X-CopilotAPI-Warnings`; what shapes the
answer is refused with a 400 that names the field. A handler is given what the vocabulary holds, and nothing is refused.
"""


def section() -> str:
    """The whole section. AssertionError when something does not come out as the tables say."""
    parts = [HEADING, _INTRODUCTION]
    for client in CLIENTS:
        parts.append(f"\n### {_CLIENT_NAMES[client]}\n\n{_table(('', *_UPSTREAM_NAMES.values()), _rows(client))}")
    parts.append(f"{_LEFT_OUT}\n{_table(('client', 'dropped and named', 'refused'), _left_out())}")
    return "".join(parts)


def committed() -> str:
    """The section as it stands in the page."""
    _, heading, rest = PAGE.read_text().partition(HEADING)
    return heading + rest.partition("\n## ")[0]


def write() -> None:
    """Puts the section in the place of the one that stands there, or at the end."""
    before, _, rest = PAGE.read_text().partition(HEADING)
    _, following, after = rest.partition("\n## ")
    PAGE.write_text(f"{before.rstrip()}\n\n{section()}{following}{after}")


def _rows(client: str) -> Iterator[Iterable[str]]:
    for ask in ASKS:
        if client in ask.says:
            yield f"asked: {ask.feature}", *(_asked(ask, client, upstream) for upstream in UPSTREAMS)
    for answer in ANSWERS:
        yield f"answered: {answer.feature}", *(_answered(answer, client, upstream) for upstream in UPSTREAMS)


def _asked(ask: Ask, client: str, upstream: str) -> str:
    less = ask.less(client, upstream)
    if less is not None and less.param is not None:
        with pytest.raises(ApiError) as caught:
            asked(client, upstream, ask.body(client))
        assert (caught.value.status, caught.value.param) == (400, less.param), ask.feature
        return f"400 `{less.param}`"
    told = asked(client, upstream, ask.body(client))
    expected = ask.expected(client, upstream)
    assert {name: told.given.get(name) for name in expected} == expected, ask.feature
    return less.note if less is not None else "yes"


def _answered(answer: Answer, client: str, upstream: str) -> str:
    if upstream in answer.unsaid_by:
        return "–"
    completion = collect(answer.deltas)
    for streamed in (True, False):
        told = read(client, answered(client, upstream, answer.deltas, streamed=streamed), streamed=streamed)
        assert told == as_shown(client, upstream, completion), answer.feature
    return ", ".join(notes(client, upstream, completion)) or "yes"


def _left_out() -> Iterator[Iterable[str]]:
    for client in CLIENTS:
        dropped = dict.fromkeys(name for loss in LOSSES if loss.client == client for name in sorted(loss.names))
        refused = dict.fromkeys(
            refusal.told or f"`{refusal.param}`" for refusal in REFUSALS if refusal.client == client
        )
        yield _CLIENT_NAMES[client], ", ".join(f"`{name}`" for name in dropped), ", ".join(refused)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    heads = tuple(heads)
    return _line(heads) + "|" + "---|" * len(heads) + "\n" + "".join(map(_line, rows))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    write()
