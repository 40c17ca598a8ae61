"""OpenAI's own Python client on /v1/responses, with a model of every family and with a handler, over gunicorn."""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import openai
import pytest
from openai import OpenAI
from openai.types.responses import (
    CustomToolParam,
    FunctionToolParam,
    NamespaceToolParam,
    Response,
    ResponseCustomToolCall,
    ResponseFunctionToolCall,
    ResponseInputParam,
    ResponseReasoningItem,
    ResponseStreamEvent,
    ToolParam,
)
from pydantic import BaseModel, TypeAdapter

from copilotapi.simulator import Simulator
from copilotapi.simulator.recorder import Recorded
from tests.beside import begun_with_the_module
from tests.faults.played_copilot import PlayedCopilot, saying, streamed
from tests.gateway_process import GatewayProcess
from tests.raw_client import RawClient, head

# Copilot serves these on /responses only, on chat only (twice), on chat and Messages; the last is a handler's.
_PATHS = {
    "gpt-5.1-codex": "/responses",
    "gpt-4.1": "/chat/completions",
    "gemini-2.5-pro": "/chat/completions",
    "claude-opus-4.6": "/v1/messages",
}
_HANDLED = "local-coder"
_NOWHERE = "http://127.0.0.1:9"
_OF_HANDLER = {"GITHUB_COPILOT_TOKEN": "", "COMPLETION_HANDLER": "tests.clients.conversation_handler:complete"}
_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(ResponseStreamEvent)
_WARNINGS = "X-CopilotAPI-Warnings"
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)
_CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER: FunctionToolParam = {
    "type": "function",
    "name": "get_weather",
    "description": "Tells the weather.",
    "parameters": _CITY,
    "strict": False,
}
TIME: FunctionToolParam = {**WEATHER, "name": "get_time"}
PATCH: CustomToolParam = {"type": "custom", "name": "apply_patch", "description": "Applies a patch."}
AGENTS: NamespaceToolParam = {
    "type": "namespace",
    "name": "agents",
    "description": "Other agents.",
    "tools": [{"type": "function", "name": "ask", "parameters": _CITY}],
}
SEARCH: ToolParam = {"type": "web_search"}


class City(BaseModel):
    name: str
    inhabitants: int


class Asked(NamedTuple):
    """A model, and the client of a gateway that has it. `path` is where Copilot is asked; "" where a handler answers."""

    client: OpenAI
    model: str
    simulator: Simulator

    @property
    def path(self) -> str:
        return _PATHS.get(self.model, "")

    def create(self, given: str | ResponseInputParam, **more: Any) -> Response:
        answer: Response = self.client.responses.create(model=self.model, input=given, **more)
        return answer

    def streamed(self, given: str | ResponseInputParam, **more: Any) -> tuple[list[Any], Response]:
        """The events, and the response that the client's own accumulator made of them."""
        with self.client.responses.stream(model=self.model, input=given, **more) as stream:
            events = list(stream)
            return events, stream.get_final_response()

    def either(self, is_streamed: bool, given: str | ResponseInputParam, **more: Any) -> Response:
        return self.streamed(given, **more)[1] if is_streamed else self.create(given, **more)

    def raw_stream(self, given: str, **more: Any) -> bytes:
        """A stream as it came."""
        streaming = self.client.responses.with_streaming_response
        with streaming.create(model=self.model, input=given, stream=True, **more) as raw:
            assert raw.headers["content-type"].startswith("text/event-stream")
            received: bytes = raw.read()
            return received

    def warnings(self, given: str | ResponseInputParam, **more: Any) -> set[str]:
        raw = self.client.responses.with_raw_response.create(model=self.model, input=given, **more)
        return set(filter(None, raw.headers.get(_WARNINGS, "").split(", ")))

    def sent(self) -> list[Recorded]:
        """What Copilot was asked and did not refuse."""
        recorder = self.simulator.recorder
        requests = recorder.requests
        # An answer may be here before it is recorded as given.
        assert recorder.wait_for(lambda: all(request.status is not None for request in requests), 5)
        return [request for request in requests if request.path == self.path and request.status == 200]

    def body(self) -> Any:
        """What Copilot was asked last."""
        return json.loads(self.sent()[-1].body)


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def gateway(simulator: Simulator) -> Iterator[GatewayProcess]:
    with GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0", MODEL_ALIASES="mine=gpt-4.1") as gateway:
        yield gateway


@pytest.fixture(scope="module")
def clients(gateway: GatewayProcess) -> Iterator[dict[str, OpenAI]]:
    with ExitStack() as stack:
        handler = stack.enter_context(GatewayProcess(_NOWHERE, RATE_LIMIT_PER_MINUTE="0", **_OF_HANDLER))
        copilots, handlers = (stack.enter_context(client_of(served)) for served in (gateway, handler))
        yield dict.fromkeys(_PATHS, copilots) | {_HANDLED: handlers}


@pytest.fixture
def asking(clients: dict[str, OpenAI], simulator: Simulator) -> Callable[[str], Asked]:
    """Of a model by name, with nothing recorded and no fault pending."""
    simulator.recorder.clear()
    simulator.faults.clear()
    return lambda model: Asked(clients.get(model, clients["gpt-4.1"]), model, simulator)


@pytest.fixture(params=[*_PATHS, _HANDLED])
def asked(request: pytest.FixtureRequest, asking: Callable[[str], Asked]) -> Asked:
    """Every model in turn, the handler's included."""
    return asking(request.param)


@pytest.fixture(params=list(_PATHS))
def copilot(request: pytest.FixtureRequest, asking: Callable[[str], Asked]) -> Asked:
    """Every model of Copilot's in turn."""
    return asking(request.param)


@pytest.fixture(params=["gpt-4.1", "gemini-2.5-pro", "claude-opus-4.6", _HANDLED])
def crossed(request: pytest.FixtureRequest, asking: Callable[[str], Asked]) -> Asked:
    """Every model that is not asked on /responses."""
    return asking(request.param)


@pytest.fixture
def codex(asking: Callable[[str], Asked]) -> Asked:
    return asking("gpt-5.1-codex")


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def is_streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def client_of(gateway: GatewayProcess) -> OpenAI:
    return OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=30)


def calls(answer: Response) -> list[ResponseFunctionToolCall]:
    return [item for item in answer.output if isinstance(item, ResponseFunctionToolCall)]


def history(question: str, answer: Response, *results: dict[str, Any]) -> Any:
    """A conversation as the client's own documentation has it: the output is put behind the input, whatever it is."""
    return [{"role": "user", "content": question}, *answer.output, *results]


def result(call_id: str, output: Any, kind: str = "function_call_output") -> dict[str, Any]:
    return {"type": kind, "call_id": call_id, "output": output}


def frames(body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """Name and data of each event; AssertionError for a frame that is neither an event nor a comment."""
    told = []
    for frame in body.decode().split("\n\n")[:-1]:
        if not re.fullmatch(r":[^\n]*", frame):
            found = re.fullmatch(r"event: ([\w.]+)\ndata: (\{.*\})", frame)
            assert found, frame
            told.append((found[1], json.loads(found[2])))
    return told


# Text


def test_a_question_is_answered(asked: Asked) -> None:
    answer = asked.create("Hello there")
    assert (answer.object, answer.status, answer.model) == ("response", "completed", asked.model)
    assert answer.id.startswith("resp_") or asked.path == "/responses"
    assert "Hello there" in answer.output_text
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0
    assert (answer.error, answer.incomplete_details, answer.to_dict()["store"]) == (None, None, False)


def test_an_answer_is_streamed_as_the_clients_accumulator_demands(asked: Asked) -> None:
    events, final = asked.streamed("Hello there")
    assert [events[0].type, events[1].type, events[-1].type] == [
        "response.created",
        "response.in_progress",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text
    assert "Hello there" in text
    assert {event.response.id for event in events if hasattr(event, "response")} == {final.id}
    message_ids = {event.item_id for event in events if event.type.startswith("response.output_text")}
    assert message_ids == {item.id for item in final.output if item.type == "message"}
    assert final.usage is not None
    assert final.usage.output_tokens > 0


@pytest.mark.parametrize(
    "more", [{}, {"max_output_tokens": 1}, {"tools": [PATCH]}, {"tools": [WEATHER, AGENTS]}], ids=str
)
def test_every_event_and_every_answer_fits_the_clients_strict_types(asked: Asked, more: dict[str, Any]) -> None:
    body = {"model": asked.model, "input": "both, please, and at some length", **more}
    whole = asked.client.post("/responses", body=body, cast_to=object)
    Response.model_validate(whole)
    told = frames(asked.raw_stream(body["input"], **more))
    for name, event in told:
        if name == "response.output_text.delta" or name == "response.output_text.done":
            # Copilot may leave it out (copilot-wire 6.3); the client fills it in.
            event.setdefault("logprobs", [])
        assert _EVENT.validate_python(event).type == name


def test_a_stream_ends_with_its_last_event_and_has_no_done(asked: Asked) -> None:
    received = asked.raw_stream("Hello")
    assert b"[DONE]" not in received
    told = frames(received)
    assert [name for name, _ in told] == [event["type"] for _, event in told]
    assert [name for name, _ in told].index("response.completed") == len(told) - 1


@pytest.mark.parametrize("role", ["instructions", "system", "developer"])
def test_instructions_reach_the_model_as_such(copilot: Asked, role: str) -> None:
    if role == "instructions":
        copilot.create("Hello", instructions="Be brief-42")
    else:
        copilot.create([{"role": role, "content": "Be brief-42"}, {"role": "user", "content": "Hello"}])  # type: ignore[list-item,misc]
    body = copilot.body()
    asides = body.get("system") or body.get("instructions") or (body.get("messages") or body.get("input"))[0]
    assert "Be brief-42" in json.dumps(asides)
    assert "Be brief-42" not in json.dumps((body.get("messages") or body["input"])[-1])


def test_a_conversation_goes_on_with_the_output_put_behind_the_input(asked: Asked, is_streamed: bool) -> None:
    first = asked.either(is_streamed, "My first words", reasoning={"effort": "low", "summary": "auto"})
    given = [*history("My first words", first), {"role": "user", "content": "My second words"}]
    second = asked.either(is_streamed, given, reasoning={"effort": "low", "summary": "auto"})
    assert second.status == "completed"
    assert "My second words" in second.output_text
    if asked.path:
        assert all(words in json.dumps(asked.body()) for words in ("My first words", "You said", "My second words"))


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/responses/"])
def test_the_version_may_be_left_out_of_the_path(gateway: GatewayProcess, path: str) -> None:
    reply = gateway.request("POST", path, {"model": "mine", "input": "Hello"})
    assert reply.status == 200
    assert reply.json["object"] == "response"


# Tools


def test_a_tool_is_called_and_its_result_answered(asked: Asked, is_streamed: bool) -> None:
    called = asked.either(is_streamed, "The weather?", tools=[WEATHER])
    [call] = calls(called)
    assert (call.name, call.status) == ("get_weather", "completed")
    assert json.loads(call.arguments) == {"city": "simulated city"}
    given = history("The weather?", called, result(call.call_id, "sunny-42"))
    assert "sunny-42" in asked.either(is_streamed, given, tools=[WEATHER]).output_text
    if asked.path:
        assert [request.headers["x-initiator"] for request in asked.sent()] == ["user", "agent"]


def test_arguments_are_streamed_in_pieces(asked: Asked) -> None:
    events, final = asked.streamed("The weather?", tools=[WEATHER])
    [call] = calls(final)
    pieces = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(event.delta for event in pieces) == call.arguments
    assert len(pieces) > 1 or asked.model.startswith("gemini")
    assert {event.item_id for event in pieces} == {call.id}
    [done] = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert done.arguments == call.arguments


def test_calls_side_by_side_are_told_and_answered_each(asked: Asked, is_streamed: bool) -> None:
    called = asked.either(is_streamed, "Do both, please", tools=[WEATHER, TIME])
    first, second = calls(called)
    assert [first.name, second.name] == ["get_weather", "get_time"]
    assert first.call_id != second.call_id
    assert first.id != second.id
    results = [result(first.call_id, "sunny-42"), result(second.call_id, "noon-43")]
    answer = asked.either(is_streamed, history("Do both, please", called, *results), tools=[WEATHER, TIME])
    assert 0 < answer.output_text.index("sunny-42") < answer.output_text.index("noon-43")


def test_one_call_at_a_time_can_be_asked_for(copilot: Asked) -> None:
    called = copilot.create("Do both, please", tools=[WEATHER, TIME], parallel_tool_calls=False)
    assert [call.name for call in calls(called)] == ["get_weather"]


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", []),
        ("required", ["get_weather"]),
        ({"type": "function", "name": "get_time"}, ["get_time"]),
    ],
    ids=["none", "required", "one"],
)
def test_the_choice_of_a_tool_is_kept(copilot: Asked, choice: Any, expected: list[str]) -> None:
    answer = copilot.create("The time?", tools=[WEATHER, TIME], tool_choice=choice)
    assert [call.name for call in calls(answer)] == expected


@pytest.mark.parametrize("model", ["gpt-4.1", "gemini-2.5-pro", "claude-opus-4.6"])
def test_a_choice_among_some_tools_offers_those_only(asking: Callable[[str], Asked], model: str) -> None:
    choice = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "get_time"}]}
    answer = asking(model).create("The time?", tools=[WEATHER, TIME], tool_choice=choice)
    assert [call.name for call in calls(answer)] == ["get_time"]


def test_a_choice_among_some_tools_is_sent_on_as_it_is(codex: Asked) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_time"}]}
    codex.create("The time?", tools=[WEATHER, TIME], tool_choice=choice)
    assert codex.body()["tool_choice"] == choice


def test_a_free_form_tool_is_called_with_text_and_its_result_answered(asked: Asked, is_streamed: bool) -> None:
    called = asked.either(is_streamed, "Patch it", tools=[PATCH])
    [call] = [item for item in called.output if isinstance(item, ResponseCustomToolCall)]
    assert (call.name, call.input) == ("apply_patch", "simulated input")
    given = history("Patch it", called, result(call.call_id, "patched-42", "custom_tool_call_output"))
    assert "patched-42" in asked.either(is_streamed, given, tools=[PATCH]).output_text


def test_free_text_is_streamed_under_its_own_events(asked: Asked) -> None:
    events, final = asked.streamed("Patch it", tools=[PATCH])
    [call] = [item for item in final.output if item.type == "custom_tool_call"]
    pieces = [event for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(event.delta for event in pieces) == call.input == "simulated input"
    assert {event.item_id for event in pieces} == {call.id}
    assert not [event for event in events if event.type.startswith("response.function_call_arguments")]
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


def test_a_tool_of_a_namespace_is_called_by_its_own_name(asked: Asked, is_streamed: bool) -> None:
    called = asked.either(is_streamed, "Ask the others", tools=[AGENTS])
    [call] = calls(called)
    assert (call.namespace, call.name) == ("agents", "ask")
    given = history("Ask the others", called, result(call.call_id, "asked-42"))
    assert "asked-42" in asked.either(is_streamed, given, tools=[AGENTS]).output_text


def test_web_search_is_left_out_with_a_warning(asked: Asked) -> None:
    assert "dropped:web_search" in asked.warnings("Hello", tools=[WEATHER, SEARCH])
    if asked.path:
        assert "web_search" not in asked.sent()[-1].body.decode()


def test_a_hosted_tool_that_nothing_stands_in_for_is_refused(crossed: Asked) -> None:
    search: ToolParam = {"type": "file_search", "vector_store_ids": ["vs_1"]}
    with pytest.raises(openai.BadRequestError) as caught:
        crossed.create("Hello", tools=[WEATHER, search])
    assert caught.value.param == "tools.1"


def test_a_hosted_tool_that_must_be_called_is_refused(asked: Asked) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        asked.create("Hello", tools=[SEARCH], tool_choice="required")
    assert caught.value.param == "tool_choice"


# Images


def test_an_image_reaches_copilot_with_its_header(copilot: Asked) -> None:
    parts = [{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": _PIXEL, "detail": "auto"}]
    assert copilot.create([{"role": "user", "content": parts}]).output_text  # type: ignore[list-item,misc]
    [request] = copilot.sent()
    assert request.headers["copilot-vision-request"] == "true"
    assert _PIXEL.partition(",")[2] in request.body.decode()


def test_an_image_that_a_tool_answered_reaches_copilot(copilot: Asked) -> None:
    called = copilot.create("Show me", tools=[WEATHER])
    [call] = calls(called)
    shown = [{"type": "input_text", "text": "sunny-42"}, {"type": "input_image", "image_url": _PIXEL}]
    copilot.create(history("Show me", called, result(call.call_id, shown)), tools=[WEATHER])
    last = copilot.sent()[-1]
    assert last.headers["copilot-vision-request"] == "true"
    assert last.headers["x-initiator"] == "agent"
    assert _PIXEL.partition(",")[2] in last.body.decode()
    assert "sunny-42" in last.body.decode()


def test_an_image_that_is_stored_elsewhere_is_refused(crossed: Asked) -> None:
    parts = [{"type": "input_text", "text": "See"}, {"type": "input_image", "file_id": "file_1", "detail": "auto"}]
    with pytest.raises(openai.BadRequestError) as caught:
        crossed.create([{"role": "user", "content": parts}])  # type: ignore[list-item,misc]
    assert caught.value.param == "input.0.content.1"


# Reasoning


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("gpt-5.1-codex", {"reasoning": {"effort": "high", "summary": "auto"}}),
        ("gemini-3-flash-preview", {"reasoning_effort": "high"}),
        ("claude-opus-4.6", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
    ],
)
def test_an_effort_is_told_in_each_endpoints_words(
    asking: Callable[[str], Asked], model: str, told: dict[str, Any]
) -> None:
    asked = asking(model)
    answer = asked.create("Think", reasoning={"effort": "high", "summary": "auto"})
    sent = json.loads(asked.simulator.recorder.requests[-1].body)
    assert {name: sent.get(name) for name in told} == told
    [thought] = [item for item in answer.output if isinstance(item, ResponseReasoningItem)]
    assert thought.summary[0].text.startswith("The user wrote 5 characters")


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "claude-opus-4.6", "gemini-3-flash-preview"])
def test_reasoning_comes_back_to_copilot_as_it_was_given(
    asking: Callable[[str], Asked], is_streamed: bool, model: str
) -> None:
    asked = asking(model)
    wanted: dict[str, Any] = {
        "tools": [WEATHER],
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    called = asked.either(is_streamed, "Think and call", **wanted)
    [thought] = [item for item in called.output if isinstance(item, ResponseReasoningItem)]
    assert thought.encrypted_content
    assert called.output[0] is thought
    [call] = calls(called)
    # The simulator refuses a signature or an encrypted state that is not of its own making.
    answer = asked.either(is_streamed, history("Think and call", called, result(call.call_id, "sunny-42")), **wanted)
    assert "sunny-42" in answer.output_text
    last = asked.simulator.recorder.requests[-1]
    assert thought.encrypted_content in last.body.decode()


def test_encrypted_reasoning_is_given_without_being_asked_for(codex: Asked) -> None:
    answer = codex.create("Think")
    [thought] = [item for item in answer.output if isinstance(item, ResponseReasoningItem)]
    assert thought.encrypted_content
    assert thought.summary == []


def test_reasoning_without_its_state_is_left_out_with_a_warning(codex: Asked) -> None:
    given: Any = [
        {"role": "user", "content": "Think"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Go on"},
    ]
    assert codex.warnings(given) == {"dropped:reasoning"}


def test_reasoning_reaches_the_caller_of_a_handler(asking: Callable[[str], Asked]) -> None:
    events, final = asking(_HANDLED).streamed("Think", reasoning={"effort": "low"})
    assert [item.type for item in final.output] == ["reasoning", "message"]
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta")
    assert thought == "An effort of low."


# Structured output


def test_an_answer_is_held_to_a_schema_and_parsed(copilot: Asked) -> None:
    copilot.simulator.faults.push(
        {"kind": "answer", "text": '{"name": "Paris", "inhabitants": 2000000}', "path": "inference"}
    )
    answer = copilot.client.responses.parse(model=copilot.model, input="A city", text_format=City)
    assert answer.output_parsed == City(name="Paris", inhabitants=2_000_000)
    sent = json.dumps(copilot.body())
    assert '"inhabitants"' in sent
    assert '"json_schema"' in sent


def test_a_streamed_answer_is_parsed_too(copilot: Asked) -> None:
    copilot.simulator.faults.push(
        {"kind": "answer", "text": '{"name": "Paris", "inhabitants": 2}', "path": "inference"}
    )
    _, final = copilot.streamed("A city", text_format=City)
    assert final.output_parsed == City(name="Paris", inhabitants=2)  # type: ignore[attr-defined]


# Usage, and the end of an answer


def test_reasoning_is_counted(codex: Asked, is_streamed: bool) -> None:
    usage = codex.either(is_streamed, "Think", reasoning={"effort": "low"}).usage
    assert usage is not None
    assert 0 < usage.output_tokens_details.reasoning_tokens < usage.output_tokens


def test_cached_and_reasoning_tokens_are_told_as_copilot_counts_them() -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 20, "total_tokens": 110, "reasoning_tokens": 12}
    details = {"prompt_tokens_details": {"cached_tokens": 80}, "completion_tokens_details": {"reasoning_tokens": 12}}
    identity = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4.1"}
    choice = {"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}
    chunks = [{**identity, "choices": [choice]}, {**identity, "choices": [], "usage": usage | details}]
    of_chat = streamed(*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n")
    of_responses = {
        "input_tokens": 90,
        "output_tokens": 20,
        "total_tokens": 110,
        "input_tokens_details": {"cached_tokens": 80},
        "output_tokens_details": {"reasoning_tokens": 12},
    }
    whole = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "gpt-5.1-codex"}
    done = {"type": "response.completed", "response": {**whole, "output": [], "usage": of_responses}}
    begun = {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}}
    with (
        PlayedCopilot(saying(of_chat), saying(streamed(named(begun), named(done)))) as copilot,
        GatewayProcess(copilot.url) as gateway,
        client_of(gateway) as client,
    ):
        for model in ("gpt-4.1", "gpt-5.1-codex"):
            with client.responses.stream(model=model, input="Hello") as stream:
                counted = stream.get_final_response().usage
            assert counted is not None
            assert (counted.input_tokens, counted.output_tokens, counted.total_tokens) == (90, 20, 110)
            assert counted.input_tokens_details.cached_tokens == 80
            assert counted.input_tokens_details.cache_write_tokens == 0
            assert counted.output_tokens_details.reasoning_tokens == 12


def named(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def test_an_answer_that_is_cut_short_is_incomplete(asked: Asked) -> None:
    question = "Tell me a long story about nothing in particular, please."
    answer = asked.create(question, max_output_tokens=2)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    stream = asked.client.responses.create(model=asked.model, input=question, max_output_tokens=2, stream=True)
    last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details == answer.incomplete_details
    assert last.response.usage is not None


@pytest.mark.parametrize("model", ["gpt-5.1-codex", "gpt-4.1", "gemini-2.5-pro"])
def test_an_answer_that_a_filter_ended_is_incomplete(asking: Callable[[str], Asked], model: str) -> None:
    answer = asking(model).create("[[simulate: answer finish_reason=content_filter]]")
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "content_filter"


# What is refused, and what fails


def test_an_earlier_response_is_not_found_so_that_the_history_is_sent(asked: Asked) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        asked.create("Hello", previous_response_id="resp_123")
    assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")


def test_nothing_is_stored_and_that_is_told(asked: Asked) -> None:
    assert asked.warnings("Hello", store=True) == {"dropped:store"}
    assert asked.warnings("Hello", store=False) == set()
    answer = asked.create("Hello", store=True)
    assert answer.to_dict()["store"] is False
    with pytest.raises(openai.NotFoundError):
        asked.client.responses.retrieve(answer.id)


def test_hints_are_dropped_by_name(asked: Asked) -> None:
    warnings = asked.warnings("Hello", safety_identifier="me", service_tier="auto", metadata={"a": "b"})
    assert warnings >= {"dropped:safety_identifier", "dropped:service_tier"}
    assert ("dropped:metadata" in warnings) == (asked.path != "/responses")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"temperature": "warm"}, "temperature"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"input": []}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"reasoning": {"effort": 3}}, "reasoning.effort"),
        ({"text": {"format": "json"}}, "text.format"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bad_field_is_named(asked: Asked, more: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        asked.client.post("/responses", body={"model": asked.model, "input": "Hello", **more}, cast_to=object)
    assert caught.value.param == param
    assert isinstance(caught.value.body, dict)
    assert {"message", "type", "param", "code"} <= caught.value.body.keys()


def test_what_a_reasoning_model_refuses_is_told_with_its_name(codex: Asked) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        codex.create("Hello", temperature=0.5)
    assert caught.value.param == "temperature"


def test_an_unknown_model_is_a_404_with_near_matches(codex: Asked) -> None:
    with pytest.raises(openai.NotFoundError, match=r"gpt-5\.1-codex") as caught:
        codex.client.responses.create(model="gpt-5.1-codec", input="Hello")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=429 code=user_global_rate_limited retry_after=33", openai.RateLimitError),
        ("status=400 code=invalid_request_body", openai.BadRequestError),
        ("status=403", openai.PermissionDeniedError),
        ("status=500", openai.InternalServerError),
        ("status=502", openai.InternalServerError),
        ("status=400 code=model_max_prompt_tokens_exceeded", openai.BadRequestError),
    ],
)
def test_errors_arrive_as_the_clients_own_classes(
    copilot: Asked, is_streamed: bool, directive: str, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        copilot.create(f"[[simulate: {directive}]]", stream=is_streamed)
    assert caught.value.request_id
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["message"]
    if error is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "33"
    if "exceeded" in directive:
        assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("fault", ["cut", "end", "error", "garbage"])
def test_a_stream_that_breaks_raises_instead_of_ending(copilot: Asked, fault: str) -> None:
    events: list[Any] = []
    stream: Any = copilot.create(f"[[simulate: {fault} after_events=4]] Tell me a story", stream=True)
    with pytest.raises(openai.APIError) as caught:
        events.extend(stream)
    assert caught.value.message
    assert not {"response.completed", "response.incomplete"} & {event.type for event in events}


def test_a_stream_that_breaks_tells_so_in_both_ways_clients_look_for(copilot: Asked) -> None:
    told = frames(copilot.raw_stream("[[simulate: cut after_events=4]] Tell me a story"))
    (first, error), (second, failed) = told[-2:]
    assert (first, second) == ("error", "response.failed")
    assert error["code"] == failed["response"]["error"]["code"] == "upstream_disconnected"
    assert failed["response"]["status"] == "failed"


@pytest.mark.parametrize("after_events", [0, 5])
def test_a_failure_that_copilot_tells_of_is_one(codex: Asked, after_events: int) -> None:
    directive = f"[[simulate: error after_events={after_events} code=rate_limit_exceeded]] A story"
    with pytest.raises(openai.APIError) as caught:
        list(codex.create(directive, stream=True))
    assert caught.value.code == "rate_limit_exceeded"


def test_bad_json_and_unknown_paths_are_told_in_openais_shape(gateway: GatewayProcess) -> None:
    for path, payload, status in (("/v1/responses", b"{", 400), ("/v1/responses/compact", b"{}", 404)):
        reply = gateway.request("POST", path, payload, {"Content-Type": "application/json"})
        assert reply.status == status
        assert {"message", "type", "param", "code"} <= reply.json["error"].keys()


# The transport


@pytest.mark.parametrize("path", ["/v1/responses", "/responses"])
def test_a_websocket_is_refused_at_once_with_the_status_clients_fall_back_on(
    gateway: GatewayProcess, path: str
) -> None:
    asking = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    with RawClient(gateway.port, timeout_seconds=5) as client:
        client.send(head("GET", path, **asking, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ=="))
        reply = client.reply()
    assert reply.status == 426
    assert reply.json["error"]["code"] == "websocket_not_supported"
    plain = gateway.request("GET", path)
    assert plain.status == 405
    assert "POST" in plain.headers["Allow"]


def test_a_websocket_needs_a_key_like_everything_else(simulator: Simulator) -> None:
    asking = head("GET", "/v1/responses", Connection="Upgrade", Upgrade="websocket")
    with GatewayProcess(simulator.url, API_KEYS="sk-some-key-0123456789") as gateway, RawClient(gateway.port) as client:
        client.send(asking)
        assert client.reply().status == 401


def fall_silent() -> list[bytes]:
    """Beside each other: each waits longer than the ten seconds after which the first heartbeat comes."""
    silence = "stall_seconds=11]] Hello there"
    with (
        Simulator() as simulator,
        GatewayProcess(simulator.url, RATE_LIMIT_PER_MINUTE="0") as gateway,
        client_of(gateway) as client,
        ThreadPoolExecutor(2 * len(_PATHS)) as pool,
    ):

        def read(model: str) -> bytes:
            """What falls silent in the middle of an event."""
            return Asked(client, model, simulator).raw_stream(f"[[simulate: stall after_bytes=1000 {silence}")

        def accumulate(model: str) -> bytes:
            asked = Asked(client, model, simulator)
            return asked.streamed(f"[[simulate: stall after_events=4 {silence}")[1].output_text.encode()

        raw, texts = pool.map(read, _PATHS), pool.map(accumulate, _PATHS)
        return [*raw, *texts]


silent = begun_with_the_module(fall_silent, "test_heartbeats_fall_between_frames_and_no_client_minds_them")


def test_heartbeats_fall_between_frames_and_no_client_minds_them(silent: Future[list[bytes]]) -> None:
    received = silent.result()
    for raw in received[: len(_PATHS)]:
        assert b"\n\n:" in raw
        assert frames(raw)[-1][0] == "response.completed"
    assert all(b"Hello there" in text for text in received[len(_PATHS) :])
