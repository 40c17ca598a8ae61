import base64
import struct
from typing import Any

import pytest

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.protocols import embeddings
from copilotapi.protocols.conversation import Usage


def answer(*vectors: list[float]) -> dict[str, Any]:
    """As Copilot answers: without `object` and `model` (copilot-wire 6.4)."""
    data = [{"embedding": vector, "index": index, "object": "embedding"} for index, vector in enumerate(vectors)]
    return {"data": data, "usage": {"prompt_tokens": len(data), "total_tokens": len(data)}}


def test_a_single_text_is_sent_as_a_list() -> None:
    [sent] = embeddings.for_upstream({"input": "a", "dimensions": 8, "encoding_format": "base64"}, "m", 512)
    assert sent == {"model": "m", "input": ["a"], "dimensions": 8}


def test_more_inputs_than_fit_become_batches_and_one_answer_again() -> None:
    body = {"input": ["a", "b", "c"]}
    assert [sent["input"] for sent in embeddings.for_upstream(body, "m", 2)] == [["a", "b"], ["c"]]
    merged, usage = embeddings.merge([answer([1.0], [2.0]), answer([3.0])], body, "m")
    assert [(item["index"], item["embedding"]) for item in merged["data"]] == [(0, [1.0]), (1, [2.0]), (2, [3.0])]
    assert (merged["object"], merged["model"], usage) == ("list", "m", Usage(3, 0))


def test_base64_is_four_little_endian_bytes_a_number() -> None:
    merged, _ = embeddings.merge([answer([0.5, -2.0])], {"input": "a", "encoding_format": "base64"}, "m")
    packed = base64.b64decode(merged["data"][0]["embedding"])
    assert struct.unpack("<2f", packed) == (0.5, -2.0)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1], [2]]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": "a", "model": 3}, "model"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": True}, "dimensions"),
    ],
)
def test_a_wrong_request_names_its_field(body: dict[str, Any], param: str) -> None:
    with pytest.raises(ApiError) as caught:
        embeddings.check_request(body)
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize("given", [None, {}, {"data": [{}]}, {"data": []}, {"data": [{"embedding": "x"}]}])
def test_an_answer_without_an_embedding_for_each_input_is_an_error(given: Any) -> None:
    with pytest.raises(UpstreamFailed):
        embeddings.merge([given], {"input": "a"}, "m")
