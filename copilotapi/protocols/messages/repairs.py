"""What Copilot's Claude endpoint refuses of a request that Anthropic takes (copilot-wire 7.3, state 2026-11).

Each repair changes the body it is given, which nobody else holds, and tells the names of what it dropped.
"""

import re
from collections.abc import Iterable, Iterator

from copilotapi.protocols.conversation import JSON
from copilotapi.protocols.messages.offered import is_searched, offered_tools, reference_text
from copilotapi.protocols.messages.thinking import KINDS, is_replayable

_REFUSED_FIELDS = ("inference_geo", "mcp_servers", "container", "contextTier")
_REFUSED_TOOL_FIELDS = ("eager_input_streaming",)
_MESSAGE_FIELDS = ("role", "content")
# Claude Code's first lines of system text: a hash in them changes with every request and would spoil the prompt cache.
_BILLING_LINE = re.compile(r"^x-anthropic-billing-header\b[^\n]*\n?", re.MULTILINE)
# https://docs.claude.com/en/docs/build-with-claude/prompt-caching: at most four breakpoints.
_MAX_BREAKPOINTS = 4
_BREAKPOINT = {"type": "ephemeral"}


def drop_refused_fields(body: JSON) -> Iterator[str]:
    for name in _REFUSED_FIELDS:
        if body.pop(name, None) is not None:
            yield name


def drop_refused_message_fields(body: JSON) -> Iterator[str]:
    """Claude Code gives single turns an `output_config` of their own."""
    for message in body["messages"]:
        for name in [name for name in message if name not in _MESSAGE_FIELDS]:
            del message[name]
            yield f"messages.{name}"


def offer_tools(body: JSON) -> Iterator[str]:
    """Copilot is told of the tools that are offered now, and in words which ones have been loaded."""
    if offered := offered_tools(body):
        body["tools"] = [dict(tool) for tool in offered]
    for message in body["messages"]:
        for block in _blocks(message["content"]):
            if block["type"] == "tool_result" and isinstance(block.get("content"), list):
                block["content"] = [_worded(inner) for inner in block["content"]]
    # A tool that is still held back is not sent at all, except beside Anthropic's own search.
    for tool in body.get("tools") or ():
        if tool.pop("defer_loading", False) and is_searched(body["tools"]):
            yield "tools.defer_loading"


def _worded(block: JSON) -> JSON:
    if block["type"] != "tool_reference":
        return block
    control = {"cache_control": block["cache_control"]} if "cache_control" in block else {}
    return {"type": "text", "text": reference_text(block), **control}


def drop_refused_tool_fields(body: JSON) -> Iterator[str]:
    for tool in body.get("tools") or ():
        for name in _REFUSED_TOOL_FIELDS:
            if tool.pop(name, None) is not None:
                yield f"tools.{name}"


def move_output_format(body: JSON) -> Iterable[str]:
    """The field's old place is refused, its new one works."""
    output_format = body.pop("output_format", None)
    if output_format is not None:
        body["output_config"] = {"format": output_format, **(body.get("output_config") or {})}
    return ()


def hoist_system_messages(body: JSON) -> Iterable[str]:
    """Some models refuse a `system` among the messages; all take it in its own field."""
    hoisted = [message for message in body["messages"] if message["role"] == "system"]
    if hoisted:
        body["messages"] = [message for message in body["messages"] if message["role"] != "system"]
        contents = [body.get("system"), *(message["content"] for message in hoisted)]
        body["system"] = [block for content in contents for block in _as_blocks(content) if block["type"] == "text"]
    return ()


def drop_billing_lines(body: JSON) -> Iterable[str]:
    system = body.get("system")
    if isinstance(system, str):
        body["system"] = without_billing_lines(system)
    for block in system if isinstance(system, list) else ():
        block["text"] = without_billing_lines(block["text"])
    return ()


def without_billing_lines(text: str) -> str:
    return _BILLING_LINE.sub("", text) if "x-anthropic-billing-header" in text else text


def drop_blank_blocks(body: JSON) -> Iterable[str]:
    """Blank text and thinking that Claude did not sign are refused, and so are the messages they leave empty.

    One message always stays: an empty conversation is for Copilot to refuse.
    """
    if not _told(body.get("system")):
        body.pop("system", None)
    else:
        body["system"] = _told(body["system"])
    messages = [{**message, "content": _told(message["content"])} for message in body["messages"]]
    body["messages"] = [message for message in messages if message["content"]] or body["messages"]
    return ()


def end_with_the_user(body: JSON) -> Iterator[str]:
    """A conversation that ends with the assistant is refused; it cannot go on in the middle of a sentence."""
    messages = body["messages"]
    if messages and messages[-1]["role"] != "assistant":
        return
    if messages:
        yield "assistant_prefill"
    body["messages"] = [*messages, {"role": "user", "content": "Continue."}]


def move_cache_control(body: JSON) -> Iterator[str]:
    """Strict back ends refuse it at the top, where it means the last block, which is the user's."""
    if body.pop("cache_control", None) is None:
        return
    last = body["messages"][-1]
    last["content"] = _as_blocks(last["content"])
    if not last["content"] or sum("cache_control" in block for block in _every_block(body)) >= _MAX_BREAKPOINTS:
        yield "cache_control"
    else:
        last["content"][-1].setdefault("cache_control", _BREAKPOINT)


def reduce_cache_control(body: JSON) -> Iterator[str]:
    """Strict back ends take no `scope` and no `ttl`."""
    for block in _every_block(body):
        control = block.pop("cache_control", None)
        if isinstance(control, dict):
            block["cache_control"] = _BREAKPOINT
            yield from (f"cache_control.{name}" for name in ("scope", "ttl") if name in control)


def _told(content: str | list[JSON] | None) -> str | list[JSON]:
    """The content without its blank parts."""
    if not isinstance(content, list):
        return content if content and content.strip() else ""
    return [_with_told_result(block) for block in content if not _is_blank(block)]


def _with_told_result(block: JSON) -> JSON:
    if block["type"] != "tool_result" or not isinstance(block.get("content"), list):
        return block
    told = _told(block["content"])
    return {**block, "content": told} if told else {name: block[name] for name in block if name != "content"}


def _is_blank(block: JSON) -> bool:
    if block["type"] in KINDS:
        return not is_replayable(block)
    return block["type"] == "text" and not block["text"].strip()


def _every_block(body: JSON) -> Iterator[JSON]:
    yield from body.get("tools") or ()
    for content in (body.get("system"), *(message["content"] for message in body["messages"])):
        yield from _blocks(content)


def _blocks(content: object) -> Iterator[JSON]:
    for block in content if isinstance(content, list) else ():
        yield block
        if block["type"] == "tool_result":
            yield from _blocks(block.get("content"))


def _as_blocks(content: str | list[JSON] | None) -> list[JSON]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
