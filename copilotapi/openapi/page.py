"""The page made from the document's data: docs/protocols.md."""

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from copilotapi.openapi import chat, completions, errors, messages, models, responses
from copilotapi.openapi.shapes import Field, Operation
from copilotapi.openapi.surfaces import HEADERS, PARAMETERS, TAGS, operations
from copilotapi.protocols.conversation import JSON

_FIELDS: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "Chat Completions": chat.FIELDS,
        "Responses": responses.FIELDS,
        "Messages": messages.FIELDS,
        "Completions": completions.FIELDS,
        "Embeddings": models.FIELDS,
    }
)
_INTRODUCTION = """\
# Protocols

Written by `python -m copilotapi.openapi` from what `/openapi.json` tells; change it in `copilotapi/openapi`. The document
has the schemas, an example of each request and answer, and every error; `/docs` shows it and tries it out.

*Who may*: `public` is everyone, `key` an API key, `the key itself` not a token issued for one, `admin` the operator's key,
`loopback or admin` programs of the same machine too. A gateway without keys serves only those, as key and as admin.

*Same protocol* says what becomes of a field where Copilot serves the model in the caller's own protocol, *translated* where
it does not: *forwarded* and *carried* arrive, *changed* and *moved* arrive as Copilot takes them, *left out* do not,
*refused* are a 400 that names the field, *read here* are obeyed and not passed on. Fields that are not listed are forwarded
in the same protocol. Where a pair of protocols differs, and what is carried beyond fields:
[compatibility.md](compatibility.md).

Every path answers OPTIONS, any other method that is not listed is a 405 with `Allow`, a slash at the end is tolerated.
"""


def protocols_page() -> str:
    """The text of docs/protocols.md."""
    listed = list(operations())
    tags = dict.fromkeys(operation.tag for operation in listed)
    surfaces = (_surface(tag, [one for one in listed if one.tag == tag]) for tag in tags)
    lines = [_INTRODUCTION, *(line for surface in surfaces for line in surface), *_headers(), *_errors()]
    return "\n".join(lines) + "\n"


def _surface(tag: str, listed: list[Operation]) -> Iterator[str]:
    yield f"## {tag}\n\n{TAGS[tag]}\n"
    yield "| method | path | who may | what | errors |\n|---|---|---|---|---|"
    for one in listed:
        paths = " ".join(f"`{path}`" for path in one.paths)
        yield f"| {one.method.upper()} | {paths} | {one.access} | {one.summary} | {_statuses(one.errors)} |"
    yield ""
    if fields := _FIELDS.get(tag):
        yield from _fields(fields)


def _fields(fields: Iterable[Field]) -> Iterator[str]:
    fields = list(fields)
    has_translation = any(each.translated for each in fields)
    head = "| field | type | meaning | same protocol |"
    yield (
        head
        + (" translated |" if has_translation else "")
        + "\n|---|---|---|---|"
        + ("---|" if has_translation else "")
    )
    for each in fields:
        name = f"**`{each.name}`**" if each.is_required else f"`{each.name}`"
        row = f"| {name} | {_kind(each)} | {each.meaning} | {each.direct} |"
        yield row + (f" {each.translated} |" if has_translation else "")
    yield "\nFields in bold have to be there; null is the same as absent for the others.\n"


def _kind(each: Field) -> str:
    return "–" if each.direct == "refused" else " or ".join(dict.fromkeys(_kinds(each.schema)))


def _kinds(schema: JSON) -> Iterator[str]:
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from _kinds(one)
    elif "enum" in schema:
        yield ", ".join(f"`{value}`" for value in schema["enum"])
    else:
        yield schema.get("type", "object" if "$ref" in schema else "any")


def _statuses(family: str) -> str:
    return " ".join(errors.statuses(family))


def _headers() -> Iterator[str]:
    yield "## Headers\n\n| request | meaning |\n|---|---|"
    for name, told in PARAMETERS.items():
        yield f"| `{name}` | {told['description']} |"
    yield "\n| answer | meaning |\n|---|---|"
    for name, told in HEADERS.items():
        yield f"| `{name}` | {told['description']} |"
    yield ""


def _errors() -> Iterator[str]:
    yield "## Errors\n"
    yield 'In OpenAI\'s envelope `{"error": {"message", "type", "param", "code"}}`; on `/v1/messages`, and on'
    yield "`/v1/models` with the header `anthropic-version`, in Anthropic's. *4XX* are Copilot's own refusals, passed on. What to"
    yield "do about a code: [operations.md](operations.md#error-codes).\n"
    yield "| status | codes |\n|---|---|"
    named: dict[int, dict[str, None]] = {}
    for family in errors.FAMILIES.values():
        for refusal in family.refusals:
            named.setdefault(refusal.status, {}).update({refusal.named: None} if refusal.named else {})
    for status, codes in sorted(named.items()):
        yield f"| {status} | {', '.join(f'`{code}`' for code in codes)} |"
