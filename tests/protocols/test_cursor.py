from collections.abc import Iterator

import pytest

from copilotapi.protocols.conversation import (
    CompletionRequest,
    Delta,
    Finished,
    Started,
    TextDelta,
)
from copilotapi.protocols.cursor import as_completion, as_conversation, limited, trimmed, without_repetition


def stream(*texts: str) -> Iterator[Delta | None]:
    yield Started("a", "m")
    for text in texts:
        yield TextDelta(text)
    yield Finished("length")


def result(deltas: Iterator[Delta | None]) -> tuple[str, str]:
    text, reason = "", ""
    for delta in deltas:
        match delta:
            case TextDelta(more):
                text += more
            case Finished(why, _):
                reason = why
    return text, reason


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_stop_sequence_ends_the_text_before_it_however_it_was_split(size: int) -> None:
    whole = "keep this<<STOP>>not this"
    texts = [whole[at : at + size] for at in range(0, len(whole), size)]
    request = CompletionRequest("p", stop=("<<STOP>>", "never"))
    assert result(limited(stream(*texts), request)) == ("keep this", "stop")


def test_text_that_only_begins_like_a_stop_sequence_is_kept() -> None:
    assert result(limited(stream("a<", "<ST", "ay"), CompletionRequest("p", stop=("<<STOP>>",)))) == (
        "a<<STay",
        "length",
    )


@pytest.mark.parametrize("size", [1, 4, 1000])
def test_text_ends_where_it_is_indented_less_than_the_block(size: int) -> None:
    whole = "return x\n\n    y = 1\n    z = 2\nother()\n"
    texts = [whole[at : at + size] for at in range(0, len(whole), size)]
    request = CompletionRequest("def f():\n    ", next_indent=4)
    assert result(limited(stream(*texts), request)) == ("return x\n\n    y = 1\n    z = 2", "stop")


def test_a_block_that_never_ends_less_indented_is_whole() -> None:
    text = "return x\n    y\n"
    assert result(limited(stream(text), CompletionRequest("p", next_indent=4))) == (text, "length")


@pytest.mark.parametrize(
    ("answer", "prompt", "suffix", "expected"),
    [
        ("x + 1", "return ", "\n", "x + 1"),
        ("return x + 1", "def f(x):\n    return ", "", "return x + 1"),
        ("    return x + 1", "def f(x):\n    return ", "", "x + 1"),
        ("```python\nx + 1\n```", "return ", "", "x + 1"),
        ("x)\n    print(y)", "print(", ")\n    print(y)", "x"),
        ("x)", "print(", ")", "x"),
        ("", "a", "b", ""),
        ("x  ", "a", "  ", "x  "),
    ],
)
def test_what_a_chat_model_repeats_is_cut_off(answer: str, prompt: str, suffix: str, expected: str) -> None:
    request = CompletionRequest(prompt, suffix)
    assert trimmed(answer, request) == expected
    assert result(without_repetition(stream(*answer), request)) == (expected, "length")


def test_the_task_is_explained_with_both_sides_of_the_cursor() -> None:
    conversation = as_conversation(
        CompletionRequest("before", "after", max_tokens=9, language="python", file_path="a.py", model="m")
    )
    question = conversation.messages[-1].parts[0]
    assert "before" in str(question)
    assert "after" in str(question)
    assert "a.py" in str(question)
    assert (conversation.max_tokens, conversation.model) == (9, "m")
    assert as_completion(conversation).prompt.endswith("assistant:")
