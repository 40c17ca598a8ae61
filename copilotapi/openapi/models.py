"""Embeddings and the list of models, described."""

from collections.abc import Mapping
from types import MappingProxyType

from copilotapi.openapi.shapes import (
    ANY,
    ANY_OBJECT,
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    TALLY,
    TEXT,
    Field,
    Operation,
    answer,
    any_of,
    array,
    const,
    json_body,
    one_of,
    optional,
    parameter,
    record,
    ref,
    request_schema,
    shared_parameter,
)
from copilotapi.protocols.conversation import JSON

_TEXT = {**TEXT, "minLength": 1}
FIELDS = (
    Field(
        "input",
        any_of(_TEXT, array(_TEXT, minItems=1)),
        "Hello",
        "A text, or several: sent as a list, in as many calls as the model's limit makes of it.",
        direct="changed",
        translated="",
        is_required=True,
    ),
    Field("model", NAME, "text-embedding-3-small", "Without it the account's first for embeddings.", translated=""),
    Field("dimensions", COUNT, 256, "How many numbers for each text.", translated=""),
    Field("encoding_format", one_of("float", "base64"), "float", "How to write them.", "read here", ""),
    Field("user", ANY, "somebody", "Who asks.", direct="left out", translated=""),
)

_MODEL_NEEDS = (
    "id",
    "object",
    "created",
    "owned_by",
    "type",
    "display_name",
    "created_at",
    "max_input_tokens",
    "max_tokens",
    "kind",
    "endpoints",
    "limits",
    "supports",
    "preview",
)
SCHEMAS: Mapping[str, JSON] = MappingProxyType(
    {
        "EmbeddingsRequest": request_schema(FIELDS, "Fields that are not listed are left out."),
        "Embeddings": record(
            {
                "object": const("list"),
                "model": TEXT,
                "data": array(
                    record(
                        {
                            "object": const("embedding"),
                            "index": TALLY,
                            "embedding": any_of(array(NUMBER), {**TEXT, "contentEncoding": "base64"}),
                        },
                        needs=("object", "index", "embedding"),
                    )
                ),
                "usage": record(
                    {"prompt_tokens": TALLY, "total_tokens": TALLY}, needs=("prompt_tokens", "total_tokens")
                ),
            },
            needs=("object", "model", "data", "usage"),
        ),
        "Model": record(
            {
                "id": TEXT,
                "object": const("model"),
                "created": {**TALLY, "description": "Always 0: Copilot does not tell."},
                "owned_by": TEXT,
                "type": const("model"),
                "display_name": TEXT,
                "created_at": TEXT,
                "max_input_tokens": optional(TALLY),
                "max_tokens": optional(TALLY),
                "kind": {**TEXT, "description": "chat, completion or embeddings."},
                "endpoints": {**array(TEXT), "description": "Where Copilot serves it."},
                "limits": ANY_OBJECT,
                "supports": ANY_OBJECT,
                "preview": FLAG,
            },
            needs=_MODEL_NEEDS,
            description="OpenAI's object and Anthropic's at once, and what Copilot tells besides.",
        ),
        "ModelList": record(
            {
                "object": const("list"),
                "data": array(ref("Model")),
                "has_more": FLAG,
                "first_id": optional(TEXT),
                "last_id": optional(TEXT),
            },
            needs=("object", "data", "has_more", "first_id", "last_id"),
        ),
        "EditorModel": record(
            {
                "id": TEXT,
                "object": const("model"),
                "name": TEXT,
                "vendor": TEXT,
                "version": TEXT,
                "preview": FLAG,
                "model_picker_enabled": FLAG,
                "capabilities": record({"type": TEXT, "family": TEXT}, needs=("type", "family")),
            },
            needs=("id", "object", "name", "vendor", "version", "capabilities"),
            description="Copilot's own object.",
        ),
        "EditorModelList": record(
            {"object": const("list"), "data": array(ref("EditorModel"))}, needs=("object", "data")
        ),
    }
)

_MODEL = {
    "id": "gpt-4.1",
    "object": "model",
    "created": 0,
    "owned_by": "Azure OpenAI",
    "type": "model",
    "display_name": "GPT-4.1",
    "created_at": "1970-01-01T00:00:00Z",
    "lifecycle": "active",
    "max_input_tokens": 128_000,
    "max_tokens": 16_384,
    "name": "GPT-4.1",
    "kind": "chat",
    "endpoints": ["/chat/completions"],
    "limits": {"max_prompt_tokens": 128_000, "max_output_tokens": 16_384},
    "supports": {"streaming": True, "tool_calls": True},
    "preview": False,
}
_LIST = {"object": "list", "data": [_MODEL], "has_more": False, "first_id": "gpt-4.1", "last_id": "gpt-4.1"}
_EDITOR_MODEL = {
    "id": "gpt-4.1",
    "object": "model",
    "name": "GPT-4.1",
    "vendor": "Azure OpenAI",
    "version": "gpt-4.1",
    "preview": False,
    "model_picker_enabled": True,
    "capabilities": {"type": "chat", "family": "gpt-4.1"},
}
_EDITOR_LIST = {"object": "list", "data": [_EDITOR_MODEL]}
_ID = parameter("model_id", "path", TEXT, "The model; a slash may stand in it.", "gpt-4.1")
_REQUEST_ID = shared_parameter("X-Request-Id")
_IN_WORDS = (shared_parameter("anthropic-version"), _REQUEST_ID)
_AS_EDITOR = (shared_parameter("Editor-Version"), _REQUEST_ID)
_WHOLE = {
    "object": "list",
    "model": "text-embedding-3-small",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.0117, -0.0086]}],
    "usage": {"prompt_tokens": 1, "total_tokens": 1},
}

OPERATIONS = (
    Operation(
        "post",
        ("/v1/embeddings", "/embeddings"),
        "createEmbeddings",
        "Embeddings",
        "Embed texts.",
        "key",
        "Embeddings",
        {"200": answer("One vector for each text.", ref("Embeddings"), {"one": _WHOLE}, "X-CopilotAPI-Usage")},
        parameters=(_REQUEST_ID,),
        body=json_body("EmbeddingsRequest", {"one": {"model": "text-embedding-3-small", "input": "Hello"}}),
    ),
    Operation(
        "get",
        ("/v1/models",),
        "listModels",
        "Models",
        "List the models of the account.",
        "key",
        "Listed",
        {"200": answer("The list.", ref("ModelList"), {"list": _LIST})},
        parameters=_IN_WORDS,
    ),
    Operation(
        "get",
        ("/v1/models/{model_id}",),
        "showModel",
        "Models",
        "Show one model; other names that mean it are taken too.",
        "key",
        "Shown",
        {"200": answer("The model.", ref("Model"), {"model": _MODEL})},
        parameters=(_ID, *_IN_WORDS),
    ),
    Operation(
        "get",
        ("/models",),
        "listModelsForAnyone",
        "Models",
        "The same list; for editors in Copilot's own words.",
        "key",
        "Editor",
        {
            "200": answer(
                "The list.",
                any_of(ref("ModelList"), ref("EditorModelList")),
                {"list": _LIST, "editor": _EDITOR_LIST},
            )
        },
        parameters=_AS_EDITOR,
    ),
    Operation(
        "get",
        ("/models/{model_id}",),
        "showModelToAnyone",
        "Models",
        "The same model; for editors in Copilot's own words.",
        "key",
        "EditorShown",
        {
            "200": answer(
                "The model.", any_of(ref("Model"), ref("EditorModel")), {"model": _MODEL, "editor": _EDITOR_MODEL}
            )
        },
        parameters=(_ID, *_AS_EDITOR),
    ),
)
