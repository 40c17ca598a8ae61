"""Every client protocol over every upstream, streamed and whole: one table of requests, one of answers."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import anthropic
import openai
import orjson
import pytest

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.handlers import deltas as handler_deltas
from copilotapi.protocols.conversation import (
    Delta,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolInputDelta,
    ToolUseStarted,
    Usage,
    collect,
)
from copilotapi.sse import load
from tests.protocols.answers import ANSWERS, STARTED, Answer, as_shown
from tests.protocols.asks import ASKS, Ask
from tests.protocols.compatibility_page import committed, section
from tests.protocols.losses import LOSSES, REFUSALS, Loss, Refusal
from tests.protocols.pairs import (
    CLIENTS,
    DIALECTS,
    ENDPOINTS,
    HANDLER,
    HELLO,
    MODELS,
    PAIRS,
    UPSTREAMS,
    answered,
    asked,
    composed,
    conversation_of,
    decoded,
    frames_of,
    is_forwarded,
    other_endpoints,
    read,
    relayed,
    upstream_stream,
)
from tests.protocols.stored import STORED, stored, upstream_of

SAID = [(answer, *pair) for answer in ANSWERS for pair in PAIRS if pair[1] not in answer.unsaid_by]
either_way = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


@either_way
@pytest.mark.parametrize(
    ("answer", "client", "upstream"),
    SAID,
    ids=[f"{answer.feature}-{client}-{upstream}" for answer, client, upstream in SAID],
)
def test_a_client_reads_what_the_upstream_said(answer: Answer, client: str, upstream: str, streamed: bool) -> None:
    told = read(client, answered(client, upstream, answer.deltas, streamed=streamed), streamed=streamed)
    assert told == as_shown(client, upstream, collect(answer.deltas))


ASKED = [(ask, client, upstream) for ask in ASKS for client in ask.says for upstream in UPSTREAMS]


@pytest.mark.parametrize(
    ("ask", "client", "upstream"),
    ASKED,
    ids=[f"{ask.feature}-{client}-{upstream}" for ask, client, upstream in ASKED],
)
def test_an_upstream_is_asked_what_the_client_said(ask: Ask, client: str, upstream: str) -> None:
    less = ask.less(client, upstream)
    if less is not None and less.param is not None:
        with pytest.raises(ApiError) as caught:
            asked(client, upstream, ask.body(client))
        assert (caught.value.status, caught.value.param) == (400, less.param)
        return
    told = asked(client, upstream, ask.body(client))
    expected = ask.expected(client, upstream)
    assert {name: told.given.get(name) for name in expected} == expected
    assert told.dropped == (less.dropped if less is not None else ())


# A whole answer of the client's own protocol is forwarded whole and never made of a stream.
STORED_READ = [
    pytest.param(name, client, streamed, id=f"{name}-{client}-{'streamed' if streamed else 'whole'}")
    for name in STORED
    for client in CLIENTS
    for streamed in (True, False)
    if streamed or not is_forwarded(client, upstream_of(name))
]


@pytest.mark.parametrize(("name", "client", "streamed"), STORED_READ)
def test_a_client_reads_what_a_stored_stream_of_copilot_says(name: str, client: str, streamed: bool) -> None:
    upstream = upstream_of(name)
    told = read(client, relayed(client, upstream, [stored(name)], streamed=streamed), streamed=streamed)
    assert told == as_shown(client, upstream, STORED[name])


@pytest.mark.parametrize("name", STORED)
def test_a_stored_stream_is_told_block_by_block(name: str) -> None:
    for blocks in ([stored(name)], [bytes([byte]) for byte in stored(name)]):
        deltas = [delta for delta in decoded(upstream_of(name), blocks) if delta is not None]
        assert disorder_of(deltas) == []


@pytest.mark.parametrize(
    ("answer", "upstream"),
    [(answer, upstream) for answer in ANSWERS for upstream in ENDPOINTS],
    ids=lambda value: getattr(value, "feature", value),
)
def test_an_answer_is_told_block_by_block(answer: Answer, upstream: str) -> None:
    stream = upstream_stream(upstream, answer.deltas)
    assert disorder_of([delta for delta in decoded(upstream, [stream]) if delta is not None]) == []


def disorder_of(deltas: Sequence[Delta]) -> list[str]:
    """What is wrong with a stream of deltas: Started comes first and once, Finished last and once, and input belongs to
    the call right before it.
    """
    wrong = []
    kinds = [type(delta) for delta in deltas]
    if kinds[:1] != [Started] or kinds.count(Started) != 1:
        wrong.append("Started")
    if kinds[-1:] != [Finished] or kinds.count(Finished) != 1:
        wrong.append("Finished")
    wrong += [
        f"input after {before.__name__}"
        for before, kind in pairwise(kinds)
        if kind is ToolInputDelta and before not in (ToolUseStarted, ToolInputDelta)
    ]
    return wrong


CUT = (
    Started("answer_1", "some-model"),
    ReasoningDelta("Let me see."),
    TextDelta("Looking "),
    TextDelta("around."),
    ToolUseStarted("call_a", "grep"),
    ToolInputDelta('{"q": '),
    ToolInputDelta("1}"),
    Finished("tool_calls", Usage(30, 12)),
)
TERMINALS = (b"data: [DONE]", b"event: message_stop", b"event: response.completed")
_SDK_ERRORS = (openai.APIError, anthropic.APIError)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", ENDPOINTS)
def test_a_stream_cut_anywhere_is_an_error_for_the_client_and_no_cheerful_end(client: str, upstream: str) -> None:
    frames = frames_of(upstream_stream(upstream, CUT))
    shown = 0
    for count in range(len(frames)):
        try:
            sent = relayed(client, upstream, frames[:count], streamed=True)
        except UpstreamFailed:
            # Nothing was sent yet: the status tells it.
            continue
        shown += b"Looking" in sent
        assert not any(terminal in sent for terminal in TERMINALS)
        with pytest.raises(_SDK_ERRORS):
            read(client, sent, streamed=True)
    assert shown > 3 or client == "completions"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", ENDPOINTS)
def test_a_whole_answer_of_a_stream_that_was_cut_is_an_error_status(client: str, upstream: str) -> None:
    frames = frames_of(upstream_stream(upstream, CUT))
    for count in range(len(frames)):
        with pytest.raises(UpstreamFailed) as caught:
            composed(client, decoded(upstream, frames[:count]), streamed=False)
        assert caught.value.status == 502


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_an_error_in_the_middle_of_a_stream_is_told_in_the_clients_dialect(client: str, upstream: str) -> None:
    told = ApiError("The flux has run out.", status=502, kind="server_error", code="no_flux")

    def failing() -> Iterator[Delta]:
        yield from CUT[:4]
        raise told

    if upstream == HANDLER:
        sources = [handler_deltas(failing(), "local")]
    else:
        half = frames_of(upstream_stream(upstream, CUT))[:-3]
        error = DIALECTS[upstream].encode_stream_error(told, "req_0")
        sources = [decoded(upstream, [*half, error])]
    if client == "completions":
        # It is held until its end, so that a status can tell.
        with pytest.raises(ApiError, match=told.message):
            composed(client, *sources, streamed=True)
        return
    sent = composed(client, *sources, streamed=True)
    assert not any(terminal in sent for terminal in TERMINALS)
    with pytest.raises(_SDK_ERRORS, match=told.message):
        read(client, sent, streamed=True)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("upstream", ENDPOINTS)
def test_silence_of_the_upstream_is_passed_on_so_that_heartbeats_can_be_sent(client: str, upstream: str) -> None:
    half = frames_of(upstream_stream(upstream, CUT))
    blocks = [block for frame in half[:-1] for block in (frame, None)]
    pieces = CLIENTS[client].encode_stream(
        (None if delta is None else (0, delta) for delta in decoded(upstream, [*blocks, half[-1]])),
        answer_id="a",
        model="m",
        created=0,
        usage=None,
    )
    assert list(pieces).count(None) >= len(half) - 1


@pytest.mark.parametrize("upstream", [upstream for upstream in UPSTREAMS if upstream != "chat"])
@either_way
def test_several_choices_are_as_many_answers_of_an_upstream_that_gives_one(upstream: str, streamed: bool) -> None:
    answers = [(STARTED, TextDelta(text), Finished("stop", Usage(5, 2))) for text in ("One.", "Two.")]
    if upstream == HANDLER:
        sources = [handler_deltas(answer, "local") for answer in answers]
    else:
        sources = [decoded(upstream, [upstream_stream(upstream, answer)]) for answer in answers]
    sent = composed("chat", *sources, streamed=streamed)
    texts: dict[int, str] = {}
    events = [frame.data for frame in load(sent) if frame.data != b"[DONE]"] if streamed else [sent]
    for event in map(orjson.loads, events):
        for choice in event["choices"]:
            told = choice["delta"] if streamed else choice["message"]
            texts[choice["index"]] = texts.get(choice["index"], "") + (told.get("content") or "")
    assert texts == {0: "One.", 1: "Two."}
    usage = orjson.loads(events[-1])["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (10, 4)


# Chat has one reasoning beside a message, and no order between its state and the text.
SAID_OTHERWISE = {
    ("chat", "several signed reasonings"),
    ("chat", "reasoning with its signature, before text and a call"),
    ("chat", "encrypted reasoning without a text"),
}


@pytest.mark.parametrize(
    ("answer", "upstream"),
    [
        (answer, upstream)
        for answer in ANSWERS
        for upstream in ENDPOINTS
        if (upstream, answer.feature) not in SAID_OTHERWISE
    ],
    ids=lambda value: getattr(value, "feature", value),
)
def test_what_is_encoded_is_decoded_to_the_same_answer(answer: Answer, upstream: str) -> None:
    told = [delta for delta in decoded(upstream, [upstream_stream(upstream, answer.deltas)]) if delta is not None]
    completion = collect(answer.deltas)
    usage = completion.usage
    if upstream == "messages" and usage is not None:
        usage = replace(usage, reasoning_tokens=0)
    assert collect(told) == replace(completion, usage=usage, model=MODELS[upstream])


# All system prompts are one there.
TOLD_TOGETHER = ("several system prompts at the top", "messages")
READ_AGAIN = [
    pytest.param(ask, next(iter(ask.says)), upstream, id=f"{ask.feature}-{upstream}")
    for ask in ASKS
    for upstream in ENDPOINTS
    if ask.lesser.get(upstream) is None
    and ask.lesser.get((next(iter(ask.says)), upstream)) is None
    and (ask.feature, upstream) != TOLD_TOGETHER
]


@pytest.mark.parametrize(("ask", "client", "upstream"), READ_AGAIN)
def test_what_is_asked_says_the_same_when_it_is_read_again(ask: Ask, client: str, upstream: str) -> None:
    codec = ENDPOINTS[upstream]
    conversation = replace(conversation_of(client, ask.body(client)), model="m")
    again = codec.decode_request(codec.encode_request(conversation))
    # Messages must be told a limit.
    assert again == replace(conversation, max_tokens=conversation.max_tokens or again.max_tokens)


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: f"{loss.client}-{'-'.join(loss.fields)}")
def test_hints_that_no_other_endpoint_takes_are_dropped_and_named(loss: Loss) -> None:
    for upstream in other_endpoints(loss.client):
        assert set(asked(loss.client, upstream, {**HELLO[loss.client], **loss.fields}).dropped) == loss.names


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.client}-{refusal.param}")
def test_what_shapes_the_answer_and_cannot_be_carried_is_refused_by_name(refusal: Refusal) -> None:
    for upstream in other_endpoints(refusal.client):
        with pytest.raises(ApiError) as caught:
            asked(refusal.client, upstream, {**HELLO[refusal.client], **refusal.fields})
        assert (caught.value.status, caught.value.param) == (400, refusal.param)


def test_the_page_tells_what_these_tables_prove() -> None:
    """`python -m tests.protocols.compatibility_page` writes it anew."""
    assert committed() == section()
