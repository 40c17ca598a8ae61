"""What Copilot's Claude endpoint refuses, in its words (copilot-wire 7.2, 7.3). Every check raises Refused."""

from collections.abc import Iterator
from typing import Any

from copilotapi.simulator.answers import JSON, Refused, json_answer, refuse
from copilotapi.simulator.catalogue import Model
from copilotapi.simulator.message_events import signature
from copilotapi.simulator.prompts import objects
from copilotapi.simulator.world import Call

_ALLOWED_BETAS = frozenset(
    {
        "interleaved-thinking-2025-05-14",
        "context-management-2025-06-27",
        "compact-2026-01-12",
        "advanced-tool-use-2025-11-20",
        "computer-use-2025-11-24",
        "computer-use-2025-01-24",
    }
)
_CONTEXT_BETA = "context-management-2025-06-27"
_EXTRA_FIELDS = ("cache_control", "contextTier", "output_format", "inference_geo", "mcp_servers", "container")
_REJECTED_TOOLS = ("web_fetch", "code_execution")
_LEAST_BUDGET, _MOST_BUDGET = 1_024, 32_000


def check_headers(call: Call) -> None:
    refused = sorted(_betas(call) - _ALLOWED_BETAS)
    if refused:
        raise _invalid(f"unsupported beta header(s): {', '.join(refused)}")


def check_body(body: JSON, call: Call, model: Model) -> None:
    if body.get("max_tokens") is None:
        raise _invalid("max_tokens: Field required")
    for name in _EXTRA_FIELDS:
        if name in body:
            raise _extra(name)
    if "context_management" in body and _CONTEXT_BETA not in _betas(call):
        raise _extra("context_management")
    for name in ("system", "messages", "tools"):
        for place in _cache_extras(body.get(name), name):
            raise _extra(place)
    _check_thinking(body, model)
    _check_effort(body, model)
    _check_tools(body.get("tools"))


def check_messages(messages: Any) -> None:
    if not isinstance(messages, list) or not messages or not all(isinstance(message, dict) for message in messages):
        raise _invalid("messages: Input should be a list of at least one message")
    if messages[-1].get("role") == "assistant":
        raise _invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    called: list[Any] = []
    for index, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant"):
            raise _invalid(f"messages.{index}.role: Input should be 'user' or 'assistant'")
        blocks = _blocks(message.get("content"), f"messages.{index}.content")
        for number, block in enumerate(blocks):
            _check_block(block, f"messages.{index}.content.{number}", called)
        called = [block.get("id") for block in blocks if block.get("type") == "tool_use"]


def _blocks(content: Any, place: str) -> list[JSON]:
    if isinstance(content, str) and content:
        return [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content or not all(isinstance(block, dict) for block in content):
        raise _invalid(f"{place}: Input should be text or a list of content blocks, not empty")
    return content


def _check_block(block: JSON, place: str, called: list[Any]) -> None:
    match block.get("type"):
        case "text":
            if not block.get("text"):
                raise _invalid("messages: text content blocks must be non-empty")
        case "thinking":
            if not block.get("thinking"):
                raise _invalid(f"{place}.thinking: each thinking block must contain thinking")
            if block.get("signature") != signature(str(block["thinking"])):
                raise _invalid(f"{place}: Invalid `signature` in `thinking` block")
        case "tool_result":
            if block.get("tool_use_id") not in called:
                wanted = "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                found = f"unexpected `tool_use_id` found in `tool_result` blocks: {block.get('tool_use_id')}"
                raise _invalid(f"{place}: {found}. {wanted}")


def _check_thinking(body: JSON, model: Model) -> None:
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else "disabled"
    takes_adaptive = bool(model.efforts)
    if kind == "adaptive" and not takes_adaptive:
        raise _invalid("thinking.type: adaptive thinking is not supported on this model")
    if kind != "enabled":
        return
    if model.adaptive_thinking:
        raise _invalid('thinking.type: "enabled" is not supported on this model, use "adaptive"')
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if not isinstance(budget, int) or not _LEAST_BUDGET <= budget <= _MOST_BUDGET:
        raise _invalid(f"thinking.enabled.budget_tokens: Input should be between {_LEAST_BUDGET} and {_MOST_BUDGET}")
    if not isinstance(body["max_tokens"], int) or budget >= body["max_tokens"]:
        raise _invalid("`max_tokens` must be greater than `thinking.budget_tokens`")


def _check_effort(body: JSON, model: Model) -> None:
    settings = body.get("output_config")
    effort = settings.get("effort") if isinstance(settings, dict) else None
    if effort is not None and effort not in model.efforts:
        message = f'output_config.effort "{effort}" is not supported by model {model.id}'
        raise refuse(400, message, "invalid_reasoning_effort")


def _check_tools(tools: Any) -> None:
    if tools is not None and (not isinstance(tools, list) or len(objects(tools)) < len(tools)):
        raise _invalid("tools: Input should be a list of objects")
    rejected = []
    for index, tool in enumerate(objects(tools)):
        kind = str(tool.get("type", "custom"))
        if kind.startswith("web_search"):
            raise _invalid("The use of the web search tool is not supported.")
        if kind.startswith(_REJECTED_TOOLS):
            rejected.append(str(tool.get("name")))
        if "eager_input_streaming" in tool:
            raise _extra(f"tools.{index}.custom.eager_input_streaming")
    if rejected:
        raise _invalid(f"rejected tool(s): {', '.join(rejected)}")


def _cache_extras(value: Any, place: str) -> Iterator[str]:
    """The places of `scope` and `ttl` in any cache_control."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            yield from _cache_extras(part, f"{place}.{index}")
    elif isinstance(value, dict):
        control = value.get("cache_control")
        if isinstance(control, dict):
            yield from (f"{place}.cache_control.{name}" for name in ("scope", "ttl") if name in control)
        yield from _cache_extras(value.get("content"), f"{place}.content")


def _betas(call: Call) -> set[str]:
    return {beta.strip() for beta in call.header("anthropic-beta").split(",") if beta.strip()}


def _extra(place: str) -> Refused:
    return _invalid(f"{place}: Extra inputs are not permitted")


def _invalid(message: str) -> Refused:
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": message}}
    return Refused(json_answer(body, 400))
