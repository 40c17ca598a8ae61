"""Messages and the count of their tokens, described: https://docs.claude.com/en/api/messages."""

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

_HELLO = [{"role": "user", "content": "Hello"}]
_TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}}}
_FORMAT = {"type": "json_schema", "schema": {"type": "object"}}
_THINKING = any_of(
    record({"type": const("enabled"), "budget_tokens": COUNT}, needs=("type", "budget_tokens")),
    record({"type": one_of("adaptive", "between_tools", "disabled")}, needs=("type",)),
)
_CHOICE = any_of(
    record({"type": const("tool"), "name": TEXT}, needs=("type", "name")),
    record({"type": one_of("auto", "any", "none")}, needs=("type",)),
)

FIELDS = (
    Field("messages", array(ref("MessagesTurn"), minItems=1), _HELLO, "The conversation so far.", is_required=True),
    Field("max_tokens", COUNT, 200, "The most tokens to answer with; cut to the model's own limit.", is_required=True),
    Field("model", NAME, "claude-sonnet-4.5", "A model of GET /v1/models, dated and dashed names too."),
    Field("system", any_of(TEXT, array(ref("MessagesText"))), "Be brief.", "The system's words."),
    Field("stream", FLAG, True, "Answer as server-sent events."),
    Field("stop_sequences", array(TEXT), ["END"], "Where to stop; no model on /responses can be told."),
    Field("temperature", NUMBER, 0.7, "0 to 1."),
    Field("top_p", NUMBER, 0.9, "Nucleus sampling."),
    Field("top_k", TALLY, 5, "Only the likeliest so many tokens.", translated="left out"),
    Field("tools", array(ref("MessagesTool")), [_TOOL], "Tools that the model may call."),
    Field("tool_choice", _CHOICE, {"type": "auto"}, "Which of them."),
    Field("thinking", _THINKING, {"type": "adaptive"}, "Whether and how long to think; fitted to the model."),
    Field("output_config", ANY_OBJECT, {"format": _FORMAT}, "Effort, and JSON by a schema."),
    Field("output_format", ANY_OBJECT, _FORMAT, "The older place of its format.", direct="moved"),
    Field("cache_control", ANY_OBJECT, {"type": "ephemeral"}, "Goes to the last block.", "moved", "left out"),
    Field("metadata", ANY_OBJECT, {"user_id": "x"}, "Who asks.", translated="left out"),
    Field("context_management", ANY_OBJECT, {"edits": []}, "Clearing of old results.", translated="left out"),
    Field("service_tier", ANY, "auto", "Left out when a back end refuses it.", translated="left out"),
    Field("inference_geo", ANY, "us", "Copilot has none.", direct="left out", translated="left out"),
    Field("mcp_servers", ANY, [{"name": "x"}], "Nobody runs them.", "left out", "refused"),
    Field("container", ANY, "c", "Nobody runs one.", direct="left out", translated="refused"),
)

_KNOWN = ("text", "image", "document", "tool_use", "tool_result", "thinking", "redacted_thinking")
_BLOCK = any_of(
    ref("MessagesText"),
    record({"type": one_of("image", "document"), "source": ANY_OBJECT}, needs=("type", "source")),
    record(
        {"type": const("tool_use"), "id": TEXT, "name": TEXT, "input": ANY_OBJECT},
        needs=("type", "id", "name", "input"),
    ),
    record(
        {
            "type": const("tool_result"),
            "tool_use_id": TEXT,
            "content": optional(any_of(TEXT, array(ref("MessagesBlock")))),
        },
        needs=("type", "tool_use_id"),
    ),
    record({"type": const("thinking"), "thinking": TEXT}, needs=("type", "thinking")),
    record({"type": const("redacted_thinking"), "data": TEXT}, needs=("type", "data")),
    record({"type": one_of("tool_addition", "tool_removal"), "tool": ANY_OBJECT}, needs=("type", "tool")),
    another("type", *_KNOWN, "tool_addition", "tool_removal"),
)
_REASONS = ("end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal")
_STOP = optional({**TEXT, "examples": list(_REASONS)})


def _event(kind: str, needs: tuple[str, ...] = (), **more: JSON) -> JSON:
    return record({"type": const(kind), **more}, needs=("type", *needs))


SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "MessagesRequest": request_schema(
            FIELDS, "Fields that are not listed are forwarded; for a model of another protocol they are left out."
        ),
        "CountRequest": request_schema(
            [each for each in FIELDS if each.name != "max_tokens"], "As a request, without max_tokens."
        ),
        "MessagesTurn": record(
            {"role": one_of("user", "assistant", "system"), "content": any_of(TEXT, array(ref("MessagesBlock")))},
            needs=("role", "content"),
        ),
        "MessagesText": record({"type": const("text"), "text": TEXT}, needs=("type", "text")),
        "MessagesBlock": _BLOCK,
        "MessagesTool": any_of(
            record(
                {
                    "type": {"enum": ["custom", None]},
                    "name": {**TEXT, "minLength": 1},
                    "description": optional(TEXT),
                    "input_schema": ANY_OBJECT,
                },
                needs=("name", "input_schema"),
            ),
            record({"type": {**TEXT, "not": {"enum": ["custom"]}}, "name": optional(TEXT)}, needs=("type",)),
        ),
        "Message": record(
            {
                "id": TEXT,
                "type": const("message"),
                "role": const("assistant"),
                "model": TEXT,
                "content": array(record({"type": TEXT}, needs=("type",))),
                "stop_reason": _STOP,
                "stop_sequence": optional(TEXT),
                "usage": ref("MessageUsage"),
            },
            needs=("id", "type", "role", "model", "content", "stop_reason", "usage"),
        ),
        "MessageUsage": record(
            {
                "input_tokens": TALLY,
                "output_tokens": TALLY,
                "cache_read_input_tokens": optional(TALLY),
                "cache_creation_input_tokens": optional(TALLY),
            },
            needs=("output_tokens",),
        ),
        "MessageEvent": any_of(
            _event("message_start", ("message",), message=ref("Message")),
            _event("content_block_start", ("index", "content_block"), index=TALLY, content_block=ANY_OBJECT),
            _event("content_block_delta", ("index", "delta"), index=TALLY, delta=ANY_OBJECT),
            _event("content_block_stop", ("index",), index=TALLY),
            _event("message_delta", ("delta",), delta=record({"stop_reason": _STOP}), usage=ref("MessageUsage")),
            _event("message_stop"),
            _event("ping"),
            ref("AnthropicError"),
            description="Named as its `type`. A stream that failed ends in error, without message_stop.",
        ),
        "TokenCount": record({"input_tokens": TALLY}, needs=("input_tokens",)),
    }
)

_WHOLE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4.5",
    "content": [{"type": "text", "text": "Hello!"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 2, "output_tokens": 5},
}
_STREAM = (
    'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    '"delta":{"type":"text_delta","text":"Hello!"}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
_ASK = {"model": "claude-sonnet-4.5", "max_tokens": 200, "messages": _HELLO}
_SHARED = (
    shared_parameter("anthropic-beta"),
    shared_parameter("X-CopilotAPI-No-Fallback"),
    shared_parameter("X-Request-Id"),
)

OPERATIONS = (
    Operation(
        "post",
        ("/v1/messages",),
        "createMessage",
        "Messages",
        "Answer a conversation.",
        "key",
        "Messages",
        {
            "200": streaming(
                answer(
                    "The answer.",
                    ref("Message"),
                    {"text": _WHOLE},
                    "X-CopilotAPI-Usage",
                    "X-CopilotAPI-Fallback",
                    "X-CopilotAPI-Warnings",
                ),
                "MessageEvent",
                _STREAM,
                "The last one is message_stop, or error.",
            )
        },
        parameters=_SHARED,
        body=json_body(
            "MessagesRequest",
            {"whole": _ASK, "streamed": {**_ASK, "stream": True}, "tools": {**_ASK, "tools": [_TOOL]}},
        ),
    ),
    Operation(
        "post",
        ("/v1/messages/count_tokens",),
        "countTokens",
        "Messages",
        "Count the tokens of a conversation.",
        "key",
        "Counted",
        {
            "200": answer(
                "The count: Copilot's own where it counts for the model, else an estimate, as the header says.",
                ref("TokenCount"),
                {"count": {"input_tokens": 9}},
                "X-CopilotAPI-Usage",
                "X-CopilotAPI-Warnings",
            )
        },
        parameters=_SHARED[:1] + _SHARED[2:],
        body=json_body("CountRequest", {"prompt": {"model": "claude-sonnet-4.5", "messages": _HELLO}}),
    ),
)
