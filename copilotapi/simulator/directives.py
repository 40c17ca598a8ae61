"""Faults written into a prompt, so that they pass through any gateway on the way to the simulator.

    [[simulate: status=429 code=user_model_rate_limited retry_after=2 times=1]]
    [[simulate: cut after_events=2]]        [[simulate: stall after_events=1]]
    [[simulate: delay_seconds=1]]           [[simulate: answer words=500 chunk_delay_seconds=0.02]]

Grammar: "[[simulate:" then words between blanks, then "]]". A bare word is the kind; the rest is name=value with the
fields of a fault, a value with blanks in double quotes. Without a kind it is the only one that fits: `status=` means
status, `delay_seconds=` alone means delay, the fields of an answer mean answer. Several directives add up. They are read
from the last user message. `times=2` counts by the exact text of that message: only the first two requests with it are
hit, so a retry gets through; without `times` every one is. `model=` narrows one to requests for that model. `path` and
`every` belong to pushed faults only.
"""

import re
import threading
from collections import Counter
from typing import Any

from copilotapi.simulator.faults import COMMON_FIELDS, FIELD_TYPES, KINDS, Fault, FaultError, fault_from

_DIRECTIVE = re.compile(r"\[\[simulate:([^\[\]]*)\]\]")
_OPENING = "[[simulate:"
_WORD = re.compile(r'\s*([A-Za-z0-9_]+)(?:=("[^"]*"|[^\s"]+))?(?=\s|$)')
_REFUSED = {"path": "the request it is written in is the one it is for", "every": "use times, or push a fault"}
_REMEMBERED_PROMPTS = 10_000


def faults_in(text: str) -> list[Fault]:
    """Every directive in a prompt, in order. Raises FaultError that quotes the directive and says what is wrong."""
    found = _DIRECTIVE.findall(text)
    if text.count(_OPENING) > len(found):
        raise FaultError("a directive opens with [[simulate: and must end with ]]")
    return [_fault(words) for words in found]


def without_directives(text: str) -> str:
    return _DIRECTIVE.sub("", text).strip()


class PromptCounts:
    """How often a directive with `times` was met, by the exact text of its prompt."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._met: Counter[int] = Counter()

    def due(self, prompt: str, faults: list[Fault]) -> list[Fault]:
        """Those of the prompt's faults that still happen this time."""
        if not any(fault.times for fault in faults):
            return faults
        with self._lock:
            if len(self._met) >= _REMEMBERED_PROMPTS:
                self._met.clear()
            self._met[hash(prompt)] += 1
            met = self._met[hash(prompt)]
        return [fault for fault in faults if fault.times == 0 or met <= fault.times]

    def clear(self) -> None:
        with self._lock:
            self._met.clear()


def _fault(words: str) -> Fault:
    try:
        wire = _parsed(words)
        kind = wire.get("kind") or _only_kind_for(wire)
        if kind == "token_life":
            raise FaultError("token_life happens to an exchange, which has no prompt: push it")
        return fault_from({"times": 0} | wire | {"kind": kind})
    except FaultError as exc:
        raise FaultError(f"[[simulate:{words}]]: {exc}") from exc


def _parsed(words: str) -> dict[str, Any]:
    wire: dict[str, Any] = {}
    end = len(words.rstrip())
    position = 0
    while position < end:
        word = _WORD.match(words, position, end)
        if word is None:
            raise FaultError(f"cannot read {words[position:end].strip()!r}; write name=value or a kind")
        name, value = word.groups()
        _add(wire, *(("kind", name) if value is None else (name, value)))
        position = word.end()
    if not wire:
        raise FaultError("it is empty")
    return wire


def _add(wire: dict[str, Any], name: str, value: str) -> None:
    if name in _REFUSED:
        raise FaultError(f"{name} has no place in a prompt: {_REFUSED[name]}")
    if name not in FIELD_TYPES:
        raise FaultError(f"unknown field {name!r}")
    if name in wire:
        raise FaultError(f"two values for {name}: {wire[name]!r} and {value!r}")
    wire[name] = _typed(name, value)


def _typed(name: str, value: str) -> int | float | str:
    kinds = FIELD_TYPES[name]
    try:
        if int in kinds and re.fullmatch(r"-?\d+", value):
            return int(value)
        if float in kinds:
            return float(value)
    except ValueError as exc:
        raise FaultError(f"{name} must be a number, not {value!r}") from exc
    return value.strip('"')


def _only_kind_for(wire: dict[str, Any]) -> str:
    special = set(wire) - COMMON_FIELDS
    if "status" in special:
        return "status"
    if not special and "delay_seconds" in wire:
        return "delay"
    if special and special <= KINDS["answer"]:
        return "answer"
    raise FaultError(f"it needs a kind, one of {', '.join(KINDS)}")
