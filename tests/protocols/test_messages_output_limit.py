"""A request for more than its model can write."""

from typing import Any

import pytest

from copilotapi.protocols.messages import within_output_limit


def thinks(budget_tokens: int) -> dict[str, Any]:
    return {"thinking": {"type": "enabled", "budget_tokens": budget_tokens}}


@pytest.mark.parametrize("max_tokens", [1, 16_000])
def test_what_the_model_can_write_is_left_alone(max_tokens: int) -> None:
    body = {"max_tokens": max_tokens, **thinks(20_000)}
    assert within_output_limit(body, 16_000) is body


@pytest.mark.parametrize(
    ("thinking", "sent"),
    [
        ({}, {}),
        (thinks(31_999), thinks(8_000)),
        (thinks(16_000), thinks(8_000)),
        (thinks(15_999), thinks(15_999)),
        ({"thinking": {"type": "adaptive"}}, {"thinking": {"type": "adaptive"}}),
        ({"thinking": None}, {"thinking": None}),
    ],
)
def test_more_is_lowered_and_a_budget_for_thinking_with_it(thinking: dict[str, Any], sent: dict[str, Any]) -> None:
    body = {"max_tokens": 32_000, **thinking}
    assert within_output_limit(body, 16_000) == {"max_tokens": 16_000, **sent}
    assert body == {"max_tokens": 32_000, **thinking}
