"""Stored streams over HTTP, by the gateway's own transport and by the gateway as it runs: in whatever pieces the bytes
come, the same bytes go on; and an upstream that dies is never taken for one that has ended.
"""

import json
import random
import re
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead

import pytest

from copilotapi.errors import UpstreamFailed
from copilotapi.upstream.connections import ConnectionPool
from copilotapi.upstream.transport import Clocks, Transport
from tests.faults.played_copilot import DONE, Act, Chat, PlayedCopilot, event
from tests.gateway_process import GatewayProcess, Reply
from tests.protocols.cut import TERMINAL, Came, at_random, cut_at, relay
from tests.protocols.stored import stored, upstream_of

# One for each protocol, and with other ends of lines; nothing in them is to be repaired.
STREAMS = ("gpt-escapes", "crlf", "messages-escapes", "responses-escapes", "completions-clean")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
CLOCKS = Clocks(connect_seconds=2, first_byte_seconds=5, idle_seconds=5, total_seconds=10)
_SEED = 20261127


def in_chunks(stream: bytes, sizes: Sequence[int] = (1, 2, 7, 60, 200)) -> bytes:
    """In HTTP chunks that begin and end anywhere, some with an extension."""
    dice, answer, start = random.Random(_SEED), HEAD + b"Transfer-Encoding: chunked\r\n\r\n", 0
    while start < len(stream):
        data = stream[start : start + dice.choice(sizes)]
        answer += b"%x%b\r\n%b\r\n" % (len(data), dice.choice([b"", b"", b";part=1"]), data)
        start += len(data)
    return answer + b"0\r\n\r\n"


def with_a_length(stream: bytes) -> bytes:
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(stream), stream)


def until_it_closes(stream: bytes) -> bytes:
    return HEAD + b"\r\n" + stream


FRAMINGS = (in_chunks, with_a_length, until_it_closes)
Framing = Callable[[bytes], bytes]


def assert_no_short_end(came: Came, stream: bytes) -> None:
    """Either all of it came, or the end is a failure after whole frames."""
    if came.failure is None:
        # The blank line after the last event may be made here.
        assert came.sent.rstrip() == stream.rstrip()
        return
    assert came.failure.code == "upstream_disconnected"
    assert stream.startswith(came.sent)
    assert came.sent == b"" or came.sent.endswith((b"\n\n", b"\r\n\r\n"))
    assert not TERMINAL.search(came.sent)


# By the transport alone, over a socket that keeps pieces apart.

in_pieces = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has SOCK_SEQPACKET for local sockets")


@pytest.fixture
def transported(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Iterable[bytes]], Came]:
    """What becomes of an answer that comes in these pieces, one for each read, and then nothing more."""
    near: list[socket.socket] = []
    monkeypatch.setattr(ConnectionPool, "_dial", lambda pool, origin, deadline: near.pop())
    transport = Transport(clocks=CLOCKS)

    def transported(name: str, pieces: Iterable[bytes]) -> Came:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near.append(ours)
        with theirs:
            theirs.setblocking(False)
            for piece in filter(None, pieces):
                theirs.send(piece)
            theirs.shutdown(socket.SHUT_WR)
            exchange = transport.start("POST", "http://127.0.0.1/chat", {}, b"{}")
            try:
                head = exchange.wait_head(10)
                assert head is not None
                return relay(name, iter(lambda: exchange.read(10) or b"", b""))
            except UpstreamFailed as exc:
                return Came(failure=exc)
            finally:
                exchange.close()

    return transported


@in_pieces
@pytest.mark.parametrize("name", STREAMS)
def test_it_does_not_matter_where_an_answer_is_cut(
    transported: Callable[[str, Iterable[bytes]], Came], name: str
) -> None:
    stream = stored(name)
    answer = in_chunks(stream)
    for places in (*([at] for at in range(1, len(answer))), *at_random(answer)):
        came = transported(name, cut_at(answer, places))
        assert (came.sent, came.failure) == (stream, None), places


@in_pieces
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", STREAMS)
def test_a_transport_whose_far_end_dies_tells_no_end(
    transported: Callable[[str, Iterable[bytes]], Came], name: str, framing: Framing
) -> None:
    stream = stored(name)
    answer = framing(stream)
    for at in range(0, len(answer), 1 if framing is in_chunks else 7):
        came = transported(name, [answer[:at]])
        assert_no_short_end(came, stream)
        # Where the answer tells its own end, the codec is not needed to see that it is cut.
        if came.failure and framing is not until_it_closes:
            assert came.failure.message.startswith("Copilot closed the connection")


# By the gateway, over TCP.

PATHS = {
    "chat": "/v1/chat/completions",
    "responses": "/v1/responses",
    "messages": "/v1/messages",
    "completions": "/v1/completions",
}
_HELLO = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
BODIES = {
    "chat": {"model": "gpt-4.1", **_HELLO, "stream_options": {"include_usage": True}},
    "responses": {"model": "gpt-5.1-codex", "input": "Hello", "stream": True},
    "messages": {"model": "claude-sonnet-4.5", "max_tokens": 100, **_HELLO},
    "completions": {"prompt": "def add(a, b):", "stream": True},
}
_OPENAIS_ERROR = rb'data: \{"error":[^\n]*\n\n\Z'
ERROR_END = {
    "chat": re.compile(_OPENAIS_ERROR),
    "responses": re.compile(rb"event: error\ndata: [^\n]*\n\nevent: response\.failed\ndata: [^\n]*\n\n\Z"),
    "messages": re.compile(rb"event: error\ndata: [^\n]*\n\n\Z"),
    "completions": re.compile(_OPENAIS_ERROR),
}
BY_PROTOCOL = ("gpt-escapes", "messages-escapes", "responses-escapes", "completions-clean")
_CUT_COUNT = 8
_AT_ONCE = 8
_PIECES = 60
_DEATH_COUNT = 8


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def gateway(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    settings = {"RATE_LIMIT_PER_MINUTE": "0", "COPILOT_PROXY_URL": copilot.url}
    with GatewayProcess(copilot.url, **settings) as gateway:
        yield gateway


def ask(gateway: GatewayProcess, protocol: str, model: str = "") -> Reply:
    """IncompleteRead when the answer breaks off."""
    named = {"model": model} if model else {}
    return gateway.request("POST", PATHS[protocol], {**BODIES[protocol], **named})


def piecewise(*pieces: bytes) -> Act:
    """Sends each when the gateway has taken up the one before."""

    def act(chat: Chat) -> None:
        for piece in pieces:
            chat.send(piece)
            chat.wait_until_read()
        chat.close()

    return act


def dying(end: Callable[[Chat], None], sent: bytes, *, is_read: bool) -> Act:
    """A reset takes along what was not read yet."""

    def act(chat: Chat) -> None:
        chat.send(sent)
        if is_read:
            chat.wait_until_read()
        end(chat)

    return act


@pytest.mark.parametrize("name", BY_PROTOCOL)
def test_the_gateway_forwards_the_very_bytes_in_whatever_pieces_they_come(
    gateway: GatewayProcess, copilot: PlayedCopilot, name: str
) -> None:
    stream = stored(name)
    answer, dice = in_chunks(stream), random.Random(_SEED)
    for count in (*[1] * _CUT_COUNT, 4, 12):
        places = sorted(dice.sample(range(1, len(answer)), count))
        copilot.play(piecewise(*cut_at(answer, places)))
        reply = ask(gateway, upstream_of(name))
        assert (reply.status, reply.body) == (200, stream), places


def test_long_streams_that_come_at_once_keep_their_bytes_apart(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    """Their events are shorter and longer than what is read at once."""
    streams = {f"chat {number}.": long_stream(number) for number in range(_AT_ONCE)}
    copilot.play()
    with ThreadPoolExecutor(_AT_ONCE) as callers:
        replies = {text: callers.submit(gateway.chat, text, stream=True) for text in streams}
        chats = [copilot.next_chat() for _ in streams]
        in_pieces_of = [pieces_of(streams[chat.body["messages"][0]["content"]]) for chat in chats]
        for pieces in zip(*in_pieces_of, strict=True):
            for chat, piece in zip(chats, pieces, strict=True):
                chat.send(piece)
        for chat in chats:
            chat.close()
        for text, stream in streams.items():
            reply = replies[text].result(timeout=20)
            assert (reply.status, reply.body == stream) == (200, True), text


def long_stream(number: int) -> bytes:
    dice = random.Random(number)
    texts = [f'{number} é🚀"' * dice.choice([1, 1, 40, 9000]) for _ in range(12)]
    spelled = [event(text) for text in texts]
    return b"".join([*spelled, *map(unescaped, spelled), event("", "stop"), DONE])


def unescaped(frame: bytes) -> bytes:
    """The same JSON with its letters as they are."""
    return b"data: " + json.dumps(json.loads(frame[6:]), ensure_ascii=False).encode() + b"\n\n"


def pieces_of(stream: bytes) -> list[bytes]:
    answer = in_chunks(stream, (7, 200, 5000, 70_000))
    places = sorted(random.Random(len(stream)).sample(range(1, len(answer)), _PIECES - 1))
    return list(cut_at(answer, places))


@pytest.mark.parametrize("end", [Chat.close, Chat.reset])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("name", BY_PROTOCOL)
def test_a_caller_is_told_that_the_upstream_died_wherever_it_does(
    gateway: GatewayProcess, copilot: PlayedCopilot, name: str, framing: Framing, end: Callable[[Chat], None]
) -> None:
    stream = stored(name)
    answer, dice = framing(stream), random.Random(_SEED)
    for count, at in enumerate(sorted(dice.sample(range(len(answer)), _DEATH_COUNT))):
        copilot.play(dying(end, answer[:at], is_read=end is Chat.reset and count % 2 == 0))
        assert_told_of_the_death(gateway, name, at)


def assert_told_of_the_death(gateway: GatewayProcess, name: str, at: int) -> None:
    """With a status, with the protocol's last event, or by an answer that breaks off."""
    stream, protocol = stored(name), upstream_of(name)
    try:
        reply = ask(gateway, protocol)
    except IncompleteRead:
        return
    if reply.status != 200:
        assert_bad_gateway(reply)
    elif reply.body != stream:
        before = before_the_error(protocol, reply.body)
        assert stream.startswith(before), at
        assert before.endswith(b"\n\n")


# Who asks in another protocol than Copilot's for this model.
TRANSLATED = [
    ("chat", "gpt-5.1-codex", "responses-escapes"),
    ("messages", "gpt-5.1-codex", "responses-escapes"),
    ("messages", "gpt-4.1", "gpt-escapes"),
    ("responses", "gpt-4.1", "gpt-escapes"),
    ("responses", "claude-sonnet-4.5", "messages-escapes"),
    ("completions", "gpt-4.1", "gemini-escapes"),
]


@pytest.mark.parametrize(("protocol", "model", "name"), TRANSLATED)
def test_a_caller_of_another_protocol_is_told_too(
    gateway: GatewayProcess, copilot: PlayedCopilot, protocol: str, model: str, name: str
) -> None:
    answer, dice = in_chunks(stored(name)), random.Random(_SEED)
    copilot.play(piecewise(answer))
    assert TERMINAL.search(ask(gateway, protocol, model).body)
    last_event = answer.rindex(b"}")
    for count, at in enumerate(sorted(dice.sample(range(last_event), _DEATH_COUNT))):
        copilot.play(dying((Chat.close, Chat.reset)[count % 2], answer[:at], is_read=count % 4 == 1))
        try:
            reply = ask(gateway, protocol, model)
        except IncompleteRead:
            continue
        if reply.status != 200:
            assert_bad_gateway(reply)
        else:
            before_the_error(protocol, reply.body)


def assert_bad_gateway(reply: Reply) -> None:
    assert reply.status == 502
    assert json.loads(reply.body)["error"]


def before_the_error(protocol: str, body: bytes) -> bytes:
    """What came before the event that tells of a failure. AssertionError without one, or when it follows an end."""
    error = ERROR_END[protocol].search(body)
    assert error, body
    before = body[: error.start()]
    assert not TERMINAL.search(before)
    return before
