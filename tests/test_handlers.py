import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from copilotapi.errors import ApiError, CallerGone
from copilotapi.handlers import (
    CompletionHandler,
    HandlerResultError,
    accepted_requests,
    ask,
    check_handler,
    deltas,
    load_handler,
    model_name,
    run,
)
from copilotapi.protocols.conversation import (
    CompletionRequest,
    Conversation,
    Delta,
    Finished,
    Message,
    Started,
    Text,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
)

HELLO = Conversation("m", (Message("user", (Text("Hello"),)),))
CURSOR = CompletionRequest("def f():\n    ", "\n", stop=("END",))


def text_of(given: Iterator[Delta | None]) -> str:
    return "".join(delta.text for delta in given if isinstance(delta, TextDelta))


def go(handler: CompletionHandler, request: Any = HELLO, timeout_seconds: float = 5) -> Iterator[Delta | None]:
    return ask(handler, request, timeout_seconds=timeout_seconds, tick_seconds=0.05)


@pytest.mark.parametrize(
    "result", ["ab", ["a", "b"], iter("ab"), (TextDelta("a"), "b", Finished("stop"), "never read")]
)
def test_each_form_of_a_result_becomes_the_same_deltas(result: object) -> None:
    given = list(deltas(result, "m"))
    assert isinstance(given[0], Started)
    assert given[0].model == "m"
    assert "".join(delta.text for delta in given if isinstance(delta, TextDelta)) == "ab"
    assert given[-1] == Finished("stop")


def test_nothing_at_all_is_an_empty_answer() -> None:
    assert [type(delta) for delta in deltas([], "m")] == [Started, Finished]


def test_a_tool_call_without_a_finish_finishes_by_tool_calls() -> None:
    given = list(deltas([ToolUseStarted("1", "grep"), ToolInputDelta("{}")], "m"))
    assert given[-1] == Finished("tool_calls")


def test_an_answer_may_name_itself() -> None:
    assert next(deltas([Started("id", "other"), "x"], "m")) == Started("id", "other")


@pytest.mark.parametrize(
    "result", [None, 7, b"bytes", {"a": 1}, [3], [None], [ToolInputDelta("{}")], ["a", Started("1", "m")]]
)
def test_what_is_no_answer_is_told_to_the_operator(result: object) -> None:
    with pytest.raises(HandlerResultError):
        list(deltas(result, "m"))


def test_a_handler_is_given_what_it_declares() -> None:
    def by_cursor(request: CompletionRequest) -> str:
        return f"{request.prompt}|{request.suffix}"

    def by_conversation(conversation: Conversation) -> str:
        return f"{len(conversation.messages)} messages"

    class Callable:
        model = "mine"

        def __call__(self, request: CompletionRequest) -> str:
            return request.prompt

    def by_either(request: Conversation | CompletionRequest) -> str:
        return type(request).__name__

    assert accepted_requests(by_cursor) == {CompletionRequest}
    assert accepted_requests(Callable()) == {CompletionRequest}
    assert accepted_requests(by_conversation) == {Conversation}
    assert accepted_requests(lambda anything: "x") == {Conversation}
    assert text_of(go(by_either, CURSOR)) == "CompletionRequest"
    assert text_of(go(by_either, HELLO)) == "Conversation"
    assert text_of(go(by_cursor, CURSOR)) == "def f():\n    |\n"
    assert text_of(go(by_cursor, HELLO)).startswith("user: Hello")
    assert text_of(go(by_conversation, HELLO)) == "1 messages"
    assert text_of(go(by_conversation, CURSOR)) == "2 messages"
    assert (model_name(by_cursor), model_name(Callable())) == ("by_cursor", "mine")


def test_stop_sequences_are_kept_for_every_handler() -> None:
    def chatty(request: CompletionRequest) -> Iterator[str]:
        yield from ("one E", "N", "D two")

    assert text_of(go(chatty, CURSOR)) == "one "


def test_what_a_handler_raises_comes_through_unchanged() -> None:
    def failing(conversation: Conversation) -> Iterator[str]:
        yield "first"
        raise LookupError("only for the operator")

    given = go(failing)
    assert isinstance(next(given), Started)
    with pytest.raises(LookupError, match="operator"):
        list(given)


def test_silence_is_reported_and_ends_at_the_timeout() -> None:
    let_go = threading.Event()

    def hanging(conversation: Conversation) -> str:
        let_go.wait(10)
        return "late"

    given = run(hanging, HELLO, timeout_seconds=0.3, tick_seconds=0.05)
    assert next(given) is None
    with pytest.raises(ApiError) as caught:
        list(given)
    let_go.set()
    assert (caught.value.status, caught.value.code) == (504, "handler_timeout")


def test_a_caller_who_left_is_noticed_while_the_handler_is_silent() -> None:
    let_go = threading.Event()
    gone = threading.Event()

    def hanging(conversation: Conversation) -> str:
        let_go.wait(10)
        return "late"

    given = run(hanging, HELLO, timeout_seconds=60, tick_seconds=60, is_caller_gone=gone.is_set)
    threading.Timer(0.1, gone.set).start()
    with pytest.raises(CallerGone):
        list(given)
    let_go.set()


def test_closing_ends_an_endless_handler() -> None:
    ended = threading.Event()

    def endless(conversation: Conversation) -> Iterator[str]:
        try:
            while True:
                yield "more"
        finally:
            ended.set()

    given = run(endless, HELLO, timeout_seconds=60, tick_seconds=0.05)
    assert isinstance(next(given), Started)
    given.close()  # type: ignore[attr-defined]
    assert ended.wait(5)


def test_a_slow_reader_holds_the_handler_back() -> None:
    produced = []

    def quick(conversation: Conversation) -> Iterator[str]:
        for number in range(10_000):
            produced.append(number)
            yield "x"

    given = run(quick, HELLO, timeout_seconds=60, tick_seconds=0.05)
    next(given)
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline and len(produced) < 200:
        time.sleep(0.01)
    assert len(produced) < 200
    given.close()  # type: ignore[attr-defined]


def test_a_handler_is_found_by_its_path() -> None:
    assert load_handler("tests.test_handlers:go") is go


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("no.such.module:f", "cannot be imported"),
        ("tests.test_handlers:nothing", "no function nothing"),
        ("os:sep", "sep"),
        ("os:link", "function of one argument"),
    ],
)
def test_a_wrong_path_is_one_clear_line(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        load_handler(path)


async def late(conversation: Conversation) -> str:
    return "late"


@pytest.mark.parametrize("handler", [5, "x", lambda: "x", lambda a, b: "x", late])
def test_what_cannot_be_called_with_a_request_is_no_handler(handler: Any) -> None:
    with pytest.raises(TypeError, match="a handler must be"):
        check_handler(handler)


@pytest.mark.parametrize("handler", [lambda a: "x", lambda a, b=1: "x", lambda *a: "x", str])
def test_what_can_be_called_with_a_request_is_a_handler(handler: Any) -> None:
    check_handler(handler)
