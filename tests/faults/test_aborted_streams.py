"""Streams that end before their time, by the hundred: nothing of them stays in the worker.

ABORTED_STREAMS says how many: `ABORTED_STREAMS=10000 .venv/bin/python -m pytest tests/faults/test_aborted_streams.py`.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from itertools import cycle, islice, product
from typing import NamedTuple

import pytest

from copilotapi.sse import dump
from tests.faults.played_copilot import STREAM_HEAD, Chat, PlayedCopilot, chunk, event
from tests.faults.processes import connections_to, descriptor_count, eventually
from tests.faults.raw_caller import RawCaller
from tests.gateway_process import GatewayProcess

COUNT = int(os.environ.get("ABORTED_STREAMS", "1500"))
FORWARDED = "gpt-4.1"
# Copilot serves it by another protocol than the caller's.
TRANSLATED = "gpt-5.1-codex"
AT_ONCE = 12
# Several hundred, on a machine that does nothing else.
_PER_SECOND = 20
_SPARE = 2
_SPARE_OBJECTS = 200


class CountedGateway(GatewayProcess):
    app = "tests.faults.counted_wsgi:app"


class Held(NamedTuple):
    """Of one worker. `objects` are those that Python's garbage collector looks after."""

    descriptors: int
    upstream_connections: int
    greenlets: int
    objects: int


@pytest.fixture
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture
def gateway(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    with CountedGateway(copilot.url, RATE_LIMIT_PER_MINUTE="0", UPSTREAM_CONCURRENCY=str(AT_ONCE)) as gateway:
        yield gateway


# How far a stream comes.


def to_nothing(caller: RawCaller, chat: Chat) -> None:
    pass


def to_its_head(caller: RawCaller, chat: Chat) -> None:
    chat.send(STREAM_HEAD)


def to_its_first_event(caller: RawCaller, chat: Chat) -> None:
    chat.send(STREAM_HEAD, *map(chunk, told(chat, "Hello")))
    caller.read_until(b"Hello")


def to_half_an_event(caller: RawCaller, chat: Chat) -> None:
    to_its_first_event(caller, chat)
    chat.send(chunk(told(chat, "never whole")[-1])[:50])


def to_many_events(caller: RawCaller, chat: Chat) -> None:
    to_its_first_event(caller, chat)
    chat.send(*(chunk(told(chat, f"word-{number}")[-1]) for number in range(50)))
    caller.read_until(b"word-20")


def told(chat: Chat, text: str) -> list[bytes]:
    """The beginning of an answer in the protocol that was asked in; the last event tells the text."""
    if chat.body["model"] != TRANSLATED:
        return [event(text)]
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": TRANSLATED, "output": []}
    created = {"type": "response.created", "response": response}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "content": []}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", **place, "delta": text}
    return [dump(json.dumps(each).encode(), str(each["type"]).encode()) for each in (created, added, delta)]


# Who ends it.


def caller_leaves(caller: RawCaller, chat: Chat) -> None:
    caller.leave()


def caller_resets(caller: RawCaller, chat: Chat) -> None:
    caller.reset()


def upstream_leaves(caller: RawCaller, chat: Chat) -> None:
    chat.close()


def upstream_resets(caller: RawCaller, chat: Chat) -> None:
    chat.reset()


def both_reset(caller: RawCaller, chat: Chat) -> None:
    caller.reset()
    chat.reset()


Ending = tuple[Callable[[RawCaller, Chat], None], Callable[[RawCaller, Chat], None]]
ENDINGS: list[Ending] = list(
    product(
        (to_nothing, to_its_head, to_its_first_event, to_half_an_event, to_many_events),
        (caller_leaves, caller_resets, upstream_leaves, upstream_resets, both_reset),
    )
)


@pytest.mark.timeout(60 + COUNT // _PER_SECOND)
@pytest.mark.parametrize("model", [FORWARDED, TRANSLATED])
def test_nothing_stays_of_aborted_streams(gateway: GatewayProcess, copilot: PlayedCopilot, model: str) -> None:
    # The first ones open what stays open, and fill what is remembered.
    abort_streams(gateway, copilot, model, 2 * len(ENDINGS))
    assert eventually(lambda: held(gateway, copilot).upstream_connections == 0)
    before = held(gateway, copilot)
    abort_streams(gateway, copilot, model, COUNT)
    assert eventually(lambda: is_back(held(gateway, copilot), before)), (before, held(gateway, copilot))
    assert "copilotapi_open_streams 0.0" in gateway.request("GET", "/metrics").body.decode()


def is_back(now: Held, before: Held) -> bool:
    """A worker at rest has a little more at one time than at another."""
    more = [one - other for one, other in zip(now, before, strict=True)]
    return max(more[:3]) <= _SPARE and more[3] <= _SPARE_OBJECTS


def abort_streams(gateway: GatewayProcess, copilot: PlayedCopilot, model: str, count: int) -> None:
    endings = islice(cycle(ENDINGS), count)
    while together := list(islice(endings, AT_ONCE)):
        copilot.play()
        callers = [RawCaller(gateway, f"chat {number}", model=model) for number in range(len(together))]
        chats = [copilot.next_chat() for _ in callers]
        by_number = {number_in(chat): chat for chat in chats}
        for number, (how_far, _) in enumerate(together):
            how_far(callers[number], by_number[number])
        for number, (_, end) in enumerate(together):
            end(callers[number], by_number[number])
        for number, (_, end) in enumerate(together):
            if end in (caller_leaves, caller_resets):
                by_number[number].seconds_until_gone()
                by_number[number].close()
            elif end is not both_reset:
                assert b"upstream_disconnected" in callers[number].read_until(b"upstream_disconnected")
                callers[number].leave()


def number_in(chat: Chat) -> int:
    found = re.search(rb"chat (\d+)", chat.request)
    assert found is not None
    return int(found[1])


def held(gateway: GatewayProcess, copilot: PlayedCopilot) -> Held:
    [worker] = gateway.worker_pids()
    memory = gateway.request("GET", "/held").json
    return Held(descriptor_count(worker), connections_to(worker, copilot.port), memory["greenlets"], memory["objects"])
