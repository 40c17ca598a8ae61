"""Chat Completions, described: https://platform.openai.com/docs/api-reference/chat."""

from collections.abc import Mapping
from types import MappingProxyType

from copilotapi.openapi.shapes import (
    ANY,
    ANY_OBJECT,
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    TALLY,
    TEXT,
    WHOLE,
    Field,
    Operation,
    another,
    answer,
    any_of,
    array,
    const,
    json_body,
    one_of,
    optional,
    record,
    ref,
    request_schema,
    shared_parameter,
    streaming,
)
from copilotapi.protocols.conversation import JSON

_HELLO = [{"role": "user", "content": "Hello"}]
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}

FIELDS = (
    Field("messages", array(ref("ChatMessage"), minItems=1), _HELLO, "The conversation so far.", is_required=True),
    Field("model", NAME, "gpt-4.1", "A model of GET /v1/models; without it DEFAULT_MODEL, else the account's default."),
    Field("stream", FLAG, True, "Answer as server-sent events."),
    Field(
        "stream_options",
        record({"include_usage": optional(FLAG)}),
        {"include_usage": False},
        "`include_usage` adds a last chunk with the usage. Copilot is always asked for it.",
        direct="changed",
    ),
    Field("max_completion_tokens", COUNT, 200, "The most tokens to answer with."),
    Field("max_tokens", COUNT, 200, "The older name of it. A model that wants the other name is sent the other."),
    Field("n", {**COUNT, "maximum": 128}, 1, "How many answers."),
    Field("temperature", NUMBER, 0.7, "0 to 2; as 1 at most where a Claude model is asked in its own protocol."),
    Field("top_p", NUMBER, 0.9, "Nucleus sampling."),
    Field("stop", any_of(TEXT, array(TEXT)), ["END"], "Where to stop; no model on /responses can be told."),
    Field("tools", array(ref("ChatTool")), [_TOOL], "Functions that the model may call."),
    Field("tool_choice", any_of(TEXT, ANY_OBJECT), "auto", "auto, none, required, or one function by name."),
    Field("parallel_tool_calls", FLAG, False, "Whether several calls may be made at once."),
    Field("reasoning_effort", TEXT, "low", "How long to think; left out for models that do not."),
    Field(
        "response_format",
        ANY_OBJECT,
        {"type": "json_object"},
        "JSON, or JSON by a schema; a model on /v1/messages takes the schema only.",
    ),
    Field("presence_penalty", NUMBER, 0.5, "-2 to 2.", translated="refused"),
    Field("frequency_penalty", NUMBER, 0.5, "-2 to 2.", translated="refused"),
    Field("logit_bias", ANY_OBJECT, {"50256": -100}, "Token numbers to a bias.", translated="refused"),
    Field("logprobs", FLAG, True, "Tell log probabilities.", translated="refused"),
    Field("top_logprobs", WHOLE, 2, "How many of them for each token.", translated="refused"),
    Field("functions", array(ANY), [{"name": "weather"}], "The older form of tools.", translated="refused"),
    Field("seed", WHOLE, 7, "For answers that repeat, as far as the model can.", translated="left out"),
    Field("user", TEXT, "somebody", "Who asks.", translated="left out"),
    Field("prediction", ANY_OBJECT, {"type": "content", "content": "x"}, "Text expected.", translated="left out"),
    Field("store", FLAG, True, "Nothing is stored.", direct="left out", translated="left out"),
    Field("metadata", ANY_OBJECT, {"k": "v"}, "For stored answers.", direct="left out", translated="left out"),
    Field("service_tier", TEXT, "auto", "Copilot has none.", direct="left out", translated="left out"),
)

_PART = any_of(
    record({"type": const("text"), "text": TEXT}, needs=("type", "text")),
    record(
        {"type": const("image_url"), "image_url": record({"url": TEXT}, needs=("url",))},
        needs=("type", "image_url"),
    ),
    another("type", "text", "image_url"),
)
_CONTENT = any_of(TEXT, array(_PART))
_CALL = record(
    {
        "id": TEXT,
        "type": const("function"),
        "function": record({"name": TEXT, "arguments": optional(TEXT)}, needs=("name",)),
    },
    needs=("id", "function"),
)
_OTHER_CALL = record({"type": {"not": {"const": "function"}}}, needs=("type",))
_MESSAGE = any_of(
    record({"role": one_of("system", "developer", "user"), "content": _CONTENT}, needs=("role", "content")),
    record(
        {
            "role": const("assistant"),
            "content": optional(_CONTENT),
            "tool_calls": optional(array(any_of(_CALL, _OTHER_CALL))),
            "reasoning_text": {"description": "As it came in an answer, to be brought back."},
            "reasoning_opaque": {"description": "As it came in an answer, to be brought back."},
        },
        needs=("role",),
    ),
    record(
        {"role": const("tool"), "content": _CONTENT, "tool_call_id": TEXT}, needs=("role", "content", "tool_call_id")
    ),
    record({"role": const("function"), "content": optional(_CONTENT)}, needs=("role",)),
)
_TOOLS = any_of(
    record(
        {
            "type": const("function"),
            "function": record(
                {"name": TEXT, "parameters": optional(ANY_OBJECT)},
                needs=("name",),
            ),
        },
        needs=("function",),
    ),
    record({"type": {"not": {"const": "function"}}}, needs=("type",)),
)
_ANSWERED_CALL = record(
    {
        "id": TEXT,
        "type": const("function"),
        "function": record({"name": TEXT, "arguments": TEXT}, ("name", "arguments")),
    },
    needs=("id", "type", "function"),
)
_REASON = optional(one_of("stop", "length", "tool_calls", "content_filter", "function_call"))
_REASONING = {"reasoning_text": optional(TEXT), "reasoning_opaque": optional(TEXT)}

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "ChatRequest": request_schema(FIELDS, "Fields that are not listed are forwarded as they are."),
        "ChatMessage": _MESSAGE,
        "ChatTool": _TOOLS,
        "ChatCompletion": record(
            {
                "id": TEXT,
                "object": const("chat.completion"),
                "created": TALLY,
                "model": {**TEXT, "description": "The model that answered."},
                "choices": array(
                    record(
                        {
                            "index": TALLY,
                            "message": record(
                                {
                                    "role": const("assistant"),
                                    "content": optional(TEXT),
                                    "refusal": optional(TEXT),
                                    "tool_calls": array(_ANSWERED_CALL),
                                    **_REASONING,
                                },
                                needs=("role", "content"),
                            ),
                            "finish_reason": _REASON,
                            "logprobs": optional(ANY_OBJECT),
                        },
                        needs=("index", "message", "finish_reason"),
                    )
                ),
                "usage": ref("Usage"),
            },
            needs=("id", "object", "created", "model", "choices", "usage"),
        ),
        "ChatCompletionChunk": any_of(
            record(
                {
                    "id": TEXT,
                    "object": const("chat.completion.chunk"),
                    "created": TALLY,
                    "model": TEXT,
                    "choices": array(
                        record(
                            {
                                "index": TALLY,
                                "delta": record(
                                    {
                                        "role": const("assistant"),
                                        "content": optional(TEXT),
                                        "tool_calls": array(record({"index": TALLY}, needs=("index",))),
                                        **_REASONING,
                                    }
                                ),
                                "finish_reason": _REASON,
                            },
                            needs=("index", "delta"),
                        )
                    ),
                    "usage": optional(ref("Usage")),
                },
                needs=("id", "object", "created", "model", "choices"),
            ),
            ref("OpenAIError"),
            description="One chunk; or, as the last event of a stream that failed, an error.",
        ),
        "Usage": record(
            {
                "prompt_tokens": TALLY,
                "completion_tokens": TALLY,
                "total_tokens": TALLY,
                "prompt_tokens_details": record({"cached_tokens": TALLY}),
                "completion_tokens_details": record({"reasoning_tokens": TALLY}),
                "estimated": {**FLAG, "description": "True where Copilot gave no numbers."},
            },
            needs=("prompt_tokens", "completion_tokens", "total_tokens"),
        ),
    }
)

_USAGE = {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}
_ENVELOPE = {"id": "chatcmpl-1", "created": 1767225600, "model": "gpt-4.1"}
_CHUNK = (
    '{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1767225600,"model":"gpt-4.1",'
    '"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}'
)
_STREAM = "".join(
    f"data: {_CHUNK % pair}\n\n"
    for pair in (('{"role":"assistant","content":""}', "null"), ('{"content":"Hello!"}', "null"), ("{}", '"stop"'))
)


def _choice(message: JSON, reason: str) -> JSON:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"object": "chat.completion", **_ENVELOPE, "choices": [choice], "usage": _USAGE}


_CALLS = [{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rome"}'}}]
_EXAMPLES = {
    "text": _choice({"content": "Hello!"}, "stop"),
    "call": _choice({"content": None, "tool_calls": _CALLS}, "tool_calls"),
}

OPERATIONS = (
    Operation(
        "post",
        ("/v1/chat/completions", "/chat/completions"),
        "createChatCompletion",
        "Chat Completions",
        "Answer a chat.",
        "key",
        "Chat",
        {
            "200": streaming(
                answer(
                    "The answer.",
                    ref("ChatCompletion"),
                    _EXAMPLES,
                    "X-CopilotAPI-Usage",
                    "X-CopilotAPI-Fallback",
                    "X-CopilotAPI-Warnings",
                ),
                "ChatCompletionChunk",
                f"{_STREAM}data: [DONE]\n\n",
                "The last one is `[DONE]`, or an error.",
            )
        },
        parameters=(shared_parameter("X-CopilotAPI-No-Fallback"), shared_parameter("X-Request-Id")),
        body=json_body(
            "ChatRequest",
            {
                "whole": {"model": "gpt-4.1", "messages": _HELLO},
                "streamed": {"model": "gpt-4.1", "messages": _HELLO, "stream": True},
                "tools": {"model": "gpt-4.1", "messages": _HELLO, "tools": [_TOOL]},
            },
        ),
    ),
)
