"""Lists that lack what an editor cannot start without."""

from typing import Any

from copilotapi.blueprints.editor_models import encode_models
from copilotapi.protocols.conversation import JSON
from copilotapi.upstream.models import merged


def listed(*wires: JSON) -> dict[str, dict[str, Any]]:
    return {model["id"]: model for model in encode_models(merged(list(wires)))["data"]}


def chat(name: str, /, **more: Any) -> JSON:
    return {"id": name, "capabilities": {"type": "chat"}, **more}


def test_the_first_chat_model_is_default_and_fallback_when_none_is_marked() -> None:
    models = listed({"id": "embedder", "capabilities": {"type": "embeddings"}}, chat("first"), chat("second"))
    assert [name for name, model in models.items() if model["is_chat_default"]] == ["first"]
    assert [name for name, model in models.items() if model["is_chat_fallback"]] == ["first"]


def test_copilots_own_choice_of_default_and_fallback_stands() -> None:
    models = listed(chat("first"), chat("second", is_chat_default=True), chat("third", is_chat_fallback=True))
    assert [name for name, model in models.items() if model["is_chat_default"]] == ["second"]
    assert [name for name, model in models.items() if model["is_chat_fallback"]] == ["third"]


def test_an_engine_is_added_only_where_the_account_lists_none() -> None:
    assert listed(chat("only"))["gpt-41-copilot"]["capabilities"]["type"] == "completion"
    assert list(listed(chat("only"), {"id": "codex", "capabilities": {"type": "completion"}})) == ["only", "codex"]


def test_a_model_that_tells_little_gets_the_fields_an_editor_checks() -> None:
    model = listed(chat("handler"))["handler"]
    assert model["supported_endpoints"] == ["/chat/completions"]
    assert (model["object"], model["name"], model["model_picker_enabled"]) == ("model", "handler", True)
    assert model["capabilities"].keys() >= {"family", "tokenizer", "limits", "supports", "type"}


def test_what_copilot_tells_of_a_model_passes() -> None:
    model = listed(chat("told", name="Told", vendor="Them", policy={"state": "enabled"}, billing={"multiplier": 1}))[
        "told"
    ]
    assert (model["name"], model["vendor"]) == ("Told", "Them")
    assert (model["policy"], model["billing"]) == ({"state": "enabled"}, {"multiplier": 1})
