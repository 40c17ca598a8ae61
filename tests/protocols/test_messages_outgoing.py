"""What of a Messages request goes to Copilot: each repair by itself, and what refusals teach."""

import copy
from typing import Any

import orjson
import pytest

from copilotapi.protocols.messages import for_upstream, remedy
from copilotapi.simulator.catalogue import BY_ID
from copilotapi.simulator.message_rules import check_body, check_messages

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "Hello"}]
CALL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "noon"}
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": "Eq"}
CACHED = {"type": "ephemeral", "ttl": "1h", "scope": "global"}
SONNET = "claude-sonnet-4.5"


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def asked(**fields: Any) -> dict[str, Any]:
    return {"model": "alias", "max_tokens": 50, "messages": HELLO, **fields}


def sent(model: str = SONNET, renames: dict[str, str] | None = None, **fields: Any) -> tuple[dict[str, Any], Any]:
    """What differs from the plain request, and what was dropped. The caller's own body never changes."""
    body = asked(**fields)
    before = copy.deepcopy(body)
    outgoing, dropped = for_upstream(body, model, renames or {})
    assert body == before
    assert outgoing.pop("model") == model
    plain = {"max_tokens": 50, "messages": HELLO}
    return {name: value for name, value in outgoing.items() if plain.get(name) != value}, dropped


def sent_messages(*messages: dict[str, Any]) -> tuple[Any, Any]:
    fields, dropped = sent(messages=list(messages))
    return fields["messages"], dropped


def test_a_body_without_a_defect_goes_on_as_it_came_but_for_the_model() -> None:
    body = asked(
        system="Be brief.",
        messages=[
            {"role": "user", "content": [text("Hi", cache_control={"type": "ephemeral"})]},
            {"role": "assistant", "content": [THOUGHT, CALL]},
            {"role": "user", "content": [{**RESULT, "content": [text("noon")]}]},
        ],
        tools=[{"name": "f", "input_schema": {}, "strict": True}],
        temperature=None,
        stream=True,
        metadata={"user_id": "me"},
        service_tier="auto",
        a_field_of_tomorrow=[1],
    )
    assert for_upstream(body, SONNET, {}) == ({**body, "model": SONNET}, ())


def test_fields_that_copilot_refuses_are_left_out_and_named() -> None:
    refused: dict[str, Any] = {"inference_geo": "us", "mcp_servers": [], "container": "x", "contextTier": "1m"}
    assert sent(**refused) == ({}, tuple(refused))
    assert sent(inference_geo=None) == ({}, ())


def test_fields_of_tools_that_copilot_refuses_are_left_out_and_named_once() -> None:
    tool = {"name": "f", "input_schema": {}}
    tools = [{**tool, "eager_input_streaming": True}, {**tool, "eager_input_streaming": False}]
    assert sent(tools=tools) == ({"tools": [tool, tool]}, ("tools.eager_input_streaming",))


def test_fields_of_messages_that_copilot_refuses_are_left_out_and_named() -> None:
    said = {"role": "user", "content": "x"}
    body, dropped = for_upstream(asked(messages=[{**said, "output_config": {"effort": "low"}}]), SONNET, {})
    assert (body["messages"], dropped) == ([said], ("messages.output_config",))


def test_an_output_format_moves_to_its_new_place() -> None:
    schema = {"type": "json_schema", "schema": {}}
    assert sent(output_format=schema) == ({"output_config": {"format": schema}}, ())


def test_system_messages_are_hoisted_behind_the_system_text() -> None:
    messages = [{"role": "system", "content": "B"}, *HELLO, {"role": "system", "content": [text("C")]}]
    assert sent(system="A", messages=messages) == ({"system": [text("A"), text("B"), text("C")]}, ())
    assert sent(messages=messages[:2]) == ({"system": [text("B")]}, ())


def test_a_system_message_alone_is_followed_by_a_user() -> None:
    fields, dropped = sent(messages=[{"role": "system", "content": "A"}])
    assert fields == {"system": [text("A")], "messages": [{"role": "user", "content": "Continue."}]}
    assert dropped == ()


def test_lines_of_billing_are_taken_out_of_the_system_text() -> None:
    line = "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"
    assert sent(system=[text(line), text(f"A\n{line}\nB {line}")]) == ({"system": [text(f"A\nB {line}")]}, ())
    assert sent(system=f"{line}\nA") == ({"system": "A"}, ())
    assert sent(system=line) == ({}, ())


def test_blank_text_is_taken_out_wherever_it_stands() -> None:
    blanks = [text(""), text(" \n")]
    result = {**RESULT, "content": [*blanks, text("noon")]}
    empty = {"type": "tool_result", "tool_use_id": "toolu_2"}
    messages, dropped = sent_messages(
        {"role": "user", "content": [*blanks, text("Hi")]},
        {"role": "user", "content": " "},
        {"role": "assistant", "content": blanks},
        {"role": "assistant", "content": [text(""), CALL]},
        {"role": "user", "content": [result, {**empty, "content": blanks}, text("")]},
    )
    assert messages == [
        {"role": "user", "content": [text("Hi")]},
        {"role": "assistant", "content": [CALL]},
        {"role": "user", "content": [{**RESULT, "content": [text("noon")]}, empty]},
    ]
    assert dropped == ()
    assert sent(system=blanks) == ({}, ())


def test_a_conversation_of_nothing_is_for_copilot_to_refuse() -> None:
    messages, _ = sent_messages({"role": "user", "content": [text("")]})
    assert messages == [{"role": "user", "content": [text("")]}]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "thinking", "thinking": "", "signature": "Eq"},
        {"type": "thinking", "thinking": "Hm", "signature": ""},
        {"type": "thinking", "thinking": "Hm"},
        {"type": "thinking", "thinking": "Hm", "signature": "gAAAAABo"},
        {"type": "redacted_thinking", "data": ""},
    ],
)
def test_thinking_that_claude_did_not_sign_is_taken_out(block: dict[str, Any]) -> None:
    user = {"role": "user", "content": "x"}
    messages, _ = sent_messages(user, {"role": "assistant", "content": [block, THOUGHT, text("y")]}, user)
    assert messages[1]["content"] == [THOUGHT, text("y")]


def test_after_the_assistant_comes_a_user() -> None:
    prefill = {"role": "assistant", "content": "{"}
    messages, dropped = sent_messages(*HELLO, prefill)
    assert messages == [*HELLO, prefill, {"role": "user", "content": "Continue."}]
    assert dropped == ("assistant_prefill",)


def test_cache_control_is_reduced_to_what_strict_back_ends_take() -> None:
    block = text("x", cache_control=CACHED)
    result = {**RESULT, "content": [block], "cache_control": None}
    body = asked(
        system=[block],
        messages=[{"role": "user", "content": [result, block]}],
        tools=[{"name": "f", "input_schema": {}, "cache_control": CACHED}],
    )
    before = copy.deepcopy(body)
    outgoing, dropped = for_upstream(body, SONNET, {})
    assert body == before
    assert dropped == ("cache_control.scope", "cache_control.ttl")
    assert orjson.dumps(outgoing).count(b'"cache_control":{"type":"ephemeral"}') == 4
    assert orjson.dumps(outgoing).count(b"cache_control") == 4


def test_cache_control_of_the_whole_moves_to_the_last_block_that_can_have_it() -> None:
    control = {"type": "ephemeral"}
    assert sent(cache_control=CACHED)[0]["messages"] == [
        {"role": "user", "content": [text("Hello", cache_control=control)]}
    ]
    last = [{"role": "user", "content": [text("a"), {**RESULT}]}]
    assert sent(cache_control=control, messages=last)[0]["messages"][0]["content"][1] == {
        **RESULT,
        "cache_control": control,
    }


def test_a_fifth_breakpoint_is_not_set() -> None:
    full = [text("x", cache_control={"type": "ephemeral"})] * 4
    fields, dropped = sent(cache_control=CACHED, system=full)
    assert (fields["system"], dropped) == (full, ("cache_control",))


@pytest.mark.parametrize(
    ("model", "thinking", "config", "sent_thinking", "sent_config", "dropped"),
    [
        ("claude-opus-4.7", ("enabled", 4096), None, ("adaptive", None), None, ("thinking.budget_tokens",)),
        ("claude-sonnet-5", ("enabled", 4096), "max", ("adaptive", None), "max", ("thinking.budget_tokens",)),
        ("claude-opus-4.7-high", ("adaptive", None), "xhigh", ("adaptive", None), "xhigh", ()),
        ("claude-opus-4.6-1m", ("adaptive", None), "max", ("adaptive", None), "max", ()),
        ("claude-opus-4.6", ("enabled", 4096), "xhigh", ("enabled", 4096), "high", ()),
        ("claude-sonnet-4.6", ("adaptive", None), "max", ("adaptive", None), "high", ()),
        ("claude-sonnet-4.5", ("adaptive", None), "low", ("enabled", 2048), None, ("output_config.effort",)),
        ("claude-sonnet-4.5", ("adaptive", None), "max", ("enabled", 10000), None, ("output_config.effort",)),
        ("claude-haiku-4.5", ("adaptive", None), None, ("enabled", 8192), None, ()),
        ("claude-haiku-4.5", None, "high", None, None, ("output_config.effort",)),
        ("claude-sonnet-4", ("enabled", 4096), None, ("enabled", 4096), None, ()),
        ("claude-3.5-sonnet", ("enabled", 4096), None, None, None, ("thinking",)),
        ("claude-3.7-sonnet-thought", ("enabled", 4096), None, ("enabled", 4096), None, ()),
        ("gpt-4.1", ("adaptive", None), "max", ("adaptive", None), "max", ()),
        ("claude-opus-4.7", ("disabled", None), None, ("disabled", None), None, ()),
        ("claude-opus-4.7", ("between_tools", None), None, ("disabled", None), None, ("thinking.type",)),
    ],
)
def test_a_model_is_asked_to_think_as_its_generation_takes_it(
    model: str, thinking: Any, config: Any, sent_thinking: Any, sent_config: Any, dropped: Any
) -> None:
    def fields(thinking: tuple[str, int | None] | None, effort: str | None) -> dict[str, Any]:
        kind, budget = thinking or ("", None)
        told = {"type": kind} if budget is None else {"type": kind, "budget_tokens": budget}
        return ({"thinking": told} if thinking else {}) | ({"output_config": {"effort": effort}} if effort else {})

    expected = {"max_tokens": 20_000, **fields(sent_thinking, sent_config)}
    assert sent(model, max_tokens=20_000, **fields(thinking, config)) == (expected, dropped)


@pytest.mark.parametrize(
    "fields",
    [
        {"max_tokens": 2_000},
        {"max_tokens": 9_000, "tool_choice": {"type": "any"}},
        {"max_tokens": 9_000, "temperature": 0.2},
    ],
)
def test_thinking_is_dropped_where_a_budget_would_be_refused(fields: dict[str, Any]) -> None:
    outgoing, dropped = sent("claude-haiku-4.5", thinking={"type": "adaptive"}, **fields)
    assert (outgoing, dropped) == (fields, ("thinking",))


def test_a_format_stays_when_the_effort_goes() -> None:
    config = {"effort": "low", "format": {"type": "json_schema", "schema": {}}}
    fields, _ = sent("claude-haiku-4.5", output_config=config)
    assert fields == {"output_config": {"format": config["format"]}}


def test_a_turn_another_model_began_goes_on_without_a_budget() -> None:
    budget = {"type": "enabled", "budget_tokens": 2048}
    unsigned = {**THOUGHT, "signature": ""}
    messages = [*HELLO, {"role": "assistant", "content": [unsigned, CALL]}, {"role": "user", "content": [RESULT]}]
    fields, dropped = sent(max_tokens=5_000, thinking=budget, messages=messages)
    assert ("thinking" in fields, dropped) == (False, ("thinking",))
    messages[1] = {"role": "assistant", "content": [THOUGHT, CALL]}
    assert sent(max_tokens=5_000, thinking=budget, messages=messages)[0]["thinking"] == budget
    del messages[:2]
    assert sent(max_tokens=5_000, thinking=budget, messages=messages)[0]["thinking"] == budget
    messages[:] = [*HELLO, {"role": "assistant", "content": "x"}, *HELLO]
    assert sent(max_tokens=5_000, thinking=budget, messages=messages)[0]["thinking"] == budget


@pytest.mark.parametrize(
    ("code", "message", "renames"),
    [
        ("invalid_reasoning_effort", "no", {"output_config.effort": ""}),
        ("", "output_config.effort: Extra inputs are not permitted", {"output_config.effort": ""}),
        ("", "This model does not support the effort parameter.", {"output_config.effort": ""}),
        ("", "context_management: Extra inputs are not permitted", {"context_management": ""}),
        ("", "thinking.type: adaptive thinking is not supported on this model", {"thinking.adaptive": "enabled"}),
        (
            "",
            'thinking.type: "enabled" is not supported on this model, use "adaptive"',
            {"thinking.enabled": "adaptive"},
        ),
        ("", '"thinking.type.enabled" is not supported for this model.', {"thinking.enabled": "adaptive"}),
        ("", "`temperature` and `top_p` cannot both be specified for this model.", {"top_p": ""}),
        ("", "speed: Extra inputs are not permitted", {"speed": "", "service_tier": ""}),
        ("", "FAILED_PRECONDITION: constraints/vertexai.allowedPartnerModelFeatures", {"tools.strict": ""}),
        ("", "messages.0.content: Extra inputs are not permitted", {}),
        ("", "tools.0.custom.strict: Extra inputs are not permitted", {}),
        ("", "tools: Extra inputs are not permitted", {}),
        ("", "diagnostics: Extra inputs are not permitted", {"diagnostics": ""}),
        ("quota_exceeded", "You have no quota", {}),
    ],
)
def test_a_refusal_teaches_what_helps_against_it(code: str, message: str, renames: dict[str, str]) -> None:
    assert remedy(code, message) == renames


@pytest.mark.parametrize(
    ("renames", "fields", "expected", "dropped"),
    [
        ({"context_management": ""}, {"context_management": {}}, {}, ("context_management",)),
        ({"context_management": ""}, {}, {}, ()),
        ({"top_p": ""}, {"top_p": 0.5, "top_k": 3}, {"top_k": 3}, ("top_p",)),
        ({"output_config.effort": ""}, {"output_config": {"effort": "low"}}, {}, ("output_config.effort",)),
        (
            {"thinking.adaptive": "enabled"},
            {"max_tokens": 4_096, "thinking": {"type": "adaptive"}},
            {"max_tokens": 4_096, "thinking": {"type": "enabled", "budget_tokens": 2048}},
            (),
        ),
        (
            {"thinking.enabled": "adaptive"},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinking": {"type": "adaptive"}},
            ("thinking.budget_tokens",),
        ),
        ({"thinking.adaptive": "enabled"}, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}, ()),
        (
            {"tools.strict": ""},
            {"tools": [{"name": "f", "input_schema": {}, "strict": True}]},
            {"tools": [{"name": "f", "input_schema": {}}]},
            ("tools.strict",),
        ),
    ],
)
def test_what_a_refusal_taught_is_done_from_then_on(
    renames: dict[str, str], fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    assert sent("claude-sonnet-4.6", renames, **fields) == (expected, dropped)


CLAUDE_CODE = {
    "max_tokens": 64_000,
    "stream": True,
    "system": [
        text("x-anthropic-billing-header: cc_version=2.1.0; cch=12345;"),
        text("You are Claude Code.", cache_control=CACHED),
    ],
    "messages": [
        {"role": "user", "content": [text(""), text("Fix it.", cache_control=CACHED)]},
        {"role": "system", "content": "Today is a day."},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": ""}, CALL]},
        {"role": "user", "content": [{**RESULT, "content": [text("noon", cache_control=CACHED)]}]},
        {"role": "assistant", "content": "And so"},
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}, "eager_input_streaming": True}],
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "xhigh"},
    "metadata": {"user_id": "me"},
    "container": "x",
}


@pytest.mark.parametrize("model", [model_id for model_id in BY_ID if model_id.startswith("claude-")])
def test_the_simulator_takes_what_goes_out_whatever_came_in(model: str) -> None:
    outgoing, _ = for_upstream({"model": "alias", **copy.deepcopy(CLAUDE_CODE)}, model, {})
    call: Any = type("Call", (), {"header": lambda self, name: ""})()
    renamed = outgoing
    if model == "claude-sonnet-5":
        # The list does not say what it takes, so that a refusal has to teach it.
        renamed, _ = for_upstream(outgoing, model, {"thinking.adaptive": "enabled", "output_config.effort": ""})
    check_body(renamed, call, BY_ID[model])
    check_messages(renamed["messages"])
