"""What of a Responses request goes to Copilot's own /responses: each repair by itself."""

from typing import Any

import pytest

from copilotapi.errors import ApiError
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses import check_request, for_upstream, remedy
from copilotapi.protocols.responses.names import ToolName, flat_name, freeform_text, tool_name

HELLO: dict[str, Any] = {"type": "message", "role": "user", "content": "Hello"}
ENCRYPTED = "reasoning.encrypted_content"
LONG_ID = "A/b+" * 60
FUNCTION = {"type": "function", "name": "f", "parameters": {}}
CUSTOM = {"type": "custom", "name": "patch"}
NAMESPACE = {"type": "namespace", "name": "mcp", "tools": [{"type": "function", "name": "read"}]}
FUNCTIONS_ONLY = {"tools": "refused"}


def sent(body: JSON, renames: dict[str, str] | None = None) -> tuple[JSON, tuple[str, ...]]:
    body = {"input": [HELLO], **body}
    check_request(body)
    return for_upstream(body, "gpt-5-codex", renames or {})


def items(*given: JSON) -> list[JSON]:
    upstream_body, _ = sent({"input": list(given)})
    told: list[JSON] = upstream_body["input"]
    return told


def test_the_body_goes_on_as_it_came_but_for_model_store_and_include() -> None:
    body = {"model": "alias", "input": [HELLO], "stream": True, "a_field_of_tomorrow": [1], "temperature": None}
    expected = {**body, "model": "gpt-5-codex", "store": False, "include": [ENCRYPTED]}
    assert for_upstream(body, "gpt-5-codex", {}) == (expected, ())
    assert body["model"] == "alias"


def test_a_string_becomes_a_list_of_items() -> None:
    upstream_body, _ = sent({"input": "Hello"})
    assert upstream_body["input"] == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello"}]}
    ]


def test_what_copilot_refuses_is_left_out_and_named() -> None:
    upstream_body, dropped = sent({"service_tier": "auto", "safety_identifier": "me", "background": False})
    assert upstream_body.keys() == {"input", "model", "store", "include"}
    assert dropped == ("service_tier", "safety_identifier")


@pytest.mark.parametrize(("store", "dropped"), [(True, ("store",)), (False, ()), (None, ())])
def test_nothing_is_ever_stored(store: bool | None, dropped: tuple[str, ...]) -> None:
    upstream_body, told = sent({"store": store})
    assert (upstream_body["store"], told) == (False, dropped)


@pytest.mark.parametrize(
    ("include", "expected"),
    [(None, [ENCRYPTED]), ([], [ENCRYPTED]), (["x"], ["x", ENCRYPTED]), ([ENCRYPTED, "x"], [ENCRYPTED, "x"])],
)
def test_encrypted_reasoning_is_always_asked_for(include: Any, expected: list[str]) -> None:
    assert sent({"include": include})[0]["include"] == expected


def test_a_model_that_encrypts_nothing_is_not_asked_again() -> None:
    learnt = remedy("", "Encrypted content is not supported with this model.")
    assert sent({"include": ["x", ENCRYPTED]}, dict(learnt))[0]["include"] == ["x"]


def test_hosted_tools_are_left_out_and_named() -> None:
    hosted = [
        {"type": kind}
        for kind in ("web_search", "web_search_preview_2025_03_11", "image_generation", "web_search_2025_08_26")
    ]
    upstream_body, dropped = sent({"tools": [*hosted, FUNCTION, CUSTOM, NAMESPACE]})
    assert upstream_body["tools"] == [FUNCTION, CUSTOM, NAMESPACE]
    assert dropped == ("web_search", "web_search_preview", "image_generation")


def test_without_a_tool_left_nothing_is_said_about_tools() -> None:
    body = {"tools": [{"type": "web_search"}], "tool_choice": "auto", "parallel_tool_calls": True}
    assert sent(body)[0].keys() == {"input", "model", "store", "include"}


@pytest.mark.parametrize("choice", ["required", {"type": "web_search"}])
def test_a_hosted_tool_that_must_be_called_is_a_400(choice: Any) -> None:
    with pytest.raises(ApiError) as caught:
        sent({"tools": [{"type": "web_search"}], "tool_choice": choice})
    assert (caught.value.status, caught.value.param) == (400, "tool_choice")


def test_references_to_what_nobody_stored_are_left_out_and_named() -> None:
    upstream_body, dropped = sent({"input": [{"type": "item_reference", "id": "a"}, {"id": "b"}, HELLO]})
    assert (upstream_body["input"], dropped) == ([HELLO], ("item_reference",))


def test_ids_that_are_too_long_are_rewritten_and_short_ones_are_not() -> None:
    told = items(
        {**HELLO, "role": "assistant", "id": LONG_ID},
        {"type": "reasoning", "id": LONG_ID, "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "id": LONG_ID, "call_id": "c", "name": "f", "arguments": ""},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "f", "input": ""},
    )
    assert [item["id"][:3] for item in told] == ["msg", "rs_", "fc_", "ctc"]
    assert told[3]["id"] == "ctc_1"
    assert all(len(item["id"]) <= 20 for item in told)
    assert items({**HELLO, "id": LONG_ID}) == items({**HELLO, "id": LONG_ID})


def test_ids_of_another_connection_are_all_rewritten_once_that_is_learnt() -> None:
    learnt = remedy("", "input item ID does not belong to this connection")
    upstream_body, _ = sent({"input": [{**HELLO, "id": "msg_1"}, HELLO]}, dict(learnt))
    assert upstream_body["input"][0]["id"] != "msg_1"
    assert upstream_body["input"][1] == HELLO


def test_a_status_that_is_null_is_left_out() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"}
    assert items({**reasoning, "status": None}) == [reasoning]
    assert items({**reasoning, "status": "completed"}) == [{**reasoning, "status": "completed"}]


@pytest.mark.parametrize("bare", [{}, {"encrypted_content": None}, {"encrypted_content": ""}])
def test_reasoning_without_its_encrypted_state_is_left_out_and_named(bare: JSON) -> None:
    upstream_body, dropped = sent({"input": [HELLO, {"type": "reasoning", "id": "rs_1", "summary": [], **bare}]})
    assert (upstream_body["input"], dropped) == ([HELLO], ("reasoning",))


def test_results_are_text_and_their_images_follow_the_row() -> None:
    def result(call_id: str, *parts: JSON) -> JSON:
        return {"type": "function_call_output", "call_id": call_id, "output": list(parts)}

    image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
    text = {"type": "input_text", "text": "a"}
    other = result("c", {"type": "input_file", "file_id": "x"})
    assert items(result("a", image), result("b", text, image), HELLO, result("c", text, text), other) == [
        {"type": "function_call_output", "call_id": "a", "output": "The image follows in the next message."},
        {"type": "function_call_output", "call_id": "b", "output": "a"},
        {"type": "message", "role": "user", "content": [image, image]},
        HELLO,
        {"type": "function_call_output", "call_id": "c", "output": "a\na"},
        other,
    ]
    assert [item["type"] for item in items(result("a", image))] == ["function_call_output", "message"]


@pytest.mark.parametrize(
    ("message", "learnt"),
    [
        ("tool type 'namespace' is not supported", {"tools": "refused"}),
        ("Invalid value: 'custom'. Supported values are: 'function'.", {"tools": "refused"}),
        ("Missing required parameter: 'tools[0].function'.", {"tools": "refused"}),
        ("input item ID does not belong to this connection", {"input.id": "refused"}),
        ("Encrypted content is not supported with this model.", {"include": "refused"}),
        ("Unsupported parameter: 'temperature' is not supported with this model.", {}),
        ("", {}),
    ],
)
def test_what_a_refusal_teaches(message: str, learnt: dict[str, str]) -> None:
    assert remedy("invalid_request_body", message) == learnt


def test_a_model_that_takes_functions_only_is_given_functions_only() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "read", "namespace": "mcp", "arguments": "{}"}
    patched = {"type": "custom_tool_call", "call_id": "d", "name": "patch", "input": "x"}
    body = {
        "input": [call, patched, {"type": "custom_tool_call_output", "call_id": "d", "output": "done"}],
        "tools": [FUNCTION, CUSTOM, NAMESPACE, {"type": "local_shell"}],
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "custom", "name": "patch"}]},
    }
    upstream_body, dropped = sent(body, FUNCTIONS_ONLY)
    assert [(tool["type"], tool["name"]) for tool in upstream_body["tools"]] == [
        ("function", "f"),
        ("function", "patch--freeform"),
        ("function", "mcp--ns--read"),
    ]
    assert upstream_body["tool_choice"]["tools"] == [{"type": "function", "name": "patch--freeform"}]
    assert [(item["type"], item.get("name"), item.get("arguments")) for item in upstream_body["input"]] == [
        ("function_call", "mcp--ns--read", "{}"),
        ("function_call", "patch--freeform", '{"input":"x"}'),
        ("function_call_output", None, None),
    ]
    assert dropped == ("tools",)


@pytest.mark.parametrize(
    "tool",
    [
        ToolName("f"),
        ToolName("f", "mcp__files"),
        ToolName("patch", is_freeform=True),
        ToolName("patch", "mcp", is_freeform=True),
        ToolName("--freeform"),
    ],
)
def test_a_name_remembers_what_it_stood_for(tool: ToolName) -> None:
    assert tool_name(flat_name(tool)) == tool


@pytest.mark.parametrize("name", ["", "--ns--", "--ns--x", "x--ns--", "--freeform"])
def test_a_name_that_is_all_mark_is_a_plain_one(name: str) -> None:
    assert tool_name(name) == ToolName(name)


@pytest.mark.parametrize("arguments", ["", "x", "[]", "7", '{"input": 7}', '{"other": "x"}'])
def test_free_text_that_was_wrapped_wrongly_is_not_lost(arguments: str) -> None:
    assert freeform_text(arguments) == arguments
