"""OpenAI's embeddings. Copilot takes a list only, so many inputs at a time, and answers without the envelope
(copilot-wire 6.4)."""

import base64
import sys
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from copilotapi.errors import UpstreamFailed, bad_request
from copilotapi.protocols.conversation import JSON, Usage

ENDPOINT = "/embeddings"


def check_request(body: JSON) -> None:
    """ApiError 400 naming the `param`."""
    inputs(body)
    model = body.get("model")
    if model is not None and (not isinstance(model, str) or not model.strip()):
        raise bad_request("'model' must be the name of a model.", param="model")
    if body.get("encoding_format") not in (None, "float", "base64"):
        raise bad_request("'encoding_format' must be 'float' or 'base64'.", param="encoding_format")
    dimensions = body.get("dimensions")
    if dimensions is not None and (not isinstance(dimensions, int) or isinstance(dimensions, bool) or dimensions < 1):
        raise bad_request("'dimensions' must be a whole number of at least 1.", param="dimensions")


def inputs(body: JSON) -> list[str]:
    """The texts to embed. ApiError 400 when there are none, or token numbers instead."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not texts:
        raise bad_request("'input' must be a text or a list of texts.", param="input")
    if any(isinstance(text, int | list) for text in texts):
        raise bad_request("'input' must be text: token numbers are not supported.", param="input")
    if not all(isinstance(text, str) and text for text in texts):
        raise bad_request("Each text of 'input' must be a string that is not empty.", param="input")
    return texts


def for_upstream(body: JSON, model: str, max_inputs: int) -> Iterator[JSON]:
    """The bodies to send, one for each batch."""
    texts = inputs(body)
    dimensions = {"dimensions": body["dimensions"]} if body.get("dimensions") else {}
    for start in range(0, len(texts), max_inputs):
        yield {"model": model, "input": texts[start : start + max_inputs], **dimensions}


def merge(answers: Iterable[Any], body: JSON, model: str) -> tuple[JSON, Usage]:
    """The answers to all batches as OpenAI's one. UpstreamFailed when they do not hold an embedding for each input."""
    vectors: list[list[float]] = []
    token_count = 0
    for answer in answers:
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise UpstreamFailed("Copilot's answer holds no embeddings.", code="upstream_bad_response")
        vectors += [_vector(item) for item in sorted(answer["data"], key=_index)]
        usage = answer.get("usage")
        token_count += usage.get("prompt_tokens", 0) if isinstance(usage, dict) else 0
    if len(vectors) != len(inputs(body)):
        raise UpstreamFailed("Copilot did not embed every input.", code="upstream_bad_response")
    is_base64 = body.get("encoding_format") == "base64"
    merged: JSON = {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if is_base64 else vector}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": token_count, "total_tokens": token_count},
    }
    return merged, Usage(token_count, 0)


def _index(item: Any) -> int:
    index = item.get("index") if isinstance(item, dict) else None
    return index if isinstance(index, int) else 0


def _vector(item: Any) -> list[float]:
    vector = item.get("embedding") if isinstance(item, dict) else None
    if not isinstance(vector, list) or not all(isinstance(number, int | float) for number in vector):
        raise UpstreamFailed("Copilot's answer holds no embeddings.", code="upstream_bad_response")
    return vector


def _base64(vector: list[float]) -> str:
    """Four bytes a number, little-endian, as OpenAI's clients read it."""
    packed = array("f", vector)
    if sys.byteorder == "big":
        packed.byteswap()
    return base64.b64encode(packed.tobytes()).decode()
