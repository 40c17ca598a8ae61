import pytest

from copilotapi.upstream.model_names import follow, near_matches, resolve, stand_in

# From copilot-wire 4.5, with an old name in the older fashion and a two-digit version.
IDS = [
    "gpt-4.1",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-5.2-codex",
    "gpt-4-0613",
    "claude-3.5-sonnet",
    "claude-sonnet-4",
    "claude-sonnet-4.5",
    "claude-opus-4.6",
    "claude-opus-4.6-1m",
    "claude-opus-4.9",
    "claude-opus-4.10",
    "claude-haiku-4.5",
    "gemini-2.5-pro",
]


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("gpt-4.1", "gpt-4.1"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4.5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4.5"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("claude-3-5-sonnet-20241022", "claude-3.5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3.5-sonnet"),
        ("claude-sonnet-3-5", "claude-3.5-sonnet"),
        ("claude-4-5-haiku", "claude-haiku-4.5"),
        ("claude-opus-4-6[1m]", "claude-opus-4.6"),
        ("claude-opus-4-6-1m", "claude-opus-4.6-1m"),
        ("gpt-4o-2024-11-20", "gpt-4o"),
        ("gpt-4-0613", "gpt-4-0613"),
        ("anthropic/claude-sonnet-4.5", "claude-sonnet-4.5"),
        ("anthropic/claude-opus-4-6[1m]", "claude-opus-4.6"),
        ("openai/gpt-4o-mini", "gpt-4o-mini"),
        ("GPT-4.1", "gpt-4.1"),
        ("Anthropic/Claude-3-5-Sonnet-20241022", "claude-3.5-sonnet"),
        ("CLAUDE-OPUS-4-6[1M]", "claude-opus-4.6"),
        ("sonnet", "claude-sonnet-4.5"),
        ("opus", "claude-opus-4.10"),
        ("Haiku", "claude-haiku-4.5"),
        ("claude-opus", "claude-opus-4.10"),
        ("sonnet[1m]", "claude-sonnet-4.5"),
        ("claude-sonnet-latest", "claude-sonnet-4.5"),
    ],
)
def test_a_name_means_the_model_that_is_written_another_way(name: str, model_id: str) -> None:
    assert resolve(name, {}, IDS) == model_id


@pytest.mark.parametrize(
    "name",
    ["gpt-4.2", "gpt-4", "claude-sonnet-4.6", "claude-sonnet-4-50", "sonnet-4.5", "opusplan", "fable", "", "-", "[1m]"],
)
def test_another_model_is_never_taken_instead(name: str) -> None:
    assert resolve(name, {}, IDS) is None


@pytest.mark.parametrize(
    ("name", "model_id"),
    [
        ("claude-opus-9-1", "claude-opus-4.10"),
        ("claude-opus-9.1", "claude-opus-4.10"),
        ("claude-opus-5", "claude-opus-4.10"),
        ("claude-opus-4-1-20250805", "claude-opus-4.10"),
        ("claude-sonnet-4-6[1m]", "claude-sonnet-4.5"),
        ("anthropic/claude-sonnet-5-20260801", "claude-sonnet-4.5"),
        ("claude-3-5-haiku-20241022", "claude-haiku-4.5"),
        ("claude-3-opus-latest", "claude-opus-4.10"),
        ("Claude-Haiku-5", "claude-haiku-4.5"),
    ],
)
def test_a_version_of_claude_that_is_not_there_is_stood_in_for_by_the_newest(name: str, model_id: str) -> None:
    assert stand_in(name, {}, IDS) == model_id


@pytest.mark.parametrize(
    "name",
    [
        "claude-opus-4-6",
        "claude-sonnet-4-5-20250929",
        "opus",
        "claude-fable-5",
        "claude-2.1",
        "claude-instant-1-2",
        "claude-opus-9-fast",
        "claude-opus-4-7-1m",
        "claude-opus-123",
        "claude-opus-9\n",
        "claude-opus-9\n[1m]",
        "claude-opus-9-٢٠٢٥٠١٠١",
        "claude-hai\u212au-9",
        "gpt-9",
        "gemini-9-pro",
        "",
    ],
)
def test_nothing_stands_in_for_a_model_that_is_there_or_of_another_kind(name: str) -> None:
    assert stand_in(name, {}, IDS) is None


def test_a_variant_is_no_stand_in() -> None:
    assert stand_in("claude-opus-9", {}, ["claude-opus-4.6-1m", "claude-sonnet-4.5"]) is None


def test_an_alias_of_a_version_that_is_not_there_has_a_stand_in() -> None:
    assert stand_in("best", {"best": "claude-opus-9"}, IDS) == "claude-opus-4.10"


def test_a_family_without_a_member_means_nothing() -> None:
    assert resolve("opus", {}, ["claude-sonnet-4.5", "claude-opus-4.6-1m"]) is None


def test_an_id_in_capitals_is_answered_as_the_account_writes_it() -> None:
    assert resolve("minimax-m2.5", {}, ["MiniMax-M2.5"]) == "MiniMax-M2.5"


def test_aliases_are_chained_and_end_in_a_spelling() -> None:
    aliases = {"fast": "small", "small": "claude-haiku-4-5-20251001"}
    assert resolve("fast", aliases, IDS) == "claude-haiku-4.5"


def test_an_alias_wins_over_a_model_of_the_same_name() -> None:
    assert resolve("gpt-4o", {"gpt-4o": "gpt-4.1"}, IDS) == "gpt-4.1"


def test_aliases_in_a_circle_end() -> None:
    circle = {"a": "b", "b": "a"}
    assert resolve("a", circle, IDS) is None
    assert follow("a", circle) in circle


def test_near_matches_begin_with_the_nearest() -> None:
    assert near_matches("gpt-4.1x", IDS)[0] == "gpt-4.1"
    assert near_matches("Claude-Sonet-4.5", IDS)[0] == "claude-sonnet-4.5"
    assert len(near_matches("gpt", IDS)) <= 3


def test_a_name_like_no_other_has_no_near_matches() -> None:
    assert near_matches("zzzzzz", IDS) == []
