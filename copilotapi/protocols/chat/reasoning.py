"""Reasoning as chat carries it: one text and one opaque state beside a message (copilot-wire 5.1, state 2026-11).

Other protocols have several of each in one turn. These are packed into the one opaque string a client brings back.
"""

from collections.abc import Iterable

import orjson

from copilotapi.protocols.conversation import JSON, Reasoning, ReasoningDelta

_PACKED = "packed-reasoning:"


def encode_reasoning(parts: Iterable[Reasoning]) -> JSON:
    """The fields of a message for a client. Nothing where there is no reasoning."""
    reasonings = list(parts)
    text = "".join(reasoning.text for reasoning in reasonings)
    told = {"reasoning_text": text, "reasoning_opaque": packed(reasonings)}
    return {name: value for name, value in told.items() if value}


def packed(reasonings: list[Reasoning]) -> str | None:
    """The one opaque state as it came. Several with the lengths of the texts they belong to."""
    opaques = [reasoning.opaque for reasoning in reasonings if reasoning.opaque]
    if len(opaques) < 2:
        return next(iter(opaques), None)
    return _PACKED + orjson.dumps([[len(reasoning.text), reasoning.opaque] for reasoning in reasonings]).decode()


def extend(reasonings: list[Reasoning], delta: ReasoningDelta) -> None:
    """An opaque state closes its reasoning: more text is the next one's."""
    last = reasonings.pop() if reasonings and reasonings[-1].opaque is None else Reasoning("")
    reasonings.append(Reasoning(last.text + delta.text, delta.opaque))


def decode_reasoning(message: JSON) -> list[Reasoning]:
    """The reasoning that a client brings back, in its order."""
    text, opaque = message.get("reasoning_text"), message.get("reasoning_opaque")
    text = text if isinstance(text, str) else ""
    opaque = opaque if isinstance(opaque, str) else ""
    if opaque.startswith(_PACKED):
        return _unpacked(text, opaque.removeprefix(_PACKED))
    return [Reasoning(text, opaque or None)] if text or opaque else []


def encode_state(reasonings: list[Reasoning]) -> JSON:
    """The fields of a message for Copilot, which has use for the one state it gave: none for a mere text, nor for the
    several states of another endpoint.
    """
    opaque = packed(reasonings)
    return {} if opaque is None or opaque.startswith(_PACKED) else encode_reasoning(reasonings)


def _unpacked(text: str, packed_parts: str) -> list[Reasoning]:
    """One without its states where the text is no longer what they were given for."""
    try:
        parts = [(int(length), opaque) for length, opaque in orjson.loads(packed_parts)]
    except (orjson.JSONDecodeError, TypeError, ValueError):
        parts = []
    if sum(length for length, _ in parts) != len(text):
        return [Reasoning(text)] if text else []
    unpacked, start = [], 0
    for length, opaque in parts:
        unpacked.append(Reasoning(text[start : start + length], opaque if isinstance(opaque, str) else None))
        start += length
    return unpacked
