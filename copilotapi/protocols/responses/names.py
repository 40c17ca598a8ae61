"""Ids of items, and function names that remember what they stood for.

A function's name is all that comes back of a tool from a model that knows functions only. So the name itself tells that
the tool was one of a namespace, or took free text instead of JSON.
"""

import hashlib
from dataclasses import dataclass

import orjson

# OpenAI refuses longer ids of items and calls; Copilot's own reach 400 characters (copilot-wire 6.2, 6.3).
MAX_ID_CHARS = 64
_PREFIXES = {"message": "msg", "reasoning": "rs", "function_call": "fc", "custom_tool_call": "ctc"}
_NAMESPACE_MARK = "--ns--"
_FREEFORM_MARK = "--freeform"
# Free text as a function's arguments: a JSON object around one string, which can grow piece by piece.
FREEFORM_OPENING, FREEFORM_CLOSING = '{"input":"', '"}'


@dataclass(frozen=True, slots=True)
class ToolName:
    """A tool as a client of Responses knows it."""

    name: str
    namespace: str | None = None
    is_freeform: bool = False


def item_id(kind: str, seed: str) -> str:
    """An id for an item of this type; the same for the same seed."""
    return f"{_PREFIXES.get(kind, 'item')}_{hashlib.sha256(seed.encode()).hexdigest()[:16]}"


def short_id(kind: str, long_id: str) -> str:
    """The id itself where it is short enough."""
    return long_id if len(long_id) <= MAX_ID_CHARS else item_id(kind, long_id)


def flat_name(tool: ToolName) -> str:
    namespace = f"{tool.namespace}{_NAMESPACE_MARK}" if tool.namespace else ""
    return f"{namespace}{tool.name}{_FREEFORM_MARK if tool.is_freeform else ''}"


def tool_name(flat: str) -> ToolName:
    """What `flat_name` was given; a name without marks is a plain function's."""
    namespace, mark, rest = flat.partition(_NAMESPACE_MARK)
    if not (namespace and mark and rest):
        namespace, rest = "", flat
    name = rest.removesuffix(_FREEFORM_MARK)
    if not name or name == rest:
        return ToolName(rest, namespace or None)
    return ToolName(name, namespace or None, is_freeform=True)


def freeform_json(text: str) -> str:
    """Free text as the arguments of the function that stands for a free-form tool."""
    return f"{FREEFORM_OPENING}{escaped(text)}{FREEFORM_CLOSING}"


def escaped(text: str) -> str:
    """The inside of a JSON string; that of two texts together is that of one after the other."""
    return orjson.dumps(text).decode()[1:-1]


def freeform_text(input_json: str) -> str:
    """The free text in such arguments; the arguments themselves when the model wrote them otherwise."""
    try:
        text = orjson.loads(input_json).get("input")
    except (orjson.JSONDecodeError, AttributeError):
        return input_json
    return text if isinstance(text, str) else input_json
