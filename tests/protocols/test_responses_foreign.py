"""Reasoning of another maker's, which OpenAI's models cannot verify."""

import pytest

from copilotapi.protocols.responses import for_upstream
from copilotapi.protocols.responses.foreign import is_foreign

# The beginnings of the signatures in https://docs.claude.com/en/docs/build-with-claude/extended-thinking.
CLAUDES = ["EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk", "EuYBCkQYAiJAgCs1le6/Pol5Z4/JMomV"]


@pytest.mark.parametrize("opaque", [*CLAUDES, "redacted_thinking:EmwKAhgB"])
def test_what_claude_signed_is_foreign(opaque: str) -> None:
    assert is_foreign(opaque)


@pytest.mark.parametrize("opaque", ["gAAAAABo_x-y==", "gAAA=", "x", "Encrypted", "ZW5jcnlwdGVkOmhtLg==", "EgIS", "é"])
def test_whatever_may_be_openais_is_not(opaque: str) -> None:
    assert not is_foreign(opaque)


def test_a_history_that_claude_began_goes_on_without_its_reasoning() -> None:
    items = [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": opaque}
        for opaque in ("gAAA=", CLAUDES[0])
    ]
    sent, dropped = for_upstream({"input": items}, "gpt-5.5", {})
    assert [item["encrypted_content"] for item in sent["input"]] == ["gAAA="]
    assert "reasoning" in dropped
