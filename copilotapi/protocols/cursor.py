"""Completions by models that know no cursor: the prompt that explains it, and what an answer may not run over.

Text in, text out; used for handlers that take a conversation and for chat models.
"""

from collections.abc import Iterator

from copilotapi.protocols.conversation import (
    CompletionRequest,
    Conversation,
    Delta,
    Finished,
    Message,
    Text,
    TextDelta,
)

_INSTRUCTIONS = (
    "You complete text at a cursor. The user sends the text before the cursor in <before> and the text after it in "
    "<after>. Answer with exactly what belongs at the cursor and nothing else: no explanation, no code fences, nothing "
    "that <before> ends with, nothing that <after> begins with. If nothing belongs there, answer with nothing."
)
_FENCE = "```"
_LONGEST_OVERLAP = 400


def as_conversation(request: CompletionRequest) -> Conversation:
    """The same task for a model that holds conversations."""
    about = "".join(
        f"<{name}>{value}</{name}>\n"
        for name, value in (("file", request.file_path), ("language", request.language))
        if value
    )
    question = f"{about}<before>{request.prompt}</before>\n<after>{request.suffix}</after>"
    return Conversation(
        model=request.model,
        messages=(Message("system", (Text(_INSTRUCTIONS),)), Message("user", (Text(question),))),
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
    )


def as_completion(conversation: Conversation) -> CompletionRequest:
    """The other way round: a conversation for a handler that completes text."""
    turns = []
    for message in conversation.messages:
        text = "".join(part.text for part in message.parts if isinstance(part, Text))
        turns.append(f"{message.role}: {text}")
    return CompletionRequest(
        prompt="\n\n".join(turns) + "\n\nassistant:",
        max_tokens=conversation.max_tokens or 256,
        temperature=conversation.temperature,
        top_p=conversation.top_p,
        stop=conversation.stop,
        model=conversation.model,
    )


def without_repetition(deltas: Iterator[Delta | None], request: CompletionRequest) -> Iterator[Delta | None]:
    """Drops fences, a repeated end of the prompt and a repeated beginning of the suffix.

    What a chat model does in spite of the instructions can only be seen on the whole text, so it is held until the end;
    a completion is short.
    """
    text = ""
    for delta in deltas:
        match delta:
            case TextDelta(more):
                text += more
            case Finished():
                cleaned = trimmed(text, request)
                if cleaned:
                    yield TextDelta(cleaned)
                yield delta
            case _:
                yield delta


def trimmed(text: str, request: CompletionRequest) -> str:
    return _without_suffix(_without_prompt(_without_fences(text), request.prompt), request.suffix)


def limited(deltas: Iterator[Delta | None], request: CompletionRequest) -> Iterator[Delta | None]:
    """Ends the text at a stop sequence, or where it is indented less than `next_indent`; both are cut off."""
    held = ""
    seen = ""
    longest = max(map(len, request.stop), default=1) - 1
    for delta in deltas:
        if not isinstance(delta, TextDelta):
            if isinstance(delta, Finished) and held:
                yield TextDelta(held)
            yield delta
            continue
        held += delta.text
        end = _end(seen, held, request)
        if end is not None:
            if held[:end]:
                yield TextDelta(held[:end])
            yield Finished("stop")
            return
        keep = max(longest, _unfinished_line(held) if request.next_indent is not None else 0)
        ready, held = (held[:-keep], held[-keep:]) if keep else (held, "")
        seen += ready
        if ready:
            yield TextDelta(ready)


def _end(seen: str, held: str, request: CompletionRequest) -> int | None:
    """Where in `held` the text has to end; None while it may go on."""
    ends = [found for stop in request.stop if stop and (found := held.find(stop)) >= 0]
    if request.next_indent is not None and (dedent := _dedent(seen, held, request.next_indent)) is not None:
        ends.append(dedent)
    return min(ends, default=None)


def _dedent(seen: str, held: str, next_indent: int) -> int | None:
    """The line break before the first whole line that is indented less; the first line continues the prompt's own."""
    whole = seen + held
    at = whole.find("\n")
    while at >= 0:
        line_end = whole.find("\n", at + 1)
        line = whole[at + 1 : line_end if line_end >= 0 else len(whole)]
        stripped = line.lstrip(" \t")
        if stripped and len(line) - len(stripped) < next_indent:
            return max(at - len(seen), 0)
        at = line_end
    return None


def _unfinished_line(held: str) -> int:
    """How much of the end must wait: a line break and indentation that no text follows yet."""
    return len(held) - len(held.rstrip(" \t\n"))


def _without_fences(text: str) -> str:
    if not text.lstrip().startswith(_FENCE):
        return text
    inner = text.lstrip().partition("\n")[2]
    return inner.rpartition(_FENCE)[0].removesuffix("\n") if _FENCE in inner else inner


def _without_prompt(text: str, prompt: str) -> str:
    """A model that begins by repeating the line it is to continue."""
    line = prompt.rpartition("\n")[2]
    if line.strip() and text.startswith(line):
        return text[len(line) :]
    if len(prompt) > len(line) and text.startswith(prompt[-_LONGEST_OVERLAP:]):
        return text[len(prompt[-_LONGEST_OVERLAP:]) :]
    return text


def _without_suffix(text: str, suffix: str) -> str:
    """The longest end of the text that the suffix begins with, where it is more than a mere bracket."""
    for length in range(min(len(text), len(suffix), _LONGEST_OVERLAP), 0, -1):
        if text.endswith(suffix[:length]):
            return text[:-length] if suffix[:length].strip() else text
    return text
