"""What can be read out of a request body of any of the protocols without knowing which one it is: the words of the last
user message, how much text there is, which images."""

from collections.abc import Iterator
from typing import Any

_TEXT_BLOCKS = ("text", "input_text", "output_text")
_IMAGE_BLOCKS = ("image", "image_url", "input_image", "document")
_PROMPT_FIELDS = ("instructions", "system", "messages", "input", "prompt", "tools")
_UNCOUNTED_KEYS = frozenset({"type", "role", "data", "image_url", "signature", "encrypted_content", "reasoning_opaque"})


def text_of(content: Any) -> str:
    """The text in a message's content: a string, or blocks whose texts are put on lines of their own."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    blocks = (block for block in content if isinstance(block, dict) and block.get("type") in _TEXT_BLOCKS)
    return "\n".join(str(block.get("text", "")) for block in blocks)


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list, should it be one."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def last_user_text(body: Any) -> str:
    """The last thing a user said, in a chat, an `input`, or a bare `prompt`; empty when nobody did."""
    if not isinstance(body, dict):
        return ""
    spoken = body.get("messages", body.get("input", body.get("prompt")))
    if isinstance(spoken, str):
        return spoken
    for message in reversed(spoken if isinstance(spoken, list) else []):
        if isinstance(message, str):
            return message
        if isinstance(message, dict) and message.get("role") == "user" and (text := text_of(message.get("content"))):
            return text
    return ""


def characters(value: Any) -> int:
    """How many characters of text a body holds; image data and opaque values do not count."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(map(characters, value))
    if isinstance(value, dict):
        return sum(characters(part) for name, part in value.items() if name not in _UNCOUNTED_KEYS)
    return 0


def prompt_token_count(body: dict[str, Any]) -> int:
    """What a body's prompt costs, its tools included."""
    return token_count(sum(characters(body.get(name)) for name in _PROMPT_FIELDS))


def images(value: Any) -> Iterator[str]:
    """Every image in a body, by its URL or "data:" when it is inline; documents only when they have a URL."""
    if isinstance(value, list):
        for part in value:
            yield from images(part)
    elif isinstance(value, dict):
        if value.get("type") in _IMAGE_BLOCKS and (source := _source(value)):
            yield source
        for part in value.values():
            if isinstance(part, (list, dict)):
                yield from images(part)


def _source(block: dict[str, Any]) -> str:
    source = block.get("image_url", block.get("source"))
    if isinstance(source, dict):
        source = source.get("url")
    if isinstance(source, str):
        return source
    return "" if block["type"] == "document" else "data:"


def token_count(character_count: int) -> int:
    """The simulator's measure of tokens: four characters each, as a rule of thumb."""
    return -(-character_count // 4)
