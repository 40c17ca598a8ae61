"""POST {proxy}/v1/engines/{engine}/completions: ghost text, always streamed (copilot-wire 9.1)."""

import itertools
from collections.abc import Iterator
from typing import Any

from copilotapi.simulator.answers import DONE, JSON, Answer, envelope, event, refuse, stream_answer
from copilotapi.simulator.capi import check_bearer, check_engine, object_body, token_limit
from copilotapi.simulator.prompts import token_count
from copilotapi.simulator.replies import pieces, wishes_in
from copilotapi.simulator.world import Call

_MOST_CHOICES = 20
_MAX_TOKENS = 500


def completions(call: Call) -> Answer:
    check_bearer(call)
    engine = check_engine(call)
    body = object_body(call)
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise refuse(400, "prompt must be text", "invalid_request_body", param="prompt")
    call.obey(prompt)
    wishes = wishes_in(call.faults, call.world.settings.chunk_delay_seconds)
    count = min(token_limit(body, "n") or 1, _MOST_CHOICES)
    suggested = [wishes.text or _suggestion(prompt, engine, number) for number in range(count)]
    choices = [_ended(text, body, wishes.finish_reason) for text in suggested]
    return stream_answer(_events(choices), _error_event, wishes.chunk_delay_seconds or 0.0)


def _suggestion(prompt: str, engine: str, number: int) -> str:
    """Some lines at the cursor's indentation, then one further left and some more after two empty lines."""
    line = prompt.rpartition("\n")[2]
    indent = line[: len(line) - len(line.lstrip())]
    return (
        f"suggestion_{number} = 'ghost text — {engine}'\n"
        f"{indent}return suggestion_{number}\n"
        f"{indent[:-4]}after_the_block()\n\n\n"
        f"and_so_on()\n"
    )


def _ended(text: str, body: JSON, wished: str | None) -> tuple[str, str]:
    """The text as far as `stop`, the indentation and `max_tokens` let it go, and the finish_reason."""
    ends = [at for stop in _stops(body) if (at := text.find(stop)) >= 0]
    text = text[: min(ends, default=len(text))]
    extra = body.get("extra")
    if isinstance(extra, dict) and extra.get("trim_by_indentation") is True:
        text = _trimmed(text, extra.get("next_indent"))
    limit = token_limit(body, "max_tokens") or _MAX_TOKENS
    if token_count(len(text)) > limit:
        return text[: 4 * limit], wished or "length"
    return text, wished or "stop"


def _stops(body: JSON) -> list[str]:
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
    return [one for one in stops if isinstance(one, str) and one]


def _trimmed(text: str, next_indent: Any) -> str:
    """The lines before the first that is indented less than `next_indent`; empty lines do not count."""
    least = next_indent if isinstance(next_indent, int) else 0
    first, *rest = text.split("\n")
    kept = itertools.takewhile(lambda line: not line.strip() or len(line) - len(line.lstrip()) >= least, rest)
    return "\n".join((first, *kept))


def _events(choices: list[tuple[str, str]]) -> Iterator[bytes]:
    for index in range(len(choices)):
        yield _chunk({"index": index, "finish_reason": None})
    for column in itertools.zip_longest(*(pieces(text) for text, _ in choices)):
        for index, piece in enumerate(column):
            if piece is not None:
                yield _chunk({"text": piece, "index": index, "finish_reason": None})
    for index, (_, finish) in enumerate(choices):
        yield _chunk({"index": index, "finish_reason": finish})
    yield DONE


def _chunk(choice: JSON) -> bytes:
    return event({"choices": [choice]})


def _error_event(code: str, message: str) -> bytes:
    return event(envelope(message, code))
