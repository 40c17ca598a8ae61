"""How the worker takes up connections and lets them go, seen by raw bytes."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.faults.processes import eventually, unread_bytes
from tests.raw_client import head
from tests.server.served import OURS, Served

_KEPT_SECONDS = 1


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    with Served(OURS, folder, "--keep-alive", str(_KEPT_SECONDS)) as served:
        yield served


@pytest.mark.parametrize("cut", [1, 16, 40, 95], ids=["first byte", "request line", "a name", "the end"])
def test_a_head_may_come_in_two_pieces(served: Served, cut: int) -> None:
    request = head(Content_Length="2", X_Filled="y" * 20) + b"hi"
    with served.caller() as caller:
        caller.send(request[:cut])
        assert eventually(lambda: unread_bytes(served.port, caller.socket.getsockname()[1]) == 0)
        caller.send(request[cut:])
        assert caller.reply().json["body"] == "hi"


def test_a_head_longer_than_one_read_is_taken_up(served: Served) -> None:
    fields = {f"X_{number}": "y" * 8000 for number in range(4)}
    with served.caller() as caller:
        caller.send(head(Content_Length="2", **fields) + b"hi")
        assert caller.reply().json["body"] == "hi"


def test_a_caller_who_asks_nothing_more_is_let_go(served: Served) -> None:
    post, get = head(Content_Length="2") + b"hi", head("GET")
    waits = [(b"", b""), (b"", post[:30]), (post, b""), (get, b""), (post, post[:30]), (get, get[:9])]
    with ExitStack() as callers:
        kept = []
        for asked, then in waits:
            caller = callers.enter_context(served.caller())
            caller.send(asked)
            if asked:
                assert caller.reply().status == 200
            kept.append((caller, time.monotonic()))
            caller.send(then)
        for (caller, since), wait in zip(kept, waits, strict=True):
            assert caller.is_closed(), wait
            assert _KEPT_SECONDS * 0.9 < time.monotonic() - since < 4 * _KEPT_SECONDS, wait
    assert "Traceback" not in served.log
