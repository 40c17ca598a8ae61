"""Which model suits which client, from a list such as /v1/models gives it."""

from typing import Any

import pytest

from copilotapi.cli.connect.clients import CLIENTS, find
from copilotapi.cli.connect.models import Wish, chat_models, ranked, small_sibling

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/v1/messages"
CLAUDE = Wish(MESSAGES, ("claude-sonnet", "claude"))
GPT = Wish(RESPONSES, ("gpt",), word="codex")
DEFAULT = Wish(CHAT, ("gpt",), takes_default=True)


def listed(model_id: str, *endpoints: str, tools: bool = True, **more: Any) -> dict[str, Any]:
    return {"id": model_id, "kind": "chat", "endpoints": list(endpoints), "supports": {"tool_calls": tools}, **more}


def best(wish: Wish, *models: dict[str, Any]) -> str:
    return ranked(chat_models(models), wish)[0].id


@pytest.mark.parametrize(
    ("wish", "better", "worse"),
    [
        (CLAUDE, listed("claude-sonnet-4.6", MESSAGES), listed("claude-sonnet-4.5", MESSAGES)),
        (CLAUDE, listed("claude-sonnet-4.10", MESSAGES), listed("claude-sonnet-4.9", MESSAGES)),
        (CLAUDE, listed("claude-sonnet-4", MESSAGES), listed("claude-opus-5", MESSAGES)),
        (CLAUDE, listed("claude-opus-4.5", MESSAGES), listed("gpt-9", RESPONSES)),
        (CLAUDE, listed("claude-sonnet-4", MESSAGES), listed("claude-sonnet-9-preview", MESSAGES, preview=True)),
        (CLAUDE, listed("claude-sonnet-4", MESSAGES), listed("claude-sonnet-5", MESSAGES, policy="unconfigured")),
        (CLAUDE, listed("claude-sonnet-5", MESSAGES, policy="enabled"), listed("claude-sonnet-4", MESSAGES)),
        (CLAUDE, listed("claude-opus-4.6", MESSAGES), listed("claude-opus-4.6-1m", MESSAGES)),
        (GPT, listed("gpt-5.5", RESPONSES), listed("gpt-5.3-codex", RESPONSES)),
        (GPT, listed("gpt-5.3-codex", RESPONSES), listed("gpt-5.3", RESPONSES)),
        (GPT, listed("gpt-5.2", RESPONSES), listed("gpt-5.4-mini", RESPONSES)),
        (GPT, listed("gpt-5", RESPONSES), listed("gpt-6", CHAT)),
        (GPT, listed("gpt-5", RESPONSES), listed("gpt-6", RESPONSES, tools=False)),
        (DEFAULT, listed("gpt-4.1", is_default=True), listed("gpt-6", CHAT)),
        (DEFAULT, listed("gpt-4.1"), listed("gpt-6", RESPONSES)),
    ],
)
def test_the_better_one_comes_first_however_they_are_listed(
    wish: Wish, better: dict[str, Any], worse: dict[str, Any]
) -> None:
    assert best(wish, better, worse) == best(wish, worse, better) == better["id"]


def test_an_account_without_the_family_gets_what_there_is() -> None:
    assert best(CLAUDE, listed("my-model")) == "my-model"


def test_only_models_that_chat_are_taken_and_no_name_that_a_shell_would_read() -> None:
    others = [{"id": "text-embedding-3-small", "kind": "embeddings"}, {"kind": "chat"}, listed("a'; rm -rf $HOME")]
    assert [model.id for model in chat_models([*others, listed("gpt-4.1")])] == ["gpt-4.1"]


def test_chores_go_to_the_newest_small_one_of_the_same_maker() -> None:
    models = chat_models(
        [listed(name) for name in ("claude-sonnet-4.6", "claude-haiku-4", "claude-haiku-4.5", "gpt-5-mini", "my-model")]
    )
    by_id = {model.id: model for model in models}
    assert small_sibling(models, by_id["claude-sonnet-4.6"]).id == "claude-haiku-4.5"
    assert small_sibling(models, by_id["my-model"]).id == "my-model"


def test_every_client_is_found_by_each_of_its_names_and_by_no_other_clients() -> None:
    names = [name for client in CLIENTS for name in (client.name, *client.aliases)]
    assert len(names) == len(set(names))
    for client in CLIENTS:
        assert {find(name) for name in (client.name, client.title, client.name.upper(), *client.aliases)} == {client}
    assert find("nothing") is None
