"""Responses, described: https://platform.openai.com/docs/api-reference/responses."""

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

_TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}
_ITEM = any_of(
    record(
        {
            "type": {"enum": ["message", None, ""]},
            "role": one_of("user", "assistant", "system", "developer"),
            "content": any_of(TEXT, array(ref("ResponsesPart"))),
        },
        needs=("role", "content"),
    ),
    record(
        {"type": const("function_call"), "call_id": TEXT, "name": TEXT, "arguments": TEXT},
        needs=("type", "call_id", "name", "arguments"),
    ),
    record(
        {"type": const("custom_tool_call"), "call_id": TEXT, "name": TEXT, "input": TEXT},
        needs=("type", "call_id", "name", "input"),
    ),
    record(
        {
            "type": one_of("function_call_output", "custom_tool_call_output"),
            "call_id": TEXT,
            "output": any_of(TEXT, array(ref("ResponsesPart"))),
        },
        needs=("type", "call_id", "output"),
    ),
    record(
        {
            "type": const("reasoning"),
            "summary": optional(array(ANY_OBJECT)),
            "encrypted_content": optional(TEXT),
        },
        needs=("type",),
    ),
    record({"type": const("additional_tools"), "tools": optional(array(ref("ResponsesTool")))}, needs=("type",)),
    record(
        {
            "type": {
                **TEXT,
                "minLength": 1,
                "not": {
                    "enum": [
                        "message",
                        "function_call",
                        "custom_tool_call",
                        "function_call_output",
                        "custom_tool_call_output",
                        "reasoning",
                        "additional_tools",
                    ]
                },
            },
            "id": optional(TEXT),
            "namespace": optional(TEXT),
        },
        needs=("type",),
    ),
)

FIELDS = (
    Field(
        "input",
        any_of({**TEXT, "minLength": 1}, array(ref("ResponsesItem"), minItems=1)),
        "Hello",
        "A text, or the whole history as items: nothing is stored between requests.",
        direct="changed",
        is_required=True,
    ),
    Field("model", NAME, "gpt-5.2", "A model of GET /v1/models; without it DEFAULT_MODEL, else the account's default."),
    Field("instructions", TEXT, "Be brief.", "The system's words."),
    Field("stream", FLAG, True, "Answer as server-sent events."),
    Field("max_output_tokens", COUNT, 200, "The most tokens to answer with."),
    Field("temperature", NUMBER, 0.7, "0 to 2."),
    Field("top_p", NUMBER, 0.9, "Nucleus sampling."),
    Field(
        "tools",
        array(ref("ResponsesTool")),
        [_TOOL],
        "Functions, custom tools and namespaces. Image generation and web search are left out: nobody runs them.",
    ),
    Field("tool_choice", any_of(TEXT, ANY_OBJECT), "auto", "auto, none, required, or one tool."),
    Field("parallel_tool_calls", FLAG, False, "Whether several calls may be made at once."),
    Field("reasoning", record({"effort": optional(TEXT)}), {"effort": "low"}, "How long to think."),
    Field(
        "text",
        record({"format": optional(ANY_OBJECT)}),
        {"format": {"type": "text"}},
        "Text, or JSON by a schema; a model on /v1/messages takes no JSON without one.",
    ),
    Field(
        "include",
        array(TEXT),
        ["reasoning.encrypted_content"],
        "What to tell besides. Encrypted reasoning is always asked for.",
    ),
    Field("top_logprobs", ANY, 2, "Log probabilities of each token.", translated="refused"),
    Field("store", FLAG, True, "Always false: nothing is stored.", direct="changed", translated="left out"),
    Field("metadata", ANY_OBJECT, {"k": "v"}, "Yours.", translated="left out"),
    Field("truncation", ANY, "auto", "What to do with a history that is too long.", translated="left out"),
    Field("prompt_cache_key", ANY, "mine", "Which cache to use.", translated="left out"),
    Field("max_tool_calls", ANY, 3, "For tools that OpenAI runs.", translated="left out"),
    Field("user", ANY, "somebody", "Who asks.", translated="left out"),
    Field("service_tier", ANY, "auto", "Copilot has none.", direct="left out", translated="left out"),
    Field("safety_identifier", ANY, "x", "Copilot has none.", direct="left out", translated="left out"),
    Field("background", {**FLAG, "const": False}, True, "Nothing is stored to be fetched.", "refused", "refused"),
    Field("previous_response_id", {"not": {}}, "resp_1", "Nothing is stored to go on from.", "refused", "refused"),
    Field("conversation", {"not": {}}, "conv_1", "Nothing is stored to refer to.", "refused", "refused"),
    Field("prompt", {"not": {}}, {"id": "pmpt_1"}, "Nothing is stored to refer to.", "refused", "refused"),
)

_USAGE = record(
    {
        "input_tokens": TALLY,
        "input_tokens_details": record({"cached_tokens": TALLY}),
        "output_tokens": TALLY,
        "output_tokens_details": record({"reasoning_tokens": TALLY}),
        "total_tokens": TALLY,
    },
    needs=("input_tokens", "output_tokens", "total_tokens"),
)

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "ResponsesRequest": request_schema(FIELDS, "Fields that are not listed are forwarded as they are."),
        "ResponsesItem": _ITEM,
        "ResponsesPart": record({"type": TEXT}, needs=("type",), description="input_text, input_image, output_text, …"),
        "ResponsesTool": any_of(
            record(
                {"type": const("namespace"), "name": TEXT, "tools": optional(array(ref("ResponsesTool")))},
                needs=("type", "name"),
            ),
            record({"type": one_of("function", "custom"), "name": TEXT}, needs=("type", "name")),
            another("type", "function", "custom", "namespace"),
        ),
        "Response": record(
            {
                "id": TEXT,
                "object": const("response"),
                "created_at": NUMBER,
                "status": one_of("completed", "incomplete", "failed", "in_progress", "queued", "cancelled"),
                "model": TEXT,
                "output": array(record({"type": TEXT}, needs=("type",))),
                "error": optional(ANY_OBJECT),
                "incomplete_details": optional(ANY_OBJECT),
                "usage": optional(_USAGE),
                "parallel_tool_calls": FLAG,
                "tool_choice": any_of(TEXT, ANY_OBJECT),
                "tools": array(ANY_OBJECT),
            },
            needs=(
                "id",
                "object",
                "created_at",
                "status",
                "model",
                "output",
                "parallel_tool_calls",
                "tool_choice",
                "tools",
            ),
        ),
        "ResponseEvent": any_of(
            record(
                {
                    "type": one_of(
                        "response.created",
                        "response.in_progress",
                        "response.completed",
                        "response.incomplete",
                        "response.failed",
                    ),
                    "sequence_number": TALLY,
                    "response": ref("Response"),
                },
                needs=("type", "response"),
            ),
            record(
                {
                    "type": {**TEXT, "pattern": r"^response\.(output|content|function|custom|reasoning|refusal)"},
                    "sequence_number": TALLY,
                    "output_index": TALLY,
                },
                needs=("type", "output_index"),
            ),
            record({"type": const("error"), "message": TEXT, "code": optional(TEXT)}, needs=("type", "message")),
            description="Named as its `type`. The stream of an answer that failed ends in response.failed or error.",
        ),
    }
)

_TEXT_ITEM = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello!", "annotations": []}],
}
_WHOLE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1767225600,
    "status": "completed",
    "model": "gpt-5.2",
    "output": [_TEXT_ITEM],
    "error": None,
    "incomplete_details": None,
    "usage": {"input_tokens": 2, "output_tokens": 5, "total_tokens": 7},
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
_STREAM = (
    "event: response.output_text.delta\n"
    'data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,'
    '"content_index":0,"delta":"Hello!"}\n\n'
)
_PATHS = ("/v1/responses", "/responses")
_SHARED = (shared_parameter("X-CopilotAPI-No-Fallback"), shared_parameter("X-Request-Id"))

OPERATIONS = (
    Operation(
        "post",
        _PATHS,
        "createResponse",
        "Responses",
        "Answer a history of items.",
        "key",
        "Responses",
        {
            "200": streaming(
                answer(
                    "The answer.",
                    ref("Response"),
                    {"text": _WHOLE},
                    "X-CopilotAPI-Usage",
                    "X-CopilotAPI-Fallback",
                    "X-CopilotAPI-Warnings",
                ),
                "ResponseEvent",
                _STREAM,
                "The last one is response.completed, response.incomplete, response.failed or error.",
            )
        },
        parameters=_SHARED,
        body=json_body(
            "ResponsesRequest",
            {
                "whole": {"model": "gpt-5.2", "input": "Hello"},
                "streamed": {"model": "gpt-5.2", "input": "Hello", "stream": True},
                "tools": {"model": "gpt-5.2", "input": "Hello", "tools": [_TOOL]},
            },
        ),
    ),
    Operation(
        "get",
        _PATHS,
        "refuseWebSocket",
        "Responses",
        "No WebSocket is spoken here.",
        "key",
        "Socket",
        {},
        description="A request to go over to WebSocket is answered with 426, any other GET with 405.",
    ),
)
