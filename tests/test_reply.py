"""An answer's account: written once, whoever ends it, and not before what it tells is fit to be told."""

from collections.abc import Callable

import pytest

from copilotapi.errors import ApiError
from copilotapi.reply import Reply


class Told:
    """Source and account of a reply, in the order in which they hear of it."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.reply = Reply({}, b"first", (), self, self.settle)

    def settle(self, *, failed: bool) -> None:
        self.heard.append("failed" if failed else "well")

    def clear_of_secrets(self, error: ApiError) -> None:
        error.message = "cleared"
        self.heard.append("cleared")

    def finish(self) -> None:
        self.heard.append("finished")

    def close(self) -> None:
        self.heard.append("closed")


def error() -> ApiError:
    return ApiError("gho_secret", status=500, kind="server_error", code=None)


@pytest.mark.parametrize(
    ("steps", "heard"),
    [
        ([Reply.end, Reply.close], ["well", "finished", "closed"]),
        ([Reply.close], ["failed", "closed"]),
        ([Reply.close, Reply.close], ["failed", "closed"]),
        ([lambda reply: reply.fail(error()), Reply.close], ["cleared", "failed", "closed"]),
        ([Reply.end, lambda reply: reply.fail(error()), Reply.close], ["well", "finished", "cleared", "closed"]),
    ],
    ids=["ended", "given up", "closed twice", "failed", "failed behind its end"],
)
def test_the_account_is_written_once_and_the_source_closed(
    steps: list[Callable[[Reply], None]], heard: list[str]
) -> None:
    told = Told()
    for step in steps:
        step(told.reply)
    assert told.heard == heard


def test_an_account_that_cannot_be_written_keeps_no_source_open() -> None:
    told = Told()

    def failing(*, failed: bool) -> None:
        raise RuntimeError("no account")

    reply = Reply({}, b"", (), told, failing)
    with pytest.raises(RuntimeError):
        reply.close()
    assert told.heard == ["closed"]


def test_an_answer_without_source_or_account_ends_all_the_same() -> None:
    reply = Reply({}, b"first")
    assert (reply.take_first(), reply.take_first(), list(reply.rest)) == (b"first", b"", [])
    reply.end()
    reply.fail(error())
    reply.close()
