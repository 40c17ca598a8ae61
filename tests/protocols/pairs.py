"""A request and its answer on their way between one client protocol and one upstream, in values.

What the gateway does with a request is done here with the same functions, without a socket; what a client makes of the
answer is told by OpenAI's and Anthropic's own Python clients.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import httpx2
import orjson
from anthropic import Anthropic
from openai import OpenAI

from copilotapi.composed import Composed
from copilotapi.errors import ApiError
from copilotapi.gateway import translated
from copilotapi.handlers import deltas as handler_deltas
from copilotapi.protocols import chat, completions, messages, openai_errors, responses
from copilotapi.protocols.conversation import (
    JSON,
    Completion,
    Conversation,
    Delta,
    Finished,
    Reasoning,
    Usage,
    collect,
)
from copilotapi.protocols.cursor import as_conversation, limited, without_repetition
from copilotapi.relay import Call, Codec
from copilotapi.sse import load, reading
from copilotapi.token_count import TokenCounter
from copilotapi.vocabularies import Vocabularies

T = TypeVar("T")

HANDLER = "handler"
# As they are called in the page.
CLIENTS: Mapping[str, Codec] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "completions": completions,
}
ENDPOINTS: Mapping[str, Codec] = {"chat": chat, "responses": responses, "messages": messages}
UPSTREAMS = (*ENDPOINTS, HANDLER)
PAIRS = tuple((client, upstream) for client in CLIENTS for upstream in UPSTREAMS)
MODELS = {"chat": "gpt-4.1", "responses": "gpt-5.5", "messages": "claude-sonnet-4.6", HANDLER: "local"}
DIALECTS: Mapping[str, Any] = {**CLIENTS, "chat": openai_errors, "completions": openai_errors}
# The least that each protocol takes for a request.
HELLO: Mapping[str, JSON] = {
    "chat": {"messages": [{"role": "user", "content": "Hello"}]},
    "responses": {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}]},
    "messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 100},
    "completions": {"prompt": "def add(a, b):\n    "},
}


@dataclass(frozen=True)
class Asked:
    """What an upstream is given: a body, or the conversation for a handler; and what the caller is told was dropped."""

    given: JSON
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Read:
    """What a client's library has when the answer is over. `usage`: input, output, cached, reasoning tokens."""

    text: str
    thoughts: tuple[Reasoning, ...]
    calls: tuple[tuple[str, str, Any], ...]
    reason: str
    usage: tuple[int, int, int, int]


def is_forwarded(client: str, upstream: str) -> bool:
    return client == upstream


def asked(client: str, upstream: str, body: JSON) -> Asked:
    """ApiError for what cannot be asked."""
    codec, model = CLIENTS[client], MODELS[upstream]
    codec.check_request(body)
    if is_forwarded(client, upstream):
        return Asked(*codec.for_upstream(body, model, {}))
    conversation = conversation_of(client, body)
    if upstream == HANDLER:
        return Asked({name: getattr(conversation, name) for name in Conversation.__dataclass_fields__})
    lost = codec.losses(body)
    served = ENDPOINTS[upstream]
    if client == "completions":
        given = served.encode_request(replace(conversation, model=model))
    else:
        given = translated(codec, served, body, model)
    sent, dropped = served.for_upstream(given, model, {})
    return Asked(sent, (*lost, *dropped))


def conversation_of(client: str, body: JSON) -> Conversation:
    """What the gateway asks chat models and handlers; completions are put to them as a task."""
    if client == "completions":
        return as_conversation(completions.decode_requests(body)[0])
    return CLIENTS[client].decode_request(body)


def upstream_stream(upstream: str, deltas: Iterable[Delta]) -> bytes:
    """The stream with which this endpoint of Copilot gives this answer."""
    told = list(deltas)
    usage = next((delta.usage for delta in told if isinstance(delta, Finished)), None)
    pieces = ENDPOINTS[upstream].encode_stream(
        [(0, delta) for delta in told],
        answer_id="answer_1",
        model=MODELS[upstream],
        created=5,
        usage=lambda: usage or Usage(0, 0),
    )
    return b"".join(piece for piece in pieces if piece)


def decoded(upstream: str, blocks: Iterable[bytes | None]) -> Iterator[Delta | None]:
    """What the gateway makes of an upstream's stream."""
    codec = ENDPOINTS[upstream]
    return codec.decode_stream(_repaired(upstream, blocks))


def answered(client: str, upstream: str, deltas: Iterable[Delta], *, streamed: bool) -> bytes:
    """The bytes for the client when the upstream answers so."""
    told = list(deltas)
    if upstream == HANDLER:
        return composed(client, handler_deltas(told, MODELS[HANDLER]), streamed=streamed)
    if is_forwarded(client, upstream) and not streamed:
        return _repaired_whole(upstream, collect(told))
    return relayed(client, upstream, [upstream_stream(upstream, told)], streamed=streamed)


def relayed(client: str, upstream: str, blocks: Iterable[bytes | None], *, streamed: bool) -> bytes:
    """The bytes for the client when the upstream's stream comes in these blocks."""
    if is_forwarded(client, upstream) and streamed:
        return _with_error(client, _repaired(upstream, blocks))
    return composed(client, decoded(upstream, blocks), streamed=streamed)


def composed(client: str, *sources: Iterator[Delta | None], streamed: bool) -> bytes:
    """An answer in the client's protocol, of one choice each. A stream that fails ends in its error; a whole answer
    raises.
    """
    body = {**HELLO[client], "stream": streamed, "stream_options": {"include_usage": True}}
    if client == "completions":
        request = completions.decode_requests(body)[0]
        sources = tuple(limited(without_repetition(source, request), request) for source in sources)
    answer = Composed(CLIENTS[client], body, Call("req_1", "key"), TokenCounter(Vocabularies({})), list(sources))
    opened = run(answer.open("answering-model"))
    return opened.first + _with_error(client, opened.rest)


def run(steps: Generator[None, None, T]) -> T:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: T = end.value
            return result


def _repaired(upstream: str, blocks: Iterable[bytes | None]) -> Iterator[bytes | None]:
    codec = ENDPOINTS[upstream]
    return codec.repair_stream(
        reading(blocks),
        codec.new_tally(answer_id="ours_1", model=MODELS[upstream], created=5),
        choice_count=1,
        wants_usage=True,
        estimate=lambda: Usage(0, 0, estimated=True),
    )


def _repaired_whole(upstream: str, completion: Completion) -> bytes:
    codec = ENDPOINTS[upstream]
    whole = codec.encode_response({0: completion}, answer_id="answer_1", model=MODELS[upstream], created=5)
    whole["usage"] = codec.encode_usage(completion.usage or Usage(0, 0))
    repaired, _ = codec.repair_answer(whole, choice_count=1, answer_id="ours_1", created=5)
    return orjson.dumps(repaired)


def _with_error(client: str, pieces: Iterable[bytes | None]) -> bytes:
    """As the HTTP edge ends a stream that failed."""
    sent: list[bytes] = []
    try:
        sent.extend(piece for piece in pieces if piece)
    except ApiError as exc:
        sent.append(DIALECTS[client].encode_stream_error(exc, "req_1"))
    return b"".join(sent)


def frames_of(stream: bytes) -> list[bytes]:
    return [frame.raw for frame in load(stream)]


def read(client: str, answer: bytes, *, streamed: bool) -> Read:
    """What the protocol's own Python client makes of the bytes. It raises its own APIError for a stream that failed."""
    return _READERS[client](answer, streamed)


def _transport(answer: bytes) -> httpx2.Client:
    is_stream = not answer.startswith(b"{")
    headers = {"Content-Type": "text/event-stream" if is_stream else "application/json"}
    return httpx2.Client(
        transport=httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, content=answer))
    )


def _openai(answer: bytes) -> OpenAI:
    return OpenAI(api_key="unused", base_url="http://gateway/v1", max_retries=0, http_client=_transport(answer))


def _read_chat(answer: bytes, streamed: bool) -> Read:
    with _openai(answer) as client:
        if streamed:
            with client.chat.completions.stream(model="m", messages=[]) as stream:
                for _ in stream:
                    pass
                # get_final_completion raises for an answer that was cut short by its length.
                told = stream.current_completion_snapshot.to_dict()
        else:
            told = client.chat.completions.create(model="m", messages=[]).to_dict()
    body: Any = told
    [choice] = body["choices"]
    message, usage = choice["message"], body["usage"]
    calls = [
        (call["id"], call["function"]["name"], orjson.loads(call["function"]["arguments"] or "{}"))
        for call in message.get("tool_calls") or ()
    ]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoned = usage["completion_tokens_details"]["reasoning_tokens"]
    return Read(
        message["content"] or "",
        _thoughts(chat, {"messages": [message]}),
        tuple(calls),
        choice["finish_reason"],
        (usage["prompt_tokens"], usage["completion_tokens"], cached, reasoned),
    )


def _read_responses(answer: bytes, streamed: bool) -> Read:
    with _openai(answer) as client:
        if streamed:
            with client.responses.stream(model="m", input="Hello") as stream:
                response = _last_response(stream)
        else:
            response = client.responses.create(model="m", input="Hello")
    body = response.to_dict()
    items, usage = body["output"], body["usage"]
    calls = [
        (item["call_id"], item["name"], orjson.loads(item["arguments"]))
        for item in items
        if item["type"] == "function_call"
    ]
    details = body["incomplete_details"] or {}
    return Read(
        response.output_text,
        _thoughts(responses, {"input": items or "nothing"}),
        tuple(calls),
        details.get("reason", body["status"]),
        (
            usage["input_tokens"],
            usage["output_tokens"],
            usage["input_tokens_details"]["cached_tokens"],
            usage["output_tokens_details"]["reasoning_tokens"],
        ),
    )


def _last_response(events: Iterable[Any]) -> Any:
    """get_final_response knows no answer that was cut short. What the deltas told is what the end tells."""
    text, arguments, response = "", "", None
    for event in events:
        if event.type == "response.output_text.delta":
            text += event.delta
        elif event.type == "response.function_call_arguments.delta":
            arguments += event.delta
        elif event.type in ("response.completed", "response.incomplete"):
            response = event.response
    assert response is not None
    assert response.output_text == text
    assert "".join(item.arguments for item in response.output if item.type == "function_call") == arguments
    return response


def _read_messages(answer: bytes, streamed: bool) -> Read:
    with Anthropic(
        api_key="unused", base_url="http://gateway", max_retries=0, http_client=_transport(answer)
    ) as client:
        if streamed:
            with client.messages.stream(model="m", max_tokens=9, messages=[]) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(model="m", max_tokens=9, messages=[])
    body: Any = message.to_dict()
    usage = body["usage"]
    cached, written = usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]
    return Read(
        "".join(block["text"] for block in body["content"] if block["type"] == "text"),
        _thoughts(messages, {"messages": [{"role": "assistant", "content": body["content"]}]}),
        tuple((block["id"], block["name"], block["input"]) for block in body["content"] if block["type"] == "tool_use"),
        body["stop_reason"],
        (usage["input_tokens"] + written + cached, usage["output_tokens"], cached, 0),
    )


def _read_completions(answer: bytes, streamed: bool) -> Read:
    with _openai(answer) as client:
        if streamed:
            chunks = [chunk.to_dict() for chunk in client.completions.create(model="m", prompt="def", stream=True)]
        else:
            chunks = [client.completions.create(model="m", prompt="def").to_dict()]
    told: list[Any] = list(chunks)
    choices = [choice for chunk in told for choice in chunk["choices"]]
    [usage] = [chunk["usage"] for chunk in told if chunk.get("usage")]
    [reason] = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoned = usage["completion_tokens_details"]["reasoning_tokens"]
    text = "".join(choice["text"] for choice in choices)
    return Read(text, (), (), reason, (usage["prompt_tokens"], usage["completion_tokens"], cached, reasoned))


def _thoughts(codec: Codec, history: JSON) -> tuple[Reasoning, ...]:
    """The reasoning that is told when the client sends the answer back as part of its history."""
    parts = (part for message in codec.decode_request(history).messages for part in message.parts)
    thoughts: list[Reasoning] = []
    for part in parts:
        if not isinstance(part, Reasoning):
            continue
        if thoughts and not thoughts[-1].opaque and not part.text:
            # Chat may tell the state long after its text; one goes with the other all the same.
            thoughts[-1] = replace(thoughts[-1], opaque=part.opaque)
        else:
            thoughts.append(part)
    return tuple(thoughts)


_READERS: Mapping[str, Callable[[bytes, bool], Read]] = {
    "chat": _read_chat,
    "responses": _read_responses,
    "messages": _read_messages,
    "completions": _read_completions,
}


def other_endpoints(client: str) -> list[str]:
    """Those that a request of this client is translated for."""
    return [upstream for upstream in ENDPOINTS if not is_forwarded(client, upstream)]
