"""A Messages request on its way to Copilot: repaired, fitted to its model, and what refusals have taught applied."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.messages.effort import drop_effort, fit_thinking, think_adaptively, think_by_budget
from copilotapi.protocols.messages.repairs import (
    drop_billing_lines,
    drop_blank_blocks,
    drop_refused_fields,
    drop_refused_message_fields,
    drop_refused_tool_fields,
    end_with_the_user,
    hoist_system_messages,
    move_cache_control,
    move_output_format,
    offer_tools,
    reduce_cache_control,
)

_REPAIRS: tuple[Callable[[JSON], Iterable[str]], ...] = (
    drop_refused_fields,
    drop_refused_message_fields,
    offer_tools,
    drop_refused_tool_fields,
    move_output_format,
    hoist_system_messages,
    drop_billing_lines,
    drop_blank_blocks,
    end_with_the_user,
    move_cache_control,
    reduce_cache_control,
    fit_thinking,
)
_EFFORT = {"output_config.effort": ""}
# Told without a code. Back ends behind one model id differ (copilot-wire 7.1), and so do their words.
_REMEDIES: tuple[tuple[re.Pattern[str], Mapping[str, str]], ...] = (
    (re.compile(r"context_management\b.*(?:Extra inputs|not supported)"), {"context_management": ""}),
    (re.compile(r"output_config(?:\.effort)?: Extra inputs|support the effort parameter"), _EFFORT),
    (re.compile(r"adaptive thinking is not supported"), {"thinking.adaptive": "enabled"}),
    (re.compile(r"thinking\.type.*enabled\W+is not supported"), {"thinking.enabled": "adaptive"}),
    (re.compile(r"temperature\W+and\W+top_p\W+cannot both"), {"top_p": ""}),
    (re.compile(r"\b(?:speed|service_tier): Extra inputs"), {"speed": "", "service_tier": ""}),
    (re.compile(r"vertexai\.allowedPartnerModelFeatures"), {"tools.strict": ""}),
)
_NEEDED = ("model", "messages", "max_tokens", "system", "tools", "tool_choice", "stream")
# A field that is told of by its name alone is one of the request itself.
_EXTRA = re.compile(r"(?<![\w.])([a-z_]+): Extra inputs are not permitted")


def for_upstream(body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]:
    """The body to send, and the names of what was left out. `renames` are what `remedy` has taught about this model."""
    outgoing = {**_copied(body), "model": model}
    dropped = [name for repair in _REPAIRS for name in repair(outgoing)]
    dropped += _obeyed(outgoing, renames)
    return outgoing, tuple(dict.fromkeys(dropped))


def remedy(code: str, message: str) -> Mapping[str, str]:
    """What a refusal asks for: a field to its new value, "" for none; empty when nothing is known to help."""
    if code == "invalid_reasoning_effort":
        return _EFFORT
    known = next((renames for refused, renames in _REMEDIES if refused.search(message)), None)
    return known if known is not None else {name: "" for name in _EXTRA.findall(message) if name not in _NEEDED}


def _obeyed(body: JSON, renames: Mapping[str, str]) -> Iterator[str]:
    kind = (body.get("thinking") or {}).get("type")
    for name in renames:
        match name:
            case "thinking.adaptive" if kind == "adaptive":
                yield from think_by_budget(body)
            case "thinking.enabled" if kind == "enabled":
                think_adaptively(body)
                yield "thinking.budget_tokens"
            case "output_config.effort":
                yield from drop_effort(body)
            case "tools.strict":
                yield from _drop_strictness(body)
            case _ if body.pop(name, None) is not None:
                yield name


def _drop_strictness(body: JSON) -> Iterator[str]:
    for tool in body.get("tools") or ():
        if tool.pop("strict", None) is not None:
            yield "tools.strict"


def _copied(body: JSON) -> JSON:
    """The caller's body stays as it is: it is asked for the fallback and for the account, too."""
    messages = [{**message, "content": _copied_content(message["content"])} for message in body["messages"]]
    copied = {**body, "messages": messages}
    for name in ("system", "tools"):
        if isinstance(body.get(name), list):
            copied[name] = [dict(item) for item in body[name]]
    return copied


def _copied_content(content: object) -> object:
    if not isinstance(content, list):
        return content
    return [
        {**block, "content": _copied_content(block.get("content"))} if block["type"] == "tool_result" else dict(block)
        for block in content
    ]
