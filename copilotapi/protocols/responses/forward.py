"""A request of Responses on its way to Copilot's /responses: what Copilot refuses taken out, each in a function of its own.

Repairs are of copilot-wire 6.2, state 2026-11.
"""

import re
from collections.abc import Mapping

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.encode_request import ENCRYPTED_REASONING, result_text
from copilotapi.protocols.responses.foreign import is_foreign
from copilotapi.protocols.responses.functions import flat_choice, flat_item, flat_tools
from copilotapi.protocols.responses.names import MAX_ID_CHARS, item_id
from copilotapi.protocols.responses.request import input_items, is_reference

_DROPPED_FIELDS = ("service_tier", "safety_identifier", "background")
HOSTED_TOOLS = ("image_generation", "web_search", "web_search_preview")
# What `remedy` teaches about a model: keys of its mapping, and the one value they have.
_TOOLS, _IDS, _INCLUDE, _REFUSED = "tools", "input.id", "include", "refused"
_REFUSED_TOOL = re.compile(r"[Tt]ool type|tools\[\d+\]|'(?:namespace|custom)'")
_REFUSED_ID = re.compile(r"item ID does not belong to this connection")
_REFUSED_INCLUDE = re.compile(r"Encrypted content is not supported with this model")


def for_upstream(body: JSON, model: str, renames: Mapping[str, str]) -> tuple[JSON, tuple[str, ...]]:
    """The body to send, and the names of what was left out.

    `renames` are what `remedy` has taught about this model. ApiError 400 when a tool that has to be left out must be called.
    """
    dropped = [name for name in _DROPPED_FIELDS if body.get(name)]
    sent = {name: value for name, value in body.items() if name not in _DROPPED_FIELDS}
    sent |= {"model": model, "input": input_items(body)}
    without_store(sent, dropped)
    with_encrypted_reasoning(sent, renames)
    without_hosted_tools(sent, dropped)
    if renames.get(_TOOLS):
        with_functions_only(sent, dropped)
    without_references(sent, dropped)
    without_unverifiable_reasoning(sent, dropped)
    with_accepted_ids(sent, renames)
    with_text_results(sent)
    return sent, tuple(dict.fromkeys(dropped))


def remedy(code: str, message: str) -> Mapping[str, str]:
    """What a refusal teaches about a model. Their codes are shared with other refusals, so their words are looked at."""
    for words, learnt in ((_REFUSED_ID, _IDS), (_REFUSED_INCLUDE, _INCLUDE), (_REFUSED_TOOL, _TOOLS)):
        if words.search(message):
            return {learnt: _REFUSED}
    return {}


def without_store(sent: JSON, dropped: list[str]) -> None:
    """`store` must be false; its default is true, so it is always sent."""
    if sent.get("store"):
        dropped.append("store")
    sent["store"] = False


def with_encrypted_reasoning(sent: JSON, renames: Mapping[str, str]) -> None:
    """Nothing is stored, so reasoning lasts beyond a turn only if the caller is given it to send back."""
    included = sent.get("include") or []
    if renames.get(_INCLUDE):
        sent["include"] = [name for name in included if name != ENCRYPTED_REASONING]
    elif ENCRYPTED_REASONING not in included:
        sent["include"] = [*included, ENCRYPTED_REASONING]


def without_hosted_tools(sent: JSON, dropped: list[str]) -> None:
    """Image generation and web search are refused; nobody runs them."""
    tools = sent.get("tools") or []
    names = {tool["type"]: hosted_name(tool["type"]) for tool in tools}
    kept = [tool for tool in tools if not names[tool["type"]]]
    choice = sent.get("tool_choice")
    chosen = str(choice.get("type")) if isinstance(choice, dict) else ""
    if hosted_name(chosen) or (choice == "required" and not kept):
        raise bad_request("'tool_choice' demands a tool that Copilot does not have.", param="tool_choice")
    dropped += [name for name in names.values() if name]
    if len(kept) < len(tools):
        _set_tools(sent, kept)


def hosted_name(tool_type: str) -> str:
    """The tool's name in warnings, without the date some clients add; "" for a tool that is not hosted."""
    return next((name for name in HOSTED_TOOLS if re.fullmatch(rf"{name}(?:_\d[\d_]*)?", tool_type)), "")


def with_functions_only(sent: JSON, dropped: list[str]) -> None:
    """For models that refuse `namespace` and `custom` tools: the answer's calls are restored by name."""
    tools = sent.get("tools") or []
    if any(tool["type"] not in ("function", "namespace", "custom") for tool in tools):
        dropped.append("tools")
    if tools:
        _set_tools(sent, list(flat_tools(tools)))
    if isinstance(sent.get("tool_choice"), dict):
        sent["tool_choice"] = flat_choice(sent["tool_choice"])
    sent["input"] = [flat_item(item) for item in sent["input"]]


def without_references(sent: JSON, dropped: list[str]) -> None:
    """References to items that nobody stored."""
    kept = [item for item in sent["input"] if not is_reference(item)]
    if len(kept) < len(sent["input"]):
        dropped.append("item_reference")
    sent["input"] = kept


def without_unverifiable_reasoning(sent: JSON, dropped: list[str]) -> None:
    """Reasoning without its encrypted state, or with another maker's, is refused, and so is a status that is null."""
    items = [item for item in sent["input"] if item.get("type") != "reasoning" or _is_verifiable(item)]
    if len(items) < len(sent["input"]):
        dropped.append("reasoning")
    sent["input"] = [_without_null_status(item) for item in items]


def with_accepted_ids(sent: JSON, renames: Mapping[str, str]) -> None:
    """Copilot's own ids are longer than OpenAI allows and bound to a connection; short ones are taken for new."""
    longest = 0 if renames.get(_IDS) else MAX_ID_CHARS

    def accepted(item: JSON) -> JSON:
        given = item.get("id")
        if not isinstance(given, str) or len(given) <= longest:
            return item
        return {**item, "id": item_id(item.get("type") or "message", given)}

    sent["input"] = [accepted(item) for item in sent["input"]]


def with_text_results(sent: JSON) -> None:
    """A tool's result is a string; its images follow the row of results as a message of the user's."""
    items: list[JSON] = []
    images: list[JSON] = []
    for item in sent["input"]:
        if not _is_result(item):
            items += _shown(images)
            images = []
        output = item.get("output")
        if _is_result(item) and isinstance(output, list) and all(map(_is_text_or_image, output)):
            shown = [part for part in output if part["type"] == "input_image"]
            texts = [str(part.get("text") or "") for part in output]
            items.append({**item, "output": result_text(texts, has_images=bool(shown))})
            images += shown
        else:
            items.append(item)
    sent["input"] = items + _shown(images)


def _is_verifiable(item: JSON) -> bool:
    opaque = item.get("encrypted_content")
    return isinstance(opaque, str) and opaque != "" and not is_foreign(opaque)


def _is_result(item: JSON) -> bool:
    return item.get("type") in ("function_call_output", "custom_tool_call_output")


def _is_text_or_image(part: JSON) -> bool:
    return part["type"] in ("input_text", "output_text", "input_image")


def _shown(images: list[JSON]) -> list[JSON]:
    return [{"type": "message", "role": "user", "content": images}] if images else []


def _without_null_status(item: JSON) -> JSON:
    if "status" in item and item["status"] is None:
        return {name: value for name, value in item.items() if name != "status"}
    return item


def _set_tools(sent: JSON, tools: list[JSON]) -> None:
    """An empty list of tools is refused where a choice among them is made."""
    if tools:
        sent["tools"] = tools
        return
    for name in ("tools", "tool_choice", "parallel_tool_calls"):
        sent.pop(name, None)
