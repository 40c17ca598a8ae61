"""OpenAI's own Python client against gunicorn in front of the simulator."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess

MODELS = ["gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-pro"]
HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="module")
def client(simulator: Simulator) -> Iterator[OpenAI]:
    with (
        GatewayProcess(simulator.url, WEB_CONCURRENCY="2", RATE_LIMIT_PER_MINUTE="0") as gateway,
        OpenAI(base_url=f"{gateway.url}/v1", api_key="unused", max_retries=0, timeout=30) as client,
    ):
        yield client


@pytest.mark.parametrize("model", MODELS)
def test_a_chat_is_answered(client: OpenAI, model: str) -> None:
    answer = client.chat.completions.create(model=model, messages=HELLO)
    assert answer.object == "chat.completion"
    assert [choice.index for choice in answer.choices] == [0]
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("include_usage", [True, False])
def test_a_chat_is_streamed_with_usage_exactly_if_asked(client: OpenAI, model: str, include_usage: bool) -> None:
    stream = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": include_usage}
    )
    chunks = list(stream)
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert {choice.index for chunk in chunks for choice in chunk.choices} == {0}
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason] == ["stop"]
    assert [bool(chunk.choices) for chunk in chunks if chunk.usage] == ([False] if include_usage else [])
    assert all(chunk.choices for chunk in chunks if not chunk.usage)


@pytest.mark.parametrize("model", MODELS)
def test_a_tool_is_called_and_its_result_answered(client: OpenAI, model: str) -> None:
    messages = list(HELLO)
    called = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER]).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    [call] = called.message.tool_calls
    assert call.type == "function"
    assert call.function.name == "get_weather"
    messages.append({"role": "assistant", "tool_calls": [call.model_dump()]})  # type: ignore[typeddict-item]
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "sunny-42"})
    answer = client.chat.completions.create(model=model, messages=messages, tools=[WEATHER])
    assert "sunny-42" in (answer.choices[0].message.content or "")


@pytest.mark.parametrize("model", MODELS)
def test_parallel_tool_calls_are_streamed_with_ids_and_whole_arguments(client: OpenAI, model: str) -> None:
    other: ChatCompletionToolParam = {"type": "function", "function": {"name": "get_time", "parameters": {}}}
    with client.chat.completions.stream(
        model=model, messages=[{"role": "user", "content": "both please"}], tools=[WEATHER, other]
    ) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather", "get_time"]
    assert len({call.id for call in calls}) == 2
    assert final.choices[0].finish_reason == "tool_calls"


def test_models_are_listed_once_each_and_found_by_name(client: OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert len(ids) == len(set(ids))
    assert "gpt-4.1" in ids
    assert client.models.retrieve("claude-sonnet-4-5-20250929").id == "claude-sonnet-4.5"


def test_an_image_reaches_copilot_with_its_header(client: OpenAI) -> None:
    pixel = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
        "RU5ErkJggg=="
    )
    messages: list[ChatCompletionMessageParam] = [
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": pixel}}],
        }
    ]
    assert client.chat.completions.create(model="gpt-4.1", messages=messages).choices[0].message.content


def test_the_limit_field_that_a_model_refuses_is_renamed_for_it(client: OpenAI, simulator: Simulator) -> None:
    simulator.recorder.requests.clear()
    for _ in range(2):
        assert client.chat.completions.create(model="gpt-5.4", messages=HELLO, max_tokens=50).choices
    assert simulator.recorder.counts()["chat"] == 3


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=429 code=user_global_rate_limited retry_after=3", openai.RateLimitError),
        ("status=400 code=invalid_request_body", openai.BadRequestError),
        ("status=403", openai.PermissionDeniedError),
        ("status=500", openai.InternalServerError),
        ("status=400 code=model_not_supported", openai.NotFoundError),
    ],
)
def test_errors_arrive_as_the_clients_own_classes(
    client: OpenAI, directive: str, error: type[openai.APIStatusError]
) -> None:
    with pytest.raises(error) as caught:
        client.chat.completions.create(
            model="gpt-4.1", messages=[{"role": "user", "content": f"[[simulate: {directive}]]"}]
        )
    assert isinstance(caught.value.body, dict)
    assert caught.value.request_id
    if error is openai.RateLimitError:
        assert caught.value.response.headers["retry-after"] == "3"


def test_an_unknown_model_is_a_404_with_near_matches(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match=r"gpt-4\.1"):
        client.chat.completions.create(model="gpt-4.1x", messages=HELLO)


def test_a_prompt_that_is_too_long_bears_the_code_agents_compact_on(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "word " * 40_000}])
    assert caught.value.code == "context_length_exceeded"


def test_a_cut_stream_raises_instead_of_ending(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model="gpt-4.1", messages=[{"role": "user", "content": "[[simulate: cut after_events=3]]"}], stream=True
    )
    with pytest.raises(openai.APIError):
        list(stream)


@pytest.mark.parametrize("given", ["one text", ["two", "texts"]])
def test_embeddings_come_as_the_client_asks_for_them(client: OpenAI, given: str | list[str]) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=given)
    assert answer.object == "list"
    assert [item.index for item in answer.data] == list(range(1 if isinstance(given, str) else 2))
    assert all(isinstance(number, float) for item in answer.data for number in item.embedding)


def test_more_texts_than_copilot_takes_at_once_are_embedded_all_the_same(client: OpenAI, simulator: Simulator) -> None:
    before = simulator.recorder.counts()["embeddings"]
    answer = client.embeddings.create(model="text-embedding-3-small", input=["x"] * 600, encoding_format="float")
    assert len(answer.data) == 600
    assert simulator.recorder.counts()["embeddings"] - before == 2
