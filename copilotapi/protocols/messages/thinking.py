"""Thinking blocks: reasoning that Claude signs, and takes back only as it gave it.

The vocabulary has one opaque string for what has to come back; the data of a redacted block is marked in it.
"""

from copilotapi.protocols.conversation import JSON, Reasoning

KINDS = ("thinking", "redacted_thinking")
_REDACTED = "redacted_thinking:"
# OpenAI's encrypted reasoning is a Fernet token: a version byte 0x80 and a time, in base64 (https://github.com/fernet/spec).
_FERNET = "gAAAA"


def decode_thinking(block: JSON) -> Reasoning:
    """A block of one of KINDS."""
    if block["type"] == "redacted_thinking":
        return Reasoning("", _REDACTED + str(block.get("data") or ""))
    return Reasoning(str(block.get("thinking") or ""), str(block.get("signature") or "") or None)


def encode_thinking(reasoning: Reasoning) -> JSON:
    """What nobody signed has an empty signature: clients want the field, and it does not go to Claude again."""
    if is_redacted(reasoning.opaque):
        return {"type": "redacted_thinking", "data": (reasoning.opaque or "").removeprefix(_REDACTED)}
    return {"type": "thinking", "thinking": reasoning.text, "signature": reasoning.opaque or ""}


def is_redacted(opaque: str | None) -> bool:
    return opaque is not None and opaque.startswith(_REDACTED)


def is_replayable(block: JSON) -> bool:
    """Whether Claude can have made the block. Empty and unsigned ones are refused, foreign ones too (copilot-wire 7.3)."""
    proof = block.get("data" if block["type"] == "redacted_thinking" else "signature")
    if not isinstance(proof, str) or not proof or proof.startswith(_FERNET):
        return False
    return block["type"] == "redacted_thinking" or bool(str(block.get("thinking") or "").strip())
