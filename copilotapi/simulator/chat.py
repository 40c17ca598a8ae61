"""POST /chat/completions: what a request is checked for and what it asks of the model (copilot-wire 5.1)."""

import re
from typing import Any

from copilotapi.simulator.answers import JSON, Answer, envelope, event, json_answer, refuse, stream_answer
from copilotapi.simulator.capi import admit, check_bearer, check_effort, object_body, spend, token_limit
from copilotapi.simulator.catalogue import CHAT, Model
from copilotapi.simulator.dialects import events, whole
from copilotapi.simulator.prompts import last_user_text, objects, prompt_token_count, text_of
from copilotapi.simulator.replies import Tool, Turn, Wishes, compose, wishes_in
from copilotapi.simulator.world import Call

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = ("assistant", "developer", "system", "tool", "user")


def chat(call: Call) -> Answer:
    body, model = admit(call, CHAT)
    _check(body, model)
    spend(call, model)
    reply = compose(_turn(body, model), wishes_in(call.faults, call.world.settings.chunk_delay_seconds))
    if body.get("stream") is not True:
        return json_answer(whole(reply, model))
    options = body.get("stream_options")
    wants_usage = isinstance(options, dict) and options.get("include_usage") is True
    return stream_answer(events(reply, model, wants_usage), _error_event, reply.pause_seconds)


def proxy_chat(call: Call) -> Answer:
    """POST {proxy}/chat/completions: a next edit that leaves the predicted text as it is (copilot-wire 9.2)."""
    check_bearer(call)
    body = object_body(call)
    call.obey(last_user_text(body))
    prediction = body.get("prediction")
    text = text_of(prediction.get("content")) if isinstance(prediction, dict) else ""
    model = Model(str(body.get("model")), "Azure OpenAI")
    turn = Turn(model.id, last_user_text(body), prompt_token_count(body))
    wishes = wishes_in(call.faults, call.world.settings.chunk_delay_seconds)
    reply = compose(turn, wishes if wishes.text or not text else Wishes(text=text))
    return stream_answer(events(reply, model, wants_usage=True), _error_event, reply.pause_seconds)


def _check(body: JSON, model: Model) -> None:
    """Raises Refused for what the model's service is known to refuse."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise _invalid("messages must be a list of at least one message", "messages")
    if unknown := [message.get("role") for message in messages if message.get("role") not in _ROLES]:
        raise _invalid(f"Invalid value: {unknown[0]!r}. Supported values are: {', '.join(_ROLES)}.", "messages")
    _check_tool_answers(messages)
    for tool in _functions(body):
        if not _TOOL_NAME.fullmatch(str(tool.get("name"))):
            raise _invalid(f"Invalid tool name {tool.get('name')!r}: it must match ^[a-zA-Z0-9_-]+$.", "tools")
    if model.refuses_max_tokens and body.get("max_tokens") is not None:
        # OpenAI's own words, which clients look for.
        wording = "'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        raise _invalid(f"Unsupported parameter: {wording}", "max_tokens")
    check_effort(body.get("reasoning_effort"), model)


def _check_tool_answers(messages: list[JSON]) -> None:
    called: list[Any] = []
    for message in messages:
        called += [one.get("id") for one in objects(message.get("tool_calls"))]
        if message.get("role") == "tool" and message.get("tool_call_id") not in called:
            wording = "messages with role 'tool' must be a response to a preceding message with 'tool_calls'."
            raise _invalid(f"Invalid parameter: {wording}", "messages")


def _invalid(message: str, param: str) -> Exception:
    return refuse(400, message, "invalid_request_body", param=param, type="invalid_request_error")


def _turn(body: JSON, model: Model) -> Turn:
    is_claude = model.style == "claude"
    return Turn(
        model.id,
        last_user_text(body),
        prompt_token_count(body),
        tool_results=_tool_results(body["messages"]),
        tools=_callable_tools(body),
        must_call=body.get("tool_choice") == "required" or isinstance(body.get("tool_choice"), dict),
        parallel=body.get("parallel_tool_calls") is not False,
        max_tokens=token_limit(body, "max_completion_tokens", "max_tokens"),
        thinks=model.style != "gpt" and bool(body.get("thinking_budget") or body.get("reasoning_effort")),
        speaks_before_calls=is_claude,
        call_id_prefix="toolu_" if is_claude else "call_",
    )


def _tool_results(messages: list[JSON]) -> tuple[str, ...]:
    results: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "tool":
            break
        results.insert(0, text_of(message.get("content")))
    return tuple(results)


def _callable_tools(body: JSON) -> tuple[Tool, ...]:
    choice = body.get("tool_choice")
    tools = [Tool(str(function.get("name")), function.get("parameters")) for function in _functions(body)]
    if choice == "none":
        return ()
    if isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        return tuple(tool for tool in tools if tool.name == choice["function"].get("name"))
    return tuple(tools)


def _functions(body: JSON) -> list[JSON]:
    found = (tool.get("function") for tool in objects(body.get("tools")))
    return [function for function in found if isinstance(function, dict)]


def _error_event(code: str, message: str) -> bytes:
    return event(envelope(message, code))
