"""The surfaces put together as one OpenAPI 3.1 document."""

from collections.abc import Iterator, Mapping
from itertools import chain

from copilotapi.openapi import chat, completions, editors, errors, messages, models, operator, responses
from copilotapi.openapi.shapes import TEXT, WHOLE, Operation, one_of, parameter
from copilotapi.protocols.conversation import JSON

_SURFACES = (chat, responses, messages, completions, models, editors, operator)
TAGS = {
    "Chat Completions": "OpenAI's protocol for chats.",
    "Responses": "OpenAI's protocol for agents. Nothing is stored between requests.",
    "Messages": "Anthropic's protocol.",
    "Completions": "Text before and after a cursor.",
    "Embeddings": "Texts as vectors.",
    "Models": "What the account can use.",
    "Operator": "The token, and what was used.",
    "Status": "How the gateway is, and this document.",
    "Editors": "What an editor's Copilot client asks for. Nothing it sends there is read, kept or passed on.",
    "Other spellings": "The same operations under the paths that some clients use.",
}
_NOTES = """

Any model of the account is reached over any of the protocols; where Copilot does not serve it in that protocol, requests
and answers are translated. What a field of a request becomes stands beside it as `x-copilotapi`.

- A key goes into `Authorization: Bearer` or `x-api-key`. A gateway without keys serves programs of its own machine only.
- Every path answers OPTIONS; another method than those listed is a 405 with `Allow`. A slash at the end is tolerated.
- Every answer has `X-Request-Id`. Copilot's own `x-ratelimit-*` and `x-quota-snapshot-*` are passed on.
- Streams send heartbeats while a model is silent: a comment, or Anthropic's `ping`.
"""
_KEYS: list[JSON] = [{"bearer": []}, {"x_api_key": []}]
_SECURITY: JSON = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of API_KEYS, or ADMIN_KEY. On editors' paths the scheme `token` is taken too, and so is a "
        "token that /copilot_internal/v2/token has issued.",
    },
    "x_api_key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same key."},
}
PARAMETERS: JSON = {
    "X-Request-Id": parameter(
        "X-Request-Id",
        "header",
        TEXT,
        "Taken for the request's id when it is 1 to 128 letters, digits and `._:-`; Copilot is told it, too.",
    ),
    "X-CopilotAPI-No-Fallback": parameter(
        "X-CopilotAPI-No-Fallback", "header", TEXT, "`1` or `true` refuses FALLBACK_MODEL for this request."
    ),
    "anthropic-version": parameter(
        "anthropic-version", "header", TEXT, "`2023-06-01`, or any other, makes errors come in Anthropic's envelope."
    ),
    "anthropic-beta": parameter(
        "anthropic-beta",
        "header",
        TEXT,
        "Passed on as far as Copilot takes it; the rest is named in X-CopilotAPI-Warnings.",
    ),
    "Editor-Version": parameter(
        "Editor-Version", "header", TEXT, "Sent by editors, as `vscode/1.104.1`: makes the answer Copilot's own."
    ),
}


def _header(schema: JSON, description: str, **more: bool) -> JSON:
    return {"description": description, "schema": schema, **more}


HEADERS: JSON = {
    "X-Request-Id": _header(TEXT, "Finds the request in the log.", required=True),
    "X-CopilotAPI-Usage": _header(one_of("upstream", "estimate"), "Whose numbers the usage is, on whole answers."),
    "X-CopilotAPI-Fallback": _header(TEXT, "`asked->used`, when FALLBACK_MODEL answered."),
    "X-CopilotAPI-Warnings": _header(TEXT, "What was left out or changed: `dropped:user, model:a->b`."),
    "Retry-After": _header(WHOLE, "Seconds to wait."),
    "X-RateLimit-Limit": _header(TEXT, "Requests a minute for one address."),
    "X-RateLimit-Remaining": _header(TEXT, "How many are left."),
    "X-RateLimit-Reset": _header(TEXT, "When they are given back, as unix time."),
    "WWW-Authenticate": _header(TEXT, "How to send a key."),
    "X-Should-Retry": _header(one_of("false"), "Asking again with the same key is of no use."),
    "Allow": _header(TEXT, "The methods of the path."),
    "ETag": _header(TEXT, "For If-None-Match."),
}


def operations() -> Iterator[Operation]:
    return chain.from_iterable(surface.OPERATIONS for surface in _SURFACES)


def document(*, title: str, description: str, version: str) -> JSON:
    """Everything this gateway answers, as one JSON object of its own."""
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "description": f"{description}{_NOTES}", "version": version},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": told} for name, told in TAGS.items()],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": errors.responses(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _schemas() -> JSON:
    named: Mapping[str, JSON] = dict(errors.SCHEMAS)
    return {**named, **{name: schema for surface in _SURFACES for name, schema in surface.SCHEMAS.items()}}


def _paths() -> JSON:
    paths: JSON = {}
    for operation in operations():
        for number, path in enumerate(operation.paths):
            paths.setdefault(path, {})[operation.method] = _shown(operation, number)
    return paths


def _shown(operation: Operation, number: int) -> JSON:
    """`number` is the place of the path among the operation's."""
    refused = {
        status: {"$ref": f"#/components/responses/{errors.component(operation.errors, status)}"}
        for status in errors.statuses(operation.errors)
    }
    shown: JSON = {
        "operationId": operation.name + (f"Spelling{number + 1}" if number else ""),
        "tags": ["Other spellings" if number else operation.tag],
        "summary": operation.summary,
        "x-copilotapi-access": operation.access,
        "security": [] if operation.access == "public" else _KEYS,
        "parameters": list(operation.parameters),
        "responses": {**refused, **operation.answers},
    }
    description = f"The same as `{operation.paths[0]}`." if number else operation.description
    if operation.access == "loopback or admin":
        shown["security"] = [*_KEYS, {}]
    if description:
        shown["description"] = description
    if operation.body is not None:
        shown["requestBody"] = operation.body
    return shown
