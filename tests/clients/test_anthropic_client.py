"""Anthropic's own Python client against gunicorn in front of the simulator, and of a handler."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import anthropic
import pytest
from anthropic import Anthropic
from anthropic.types import Message, MessageParam, ToolParam

from copilotapi.simulator import Simulator
from copilotapi.simulator.recorder import Recorded
from tests.gateway_process import GatewayProcess

KEY = "sk-ant-a-key-of-this-gateway-0123456789"
# Served on /v1/messages, on /chat/completions only, and on /responses only.
CLAUDE, CHAT, RESPONSES = "claude-opus-4.6", "gpt-4.1", "gpt-5.1-codex"
HANDLER = "local-coder"
MODELS = [CLAUDE, CHAT, RESPONSES, HANDLER]
OF_COPILOT = [CLAUDE, CHAT, RESPONSES]
MAX_BODY_BYTES = 4_000_000

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello there"}]
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather of a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TIME: ToolParam = {"name": "get_time", "input_schema": {"type": "object", "properties": {}}}
PIXEL: Any = {
    "type": "image",
    "source": {
        "type": "base64",
        "media_type": "image/png",
        "data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
    },
}


class World(NamedTuple):
    simulator: Simulator
    copilot: Anthropic
    handler: Anthropic

    def client(self, model: str) -> Anthropic:
        return self.handler if model == HANDLER else self.copilot

    def asked(self) -> Recorded:
        """The last request that reached Copilot."""
        return self.simulator.recorder.requests[-1]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    handled = {"GITHUB_COPILOT_TOKEN": "", "COMPLETION_HANDLER": "tests.clients.conversation_handler:complete"}
    common = {"API_KEYS": KEY, "RATE_LIMIT_PER_MINUTE": "0", "MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    with (
        Simulator() as simulator,
        GatewayProcess(simulator.url, **common) as gateway,
        GatewayProcess("http://127.0.0.1:9", **common, **handled) as handler_gateway,
        client_of(gateway.url) as copilot,
        client_of(handler_gateway.url) as handler,
    ):
        yield World(simulator, copilot, handler)


def client_of(url: str, **more: Any) -> Anthropic:
    return Anthropic(**{"base_url": url, "api_key": KEY, "max_retries": 0, "timeout": 30, **more})


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"max_tokens": 200, "messages": [{"role": "user", "content": text}], **more}


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def whole(client: Anthropic, **body: Any) -> Message:
    answer: Message = client.messages.create(**body)
    return answer


def streamed(client: Anthropic, **body: Any) -> Message:
    with client.messages.stream(**body) as stream:
        return stream.get_final_message()


Ask = Callable[..., Message]
either_way = pytest.mark.parametrize("ask", [whole, streamed])


@either_way
@pytest.mark.parametrize("model", MODELS)
def test_a_message_is_answered(world: World, model: str, ask: Ask) -> None:
    answer = ask(world.client(model), model=model, max_tokens=200, messages=HELLO)
    assert (answer.type, answer.role, answer.stop_reason) == ("message", "assistant", "end_turn")
    assert answer.id.startswith("msg_")
    assert answer.model.replace("-4-6", "-4.6") == model
    assert "Hello there" in text_of(answer)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    assert answer.usage.cache_read_input_tokens == 0


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_is_made_of_whole_blocks_in_order_and_ends_with_message_stop(world: World, model: str) -> None:
    body = asked("both please", model=model, tools=[WEATHER, TIME], stream=True)
    events = list(world.client(model).messages.create(**body))
    assert events[0].type == "message_start"
    assert [event.type for event in events[-2:]] == ["message_delta", "message_stop"]
    starts = [event.index for event in events if event.type == "content_block_start"]
    assert starts == list(range(len(starts)))
    assert [event.index for event in events if event.type == "content_block_stop"] == starts
    open_blocks = 0
    for event in events:
        open_blocks += {"content_block_start": 1, "content_block_stop": -1}.get(event.type, 0)
        assert open_blocks == (1 if event.type in ("content_block_start", "content_block_delta") else 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_bears_anthropics_frames_and_no_done(world: World, model: str) -> None:
    client = world.client(model)
    body = asked("Hello", model=model, stream=True)
    with client.messages.with_streaming_response.create(**body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        frames = [frame for frame in response.read().decode().split("\n\n") if frame]
    for frame in frames:
        name, data = frame.split("\n")
        assert name == f"event: {json.loads(data.removeprefix('data: '))['type']}"


@either_way
@pytest.mark.parametrize("model", MODELS)
def test_a_tool_is_called_and_its_result_answered(world: World, model: str, ask: Ask) -> None:
    client, messages = world.client(model), list(HELLO)
    called = ask(client, model=model, max_tokens=200, messages=messages, tools=[WEATHER])
    assert called.stop_reason == "tool_use"
    [call] = [block for block in called.content if block.type == "tool_use"]
    assert (call.name, call.input) == ("get_weather", {"city": "simulated city"})
    messages.append({"role": "assistant", "content": called.content})
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "sunny-42"}]}
    messages.append({"role": "user", "content": [result]})
    answer = ask(client, model=model, max_tokens=200, messages=messages, tools=[WEATHER])
    assert answer.stop_reason == "end_turn"
    assert "sunny-42" in text_of(answer)


@either_way
@pytest.mark.parametrize("model", MODELS)
def test_parallel_calls_have_ids_of_their_own_and_all_their_results_arrive(world: World, model: str, ask: Ask) -> None:
    client, messages = world.client(model), asked("both please")["messages"]
    called = ask(client, model=model, max_tokens=200, messages=messages, tools=[WEATHER, TIME])
    calls = [block for block in called.content if block.type == "tool_use"]
    assert [call.name for call in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"result-{number}"}
        for number, call in enumerate(calls)
    ]
    messages += [{"role": "assistant", "content": called.content}, {"role": "user", "content": results}]
    answer = ask(client, model=model, max_tokens=200, messages=messages, tools=[WEATHER, TIME])
    # The handler tells of its last message only, which holds one result.
    told = ["result-1"] if model == HANDLER else ["result-0", "result-1"]
    assert [result for result in told if result not in text_of(answer)] == []


@pytest.mark.parametrize("model", OF_COPILOT)
def test_a_failed_call_and_an_image_come_back_as_results(world: World, model: str) -> None:
    calls = [{"type": "tool_use", "id": f"toolu_{name}", "name": "get_weather", "input": {}} for name in "ab"]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_a", "content": "no such city", "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_b", "content": [{"type": "text", "text": "a picture"}, PIXEL]},
    ]
    messages = [*HELLO, {"role": "assistant", "content": calls}, {"role": "user", "content": results}]
    whole(world.copilot, model=model, max_tokens=200, messages=messages, tools=[WEATHER])
    request = world.asked()
    assert "no such city" in request.body.decode()
    assert (request.headers["x-initiator"], request.headers["copilot-vision-request"]) == ("agent", "true")
    assert PIXEL["source"]["data"] in request.body.decode()


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ({"type": "any"}, {"get_weather"}),
        ({"type": "tool", "name": "get_time"}, {"get_time"}),
        ({"type": "none"}, set()),
        ({"type": "auto", "disable_parallel_tool_use": True}, {"get_weather"}),
    ],
)
@pytest.mark.parametrize("model", OF_COPILOT)
def test_the_choice_of_a_tool_is_kept(world: World, model: str, choice: Any, names: set[str]) -> None:
    body = asked("both please" if "disable_parallel_tool_use" in choice else "Hi", model=model)
    answer = whole(world.copilot, **body, tools=[WEATHER, TIME], tool_choice=choice)
    assert {block.name for block in answer.content if block.type == "tool_use"} == names


@pytest.mark.parametrize("model", OF_COPILOT)
def test_system_blocks_arrive_without_the_billing_line_and_messages_of_role_system_too(
    world: World, model: str
) -> None:
    system: Any = [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"},
        {"type": "text", "text": "You are terse.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
    ]
    messages: Any = [*HELLO, {"role": "system", "content": "The day is Friday."}]
    assert text_of(whole(world.copilot, model=model, max_tokens=200, system=system, messages=messages))
    sent = world.asked().body.decode()
    assert "You are terse." in sent
    assert "The day is Friday." in sent
    assert "billing" not in sent


@pytest.mark.parametrize("model", OF_COPILOT)
def test_an_image_reaches_copilot_with_its_header(world: World, model: str) -> None:
    content: Any = [PIXEL, {"type": "text", "text": "What is this?"}]
    answer = whole(world.copilot, model=model, max_tokens=200, messages=[{"role": "user", "content": content}])
    assert "What is this?" in text_of(answer)
    assert world.asked().headers["copilot-vision-request"] == "true"


@either_way
@pytest.mark.parametrize("thinking", [{"type": "adaptive"}, {"type": "enabled", "budget_tokens": 2048}])
@pytest.mark.parametrize("model", [CLAUDE, "claude-sonnet-4.5", "claude-opus-4.7"])
def test_thinking_is_signed_and_goes_back_as_it_came(world: World, model: str, thinking: Any, ask: Ask) -> None:
    """Each model takes thinking in one of the two ways only, but for Opus 4.6, which takes both."""
    body = {"model": model, "max_tokens": 4096, "thinking": thinking, "tools": [WEATHER]}
    called = ask(world.copilot, **body, messages=HELLO)
    thought, *_, call = called.content
    assert thought.type == "thinking"
    assert thought.thinking
    assert thought.signature
    assert call.type == "tool_use"
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "rainy-7"}
    messages: list[MessageParam] = [
        *HELLO,
        {"role": "assistant", "content": called.content},
        {"role": "user", "content": [result]},
    ]
    # The simulator refuses a signature that is not its own.
    answer = ask(world.copilot, **body, messages=messages)
    assert answer.content[0].type == "thinking"
    assert "rainy-7" in text_of(answer)


def test_reasoning_of_another_protocol_is_thinking_that_can_come_back(world: World) -> None:
    body = {"model": RESPONSES, "max_tokens": 4096, "thinking": {"type": "adaptive"}}
    first = streamed(world.copilot, **body, messages=HELLO)
    assert [block.type for block in first.content] == ["thinking", "text"]
    messages = [*HELLO, {"role": "assistant", "content": first.content}, *HELLO]
    assert text_of(streamed(world.copilot, **body, messages=messages))
    # Claude refuses what it has not signed itself: it is left out, not sent.
    assert text_of(streamed(world.copilot, **{**body, "model": CLAUDE}, messages=messages))


@either_way
@pytest.mark.parametrize(
    ("directive", "reason"), [("length", "max_tokens"), ("content_filter", "refusal"), ("stop", "end_turn")]
)
@pytest.mark.parametrize("model", OF_COPILOT)
def test_the_reason_to_stop_is_told(world: World, model: str, directive: str, reason: str, ask: Ask) -> None:
    answer = ask(world.copilot, **asked(f"[[simulate: answer finish_reason={directive}]]", model=model))
    assert answer.stop_reason == reason


@either_way
@pytest.mark.parametrize("model", MODELS)
def test_an_answer_that_reaches_its_limit_says_so(world: World, model: str, ask: Ask) -> None:
    body = asked("a rather long sentence that has to be quoted, word for word", model=model, max_tokens=2)
    assert ask(world.client(model), **body).stop_reason == "max_tokens"


@pytest.mark.parametrize("model", MODELS)
def test_tokens_are_counted_and_it_is_told_who_counted(world: World, model: str) -> None:
    raw = world.client(model).messages.with_raw_response
    short = raw.count_tokens(model=model, messages=HELLO)
    long = raw.count_tokens(model=model, messages=[{"role": "user", "content": "word " * 500}], tools=[WEATHER])
    assert 0 < short.parse().input_tokens < 400 < long.parse().input_tokens < 2000
    assert long.headers["x-copilotapi-usage"] == ("upstream" if model == CLAUDE else "estimate")


def test_models_are_listed_as_anthropic_and_openai_list_them(world: World) -> None:
    page = world.copilot.models.list(limit=5)
    assert (page.has_more, page.first_id, page.last_id) == (False, page.data[0].id, page.data[-1].id)
    models = {model.id: model for model in page}
    assert {*OF_COPILOT} <= set(models)
    assert {model.type for model in models.values()} == {"model"}
    claude = models[CLAUDE]
    assert (claude.display_name, claude.created_at) == ("Claude Opus 4.6", datetime(1970, 1, 1, tzinfo=UTC))
    assert (claude.max_input_tokens, claude.max_tokens) == (168_000, 32_000)
    listed: Any = page.model_extra
    assert listed["object"] == "list"
    extra: Any = claude.model_extra
    assert (extra["object"], extra["created"], extra["owned_by"], extra["kind"]) == ("model", 0, "Anthropic", "chat")


@pytest.mark.parametrize("name", [CLAUDE, "claude-opus-4-6", "claude-opus-4-6-20260205", "claude-opus-4-6[1m]"])
def test_a_model_is_found_by_each_of_its_names(world: World, name: str) -> None:
    found = world.copilot.models.retrieve(name)
    assert (found.id, found.type) == (CLAUDE, "model")
    assert whole(world.copilot, **asked("Hi", model=name)).model == "claude-opus-4-6"


def test_a_model_that_is_not_there_is_a_404_in_anthropics_words(world: World) -> None:
    with pytest.raises(anthropic.NotFoundError, match=r"Did you mean .*gpt-4\.1") as caught:
        world.copilot.models.retrieve("gpt-4.1x")
    assert caught.value.type == "not_found_error"
    with pytest.raises(anthropic.NotFoundError) as caught:
        whole(world.copilot, **asked("Hi", model="gpt-4.1x"))
    assert caught.value.type == "not_found_error"
    assert caught.value.request_id


@pytest.mark.parametrize("name", ["claude-opus-9-1", "claude-opus-9-1-20270101", "claude-opus-9-1[1m]"])
def test_a_claude_newer_than_copilots_is_answered_by_its_newest_and_that_is_told(world: World, name: str) -> None:
    raw = world.copilot.messages.with_raw_response
    answer = raw.create(**asked("Hi", model=name))
    assert answer.parse().model == "claude-opus-4-7"
    assert answer.headers["x-copilotapi-warnings"] == f"model:{name}->claude-opus-4.7"
    counted = raw.count_tokens(model=name, messages=HELLO)
    assert counted.headers["x-copilotapi-warnings"] == f"model:{name}->claude-opus-4.7"
    assert world.copilot.models.retrieve(name).id == "claude-opus-4.7"


@pytest.mark.parametrize("model", OF_COPILOT)
def test_no_more_is_asked_of_a_model_than_it_can_write(world: World, model: str) -> None:
    limit = {CLAUDE: 32_000, CHAT: 16_384, RESPONSES: 128_000}[model]
    raw = world.copilot.messages.with_raw_response
    answer = raw.create(**asked("Hi", model=model, max_tokens=200_000, stream=True))
    assert f"max_tokens:200000->{limit}" in answer.headers["x-copilotapi-warnings"]
    assert limit in json.loads(world.asked().body).values()
    answer.parse().close()


@pytest.mark.parametrize("model", OF_COPILOT)
@pytest.mark.parametrize(
    ("directive", "error", "kind"),
    [
        ("status=429 code=user_global_rate_limited retry_after=3", anthropic.RateLimitError, "rate_limit_error"),
        ("status=400 code=invalid_request_body", anthropic.BadRequestError, "invalid_request_error"),
        ("status=400 code=model_not_supported", anthropic.NotFoundError, "not_found_error"),
        ("status=402", anthropic.PaymentRequiredError, "billing_error"),
        ("status=403", anthropic.PermissionDeniedError, "permission_error"),
        ("status=413", anthropic.ContentTooLargeError, "request_too_large"),
        ("status=422", anthropic.BadRequestError, "invalid_request_error"),
        ("status=500", anthropic.InternalServerError, "api_error"),
        ("status=503", anthropic.ServiceUnavailableError, "overloaded_error"),
        ("status=504", anthropic.GatewayTimeoutError, "timeout_error"),
    ],
)
@either_way
def test_errors_arrive_as_the_clients_own_classes(
    world: World, model: str, directive: str, error: type[anthropic.APIStatusError], kind: str, ask: Ask
) -> None:
    with pytest.raises(error) as caught:
        ask(world.copilot, **asked(f"[[simulate: {directive}]]", model=model))
    assert (caught.value.type, bool(caught.value.api_message)) == (kind, True)
    body: Any = caught.value.body
    assert (body["type"], body["request_id"]) == ("error", caught.value.request_id)
    assert caught.value.response.headers.get("retry-after") == ("3" if "retry_after" in directive else None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\.0\.role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"messages\.0\.content\.0\.text"),
        ({"extra_body": {"temperature": "hot"}}, "temperature"),
        ({"tools": [{"name": "f"}]}, r"tools\.0\.input_schema"),
        ({"tool_choice": {"type": "maybe"}}, r"tool_choice\.type"),
        ({"thinking": {"type": "enabled"}}, r"thinking\.budget_tokens"),
        ({"system": [{"type": "image"}]}, r"system\.0"),
    ],
)
@pytest.mark.parametrize("model", MODELS)
def test_a_request_that_cannot_be_right_is_told_its_field(world: World, model: str, fields: Any, param: str) -> None:
    with pytest.raises(anthropic.BadRequestError, match=rf"{param}\b") as caught:
        whole(world.client(model), **{**asked("Hi", model=model), **fields})
    assert caught.value.type == "invalid_request_error"


def test_a_body_that_is_too_large_is_a_413(world: World) -> None:
    with pytest.raises(anthropic.ContentTooLargeError) as caught:
        whole(world.copilot, **asked("x" * MAX_BODY_BYTES, model=CLAUDE))
    told: Any = caught.value.body
    assert told["error"]["type"] == "request_too_large"


def test_a_prompt_that_is_too_long_is_told_in_the_words_agents_compact_on(world: World) -> None:
    # gpt-4o-mini of the simulator takes 12,288 tokens, four characters each.
    with pytest.raises(anthropic.BadRequestError) as caught:
        whole(world.copilot, **asked("word " * 40_000, model="gpt-4o-mini"))
    assert caught.value.api_message == "prompt is too long: 50000 tokens > 12288 maximum"


def test_a_key_is_taken_in_either_header_and_a_wrong_one_refused(world: World) -> None:
    url = str(world.copilot.base_url)
    with client_of(url, api_key=None, auth_token=KEY) as client:
        assert text_of(whole(client, **asked("Hi", model=CLAUDE)))
    for wrong in ({"api_key": "sk-wrong"}, {"api_key": None, "auth_token": "sk-wrong"}):
        with client_of(url, **wrong) as client:
            for ask in (lambda: client.models.list(), lambda: whole(client, **asked("Hi", model=CLAUDE))):
                with pytest.raises(anthropic.AuthenticationError) as caught:
                    ask()
                assert caught.value.type == "authentication_error"


@pytest.mark.parametrize("model", OF_COPILOT)
def test_a_cut_stream_raises_instead_of_ending(world: World, model: str) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        streamed(world.copilot, **asked("[[simulate: cut after_events=5]]", model=model))
    assert caught.value.type == "api_error"


@pytest.mark.parametrize("model", OF_COPILOT)
def test_a_failure_in_the_middle_raises_with_its_message(world: World, model: str) -> None:
    with pytest.raises(anthropic.APIStatusError, match="the model died"):
        streamed(world.copilot, **asked('[[simulate: error after_events=5 message="the model died"]]', model=model))


def test_the_beta_path_and_its_header_pass_as_far_as_copilot_takes_them(world: World) -> None:
    betas = ["interleaved-thinking-2025-05-14", "claude-code-20250219", "context-1m-2025-08-07"]
    raw = world.copilot.beta.messages.with_raw_response
    answer: Any = raw.create(**asked("Hi", model=CLAUDE), betas=betas)
    assert "Hi" in text_of(answer.parse())
    assert world.asked().headers["anthropic-beta"] == betas[0]
    assert world.asked().headers["anthropic-version"] == "2023-06-01"
    dropped = ", ".join(f"dropped:anthropic-beta {beta}" for beta in betas[1:])
    assert answer.headers["x-copilotapi-warnings"] == dropped


def test_what_a_model_of_another_protocol_is_not_told_is_named(world: World) -> None:
    raw = world.copilot.messages.with_raw_response
    answer: Any = raw.create(**asked("Hi", model=CHAT), metadata={"user_id": "me"}, extra_body={"top_k": 5})
    assert text_of(answer.parse())
    warned = answer.headers["x-copilotapi-warnings"].split(", ")
    assert {"dropped:top_k", "dropped:metadata"} <= set(warned)


@pytest.mark.parametrize("model", [CHAT, RESPONSES])
def test_what_a_model_of_another_protocol_cannot_be_given_is_refused(world: World, model: str) -> None:
    tools: Any = [{"type": "bash_20250124", "name": "bash"}]
    with pytest.raises(anthropic.BadRequestError, match=r"tools\.0") as caught:
        whole(world.copilot, **asked("Hi", model=model), tools=tools)
    assert caught.value.type == "invalid_request_error"
