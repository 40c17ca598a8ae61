"""Text completions, described: OpenAI's legacy path, and the paths of editors, which name an engine."""

from collections.abc import Mapping
from types import MappingProxyType

from copilotapi.openapi.shapes import (
    ANY,
    ANY_OBJECT,
    COUNT,
    FLAG,
    NUMBER,
    TALLY,
    TEXT,
    WHOLE,
    Field,
    Operation,
    answer,
    any_of,
    array,
    const,
    json_body,
    one_of,
    optional,
    parameter,
    record,
    ref,
    request_schema,
    shared_parameter,
    streaming,
)
from copilotapi.protocols.conversation import JSON

_TEXT = {**TEXT, "minLength": 1}
_EXTRA = record(
    {"language": optional(TEXT), "next_indent": optional(WHOLE), "trim_by_indentation": optional(FLAG)},
)
FIELDS = (
    Field(
        "prompt",
        any_of(_TEXT, array(_TEXT, minItems=1, maxItems=128)),
        "def add(a, b):\n    ",
        "The text before the cursor, or several.",
        is_required=True,
    ),
    Field("suffix", TEXT, "\n", "The text after the cursor."),
    Field("model", TEXT, "gpt-41-copilot", "An engine or a chat model; the engine of a path wins.", direct="read here"),
    Field("max_tokens", COUNT, 100, "The most tokens to answer with; MAX_TOKENS without it, MAX_TOKENS_LIMIT at most."),
    Field("temperature", NUMBER, 0.1, "0 to 2."),
    Field("top_p", NUMBER, 0.9, "Nucleus sampling."),
    Field("n", {**COUNT, "maximum": 128}, 1, "How many answers to each prompt."),
    Field("stop", any_of(TEXT, array(TEXT)), ["\n\n"], "Where to stop."),
    Field("stream", FLAG, True, "Answer as server-sent events."),
    Field(
        "stream_options",
        record({"include_usage": optional(FLAG)}),
        {"include_usage": True},
        "`include_usage` adds a last chunk with the usage.",
        direct="read here",
    ),
    Field("extra", _EXTRA, {"language": "python"}, "What an editor tells of the place."),
    Field("language", TEXT, "python", "The language of the text, for handlers.", direct="left out"),
    Field("file_path", TEXT, "a.py", "The file, for handlers.", direct="left out"),
    Field("nwo", TEXT, "owner/name", "The repository.", translated="left out"),
    Field("seed", ANY, 7, "For answers that repeat.", translated="left out"),
    Field("logprobs", ANY, 2, "Log probabilities.", translated="left out"),
    Field("user", ANY, "somebody", "Who asks.", direct="left out", translated="left out"),
    Field("presence_penalty", NUMBER, 0.5, "-2 to 2.", translated="refused"),
    Field("frequency_penalty", NUMBER, 0.5, "-2 to 2.", translated="refused"),
    Field("logit_bias", ANY, {"50256": -100}, "Token numbers to a bias.", translated="refused"),
    Field("echo", {**FLAG, "const": False}, True, "Join prompt and answer yourself.", "refused", "refused"),
    Field("best_of", {**COUNT, "maximum": 1}, 2, "Nobody here ranks answers.", "refused", "refused"),
)

_CHOICE = record(
    {
        "text": TEXT,
        "index": TALLY,
        "finish_reason": optional(one_of("stop", "length", "content_filter")),
        "logprobs": optional(ANY_OBJECT),
    },
    needs=("text", "index", "finish_reason"),
)
_PROPERTIES = {
    "id": TEXT,
    "object": const("text_completion"),
    "created": TALLY,
    "model": TEXT,
    "choices": array(_CHOICE),
    "usage": optional(ref("Usage")),
}
_NEEDS = ("id", "object", "created", "model", "choices")

SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "CompletionRequest": request_schema(FIELDS, "Fields that are not listed are forwarded to an engine."),
        "EngineRequest": request_schema([each for each in FIELDS if each.name != "model"], "The model is in the path."),
        "Completion": record(_PROPERTIES, needs=(*_NEEDS, "usage")),
        "CompletionChunk": any_of(
            record(_PROPERTIES, needs=_NEEDS),
            ref("OpenAIError"),
            description="One chunk; or, as the last event of a stream that failed, an error.",
        ),
    }
)

_USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "estimated": True}
_WHOLE = {
    "id": "cmpl-1",
    "object": "text_completion",
    "created": 1767225600,
    "model": "gpt-41-copilot",
    "choices": [{"text": "return a + b", "index": 0, "logprobs": None, "finish_reason": "stop"}],
    "usage": _USAGE,
}
_STREAM = (
    'data: {"id":"cmpl-1","object":"text_completion","created":1767225600,"model":"gpt-41-copilot",'
    '"choices":[{"text":"return a + b","index":0,"logprobs":null,"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
_ANSWERS = {
    "200": streaming(
        answer(
            "The answer.",
            ref("Completion"),
            {"text": _WHOLE},
            "X-CopilotAPI-Usage",
            "X-CopilotAPI-Fallback",
            "X-CopilotAPI-Warnings",
        ),
        "CompletionChunk",
        _STREAM,
        "The last one is `[DONE]`, or an error.",
    )
}
_SHARED = (shared_parameter("X-CopilotAPI-No-Fallback"), shared_parameter("X-Request-Id"))
_ASK = {"prompt": "def add(a, b):\n    ", "suffix": "\n", "max_tokens": 100}

OPERATIONS = (
    Operation(
        "post",
        ("/v1/completions", "/completions"),
        "createCompletion",
        "Completions",
        "Complete a text.",
        "key",
        "Completions",
        _ANSWERS,
        parameters=_SHARED,
        body=json_body(
            "CompletionRequest",
            {
                "whole": {"model": "gpt-41-copilot", **_ASK},
                "streamed": {"model": "gpt-41-copilot", **_ASK, "stream": True},
            },
        ),
    ),
    Operation(
        "post",
        (
            "/v1/engines/{engine}/completions",
            "/engines/{engine}/completions",
            "/proxy/v1/engines/{engine}/completions",
        ),
        "createEngineCompletion",
        "Completions",
        "Complete a text at a cursor, as editors ask.",
        "key",
        "Completions",
        _ANSWERS,
        parameters=(
            parameter("engine", "path", TEXT, "The engine, whatever the body says.", "gpt-41-copilot"),
            *_SHARED,
        ),
        body=json_body("EngineRequest", {"whole": _ASK, "streamed": {**_ASK, "stream": True}}),
    ),
)
