"""Every client protocol over every upstream, streamed and whole: one table of requests, one of answers."""

import pytest

from copilotapi.errors import ApiError
from tests.protocols.answers import ANSWERS, Answer
from tests.protocols.asks import ASKS, Ask
from tests.protocols.pairs import PAIRS, UPSTREAMS, answered, asked, read

SAID = [(answer, *pair) for answer in ANSWERS for pair in PAIRS if pair[1] not in answer.unsaid_by]
either_way = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])


@either_way
@pytest.mark.parametrize(
    ("answer", "client", "upstream"),
    SAID,
    ids=[f"{answer.feature}-{client}-{upstream}" for answer, client, upstream in SAID],
)
def test_a_client_reads_what_the_upstream_said(answer: Answer, client: str, upstream: str, streamed: bool) -> None:
    told = read(client, answered(client, upstream, answer.deltas, streamed=streamed), streamed=streamed)
    assert told == answer.expected(client, upstream)


ASKED = [(ask, client, upstream) for ask in ASKS for client in ask.says for upstream in UPSTREAMS]


@pytest.mark.parametrize(
    ("ask", "client", "upstream"),
    ASKED,
    ids=[f"{ask.feature}-{client}-{upstream}" for ask, client, upstream in ASKED],
)
def test_an_upstream_is_asked_what_the_client_said(ask: Ask, client: str, upstream: str) -> None:
    less = ask.less(client, upstream)
    if less is not None and less.param is not None:
        with pytest.raises(ApiError) as caught:
            asked(client, upstream, ask.body(client))
        assert (caught.value.status, caught.value.param) == (400, less.param)
        return
    told = asked(client, upstream, ask.body(client))
    expected = ask.expected(client, upstream)
    assert {name: told.given.get(name) for name in expected} == expected
    assert told.dropped == (less.dropped if less is not None else ())
