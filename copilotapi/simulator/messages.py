"""POST /v1/messages: what a request is checked for and what it asks of the model (copilot-wire 7.2, 7.3)."""

from copilotapi.simulator.answers import JSON, Answer, json_answer, stream_answer
from copilotapi.simulator.capi import admit, authenticate, find, object_body, spend, token_limit
from copilotapi.simulator.catalogue import MESSAGES, Model
from copilotapi.simulator.message_events import error_event, events, whole
from copilotapi.simulator.message_rules import check_body, check_headers, check_messages
from copilotapi.simulator.prompts import last_user_text, objects, prompt_token_count, text_of
from copilotapi.simulator.replies import Tool, Turn, compose, wishes_in
from copilotapi.simulator.world import Call


def messages(call: Call) -> Answer:
    body, model = admit(call, MESSAGES)
    check_headers(call)
    check_body(body, call, model)
    check_messages(body.get("messages"))
    spend(call, model)
    reply = compose(_turn(body, model), wishes_in(call.faults, call.world.settings.chunk_delay_seconds))
    if body.get("stream") is not True:
        return json_answer(whole(reply, model.id))
    return stream_answer(events(reply, model.id), error_event, reply.pause_seconds)


def count_tokens(call: Call) -> Answer:
    """POST /v1/messages/count_tokens."""
    authenticate(call)
    body = object_body(call)
    call.obey(last_user_text(body))
    find(call, body.get("model"), MESSAGES)
    return json_answer({"input_tokens": prompt_token_count(body)})


def _turn(body: JSON, model: Model) -> Turn:
    choice = body.get("tool_choice")
    choice = choice if isinstance(choice, dict) else {}
    thinking = body.get("thinking")
    return Turn(
        model.id,
        last_user_text(body),
        prompt_token_count(body),
        tool_results=_tool_results(body["messages"][-1]),
        tools=_callable_tools(body, choice),
        must_call=choice.get("type") in ("any", "tool"),
        parallel=choice.get("disable_parallel_tool_use") is not True,
        max_tokens=token_limit(body, "max_tokens"),
        thinks=isinstance(thinking, dict) and thinking.get("type") in ("enabled", "adaptive"),
        speaks_before_calls=True,
        call_id_prefix="toolu_",
    )


def _tool_results(message: JSON) -> tuple[str, ...]:
    blocks = objects(message.get("content"))
    return tuple(text_of(block.get("content")) for block in blocks if block.get("type") == "tool_result")


def _callable_tools(body: JSON, choice: JSON) -> tuple[Tool, ...]:
    tools = [Tool(str(tool.get("name")), tool.get("input_schema")) for tool in objects(body.get("tools"))]
    if choice.get("type") == "none":
        return ()
    if choice.get("type") == "tool":
        return tuple(tool for tool in tools if tool.name == choice.get("name"))
    return tuple(tools)
