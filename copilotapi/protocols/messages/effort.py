"""How hard Claude is to think: as an effort, as a budget of tokens, and what each generation of models takes.

copilot-wire 7.3, state 2026-11: up to 4.5 a budget only, from 4.7 on adaptive thinking only, 4.6 both.
"""

import re
from collections.abc import Iterator

from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.messages.thinking import KINDS

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[.-](\d{1,2}))?(?=-|$)")
_THINKS = (3, 7)
_ADAPTS = (4, 6)
_ONLY_ADAPTS = (4, 7)
_LEAST_BUDGET, _MOST_BUDGET = 1_024, 32_000
_BUDGETS = {"low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": _MOST_BUDGET}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_FORCED = ("any", "tool")


def asked_effort(body: JSON) -> str | None:
    """The effort a request asks for, by name or by a budget of that size; None when it leaves that to the model."""
    effort = (body.get("output_config") or {}).get("effort")
    if isinstance(effort, str):
        return effort
    thinking = body.get("thinking") or {}
    if thinking.get("type") != "enabled":
        return None
    budget = thinking["budget_tokens"]
    return "low" if budget < 6_144 else "medium" if budget < 12_288 else "high"


def encode_effort(effort: str | None, *, may_think: bool) -> JSON:
    """The fields of a request that ask for this effort; `fit_thinking` puts them as the model takes them."""
    claudes = _EFFORTS.get(effort or "")
    if claudes is None:
        return {}
    config = {"output_config": {"effort": claudes}}
    return {"thinking": {"type": "adaptive"}, **config} if may_think else config


def fit_thinking(body: JSON) -> Iterator[str]:
    """Asks a model for thinking the way its generation takes it. A model of another name is left alone."""
    version = _version(body["model"])
    if version is None:
        return
    if (body.get("thinking") or {}).get("type") == "between_tools":
        # New in Anthropic's client 2.11, which says what stands in for it: thinking that is turned off.
        body["thinking"] = {"type": "disabled"}
        yield "thinking.type"
    kind = (body.get("thinking") or {}).get("type")
    if version < _ADAPTS:
        if kind == "adaptive":
            yield from think_by_budget(body)
        yield from drop_effort(body)
    elif kind == "enabled" and version >= _ONLY_ADAPTS:
        think_adaptively(body)
        yield "thinking.budget_tokens"
    if version < _THINKS and body.pop("thinking", None) is not None:
        yield "thinking"
    if version[:2] == _ADAPTS:
        _lower_effort(body)
    yield from _drop_thinking_in_midturn(body)


def think_by_budget(body: JSON) -> Iterator[str]:
    """Adaptive thinking as a budget. It leaves half of max_tokens for the answer, and is dropped where too little is left
    or where Anthropic takes no budget: beside a forced tool or another temperature than 1.
    """
    effort = (body.get("output_config") or {}).get("effort")
    limit = body.get("max_tokens") or 2 * _MOST_BUDGET
    budget = min(_BUDGETS.get(str(effort), _BUDGETS["medium"]), limit // 2)
    is_forced = (body.get("tool_choice") or {}).get("type") in _FORCED
    if budget < _LEAST_BUDGET or is_forced or body.get("temperature") not in (None, 1):
        del body["thinking"]
        yield "thinking"
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def think_adaptively(body: JSON) -> None:
    """A budget as adaptive thinking. How much is then the model's own affair."""
    body["thinking"] = {
        name: "adaptive" if name == "type" else value
        for name, value in body["thinking"].items()
        if name != "budget_tokens"
    }


def drop_effort(body: JSON) -> Iterator[str]:
    config = body.get("output_config") or {}
    if "effort" in config:
        body["output_config"] = {name: value for name, value in config.items() if name != "effort"}
        if not body["output_config"]:
            del body["output_config"]
        yield "output_config.effort"


def _lower_effort(body: JSON) -> None:
    """4.6 knows low to high, Opus also max: more than that means the most there is."""
    config = body.get("output_config") or {}
    if config.get("effort") == "xhigh" or (config.get("effort") == "max" and "opus" not in body["model"]):
        body["output_config"] = {**config, "effort": "high"}


def _drop_thinking_in_midturn(body: JSON) -> Iterator[str]:
    """With a budget, Anthropic wants a turn that goes on after its tools to have begun with thinking. One that came from
    another model has none that could be sent.
    """
    if (body.get("thinking") or {}).get("type") != "enabled":
        return
    turns = [message for message in body["messages"] if message["role"] == "assistant"]
    last = body["messages"][-1]["content"]
    if not turns or not isinstance(last, list) or not any(block["type"] == "tool_result" for block in last):
        return
    begun = turns[-1]["content"]
    if isinstance(begun, str) or not begun or begun[0]["type"] not in KINDS:
        del body["thinking"]
        yield "thinking"


def _version(model: str) -> tuple[int, int] | None:
    found = _VERSION.match(model)
    return (int(found[1]), int(found[2] or 0)) if found else None
