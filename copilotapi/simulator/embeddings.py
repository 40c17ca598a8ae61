"""POST /embeddings: unit vectors that depend on the text alone, in an answer without `object` and `model`
(copilot-wire 6.4)."""

import math
import random

from copilotapi.simulator.answers import JSON, Answer, json_answer, refuse
from copilotapi.simulator.capi import authenticate, object_body
from copilotapi.simulator.catalogue import BY_ID, Model
from copilotapi.simulator.prompts import prompt_token_count
from copilotapi.simulator.world import Call

_DIMENSIONS = 1536
_TOKENS_PER_INPUT = 8_191


def embeddings(call: Call) -> Answer:
    authenticate(call)
    body = object_body(call)
    texts = _texts(body)
    call.obey("\n".join(texts))
    model = _model(body)
    _check(body, texts, model)
    dimensions = body.get("dimensions") or _DIMENSIONS
    data = [
        {"embedding": _vector(text, dimensions), "index": index, "object": "embedding"}
        for index, text in enumerate(texts)
    ]
    count = prompt_token_count(body)
    return json_answer({"data": data, "usage": {"prompt_tokens": count, "total_tokens": count}})


def _texts(body: JSON) -> list[str]:
    given = body.get("input")
    if not isinstance(given, list) or not given or not all(isinstance(text, str) for text in given):
        raise refuse(400, "input must be a list of at least one text", "invalid_request_body", param="input")
    return given


def _model(body: JSON) -> Model:
    model = BY_ID.get(str(body.get("model")))
    if model is None:
        more = {"param": "model", "type": "invalid_request_error"}
        raise refuse(400, "The requested model is not supported.", "model_not_supported", **more)
    if model.kind != "embeddings":
        message = f'model "{model.id}" is not accessible via the /embeddings endpoint'
        raise refuse(400, message, "unsupported_api_for_model")
    return model


def _check(body: JSON, texts: list[str], model: Model) -> None:
    if model.max_inputs is not None and len(texts) > model.max_inputs:
        raise refuse(400, f"too many inputs: {len(texts)} > {model.max_inputs}", "invalid_request_body", param="input")
    if any(len(text) > 4 * _TOKENS_PER_INPUT for text in texts):
        raise refuse(400, f"an input exceeds {_TOKENS_PER_INPUT} tokens", "invalid_request_body", param="input")
    dimensions = _DIMENSIONS if body.get("dimensions") is None else body["dimensions"]
    if not isinstance(dimensions, int) or isinstance(dimensions, bool) or not 1 <= dimensions <= _DIMENSIONS:
        raise refuse(400, f"dimensions must be 1 to {_DIMENSIONS}", "invalid_request_body", param="dimensions")


def _vector(text: str, dimensions: int) -> list[float]:
    source = random.Random(text)
    values = [source.uniform(-1.0, 1.0) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in values))
    return [round(value / length, 8) for value in values]
