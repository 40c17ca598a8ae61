"""What Copilot can do to an answer, and what the caller sees of it: never a lie, never a hang, never Copilot's own page."""

import email.utils
import gzip
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Response

from copilotapi.blueprints.http import Responder
from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.loop import caller_socket
from copilotapi.metering.metrics import Metrics
from copilotapi.protocols import chat as chat_codec
from copilotapi.protocols.conversation import Usage
from copilotapi.protocols.openai_errors import HEARTBEAT
from copilotapi.relay import Call
from copilotapi.reply import Reply as Opening
from copilotapi.sse import reading
from copilotapi.upstream.client import Waiting
from tests.faults.played_copilot import (
    COPILOT_TOKEN,
    DONE,
    GOOD_STREAM,
    LAST_CHUNK,
    STREAM_HEAD,
    Chat,
    PlayedCopilot,
    answered,
    chunk,
    event,
    refused,
    resetting,
    response,
    saying,
    streamed,
)
from tests.faults.raw_caller import RawCaller
from tests.gateway_process import GatewayProcess, Reply, free_port
from tests.raw_server import RawServer

PAGE = b"<html><head><title>502</title></head><body>page-of-a-balancer</body></html>"
UNMARKED_PAGE = b"<center><h1>502 Bad Gateway</h1>page-of-a-balancer</center>"


@pytest.fixture(scope="module")
def copilot() -> Iterator[PlayedCopilot]:
    with PlayedCopilot() as copilot:
        yield copilot


@pytest.fixture(scope="module")
def gateway(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    with GatewayProcess(copilot.url, RATE_LIMIT_PER_MINUTE="0") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def hasty(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    """A gateway whose clocks run out within a test."""
    with GatewayProcess(
        copilot.url,
        RATE_LIMIT_PER_MINUTE="0",
        CONNECT_TIMEOUT="1",
        FIRST_BYTE_TIMEOUT="0.5",
        IDLE_TIMEOUT="0.5",
        TOTAL_TIMEOUT="1.2",
    ) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def falling_back(copilot: PlayedCopilot) -> Iterator[GatewayProcess]:
    with GatewayProcess(copilot.url, RATE_LIMIT_PER_MINUTE="0", FALLBACK_MODEL="gpt-4o") as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _nobody_acts(copilot: PlayedCopilot) -> None:
    copilot.play()


def last_error(stream: bytes) -> Any:
    """The error that ends a stream; AssertionError for any other end."""
    assert b"[DONE]" not in stream
    frames = [frame for frame in stream.split(b"\n\n") if frame.startswith(b"data: ")]
    return json.loads(frames[-1].removeprefix(b"data: "))["error"]


def assert_is_error(reply: Reply, status: int, code: str | None = None) -> None:
    assert reply.status == status
    error = reply.json["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert reply.headers["X-Request-Id"]
    if code is not None:
        assert error["code"] == code


# Statuses.


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("upstream", "status", "code", "call_count"),
    [
        (204, 502, "upstream_error", 1),
        (206, 502, "upstream_error", 1),
        (304, 502, "upstream_error", 1),
        (400, 400, None, 1),
        (402, 402, "insufficient_quota", 1),
        (403, 403, "copilot_forbidden", 1),
        (404, 404, None, 1),
        (408, 504, "upstream_timeout", 1),
        (409, 409, None, 1),
        (413, 413, None, 1),
        (415, 415, None, 1),
        (421, 502, "upstream_error", 1),
        (422, 400, "content_filter", 1),
        (424, 424, None, 1),
        (429, 429, "rate_limit_exceeded", 1),
        (451, 451, None, 1),
        (466, 502, "copilot_client_version_refused", 1),
        (499, 502, "upstream_error", 1),
        (500, 502, "upstream_error", 1),
        (501, 502, "upstream_error", 1),
        (502, 502, "upstream_error", 2),
        (503, 503, "upstream_unavailable", 2),
        (504, 504, "upstream_unavailable", 2),
        (520, 502, "upstream_error", 1),
        (529, 502, "upstream_error", 1),
    ],
)
def test_each_status_is_told_in_openais_shape_and_only_a_gateways_failure_is_retried(
    gateway: GatewayProcess,
    copilot: PlayedCopilot,
    upstream: int,
    status: int,
    code: str | None,
    call_count: int,
    is_streamed: bool,
) -> None:
    copilot.play(saying(response(upstream, b"" if upstream in (204, 304) else b'{"error":{"message":"told"}}')))
    reply = gateway.chat(stream=is_streamed)
    assert_is_error(reply, status, code)
    assert copilot.chat_count == call_count
    assert (reply.json["error"]["message"] == "told") == (upstream >= 400)


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("status", [502, 503, 504])
def test_one_retry_that_succeeds_is_all_the_caller_sees(
    gateway: GatewayProcess, copilot: PlayedCopilot, status: int, is_streamed: bool
) -> None:
    copilot.play(saying(refused(status)), saying(GOOD_STREAM if is_streamed else answered()))
    reply = gateway.chat(stream=is_streamed)
    assert reply.status == 200
    assert b"Hello" in reply.body
    assert copilot.chat_count == 2


@pytest.mark.parametrize(
    ("told", "kept"), [("17", range(17, 18)), ("1e12", range(86_400, 31 * 86_400)), ("garbage", None), ("-4", range(1))]
)
def test_a_wait_that_makes_sense_is_passed_on(
    gateway: GatewayProcess, copilot: PlayedCopilot, told: str, kept: range | None
) -> None:
    copilot.play(saying(refused(429, "user_model_rate_limited", "slow down", f"Retry-After: {told}")))
    reply = gateway.chat()
    assert_is_error(reply, 429, "user_model_rate_limited")
    assert ("Retry-After" in reply.headers) == (kept is not None)
    assert kept is None or int(reply.headers["Retry-After"]) in kept


def test_a_wait_until_a_date_is_passed_on_in_seconds(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    copilot.play(saying(refused(429, "user_model_rate_limited", "slow down", f"Retry-After: {date}")))
    assert 50 <= int(gateway.chat().headers["Retry-After"]) <= 60


@pytest.mark.parametrize("page", [PAGE, UNMARKED_PAGE])
@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_page_of_some_balancer_is_never_shown(
    gateway: GatewayProcess, copilot: PlayedCopilot, status: int, page: bytes, is_streamed: bool
) -> None:
    for content_type in ("text/html", "application/json", "text/event-stream"):
        copilot.play(saying(response(status, page, content_type=content_type)))
        reply = gateway.chat(stream=is_streamed)
        assert_is_error(reply, 403 if status == 403 else 502)
        assert b"page-of-a-balancer" not in reply.body


# Connections.


def test_nobody_listening_is_a_502_at_once(copilot: PlayedCopilot) -> None:
    with GatewayProcess(copilot.url, COPILOT_API_URL=f"http://127.0.0.1:{free_port()}") as gateway:
        for is_streamed in (False, True):
            started = time.monotonic()
            assert_is_error(gateway.chat(stream=is_streamed), 502, "upstream_unreachable")
            assert time.monotonic() - started < 2


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("end", [saying, resetting])
@pytest.mark.parametrize(
    "sent",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", STREAM_HEAD, STREAM_HEAD + chunk(b'data: {"choi')],
    ids=["nothing", "half a head", "a head", "half an event"],
)
def test_an_answer_that_breaks_before_its_first_event_is_a_502_and_not_asked_for_twice(
    gateway: GatewayProcess,
    copilot: PlayedCopilot,
    sent: bytes,
    end: Callable[..., Callable[[Chat], None]],
    is_streamed: bool,
) -> None:
    copilot.play(end(sent))
    assert_is_error(gateway.chat(stream=is_streamed), 502, "upstream_disconnected")
    assert copilot.chat_count == 1


@pytest.mark.parametrize("end", [saying, resetting])
@pytest.mark.parametrize("tail", [b"", chunk(event("half of it")[:40])], ids=["between events", "inside an event"])
def test_a_stream_that_breaks_is_forwarded_in_whole_events_and_ends_in_an_error(
    gateway: GatewayProcess, copilot: PlayedCopilot, tail: bytes, end: Callable[..., Callable[[Chat], None]]
) -> None:
    copilot.play(end(STREAM_HEAD, chunk(event("one")), chunk(event("two")), tail))
    reply = gateway.chat(stream=True)
    assert reply.status == 200
    assert last_error(reply.body)["code"] == "upstream_disconnected"
    assert b"two" in reply.body
    assert b"half of it" not in reply.body


@pytest.mark.parametrize("frames", [(event("one"),), (event("one"), event("", "stop"))])
def test_a_clean_end_without_done_is_no_success(
    gateway: GatewayProcess, copilot: PlayedCopilot, frames: tuple[bytes, ...]
) -> None:
    copilot.play(saying(streamed(*frames)))
    assert last_error(gateway.chat(stream=True).body)["code"] == "upstream_disconnected"


def test_a_whole_answer_that_breaks_is_a_502(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    copilot.play(resetting(answered()[:-30]))
    assert_is_error(gateway.chat(), 502, "upstream_disconnected")


def test_what_follows_done_is_not_forwarded(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    copilot.play(saying(streamed(event("one"), event("", "stop"), DONE, event("two"))))
    assert b"two" not in gateway.chat(stream=True).body


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(gateway: GatewayProcess, copilot: PlayedCopilot, status: int) -> None:
    with RawServer(lambda connection, number: None) as elsewhere:
        copilot.play(saying(response(status, b"moved", f"Location: {elsewhere.url}/chat/completions")))
        assert_is_error(gateway.chat(), 502)
        assert elsewhere.accepted == 0


# Bodies.


@pytest.mark.parametrize(
    ("answer", "is_streamed"),
    [
        (response(200, b"data: {}\n\ndata: [DONE]\n\n"), True),
        (response(200, b"data: {}\n\ndata: [DONE]\n\n"), False),
        (answered().replace(b"application/json", b"text/event-stream"), True),
        (response(200, gzip.compress(b"{}"), "Content-Encoding: gzip"), False),
        (response(200, gzip.compress(DONE), "Content-Encoding: gzip", content_type="text/event-stream"), True),
        (response(200, b'{"object":"chat.completion"}'), False),
        (response(200, b"[]"), False),
        (response(200, b""), False),
        (response(200, b'{"choices":[{"message":{"con'), False),
        (answered().replace(b"Content-Length: ", b"Content-Length: 1"), False),
        (answered().replace(b"Content-Length: ", b"Content-Length: 1\r\nX-Was: "), False),
        (GOOD_STREAM.replace(b"Transfer-Encoding: chunked", b"Content-Length: 70"), True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 20 + answered(), False),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", False),
    ],
    ids=[
        "events labelled JSON to a stream",
        "events for a whole answer",
        "JSON labelled events",
        "compressed",
        "compressed stream",
        "no choices",
        "no object",
        "empty",
        "half JSON",
        "length too long",
        "length too short",
        "stream with a length too short",
        "two framings",
        "endless interim answers",
        "another protocol",
    ],
)
def test_an_answer_that_cannot_be_read_is_a_502(
    gateway: GatewayProcess, copilot: PlayedCopilot, answer: bytes, is_streamed: bool
) -> None:
    copilot.play(saying(answer))
    assert_is_error(gateway.chat(stream=is_streamed), 502)
    assert copilot.chat_count == 1


def test_a_compressed_error_keeps_its_status_and_shows_no_garbage(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    copilot.play(saying(response(429, gzip.compress(b'{"message":"x"}'), "Content-Encoding: gzip", "Retry-After: 3")))
    reply = gateway.chat()
    assert_is_error(reply, 429, "rate_limit_exceeded")
    assert reply.json["error"]["message"].isascii()
    assert reply.headers["Retry-After"] == "3"


def test_a_few_interim_answers_are_passed_over(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    copilot.play(saying(early, answered()))
    assert gateway.chat().status == 200


def test_an_unreadable_event_ends_the_stream_in_an_error(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    copilot.play(saying(streamed(event("one"), b'data: {"choices":[{"del\n\n', event("two"), DONE)))
    body = gateway.chat(stream=True).body
    assert last_error(body)["code"] == "upstream_bad_response"
    assert b"two" not in body


def test_an_error_in_the_stream_is_its_end(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    told = b'data: {"error":{"message":"the model died","code":"internal_error"}}\n\n'
    copilot.play(saying(streamed(event("one"), told, event("two"), DONE)))
    error = last_error(gateway.chat(stream=True).body)
    assert (error["message"], error["code"]) == ("the model died", "internal_error")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_bearer_that_copilot_echoes_is_not_shown(
    gateway: GatewayProcess, copilot: PlayedCopilot, is_streamed: bool
) -> None:
    token = COPILOT_TOKEN.encode()
    told = json.dumps({"error": {"message": f"bad {COPILOT_TOKEN}", "code": COPILOT_TOKEN, "param": COPILOT_TOKEN}})
    for answer in (
        response(400, told.encode()),
        response(400, token),
        streamed(event("one"), f"data: {told}\n\n".encode()),
    ):
        copilot.play(saying(answer))
        reply = gateway.chat(stream=is_streamed)
        assert token not in reply.body
        assert not any(COPILOT_TOKEN in value for value in reply.headers.values())


# The first byte, and silence.


def test_the_first_event_is_forwarded_while_the_rest_is_still_to_come(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    with RawCaller(gateway) as caller:
        chat = copilot.next_chat()
        for text in ("one", "two", "three"):
            chat.send(STREAM_HEAD if text == "one" else b"", chunk(event(text)))
            caller.read_until(text.encode())
        chat.send(chunk(event("", "stop")), chunk(DONE), LAST_CHUNK)
        caller.read_until(b"[DONE]")


def test_a_stream_without_chunks_is_forwarded_at_once_too(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    with RawCaller(gateway) as caller:
        chat = copilot.next_chat()
        chat.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", event("one"))
        caller.read_until(b"one")
        chat.send(event("", "stop"), DONE)
        chat.close()
        caller.read_until(b"[DONE]")


def test_no_header_goes_out_before_copilots_status_is_known(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    with RawCaller(gateway) as caller:
        chat = copilot.next_chat()
        caller.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):
            caller.socket.recv(1)
        caller.socket.settimeout(10)
        chat.send(refused(400, "invalid_request_body", "told late"))
        chat.close()
        assert caller.read_until(b"told late").startswith(b"HTTP/1.1 400")


class Silence:
    """A clock, and steps by it: a number is that many seconds of silence reported, a failure is raised."""

    def __init__(self) -> None:
        self.now = 1000.0

    def played(self, *steps: dict[str, str] | bytes | ApiError | float) -> Waiting[Opening]:
        """The headers begin the answer."""
        begins = next((at for at, step in enumerate(steps) if isinstance(step, dict)), len(steps))
        yield from self._pieces(*steps[:begins])
        return Opening(HEADERS, b"", self._pieces(*steps[begins + 1 :]))

    def _pieces(self, *steps: Any) -> Waiting[Any]:
        for step in steps:
            if isinstance(step, ApiError):
                raise step
            if isinstance(step, float):
                self.now += step
                yield None
            else:
                yield step

    def respond(self, steps: Waiting[Opening], is_streamed: bool = True) -> Response:
        responder = Responder(Metrics(), max_streams=1, clock=lambda: self.now)
        call = Call("request-1", "key-1")
        return responder.respond(steps, is_streamed=is_streamed, call=call, caller_socket=caller_socket({}))

    def reply(
        self, *steps: dict[str, str] | bytes | ApiError | float, is_streamed: bool = True
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer."""
        response = self.respond(self.played(*steps), is_streamed)
        try:
            return response.status_code, response.content_type or "", b"".join(response.iter_encoded())
        finally:
            response.close()


FAILURE = UpstreamFailed("it broke", code="upstream_disconnected")
HEADERS = {"X-Mark": "1"}


@pytest.mark.parametrize("silence", [(10.0,), (2.0, 2.0, 2.0), (8.0, 6.0)])
def test_a_failure_after_a_short_silence_is_still_a_status(silence: tuple[float, ...]) -> None:
    with pytest.raises(UpstreamFailed):
        Silence().reply(*silence, FAILURE)


@pytest.mark.parametrize("silence", [(10.0, 10.0), (9.0, 10.0), (5.0,) * 4, (0.5,) * 35])
def test_after_twenty_seconds_of_silence_a_heartbeat_goes_out_and_the_answer_follows(
    silence: tuple[float, ...],
) -> None:
    status, content_type, body = Silence().reply(*silence, HEADERS, event("one"), DONE)
    assert (status, content_type) == (200, "text/event-stream; charset=utf-8")
    assert body == HEARTBEAT + event("one") + DONE


def test_heartbeats_come_every_ten_seconds_of_silence_however_often_it_is_reported() -> None:
    _, _, body = Silence().reply(
        HEADERS, event("one"), 10.0, 10.0, event("two"), 3.0, 3.0, event("three"), *(1.0,) * 25
    )
    assert body == event("one") + HEARTBEAT * 2 + event("two") + event("three") + HEARTBEAT * 2


def test_a_failure_after_heartbeats_began_is_the_end_of_the_stream() -> None:
    status, _, body = Silence().reply(10.0, 10.0, FAILURE)
    assert status == 200
    assert body.startswith(HEARTBEAT)
    assert last_error(body)["message"] == "it broke"


def test_a_whole_answer_waits_for_its_status_however_long_it_takes() -> None:
    status, content_type, body = Silence().reply(*(10.0,) * 9, HEADERS, b"{}", is_streamed=False)
    assert (status, content_type, body) == (200, "application/json", b"{}")
    with pytest.raises(UpstreamFailed):
        Silence().reply(*(10.0,) * 9, FAILURE, is_streamed=False)


def test_heartbeats_never_come_inside_an_event_and_are_not_held_up_by_what_is_not_forwarded() -> None:
    silence = Silence()
    whole = event("one")
    filtered = b'data: {"choices":[],"prompt_filter_results":[]}\n\n'

    def blocks() -> Iterator[bytes | None]:
        for block in (whole[:9], whole[9:-1], whole[-1:], filtered, filtered, None, event("", "stop"), DONE):
            silence.now += 10.0
            yield block

    def no_estimate() -> Usage:
        raise AssertionError("usage was not asked for")

    tally = chat_codec.new_tally(answer_id="chatcmpl-1", model="gpt-4.1", created=1)
    pieces = chat_codec.repair_stream(reading(blocks()), tally, choice_count=1, wants_usage=False, estimate=no_estimate)

    def opening() -> Waiting[Opening]:
        yield from ()
        return Opening(HEADERS, b"", pieces)

    response = silence.respond(opening())
    body = b"".join(response.iter_encoded())
    assert body.replace(HEARTBEAT, b"") == whole + event("", "stop") + DONE
    assert body.startswith(HEARTBEAT * 2 + whole + HEARTBEAT * 3)


# Clocks.


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("sent", [b"", STREAM_HEAD], ids=["no head", "no event"])
def test_silence_before_the_first_event_is_a_504(
    hasty: GatewayProcess, copilot: PlayedCopilot, sent: bytes, is_streamed: bool
) -> None:
    copilot.play(lambda chat: chat.send(sent))
    started = time.monotonic()
    assert_is_error(hasty.chat(stream=is_streamed), 504, "upstream_timeout")
    assert 0.4 < time.monotonic() - started < 1.2
    assert copilot.chat_count == 1


def test_silence_inside_a_stream_ends_it_in_an_error_and_closes_the_upstream(
    hasty: GatewayProcess, copilot: PlayedCopilot
) -> None:
    with RawCaller(hasty) as caller:
        chat = copilot.next_chat()
        chat.send(STREAM_HEAD, chunk(event("one")))
        caller.read_until(b"one")
        assert chat.seconds_until_gone() < 1
        assert b'"upstream_timeout"' in caller.read_until(LAST_CHUNK)
        assert b"[DONE]" not in caller.received


@pytest.mark.parametrize("piece", [event("drop"), b":", b" "], ids=["events", "half a comment", "half a line"])
def test_a_stream_that_only_drips_ends_when_its_whole_time_is_up(
    hasty: GatewayProcess, copilot: PlayedCopilot, piece: bytes
) -> None:
    def drip(chat: Chat) -> None:
        chat.send(STREAM_HEAD, chunk(event("one")))
        while True:
            chat.send(chunk(piece))
            time.sleep(0.1)

    copilot.play(drip)
    started = time.monotonic()
    assert last_error(hasty.chat(stream=True).body)["code"] == "upstream_timeout"
    assert 1.0 < time.monotonic() - started < 2.0


# Fallback.


def answering_as_asked(chat: Chat) -> None:
    """As Copilot does: the answer bears the model that was asked."""
    model = chat.body["model"]
    frames = (event("Hello", model=model), event("", "stop", model=model), DONE)
    chat.send(streamed(*frames) if chat.body.get("stream") else answered(model=model))
    chat.close()


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("refusals", "call_count"),
    [
        ([refused(429, "user_model_rate_limited")], 2),
        ([refused(429, "model_overloaded")], 2),
        ([refused(503), refused(503)], 3),
    ],
)
def test_the_fallback_answers_for_a_model_that_is_limited_or_down_and_says_so(
    falling_back: GatewayProcess, copilot: PlayedCopilot, refusals: list[bytes], call_count: int, is_streamed: bool
) -> None:
    copilot.play(*map(saying, refusals), answering_as_asked)
    reply = falling_back.chat(stream=is_streamed)
    assert reply.status == 200
    assert reply.headers["X-CopilotAPI-Fallback"] == "gpt-4.1->gpt-4o"
    assert b'"gpt-4o"' in reply.body
    assert b'"gpt-4.1"' not in reply.body
    assert copilot.chat_count == call_count


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        (429, "user_global_rate_limited", 429),
        (429, "user_weekly_rate_limited", 429),
        (429, "quota_exceeded", 402),
        (429, "integration_rate_limited", 429),
        (402, "quota_exceeded", 402),
        (403, "", 403),
        (400, "invalid_request_body", 400),
        (500, "", 502),
    ],
)
def test_no_other_model_is_tried_where_it_would_not_help(
    falling_back: GatewayProcess, copilot: PlayedCopilot, status: int, code: str, told: int
) -> None:
    copilot.play(saying(refused(status, code)), answering_as_asked)
    reply = falling_back.chat()
    assert_is_error(reply, told)
    assert "X-CopilotAPI-Fallback" not in reply.headers
    assert copilot.chat_count == 1


def test_a_caller_may_refuse_the_fallback(falling_back: GatewayProcess, copilot: PlayedCopilot) -> None:
    copilot.play(saying(refused(429, "user_model_rate_limited")), answering_as_asked)
    assert_is_error(falling_back.chat(headers={"X-CopilotAPI-No-Fallback": "1"}), 429, "user_model_rate_limited")
    assert copilot.chat_count == 1


def test_if_the_fallback_fails_too_the_first_error_is_told(
    falling_back: GatewayProcess, copilot: PlayedCopilot
) -> None:
    copilot.play(
        saying(refused(429, "user_model_rate_limited", "first", "Retry-After: 7")), saying(refused(400, "x", "second"))
    )
    reply = falling_back.chat()
    assert_is_error(reply, 429, "user_model_rate_limited")
    assert reply.json["error"]["message"] == "first"
    assert reply.headers["Retry-After"] == "7"
    assert copilot.chat_count == 2


def test_there_is_no_fallback_once_the_answer_has_begun(falling_back: GatewayProcess, copilot: PlayedCopilot) -> None:
    told = b'data: {"error":{"message":"overloaded","code":"model_overloaded"}}\n\n'
    copilot.play(saying(streamed(event("one"), told)), answering_as_asked)
    assert last_error(falling_back.chat(stream=True).body)["code"] == "model_overloaded"
    assert copilot.chat_count == 1


# How often Copilot is asked.

LEARNT = refused(
    400,
    "invalid_request_body",
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
)


@pytest.mark.parametrize(
    ("refusals", "call_count"),
    [
        ([401, 503, 503], 2),
        ([503, 401, 401], 2),
        ([503, 503, 503], 2),
        ([401, 502, 401], 2),
    ],
)
def test_no_mix_of_failures_makes_more_than_two_calls(
    gateway: GatewayProcess, copilot: PlayedCopilot, refusals: list[int], call_count: int
) -> None:
    copilot.play(*(saying(refused(status)) for status in refusals))
    assert gateway.chat().status in (502, 503, 504)
    assert copilot.chat_count == call_count


def test_a_learnt_parameter_makes_three_at_most() -> None:
    with PlayedCopilot() as copilot, GatewayProcess(copilot.url) as gateway:
        copilot.play(saying(refused(503)), saying(LEARNT), saying(refused(503)))
        assert_is_error(gateway.chat(max_tokens=5), 503)
        assert copilot.chat_count == 3
        copilot.play(answering_as_asked)
        assert gateway.chat(max_tokens=5).status == 200
        assert copilot.chat_count == 1


def test_a_kept_connection_that_copilot_closes_while_we_write_costs_no_error(
    gateway: GatewayProcess, copilot: PlayedCopilot
) -> None:
    kept = answered().replace(b"Connection: close\r\n", b"")
    crossed = []

    def close_on_the_next(chat: Chat) -> None:
        chat.send(kept)
        crossed.append(chat.receive())
        chat.close()

    copilot.play(close_on_the_next)
    assert [gateway.chat().status for _ in range(10)] == [200] * 10
    assert copilot.chat_count == 10
    assert sum(map(bool, crossed)) == 9


def test_answers_never_cross(gateway: GatewayProcess, copilot: PlayedCopilot) -> None:
    def echo(chat: Chat) -> None:
        chat.send(answered(chat.body["messages"][0]["content"]))
        chat.close()

    copilot.play(echo)
    callers = [RawCaller(gateway, f"mark-{number}-end", stream=False) for number in range(40)]
    for number, caller in enumerate(callers):
        assert caller.read_until(b"-end").count(b"mark-") == 1
        assert f"mark-{number}-end".encode() in caller.received
        caller.leave()
