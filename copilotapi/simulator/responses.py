"""POST /responses: what a request is checked for and what it asks of the model (copilot-wire 6.2)."""

from typing import Any

from copilotapi.simulator.answers import JSON, Answer, json_answer, refuse, stream_answer
from copilotapi.simulator.capi import admit, check_effort, spend, token_limit
from copilotapi.simulator.catalogue import RESPONSES, Model
from copilotapi.simulator.prompts import last_user_text, objects, prompt_token_count, text_of
from copilotapi.simulator.replies import Tool, Turn, compose, wishes_in
from copilotapi.simulator.response_events import Form, error_event, events, whole
from copilotapi.simulator.world import Call

_SUMMARIES = ("auto", "concise", "detailed")


def responses(call: Call) -> Answer:
    body, model = admit(call, RESPONSES)
    _check(body, model)
    spend(call, model)
    reply = compose(_turn(body, model), wishes_in(call.faults, call.world.settings.chunk_delay_seconds))
    form = _form(body, model)
    if body.get("stream") is not True:
        return json_answer(whole(reply, form))
    return stream_answer(events(reply, form), error_event, reply.pause_seconds)


def _check(body: JSON, model: Model) -> None:
    """Raises Refused for what the service is known to refuse."""
    if body.get("store") is True:
        raise refuse(400, "store is not supported", "unsupported_value", param="store")
    if body.get("previous_response_id"):
        message = f"Previous response with id '{body['previous_response_id']}' not found."
        raise refuse(400, message, "previous_response_not_found", param="previous_response_id")
    if body.get("service_tier") is not None:
        raise _unsupported("service_tier")
    for parameter in ("temperature", "top_p"):
        if model.reasons and body.get(parameter) not in (None, 1):
            raise _unsupported(parameter)
    _check_tools(body)
    _check_items(_items(body))
    reasoning = body.get("reasoning")
    check_effort(reasoning.get("effort") if isinstance(reasoning, dict) else None, model)


def _check_tools(body: JSON) -> None:
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        raise refuse(400, "tools must be a list", "invalid_request_body", param="tools")
    for tool in tools:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind != "function":
            raise refuse(400, f"tool type {kind!r} is not supported", "invalid_request_body", param="tools")


def _check_items(items: list[JSON]) -> None:
    if not items:
        raise refuse(400, "input must be a string or a list of items", "invalid_request_body", param="input")
    called = [item.get("call_id") for item in items if item.get("type") == "function_call"]
    for item in items:
        kind = item.get("type")
        if kind == "item_reference":
            raise refuse(400, "input item ID does not belong to this connection", "invalid_request_body")
        if kind == "function_call_output" and item.get("call_id") not in called:
            message = f"No tool call found for function call output with call_id {item.get('call_id')}."
            raise refuse(400, message, "invalid_request_body", param="input")
        is_broken = not item.get("encrypted_content") or ("status" in item and item["status"] is None)
        if kind == "reasoning" and is_broken:
            raise refuse(400, "The encrypted content could not be verified.", "invalid_encrypted_content")


def _unsupported(parameter: str) -> Exception:
    message = f"Unsupported parameter: '{parameter}' is not supported with this model."
    return refuse(400, message, "invalid_request_body", param=parameter, type="invalid_request_error")


def _items(body: JSON) -> list[JSON]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return objects(given)


def _turn(body: JSON, model: Model) -> Turn:
    return Turn(
        model.id,
        last_user_text(body),
        prompt_token_count(body),
        tool_results=_tool_results(_items(body)),
        tools=_callable_tools(body),
        must_call=body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=token_limit(body, "max_output_tokens"),
        thinks=model.reasons and _effort(body) != "none",
    )


def _effort(body: JSON) -> Any:
    reasoning = body.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, dict) else None


def _tool_results(items: list[JSON]) -> tuple[str, ...]:
    results: list[str] = []
    for item in reversed(items):
        if item.get("type") != "function_call_output":
            break
        results.insert(0, text_of(item.get("output")))
    return tuple(results)


def _callable_tools(body: JSON) -> tuple[Tool, ...]:
    choice = body.get("tool_choice")
    tools = [Tool(str(tool.get("name")), tool.get("parameters")) for tool in objects(body.get("tools"))]
    if choice == "none":
        return ()
    if isinstance(choice, dict) and choice.get("type") == "function":
        return tuple(tool for tool in tools if tool.name == choice.get("name"))
    return tuple(tools)


def _form(body: JSON, model: Model) -> Form:
    reasoning = body.get("reasoning")
    include = body.get("include")
    return Form(
        model.id,
        shows_summary=isinstance(reasoning, dict) and reasoning.get("summary") in _SUMMARIES,
        encrypts_reasoning=isinstance(include, list) and "reasoning.encrypted_content" in include,
    )
