"""What a request of Responses says that no other protocol can: refused where it shapes the answer, else named."""

from collections.abc import Iterator
from typing import Any

from copilotapi.errors import bad_request
from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.responses.forward import hosted_name
from copilotapi.protocols.responses.functions import flat_choice
from copilotapi.protocols.responses.request import input_items, is_reference

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
    choice = flat_choice(body.get("tool_choice"))
    if isinstance(choice, dict) and choice.get("type") not in ("function", "allowed_tools"):
        raise bad_request("This tool exists for no other model than OpenAI's.", param="tool_choice")
    if body.get("top_logprobs") or "message.output_text.logprobs" in (body.get("include") or ()):
        raise bad_request("This model tells no log probabilities.", param="include")
    return tuple(dict.fromkeys(_lost_hints(body, items)))


def _lost_hints(body: JSON, items: list[JSON]) -> Iterator[str]:
    yield from (name for name in _HINTS if body.get(name))
    if (body.get("text") or {}).get("verbosity"):
        yield "text.verbosity"
    if any(map(is_reference, items)):
        yield "item_reference"
    for tool in body.get("tools") or ():
        if tool["type"] not in ("function", "custom", "namespace"):
            yield hosted_name(tool["type"]) or "tools"


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
        raise bad_request("This model takes text and images only.", param=f"{param}.type")
