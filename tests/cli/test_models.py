"""The account's models as a table: what each takes and costs, from the gateway's own list."""

import json

import pytest

from copilotapi.cli.models import cells
from copilotapi.simulator import Simulator
from tests.cli.terminal_user import TerminalUser, only_line, telling
from tests.gateway_process import GatewayProcess, free_port


def rows(output: str) -> dict[str, list[str]]:
    """Words by model, of a table whose columns are two blanks or more apart."""
    lines = [line.rstrip().split("  ") for line in output.splitlines()]
    return {line[0]: [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}


def test_each_model_has_a_row_that_says_what_it_takes_and_costs(user: TerminalUser, running: GatewayProcess) -> None:
    result = user.having(PORT=str(running.port)).types("models")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split()[:8] == ["id", "name", "vendor", "endpoints", "context", "output", "price", "notes"]
    table = rows(result.stdout)
    assert table["gpt-4.1"] == ["Gpt 4.1", "Azure OpenAI", "chat", "144,384", "16,384", "included", "default"]
    assert table["claude-opus-4.5"][2:] == ["chat, messages", "200,000", "32,000", "×3"]
    assert table["gpt-5.4-mini"][2:] == ["responses", "400,000", "128,000", "×0.33"]
    assert table["claude-opus-4.6-1m"][-1] == "only enterprise"
    assert table["claude-sonnet-5"][-1] == "terms unconfigured"
    assert table["gemini-3-pro-preview"][-1] == "preview"
    assert table["text-embedding-3-small"][2:] == ["embeddings", "included"]
    assert table["gpt-41-copilot"][2:] == ["completions", "included"]


def test_without_a_gateway_the_list_comes_all_the_same_and_the_default_is_the_settings(user: TerminalUser) -> None:
    result = user.having(DEFAULT_MODEL="claude-sonnet-4-5").types("models", "--json")
    assert result.exit_code == 0, result.stderr
    by_id = {model["id"]: model for model in json.loads(result.stdout)}
    assert [name for name, model in by_id.items() if model["is_default"]] == ["claude-sonnet-4.5"]
    assert by_id["claude-opus-4.6-1m"]["billing"] == {
        "is_premium": True,
        "multiplier": 6.0,
        "restricted_to": ["enterprise"],
    }
    assert (by_id["claude-sonnet-5"]["policy"], by_id["gpt-4o"]["policy"]) == ("unconfigured", None)


def test_a_default_that_the_account_lacks_is_nobodys(user: TerminalUser) -> None:
    result = user.having(DEFAULT_MODEL="no-such-model").types("models", "--json")
    assert not any(model["is_default"] for model in json.loads(result.stdout))


@pytest.mark.parametrize(
    ("billing", "price"),
    [
        ({"multiplier": 0}, "included"),
        ({"multiplier": 0.33}, "×0.33"),
        ({"multiplier": 10}, "×10"),
        ({"multiplier": "?"}, ""),
        ({}, ""),
        (None, ""),
        (
            {"token_prices": {"batch_size": 1000000, "input_price": 125, "cache_price": 12.5, "output_price": 1000}},
            "125/12.5/1000 per 1000000 tokens",
        ),
        ({"multiplier": 1, "token_prices": {}}, "-/-/- per ? tokens"),
    ],
)
def test_a_price_is_a_multiplier_or_what_tokens_cost(billing: object, price: str) -> None:
    assert cells({"id": "m", "billing": billing})["price"] == price


@pytest.mark.parametrize("columns", [60, 80, 100, 160])
def test_a_terminal_shows_every_id_whole(user: TerminalUser, running: GatewayProcess, columns: int) -> None:
    there = user.having(PORT=str(running.port), COLUMNS=str(columns))
    with there.at_a_terminal("models") as terminal:
        shown = terminal.reads()
    assert "text-embedding-3-small-inference" in shown
    assert "…" not in shown
    assert "─" in shown
    assert "\x1b[1mgpt-4.1" in shown


def test_what_a_gateway_tells_cannot_steer_the_terminal(user: TerminalUser) -> None:
    hostile = {"/v1/models": {"data": [{"id": "m\x1b[2J\n[bold]x", "limits": 7, "endpoints": "no", "billing": []}]}}
    with telling(hostile) as (url, _):
        result = user.types("models", "--url", url)
    assert result.exit_code == 0
    assert "m[2J [bold]x" in result.stdout
    assert "\x1b" not in result.stdout


def test_what_stands_in_the_way_is_told_in_one_line(user: TerminalUser, upstream: Simulator) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert "copilotapi login" in only_line(user.having(GITHUB_COPILOT_TOKEN="").types("models"))
    assert "Could not connect" in only_line(user.having(GITHUB_API_URL=nowhere, GITHUB_URL=nowhere).types("models"))
    assert "not this gateway" in only_line(user.types("models", "--url", upstream.url))
    assert "copilotapi serve" in only_line(user.types("models", "--url", nowhere))


def test_help_shows_an_example(user: TerminalUser) -> None:
    assert "copilotapi models --json" in user.types("models", "--help").output
