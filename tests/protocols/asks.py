"""The requests of the matrix: as each client says a thing, and as each upstream is asked for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from copilotapi.protocols.conversation import (
    JSON,
    Image,
    Message,
    Reasoning,
    Text,
    Tool,
    ToolResult,
    ToolUse,
)
from tests.protocols.pairs import HANDLER, HELLO, is_forwarded

# A client and an upstream, or an upstream whoever asks.
Way = tuple[str, str] | str


@dataclass(frozen=True)
class Lesser:
    """Where a request does not arrive as it was meant. `note` is its word in the page.

    `param`: it is refused, and this names the field. `dropped`: what the caller is told to have been left out.
    """

    note: str
    param: str | None = None
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """`says`: the fields of each client that can say it, over those of HELLO. `given`: fields the upstream gets, whole.

    A pair without a row in `given` forwards what the client said.
    """

    feature: str
    says: Mapping[str, JSON]
    given: Mapping[Way, JSON]
    lesser: Mapping[Way, Lesser] = field(default_factory=dict)

    def body(self, client: str) -> JSON:
        return {**HELLO[client], **self.says[client]}

    def expected(self, client: str, upstream: str) -> JSON:
        if (client, upstream) in self.given:
            return self.given[client, upstream]
        return self.says[client] if is_forwarded(client, upstream) else self.given[upstream]

    def less(self, client: str, upstream: str) -> Lesser | None:
        if (client, upstream) in self.lesser:
            return self.lesser[client, upstream]
        return None if is_forwarded(client, upstream) else self.lesser.get(upstream)


PIXEL = "data:image/png;base64,AAAA"
ADDRESS = "https://example.com/a.png"
SCHEMA: JSON = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
SIGNATURE = "EqQBCkYIAxgC"
ENCRYPTED = "gAAAAABo_x-y=="


def _input(role: str, *content: JSON) -> JSON:
    return {"type": "message", "role": role, "content": list(content)}


def _in(text: str) -> JSON:
    return {"type": "input_text", "text": text}


def _block(text: str) -> JSON:
    return {"type": "text", "text": text}


def _said(role: Any, *texts: str) -> Message:
    return Message(role, tuple(map(Text, texts)))


HELLO_MESSAGES = [{"role": "user", "content": [_block("Hello")]}]
BASE64 = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
CALLED = [
    {"id": "call_a", "type": "function", "function": {"name": "grep", "arguments": '{"q":"a"}'}},
    {"id": "call_b", "type": "function", "function": {"name": "ls", "arguments": "{}"}},
]
USED = [
    {"type": "tool_use", "id": "call_a", "name": "grep", "input": {"q": "a"}},
    {"type": "tool_use", "id": "call_b", "name": "ls", "input": {}},
]
FUNCTION_CALLS = [
    {"type": "function_call", "call_id": "call_a", "name": "grep", "arguments": '{"q":"a"}'},
    {"type": "function_call", "call_id": "call_b", "name": "ls", "arguments": "{}"},
]
CALLS = (ToolUse("call_a", "grep", '{"q":"a"}'), ToolUse("call_b", "ls", "{}"))
USER = {"role": "user", "content": "Hello"}
USER_ITEM = _input("user", _in("Hello"))
USER_MESSAGE = _said("user", "Hello")


def _result(call_id: str, *content: JSON) -> JSON:
    return {"type": "tool_result", "tool_use_id": call_id, "content": list(content)}


def _output(call_id: str, output: str | list[JSON]) -> JSON:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _tool(call_id: str, content: str | list[JSON]) -> JSON:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def _told(call_id: str, *parts: Text | Image, is_error: bool = False) -> Message:
    return Message("tool", (ToolResult(call_id, parts, is_error),))


_GREP_CHAT = {"type": "function", "function": {"name": "grep", "description": "Looks.", "parameters": SCHEMA}}
_GREP_FUNCTION = {"type": "function", "name": "grep", "description": "Looks.", "parameters": SCHEMA, "strict": False}
_GREP_MESSAGES = {"name": "grep", "description": "Looks.", "input_schema": SCHEMA}
TOOLS: Mapping[str, JSON] = {
    "chat": {"tools": [_GREP_CHAT]},
    "responses": {"tools": [_GREP_FUNCTION]},
    "messages": {"tools": [_GREP_MESSAGES]},
    HANDLER: {"tools": (Tool("grep", "Looks.", SCHEMA),)},
}


def _with_tools(feature: str, fields: Mapping[str, JSON], lesser: Mapping[Way, Lesser] | None = None) -> Ask:
    """What every protocol says of its tools, each with `fields` of its own."""
    whole = {name: {**TOOLS[name], **fields[name]} for name in TOOLS}
    return Ask(feature, {name: whole[name] for name in TOOLS if name != HANDLER}, whole, lesser or {})


def _everywhere(feature: str, fields: Mapping[str, JSON], **more: Any) -> Ask:
    """What a client says as the upstream of the same protocol is asked."""
    return Ask(feature, {name: fields[name] for name in fields if name != HANDLER}, fields, **more)


_INSTRUCTIONS = (
    "You complete text at a cursor. The user sends the text before the cursor in <before> and the text after it in "
    "<after>. Answer with exactly what belongs at the cursor and nothing else: no explanation, no code fences, nothing "
    "that <before> ends with, nothing that <after> begins with. If nothing belongs there, answer with nothing."
)
_QUESTION = "<language>python</language>\n<before>def f(</before>\n<after>):</after>"
_SIGNED = {"type": "thinking", "thinking": "Let me see.", "signature": SIGNATURE}
_SIGNED_CHAT = {"reasoning_text": "Let me see.", "reasoning_opaque": SIGNATURE}
_RESULTS_CHAT = [_tool("call_a", "found"), _tool("call_b", "src")]
_RESULTS = [_output("call_a", "found"), _output("call_b", "src")]
_RESULT_BLOCKS = [_result("call_a", _block("found")), _result("call_b", _block("src"))]
_NAMED_SCHEMA = {"name": "response", "schema": SCHEMA, "strict": True}
_FORMAT_CHAT = {"type": "json_schema", "json_schema": _NAMED_SCHEMA}
# copilot-wire 5.1 and 7.3: Copilot fetches no images.
_REFUSED_THERE = Lesser("passed on; Copilot refuses it")
_NOT_THERE = Lesser("left out: another maker's")

ASKS = (
    _everywhere(
        "text",
        {
            "chat": {"messages": [USER]},
            "responses": {"input": [USER_ITEM]},
            "messages": {"messages": HELLO_MESSAGES},
            HANDLER: {"messages": (USER_MESSAGE,)},
        },
    ),
    Ask(
        "text before and after a cursor",
        {"completions": {"prompt": "def f(", "suffix": "):", "extra": {"language": "python"}}},
        {
            "chat": {
                "messages": [{"role": "system", "content": _INSTRUCTIONS}, {"role": "user", "content": _QUESTION}]
            },
            "responses": {"input": [_input("developer", _in(_INSTRUCTIONS)), _input("user", _in(_QUESTION))]},
            "messages": {
                "system": [_block(_INSTRUCTIONS)],
                "messages": [{"role": "user", "content": [_block(_QUESTION)]}],
            },
            HANDLER: {"messages": (_said("system", _INSTRUCTIONS), _said("user", _QUESTION))},
        },
    ),
    Ask(
        "a system prompt",
        {
            "chat": {"messages": [{"role": "system", "content": "Be brief."}, USER]},
            "responses": {"instructions": "Be brief."},
            "messages": {"system": "Be brief."},
        },
        {
            "chat": {"messages": [{"role": "system", "content": "Be brief."}, USER]},
            "responses": {"input": [_input("developer", _in("Be brief.")), USER_ITEM]},
            ("responses", "responses"): {"instructions": "Be brief.", "input": [USER_ITEM]},
            "messages": {"system": [_block("Be brief.")], "messages": HELLO_MESSAGES},
            HANDLER: {"messages": (_said("system", "Be brief."), USER_MESSAGE)},
        },
    ),
    Ask(
        "several system prompts at the top",
        {
            "chat": {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "developer", "content": "No jokes."},
                    USER,
                ]
            },
            "responses": {"instructions": "Be brief.", "input": [_input("developer", _in("No jokes.")), USER_ITEM]},
            "messages": {"system": [_block("Be brief."), _block("No jokes.")]},
        },
        {
            "chat": {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "system", "content": "No jokes."},
                    USER,
                ]
            },
            ("chat", "chat"): {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "developer", "content": "No jokes."},
                    USER,
                ]
            },
            ("messages", "chat"): {"messages": [{"role": "system", "content": "Be brief.\n\nNo jokes."}, USER]},
            "responses": {
                "input": [_input("developer", _in("Be brief.")), _input("developer", _in("No jokes.")), USER_ITEM]
            },
            ("messages", "responses"): {"input": [_input("developer", _in("Be brief."), _in("No jokes.")), USER_ITEM]},
            "messages": {"system": [_block("Be brief."), _block("No jokes.")], "messages": HELLO_MESSAGES},
            HANDLER: {"messages": (_said("system", "Be brief."), _said("system", "No jokes."), USER_MESSAGE)},
            ("messages", HANDLER): {"messages": (_said("system", "Be brief.", "No jokes."), USER_MESSAGE)},
        },
    ),
    Ask(
        "a system prompt between the turns",
        {
            "chat": {"messages": [USER, {"role": "system", "content": "Now shout."}]},
            "responses": {"input": [USER_ITEM, _input("system", _in("Now shout."))]},
            "messages": {"messages": [USER, {"role": "system", "content": "Now shout."}]},
        },
        {
            "chat": {"messages": [USER, {"role": "system", "content": "Now shout."}]},
            "responses": {"input": [USER_ITEM, _input("developer", _in("Now shout."))]},
            ("responses", "responses"): {"input": [USER_ITEM, _input("system", _in("Now shout."))]},
            "messages": {"system": [_block("Now shout.")], "messages": HELLO_MESSAGES},
            ("messages", "messages"): {"system": [_block("Now shout.")], "messages": [USER]},
            HANDLER: {"messages": (USER_MESSAGE, _said("system", "Now shout."))},
        },
        {"messages": Lesser("moved to the top"), ("messages", "messages"): Lesser("moved to the top")},
    ),
    _everywhere(
        "several turns",
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": "Hi."},
                    {"role": "user", "content": [_block("And"), _block("now?")]},
                ]
            },
            "responses": {
                "input": [
                    USER_ITEM,
                    {
                        "type": "message",
                        "role": "assistant",
                        "id": "msg_d0ff5974b6aa52cf",
                        "status": "completed",
                        "content": [{"type": "output_text", "text": "Hi.", "annotations": []}],
                    },
                    _input("user", _in("And"), _in("now?")),
                ]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": [_block("Hi.")]},
                    {"role": "user", "content": [_block("And"), _block("now?")]},
                ]
            },
            HANDLER: {"messages": (USER_MESSAGE, _said("assistant", "Hi."), _said("user", "And", "now?"))},
        },
    ),
    _with_tools("tools", {"chat": {}, "responses": {}, "messages": {}, HANDLER: {}}),
    _with_tools(
        "any tool must be called",
        {
            "chat": {"tool_choice": "required"},
            "responses": {"tool_choice": "required"},
            "messages": {"tool_choice": {"type": "any"}},
            HANDLER: {"tool_choice": "required"},
        },
    ),
    _with_tools(
        "one tool must be called",
        {
            "chat": {"tool_choice": {"type": "function", "function": {"name": "grep"}}},
            "responses": {"tool_choice": {"type": "function", "name": "grep"}},
            "messages": {"tool_choice": {"type": "tool", "name": "grep"}},
            HANDLER: {"tool_choice": "grep"},
        },
    ),
    _with_tools(
        "no tool may be called",
        {
            "chat": {"tool_choice": "none"},
            "responses": {"tool_choice": "none"},
            "messages": {"tool_choice": {"type": "none"}},
            HANDLER: {"tool_choice": "none"},
        },
    ),
    _with_tools(
        "one call at a time",
        {
            "chat": {"tool_choice": "auto", "parallel_tool_calls": False},
            "responses": {"tool_choice": "auto", "parallel_tool_calls": False},
            "messages": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            HANDLER: {"tool_choice": "auto", "parallel_tool_calls": False},
        },
    ),
    _everywhere(
        "parallel calls and their results",
        {
            "chat": {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": CALLED}, *_RESULTS_CHAT]},
            "responses": {"input": [USER_ITEM, *FUNCTION_CALLS, *_RESULTS]},
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED},
                    {"role": "user", "content": _RESULT_BLOCKS},
                ]
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", CALLS),
                    _told("call_a", Text("found")),
                    _told("call_b", Text("src")),
                )
            },
        },
    ),
    _everywhere(
        "calls one after the other",
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": CALLED[:1]},
                    _RESULTS_CHAT[0],
                    {"role": "assistant", "content": None, "tool_calls": CALLED[1:]},
                    _RESULTS_CHAT[1],
                    {"role": "user", "content": "Well?"},
                ]
            },
            "responses": {
                "input": [
                    USER_ITEM,
                    FUNCTION_CALLS[0],
                    _RESULTS[0],
                    FUNCTION_CALLS[1],
                    _RESULTS[1],
                    _input("user", _in("Well?")),
                ]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED[:1]},
                    {"role": "user", "content": _RESULT_BLOCKS[:1]},
                    {"role": "assistant", "content": USED[1:]},
                    {"role": "user", "content": [_RESULT_BLOCKS[1], _block("Well?")]},
                ]
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", CALLS[:1]),
                    _told("call_a", Text("found")),
                    Message("assistant", CALLS[1:]),
                    _told("call_b", Text("src")),
                    _said("user", "Well?"),
                )
            },
        },
    ),
    Ask(
        "a result that is an error",
        {
            "responses": {
                "input": [USER_ITEM, *FUNCTION_CALLS[:1], {**_output("call_a", "no file"), "status": "incomplete"}]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED[:1]},
                    {"role": "user", "content": [{**_result("call_a", _block("no file")), "is_error": True}]},
                ]
            },
        },
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": CALLED[:1]},
                    _tool("call_a", "Error: no file"),
                ]
            },
            "responses": {
                "input": [USER_ITEM, *FUNCTION_CALLS[:1], {**_output("call_a", "no file"), "status": "incomplete"}]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED[:1]},
                    {"role": "user", "content": [{**_result("call_a", _block("no file")), "is_error": True}]},
                ]
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", CALLS[:1]),
                    _told("call_a", Text("no file"), is_error=True),
                )
            },
        },
        {"chat": Lesser("said in the text"), "responses": Lesser("as `incomplete`")},
    ),
    Ask(
        "a result with an image",
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": CALLED},
                    _tool("call_a", [_block("seen"), {"type": "image_url", "image_url": {"url": PIXEL}}]),
                    _RESULTS_CHAT[1],
                ]
            },
            "responses": {
                "input": [
                    USER_ITEM,
                    *FUNCTION_CALLS,
                    _output("call_a", [_in("seen"), {"type": "input_image", "image_url": PIXEL, "detail": "auto"}]),
                    _RESULTS[1],
                ]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED},
                    {
                        "role": "user",
                        "content": [
                            _result("call_a", _block("seen"), {"type": "image", "source": BASE64}),
                            _RESULT_BLOCKS[1],
                        ],
                    },
                ]
            },
        },
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, "tool_calls": CALLED},
                    _tool("call_a", "seen"),
                    _RESULTS_CHAT[1],
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}}]},
                ]
            },
            "responses": {
                "input": [
                    USER_ITEM,
                    *FUNCTION_CALLS,
                    _output("call_a", "seen"),
                    _RESULTS[1],
                    _input("user", {"type": "input_image", "image_url": PIXEL, "detail": "auto"}),
                ]
            },
            ("responses", "responses"): {
                "input": [
                    USER_ITEM,
                    *FUNCTION_CALLS,
                    _output("call_a", "seen"),
                    _RESULTS[1],
                    _input("user", {"type": "input_image", "image_url": PIXEL, "detail": "auto"}),
                ]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": USED},
                    {
                        "role": "user",
                        "content": [
                            _result("call_a", _block("seen"), {"type": "image", "source": BASE64}),
                            _RESULT_BLOCKS[1],
                        ],
                    },
                ]
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", CALLS),
                    _told("call_a", Text("seen"), Image(PIXEL)),
                    _told("call_b", Text("src")),
                )
            },
        },
        {
            "chat": Lesser("after the results, as the user's"),
            "responses": Lesser("after the results, as the user's"),
            ("responses", "responses"): Lesser("after the results, as the user's"),
        },
    ),
    _everywhere(
        "an image",
        {
            "chat": {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            _block("See"),
                            {"type": "image_url", "image_url": {"url": PIXEL, "detail": "auto"}},
                        ],
                    }
                ]
            },
            "responses": {
                "input": [
                    _input("user", _in("See"), {"type": "input_image", "image_url": PIXEL, "detail": "auto"}),
                ]
            },
            "messages": {
                "messages": [{"role": "user", "content": [_block("See"), {"type": "image", "source": BASE64}]}]
            },
            HANDLER: {"messages": (Message("user", (Text("See"), Image(PIXEL))),)},
        },
    ),
    _everywhere(
        "an image by its address",
        {
            "chat": {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": ADDRESS, "detail": "auto"}}],
                    }
                ]
            },
            "responses": {"input": [_input("user", {"type": "input_image", "image_url": ADDRESS, "detail": "auto"})]},
            "messages": {
                "messages": [
                    {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": ADDRESS}}]}
                ]
            },
            HANDLER: {"messages": (Message("user", (Image(ADDRESS),)),)},
        },
        lesser={
            "chat": _REFUSED_THERE,
            ("chat", "chat"): _REFUSED_THERE,
            ("messages", "messages"): _REFUSED_THERE,
            ("chat", "messages"): Lesser("400", param="messages"),
            ("responses", "messages"): Lesser("400", param="input"),
        },
    ),
    Ask(
        "signed reasoning in the history",
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, **_SIGNED_CHAT, "tool_calls": CALLED[:1]},
                    _RESULTS_CHAT[0],
                ]
            },
            "responses": {
                "input": [
                    USER_ITEM,
                    {
                        "type": "reasoning",
                        "id": "rs_1",
                        "summary": [{"type": "summary_text", "text": "Let me see."}],
                        "encrypted_content": SIGNATURE,
                    },
                    FUNCTION_CALLS[0],
                    _RESULTS[0],
                ]
            },
            "messages": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": [_SIGNED, USED[0]]},
                    {"role": "user", "content": _RESULT_BLOCKS[:1]},
                ]
            },
        },
        {
            "chat": {
                "messages": [
                    USER,
                    {"role": "assistant", "content": None, **_SIGNED_CHAT, "tool_calls": CALLED[:1]},
                    _RESULTS_CHAT[0],
                ]
            },
            "responses": {"input": [USER_ITEM, FUNCTION_CALLS[0], _RESULTS[0]]},
            ("responses", "responses"): {"input": [USER_ITEM, FUNCTION_CALLS[0], _RESULTS[0]]},
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": [_SIGNED, USED[0]]},
                    {"role": "user", "content": _RESULT_BLOCKS[:1]},
                ]
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", (Reasoning("Let me see.", SIGNATURE), CALLS[0])),
                    _told("call_a", Text("found")),
                )
            },
        },
        {
            "responses": _NOT_THERE,
            ("responses", "responses"): Lesser("left out: another maker's", dropped=("reasoning",)),
        },
    ),
    Ask(
        "encrypted reasoning in the history",
        {
            "chat": {"messages": [USER, {"role": "assistant", "content": "Yes.", "reasoning_opaque": ENCRYPTED}, USER]},
            "responses": {
                "input": [
                    USER_ITEM,
                    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": ENCRYPTED},
                    {"role": "assistant", "content": "Yes."},
                    USER_ITEM,
                ]
            },
            "messages": {
                "messages": [
                    USER,
                    {
                        "role": "assistant",
                        "content": [{"type": "thinking", "thinking": "", "signature": ENCRYPTED}, _block("Yes.")],
                    },
                    USER,
                ]
            },
        },
        {
            "chat": {"messages": [USER, {"role": "assistant", "content": "Yes.", "reasoning_opaque": ENCRYPTED}, USER]},
            "responses": {
                "input": [
                    USER_ITEM,
                    {
                        "type": "reasoning",
                        "id": "rs_e95fed64ff04d86c",
                        "summary": [],
                        "encrypted_content": ENCRYPTED,
                    },
                    {
                        "type": "message",
                        "role": "assistant",
                        "id": "msg_b05e244762b1e472",
                        "status": "completed",
                        "content": [{"type": "output_text", "text": "Yes.", "annotations": []}],
                    },
                    USER_ITEM,
                ]
            },
            "messages": {
                "messages": [
                    *HELLO_MESSAGES,
                    {"role": "assistant", "content": [_block("Yes.")]},
                    *HELLO_MESSAGES,
                ]
            },
            ("messages", "messages"): {
                "messages": [USER, {"role": "assistant", "content": [_block("Yes.")]}, USER],
            },
            HANDLER: {
                "messages": (
                    USER_MESSAGE,
                    Message("assistant", (Reasoning("", ENCRYPTED), Text("Yes."))),
                    USER_MESSAGE,
                )
            },
        },
        {"messages": _NOT_THERE, ("messages", "messages"): _NOT_THERE},
    ),
    Ask(
        "reasoning effort",
        {
            "chat": {"reasoning_effort": "low"},
            "responses": {"reasoning": {"effort": "low"}},
            "messages": {"output_config": {"effort": "low"}},
        },
        {
            "chat": {"reasoning_effort": "low"},
            "responses": {"reasoning": {"effort": "low", "summary": "auto"}},
            "messages": {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
            HANDLER: {"reasoning_effort": "low"},
        },
    ),
    Ask(
        "a budget of tokens to think",
        {"messages": {"thinking": {"type": "enabled", "budget_tokens": 9_000}, "max_tokens": 20_000}},
        {
            "chat": {"reasoning_effort": "medium"},
            "responses": {"reasoning": {"effort": "medium", "summary": "auto"}},
            HANDLER: {"reasoning_effort": "medium"},
        },
        {
            "chat": Lesser("as an effort"),
            "responses": Lesser("as an effort"),
            HANDLER: Lesser("as an effort"),
        },
    ),
    _everywhere(
        "JSON by a schema",
        {
            "chat": {"response_format": _FORMAT_CHAT},
            "responses": {"text": {"format": {"type": "json_schema", **_NAMED_SCHEMA}}},
            "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            HANDLER: {"response_format": _FORMAT_CHAT},
        },
    ),
    Ask(
        "any JSON",
        {
            "chat": {"response_format": {"type": "json_object"}},
            "responses": {"text": {"format": {"type": "json_object"}}},
        },
        {
            "chat": {"response_format": {"type": "json_object"}},
            "responses": {"text": {"format": {"type": "json_object"}}},
            HANDLER: {"response_format": {"type": "json_object"}},
        },
        {
            ("chat", "messages"): Lesser("400", param="response_format"),
            ("responses", "messages"): Lesser("400", param="text.format"),
        },
    ),
    Ask(
        "the most tokens to answer with",
        {
            "chat": {"max_completion_tokens": 77},
            "responses": {"max_output_tokens": 77},
            "messages": {"max_tokens": 77},
            "completions": {"max_tokens": 77},
        },
        {
            "chat": {"max_tokens": 77},
            ("chat", "chat"): {"max_completion_tokens": 77},
            "responses": {"max_output_tokens": 77},
            "messages": {"max_tokens": 77},
            HANDLER: {"max_tokens": 77},
        },
    ),
    Ask(
        "temperature and top_p",
        {name: {"temperature": 0.5, "top_p": 0.9} for name in HELLO},
        {name: {"temperature": 0.5, "top_p": 0.9} for name in (*TOOLS,)},
    ),
    Ask(
        "a temperature above 1",
        {name: {"temperature": 1.5} for name in ("chat", "responses", "completions")},
        {**{name: {"temperature": 1.5} for name in TOOLS}, "messages": {"temperature": 1.0}},
        {"messages": Lesser("as 1")},
    ),
    Ask(
        "stop sequences",
        {
            "chat": {"stop": ["END", "STOP"]},
            "messages": {"stop_sequences": ["END", "STOP"]},
            "completions": {"stop": ["END", "STOP"]},
        },
        {
            "chat": {"stop": ["END", "STOP"]},
            "messages": {"stop_sequences": ["END", "STOP"]},
            HANDLER: {"stop": ("END", "STOP")},
            **{("completions", name): {} for name in TOOLS},
        },
        {
            ("chat", "responses"): Lesser("400", param="stop"),
            ("messages", "responses"): Lesser("400", param="stop_sequences"),
            **{("completions", name): Lesser("kept here") for name in TOOLS},
        },
    ),
)
