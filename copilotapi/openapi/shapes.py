"""Short words for JSON schemas, and for the parts of an operation that all surfaces share. Knows no path."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from copilotapi.protocols.conversation import JSON

TEXT: JSON = {"type": "string"}
NAME: JSON = {"type": "string", "pattern": r"\S"}
NUMBER: JSON = {"type": "number"}
WHOLE: JSON = {"type": "integer"}
COUNT: JSON = {"type": "integer", "minimum": 1}
TALLY: JSON = {"type": "integer", "minimum": 0}
FLAG: JSON = {"type": "boolean"}
# Not looked at here: Copilot judges it.
ANY: JSON = {}
ANY_OBJECT: JSON = {"type": "object"}
NOTHING: JSON = {"type": "null"}
_DONE = "data: [DONE]\n\n"


def ref(name: str) -> JSON:
    return {"$ref": f"#/components/schemas/{name}"}


def const(value: str) -> JSON:
    return {"type": "string", "const": value}


def one_of(*values: str) -> JSON:
    return {"type": "string", "enum": list(values)}


def array(items: JSON, **more: Any) -> JSON:
    return {"type": "array", "items": items, **more}


def any_of(*schemas: JSON, **more: Any) -> JSON:
    return {"anyOf": list(schemas), **more}


def optional(schema: JSON) -> JSON:
    """The schema, or null: what a gateway takes for absent."""
    if not schema:
        return ANY
    if isinstance(schema.get("type"), str) and not {"enum", "const"} & schema.keys():
        return {**schema, "type": [schema["type"], "null"]}
    return any_of(schema, NOTHING)


def record(properties: Mapping[str, JSON], needs: Iterable[str] = (), **more: Any) -> JSON:
    """An object with these properties; others are let be."""
    needed = list(needs)
    return {"type": "object", "properties": dict(properties), **({"required": needed} if needed else {}), **more}


def another(name: str, *known: str) -> JSON:
    """An object whose `name` is a string, but none of those that other schemas describe."""
    return record({name: {"type": "string", "not": {"enum": list(known)}}}, needs=(name,))


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a request, and what becomes of it.

    direct: where Copilot serves the model in the caller's protocol: "forwarded", "changed", "moved" to another field,
    "left out" (named in X-CopilotAPI-Warnings where it was a hint), "read here" or "refused". translated: where it
    serves another protocol: "carried", "left out" or "refused"; "" where there is no translation.
    """

    name: str
    schema: JSON
    example: Any
    meaning: str
    direct: str = "forwarded"
    translated: str = "carried"
    is_required: bool = False


def request_schema(fields: Iterable[Field], description: str) -> JSON:
    fields = list(fields)
    required = [each.name for each in fields if each.is_required]
    properties = {each.name: _property(each) for each in fields}
    return record(properties, required, description=description)


def _property(each: Field) -> JSON:
    schema = each.schema if each.is_required else optional(each.schema)
    told = {"direct": each.direct, **({"translated": each.translated} if each.translated else {})}
    examples = {} if each.direct == "refused" else {"examples": [each.example]}
    return {**schema, "description": each.meaning, **examples, "x-copilotapi": told}


@dataclass(frozen=True, slots=True)
class Operation:
    """One act of the API. `paths`: the first is the one to use, the others answer the same.

    access: who may, in the guard's words. errors: a family of `errors.FAMILIES`. answers: status to response object.
    """

    method: str
    paths: tuple[str, ...]
    name: str
    tag: str
    summary: str
    access: str
    errors: str
    answers: Mapping[str, JSON]
    description: str = ""
    parameters: tuple[JSON, ...] = ()
    body: JSON | None = None


def json_body(schema: str, examples: Mapping[str, Any]) -> JSON:
    """A request body that has to be there."""
    return {"required": True, "content": {"application/json": _content(ref(schema), examples)}}


def answer(description: str, schema: JSON, examples: Mapping[str, Any], *told: str) -> JSON:
    return {
        "description": description,
        "headers": headers(*told),
        "content": {"application/json": _content(schema, examples)},
    }


def streaming(whole: JSON, event: str, stream: str, ending: str) -> JSON:
    """`whole`, and the same answer as server-sent events; the data of each is an `event`, but for a last `[DONE]`.

    The schema is of one event, as OpenAPI 3.2 has it: an object of the fields of its frame. stream: an example.
    """
    told = f'With `"stream": true` server-sent events, each with a `{event}`. {ending}'
    data: JSON = {**TEXT, "contentMediaType": "application/json", "contentSchema": ref(event)}
    if stream.endswith(_DONE):
        data = any_of({**TEXT, "const": "[DONE]"}, data)
    schema = record({"event": TEXT, "data": data}, needs=("data",), description="One event.")
    content = {**whole["content"], "text/event-stream": _content(schema, {"event": _first_event(stream)})}
    return {**whole, "description": f"{whole['description']} {told}\n\n```\n{stream.rstrip()}\n```", "content": content}


def _first_event(stream: str) -> JSON:
    fields = (line.partition(": ") for line in stream.partition("\n\n")[0].splitlines())
    return {name: value for name, _, value in fields}


def plain(description: str, media_type: str, schema: JSON, example: str) -> JSON:
    content = {media_type: _content(schema, {"example": example})}
    return {"description": description, "headers": headers(), "content": content}


def empty(description: str) -> JSON:
    return {"description": description, "headers": headers()}


def parameter(name: str, place: str, schema: JSON, description: str, example: Any = None) -> JSON:
    """Headers go without an example: the explorer would send it with every request that is tried out."""
    told: JSON = {"name": name, "in": place, "description": description, "schema": schema}
    required = {"required": True} if place == "path" else {}
    return {**told, **required, **({} if example is None else {"example": example})}


def shared_parameter(name: str) -> JSON:
    return {"$ref": f"#/components/parameters/{name}"}


def _content(schema: JSON, examples: Mapping[str, Any]) -> JSON:
    return {"schema": schema, "examples": {name: {"value": value} for name, value in examples.items()}}


def headers(*names: str) -> JSON:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}
