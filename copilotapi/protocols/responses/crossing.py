"""What a request of Responses says that no other protocol can: refused where it shapes the answer, else named."""

from collections.abc import Iterator
from typing import Any

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.forward import hosted_name
from copilotapi.protocols.responses.functions import flat_choice
from copilotapi.protocols.responses.request import input_items, is_reference

_ADVICE = "Choose a model that Copilot serves on /responses."
_CALLABLE = ("function", "custom", "namespace")
_HINTS = (
    "background",
    "client_metadata",
    "context_management",
    "max_tool_calls",
    "metadata",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "store",
    "truncation",
    "user",
)
_CARRIED_PARTS = ("input_text", "output_text", "text", "refusal", "computer_screenshot")


def losses(body: JSON) -> tuple[str, ...]:
    """The names of the hints that are lost when the answer comes over another protocol.

    ApiError 400 naming the `param` for what cannot be carried and shapes the answer. Takes what `check_request` let pass.
    """
    items = input_items(body)
    for index, item in enumerate(items):
        _check_item(item, f"input.{index}")
    for index, tool in enumerate(body.get("tools") or ()):
        if tool["type"] not in _CALLABLE and not _hint(tool):
            raise bad_request(f"This model has no tool of this type. {_ADVICE}", param=f"tools.{index}")
    choice = flat_choice(body.get("tool_choice"))
    is_hosted = isinstance(choice, dict) and choice.get("type") not in ("function", "allowed_tools")
    if is_hosted or (choice == "required" and not any(tool["type"] in _CALLABLE for tool in body.get("tools") or ())):
        raise bad_request(f"This model does not have the tool it must call. {_ADVICE}", param="tool_choice")
    if body.get("top_logprobs"):
        raise bad_request(f"This model tells no log probabilities. {_ADVICE}", param="top_logprobs")
    if "message.output_text.logprobs" in (body.get("include") or ()):
        raise bad_request(f"This model tells no log probabilities. {_ADVICE}", param="include")
    return tuple(dict.fromkeys(_lost_hints(body, items)))


def _hint(tool: JSON) -> str:
    """The name of a tool whose answers the model may do without; "" for any other."""
    return "tool_search" if tool["type"] == "tool_search" else hosted_name(tool["type"])


def _lost_hints(body: JSON, items: list[JSON]) -> Iterator[str]:
    yield from (name for name in _HINTS if body.get(name))
    if (body.get("text") or {}).get("verbosity"):
        yield "text.verbosity"
    if any(map(is_reference, items)):
        yield "item_reference"
    for tool in body.get("tools") or ():
        yield from filter(None, [_hint(tool)])


def _check_item(item: JSON, param: str) -> None:
    if item.get("type") == "compaction":
        message = "Only the model that compacted this history can read it; send the history itself."
        raise bad_request(message, param=param)
    for name in ("content", "output"):
        parts: Any = item.get(name)
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            _check_part(part, f"{param}.{name}.{index}")


def _check_part(part: Any, param: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "input_image" and not isinstance(part.get("image_url"), str):
        raise bad_request("An image must be given by 'image_url': files are not stored here.", param=param)
    if kind not in ("input_image", "reasoning_text", *_CARRIED_PARTS):
        raise bad_request(f"This model takes text and images only. {_ADVICE}", param=f"{param}.type")
