"""What the document says becomes of each field of a request is what the codecs do with it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import pytest

from copilotapi.errors import ApiError
from copilotapi.openapi import chat, completions, document, messages, models, responses
from copilotapi.openapi.shapes import Field, request_schema
from copilotapi.protocols import chat as chat_codec
from copilotapi.protocols import completions as completions_codec
from copilotapi.protocols import embeddings as embeddings_codec
from copilotapi.protocols import messages as messages_codec
from copilotapi.protocols import responses as responses_codec
from copilotapi.protocols.conversation import JSON

MODEL = "gpt-4.1"


@dataclass(frozen=True)
class Surface:
    """How a body is checked, sent on and judged before a translation."""

    check: Callable[[JSON], object]
    sent: Callable[[JSON, str], tuple[JSON, tuple[str, ...]]]
    losses: Callable[[JSON], tuple[str, ...]] | None
    fields: tuple[Field, ...]


def surface(codec: Any, fields: tuple[Field, ...]) -> Surface:
    return Surface(codec.check_request, lambda body, model: codec.for_upstream(body, model, {}), codec.losses, fields)


def embedded(body: JSON, model: str) -> tuple[JSON, tuple[str, ...]]:
    [sent] = embeddings_codec.for_upstream(body, model, 100)
    return sent, ()


SURFACES: Mapping[str, Surface] = {
    "chat": surface(chat_codec, chat.FIELDS),
    "responses": surface(responses_codec, responses.FIELDS),
    "messages": surface(messages_codec, messages.FIELDS),
    "completions": surface(completions_codec, completions.FIELDS),
    "embeddings": Surface(embeddings_codec.check_request, embedded, None, models.FIELDS),
}
CASES = [(name, field) for name, surface in SURFACES.items() for field in surface.fields]
IDS = [f"{name}-{field.name}" for name, field in CASES]
# What a field needs beside it to be asked for at all.
BESIDE: Mapping[str, tuple[str, ...]] = {"stream_options": ("stream",), "tool_choice": ("tools",)}


def asked(name: str, field: Field) -> JSON:
    surface = SURFACES[name]
    needed = {each.name: each.example for each in surface.fields if each.is_required}
    beside = {
        other: next(each.example for each in surface.fields if each.name == other)
        for other in BESIDE.get(field.name, ())
    }
    return {**needed, **beside, field.name: field.example}


def refused(error: ApiError, field: Field) -> str:
    is_told = error.status == 400 and (error.param or "").partition(".")[0] == field.name
    return "refused" if is_told else f"{error.status} {error.param}"


def direct(name: str, field: Field) -> str:
    """What becomes of a field where Copilot serves the model in the caller's protocol."""
    body = asked(name, field)
    try:
        SURFACES[name].check(body)
    except ApiError as exc:
        return refused(exc, field)
    model = field.example if field.name == "model" else MODEL
    sent, dropped = SURFACES[name].sent(body, model)
    if field.name in dropped:
        return "changed" if field.name in sent else "left out"
    if field.name not in sent:
        is_moved = isinstance(field.example, dict) and str(field.example) in str(sent)
        return "moved" if is_moved else "left out or read here"
    return "forwarded" if sent[field.name] == field.example else "changed"


def translated(name: str, field: Field) -> str:
    body = asked(name, field)
    losses = SURFACES[name].losses
    assert losses is not None
    try:
        SURFACES[name].check(body)
        lost = losses(body)
    except ApiError as exc:
        return refused(exc, field)
    return "left out" if field.name in lost else "carried"


@pytest.mark.parametrize(("name", "field"), CASES, ids=IDS)
def test_what_becomes_of_a_field_in_its_own_protocol_is_told(name: str, field: Field) -> None:
    assert field.direct in direct(name, field)


@pytest.mark.parametrize(("name", "field"), CASES, ids=IDS)
def test_what_becomes_of_a_field_in_another_protocol_is_told(name: str, field: Field) -> None:
    if SURFACES[name].losses is None:
        assert field.translated == ""
    else:
        assert translated(name, field) == field.translated


PROBES: tuple[object, ...] = (
    None,
    True,
    1,
    0,
    -1,
    1.5,
    "x",
    "",
    " ",
    [],
    ["x"],
    [1],
    [{}],
    {},
    {"type": "x"},
    {"type": 1},
)
COMPONENTS = document(title="", description="", version="")["components"]


def is_taken(name: str, body: JSON) -> bool:
    try:
        SURFACES[name].check(body)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize(("name", "field"), CASES, ids=IDS)
def test_a_schema_takes_what_the_codec_takes(name: str, field: Field) -> None:
    schema = {**request_schema(SURFACES[name].fields, ""), "components": COMPONENTS}
    validator = jsonschema_rs.Draft202012Validator(schema)
    bodies = [{**asked(name, field), field.name: probe} for probe in (*PROBES, field.example)]
    told = {str(body[field.name]): validator.is_valid(body) for body in bodies}
    assert told == {str(body[field.name]): is_taken(name, body) for body in bodies}


@pytest.mark.parametrize("name", SURFACES)
def test_no_field_is_told_of_twice(name: str) -> None:
    names = [field.name for field in SURFACES[name].fields]
    assert sorted(set(names)) == sorted(names)
