"""Arguments for a tool call, made up from the tool's JSON schema: always the same for the same schema."""

from typing import Any

_DEEPEST = 8
_MOST_ITEMS = 10
_TEXTS = {
    "date": "2026-01-02",
    "date-time": "2026-01-02T03:04:05Z",
    "time": "03:04:05Z",
    "email": "octocat@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def arguments_for(schema: Any) -> dict[str, Any]:
    """An object that fits `schema` as far as this goes: the required properties, or all when none are required."""
    made = _value(schema, "", schema, 0)
    return made if isinstance(made, dict) else {}


def _value(schema: Any, name: str, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("enum", "examples"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    inner = _inner(schema, root)
    return _value(inner, name, root, depth + 1) if inner is not None else _typed(schema, name, root, depth)


def _inner(schema: dict[str, Any], root: Any) -> Any:
    """The schema that this one stands for: behind a $ref, or the first of several that is not null."""
    if isinstance(schema.get("$ref"), str):
        return _resolved(schema["$ref"], root)
    for keyword in ("anyOf", "oneOf", "allOf"):
        choices = schema.get(keyword)
        if isinstance(choices, list) and choices:
            useful = [choice for choice in choices if not (isinstance(choice, dict) and choice.get("type") == "null")]
            return (useful or choices)[0]
    return None


def _resolved(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if part and isinstance(found, dict) else found
    return found if found is not root or reference == "#" else {}


def _typed(schema: dict[str, Any], name: str, root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            least = schema.get("minItems")
            count = min(max(1, least), _MOST_ITEMS) if isinstance(least, int) else 1
            items = schema.get("items", {"type": "string"})
            return [_value(items, name, root, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
    return _TEXTS.get(str(schema.get("format")), f"simulated {name}".strip())


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    required = schema.get("required")
    names = [name for name in properties if name in required] if isinstance(required, list) else []
    return {name: _value(properties[name], name, root, depth + 1) for name in names or properties}
