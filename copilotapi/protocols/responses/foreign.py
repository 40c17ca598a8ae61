"""Reasoning that no model of OpenAI's can have encrypted: it comes from a turn that another maker's model answered.

Copilot refuses a whole request for one item it cannot verify (copilot-wire 6.2).
"""

import base64
import binascii
import re

_REDACTED = "redacted_thinking:"
# https://docs.claude.com/en/docs/build-with-claude/extended-thinking: a signature is a protobuf in base64; all that are
# shown begin with a field 2 whose message begins with a field 1. Google's begin alike.
_SIGNATURE = re.compile(rb"\x12[\x80-\xff]*[\x00-\x7f]\x0a")
_HEAD_CHARS = 12


def is_foreign(opaque: str) -> bool:
    """Whether this is a signature of Claude's, or the data of its redacted thinking as other protocols carry it."""
    if opaque.startswith(_REDACTED):
        return True
    try:
        head = base64.b64decode(opaque[:_HEAD_CHARS], validate=True)
    except (binascii.Error, ValueError):
        return False
    return _SIGNATURE.match(head) is not None
