"""A caller who leaves takes the call to Copilot along: within a second, from every state a request can be in."""

import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.played_copilot import DONE, STREAM_HEAD, Chat, PlayedCopilot, answered, chunk, event, refused, saying
from tests.faults.processes import eventually, socket_count
from tests.faults.raw_caller import RawCaller, post
from tests.gateway_process import GatewayProcess

UPSTREAM_CONCURRENCY = 3
WITHIN_SECONDS = 1.0


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def gateway(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    with GatewayProcess(
        copilot.url, RATE_LIMIT_PER_MINUTE="0", UPSTREAM_CONCURRENCY=str(UPSTREAM_CONCURRENCY)
    ) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _nobody_acts(copilot: PlayedCopilot) -> None:
    copilot.play()


def before_the_head(caller: RawCaller, chat: Chat) -> None:
    pass


def before_the_first_event(caller: RawCaller, chat: Chat) -> None:
    chat.send(STREAM_HEAD)


def in_silence_after_the_first_event(caller: RawCaller, chat: Chat) -> None:
    chat.send(STREAM_HEAD, chunk(event("Hello")))
    caller.read_until(b"Hello")


def in_mid_stream(caller: RawCaller, chat: Chat) -> None:
    in_silence_after_the_first_event(caller, chat)
    for number in range(50):
        chat.send(chunk(event(f"word-{number}")))
    caller.read_until(b"word-20")


@pytest.mark.parametrize("leave", [RawCaller.leave, RawCaller.reset])
@pytest.mark.parametrize(
    "moment", [before_the_head, before_the_first_event, in_silence_after_the_first_event, in_mid_stream]
)
def test_a_caller_who_leaves_a_stream_closes_the_upstream(
    gateway: GatewayProcess,
    copilot: PlayedCopilot,
    moment: Callable[[RawCaller, Chat], None],
    leave: Callable[[RawCaller], None],
) -> None:
    caller = RawCaller(gateway)
    chat = copilot.next_chat()
    moment(caller, chat)
    leave(caller)
    assert chat.seconds_until_gone() < WITHIN_SECONDS


@pytest.mark.parametrize("leave", [RawCaller.leave, RawCaller.reset])
@pytest.mark.parametrize("sent", [b"", answered()[:-20]])
def test_a_caller_who_leaves_a_whole_answer_closes_the_upstream(
    gateway: GatewayProcess, copilot: PlayedCopilot, sent: bytes, leave: Callable[[RawCaller], None]
) -> None:
    caller = RawCaller(gateway, stream=False)
    chat = copilot.next_chat()
    chat.send(sent)
    leave(caller)
    assert chat.seconds_until_gone() < WITHIN_SECONDS


def test_a_caller_who_stops_sending_counts_as_gone(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    caller = RawCaller(gateway)
    chat = copilot.next_chat()
    caller.socket.shutdown(socket.SHUT_WR)
    assert chat.seconds_until_gone() < WITHIN_SECONDS
    caller.leave()


def test_a_caller_who_leaves_while_copilot_takes_no_more_of_the_request_closes_the_upstream(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    [worker] = gateway.worker_pids()
    before = socket_count(worker)
    copilot.reads_chats = False
    caller = RawCaller(gateway, "x " * 4_000_000)
    chat = copilot.next_chat()
    caller.leave()
    assert eventually(lambda: socket_count(worker) <= before, WITHIN_SECONDS)
    chat.close()


def test_a_caller_who_waits_for_a_slot_and_leaves_never_reaches_copilot(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    holders = [RawCaller(gateway) for _ in range(UPSTREAM_CONCURRENCY)]
    held = [copilot.next_chat() for _ in holders]
    waiting = RawCaller(gateway, "never to arrive")
    waiting.leave()
    for chat in held:
        chat.send(STREAM_HEAD, chunk(event("", "stop")), chunk(DONE), b"0\r\n\r\n")
    for caller in holders:
        caller.read_until(b"[DONE]")
        caller.leave()
    copilot.play(saying(answered()))
    assert gateway.chat().status == 200
    assert not any(b"never to arrive" in request for request in copilot.requests)


def test_a_caller_who_leaves_before_the_retry_is_not_retried_for(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    written = len(gateway.log)
    caller = RawCaller(gateway)
    chat = copilot.next_chat()
    chat.send(refused(503))
    chat.close()
    assert eventually(lambda: '"upstream_retry"' in gateway.log[written:])
    caller.leave()
    assert eventually(lambda: '"caller_gone"' in gateway.log[written:])
    assert copilot.chat_count == 1


def test_a_request_sent_ahead_on_the_same_connection_is_no_leaving(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    with RawCaller(gateway) as caller:
        first = copilot.next_chat()
        first.send(STREAM_HEAD, chunk(event("one")))
        caller.read_until(b"one")
        body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "second"}]}
        caller.socket.sendall(post(json.dumps(body).encode()))
        first.send(chunk(event("", "stop")), chunk(DONE), b"0\r\n\r\n")
        caller.read_until(b"[DONE]")
        second = copilot.next_chat()
        assert second.body["messages"][0]["content"] == "second"
        second.send(answered("two"))
        caller.read_until(b"two")


def test_slots_and_open_streams_are_free_again_after_every_kind_of_leaving(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    for moment in (before_the_head, in_silence_after_the_first_event) * (2 * UPSTREAM_CONCURRENCY):
        caller = RawCaller(gateway)
        chat = copilot.next_chat()
        moment(caller, chat)
        caller.reset()
        chat.seconds_until_gone()
    copilot.play(saying(answered()))
    started = time.monotonic()
    assert gateway.chat().status == 200
    assert time.monotonic() - started < WITHIN_SECONDS
    assert open_streams(gateway) == 0


def test_a_caller_who_left_is_told_apart_in_the_log(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    caller = RawCaller(gateway, "hello, log")
    chat = copilot.next_chat()
    in_silence_after_the_first_event(caller, chat)
    written = len(gateway.log)
    caller.leave()
    chat.seconds_until_gone()
    assert eventually(lambda: '"caller_gone"' in gateway.log[written:]), gateway.log[written:]


def open_streams(gateway: GatewayProcess) -> float:
    text = gateway.request("GET", "/metrics").body.decode()
    return next(
        float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith("copilotapi_open_streams")
    )
