"""Quota and usage as an operator and as a mere client see them."""

import json

import pytest

from copilotapi.cli.usage import by_model
from copilotapi.simulator import Simulator
from tests.cli.terminal_user import ADMIN_KEY, API_KEY, TerminalUser, only_line, telling
from tests.gateway_process import GatewayProcess, free_port


@pytest.fixture
def operator(user: TerminalUser, running: GatewayProcess) -> TerminalUser:
    running.chat(headers={"Authorization": f"Bearer {API_KEY}"})
    running.chat(headers={"Authorization": f"Bearer {ADMIN_KEY}"}, model="gemini-2.5-pro")
    return user.having(PORT=str(running.port), ADMIN_KEY=ADMIN_KEY)


def test_the_operator_sees_the_quota_and_all_callers(operator: TerminalUser) -> None:
    result = operator.types("usage")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["chat", "unlimited"] in lines
    premium = next(line for line in lines if line[:2] == ["premium", "interactions"])
    assert premium[3:] == ["300", premium[4], "%", "more", "is", "allowed,", "and", "billed"]
    assert "Copilot plan individual; the quota starts anew on 20" in result.stdout
    assert {"gpt-4.1", "gemini-2.5-pro"} <= {line[0] for line in lines if line}
    assert not set("━─\x1b") & set(result.stdout)


def test_a_client_sees_its_own_use_and_what_would_show_the_rest(operator: TerminalUser) -> None:
    client = TerminalUser({name: value for name, value in operator.environment.items() if name != "ADMIN_KEY"})
    result = client.types("usage", "--days", "1")
    assert result.exit_code == 0, result.stderr
    assert "set ADMIN_KEY" in result.stdout
    assert "premium" not in result.stdout
    assert "gpt-4.1" in result.stdout
    assert "gemini-2.5-pro" not in result.stdout
    assert json.loads(client.types("usage", "--json").stdout)["quota"] is None


def test_without_a_gateway_there_is_the_quota_only(user: TerminalUser) -> None:
    result = user.types("usage")
    assert result.exit_code == 0, result.stderr
    assert "premium interactions" in result.stdout
    assert "No gateway is running here" in result.stdout
    told = json.loads(user.types("usage", "--json").stdout)
    assert (told["gateway"], told["usage"]) == (None, None)
    assert told["quota"]["copilot_plan"] == "individual"


def test_a_program_gets_numbers_by_model(operator: TerminalUser, running: GatewayProcess) -> None:
    told = json.loads(operator.types("usage", "--json", "--days", "1").stdout)
    assert (told["gateway"], told["days"]) == (running.url, 1)
    row = next(row for row in told["usage"] if row["model"] == "gemini-2.5-pro")
    assert row["requests"] > 0
    assert row["input_tokens"] > 0
    assert row["output_tokens"] > 0


def test_a_terminal_draws_a_bar(operator: TerminalUser) -> None:
    with operator.at_a_terminal("usage") as terminal:
        assert "━" in terminal.reads()


def test_rows_are_summed_over_days_and_keys_the_busiest_first() -> None:
    rows = [
        {"day": "1", "key": "a", "model": "m", "requests": 1, "input_tokens": 5, "estimated_requests": 1},
        {"day": "2", "key": "b", "model": "m", "requests": 2, "output_tokens": 7, "errors": 1},
        {"day": "2", "key": "b", "model": "n", "requests": 9},
    ]
    zeros = {"errors": 0, "input_tokens": 0, "output_tokens": 0, "estimated_requests": 0}
    assert by_model(rows) == [
        {"model": "n", **zeros, "requests": 9},
        {"model": "m", "requests": 3, "errors": 1, "input_tokens": 5, "output_tokens": 7, "estimated_requests": 1},
    ]


def shown(user: TerminalUser, quota: dict[str, object], *rows: dict[str, object]) -> str:
    with telling({"/v1/usage": {"copilot": quota, "data": list(rows)}}) as (url, _):
        result = user.types("usage", "--url", url)
    assert result.exit_code == 0, result.stderr
    return "\n".join(" ".join(line.split()) for line in result.stdout.splitlines())


def test_a_free_plan_has_amounts_by_month(user: TerminalUser) -> None:
    quota = {
        "copilot_plan": "free",
        "monthly_quotas": {"chat": 500, "completions": 4000},
        "limited_user_quotas": {"chat": 125, "completions": 4000},
        "limited_user_reset_date": 1796083200,
    }
    output = shown(user, quota)
    assert "Copilot plan free; the quota starts anew on 2026-12-01" in output
    assert "\nchat 375 500 25 %\n" in output
    assert "\ncompletions 0 4000 100 %\n" in output


def test_what_was_used_beyond_the_quota_is_told(user: TerminalUser) -> None:
    snapshot = {"entitlement": 300, "quota_remaining": 0.0, "overage_count": 12.33, "overage_permitted": True}
    assert "premium interactions 300 300 0 % 12.33 beyond it" in shown(
        user, {"quota_snapshots": {"premium_interactions": snapshot, "broken": None}}
    )


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        ({"unavailable": "GitHub is\x1b[2J away."}, "The quota is unavailable: GitHub is[2J away."),
        ({"copilot_plan": None, "quota_snapshots": [], "monthly_quotas": {"chat": 1}}, "GitHub tells no quota"),
        ({"quota_snapshots": {"chat": {"entitlement": "many"}}}, "chat"),
        ({"quota_snapshots": {"chat": {"entitlement": 0, "remaining": 0}}}, "chat 0 0 0 %"),
    ],
)
def test_a_quota_that_says_little_is_shown_all_the_same(
    user: TerminalUser, quota: dict[str, object], words: str
) -> None:
    output = shown(user, quota)
    assert words in output
    assert "Nothing went through the gateway in 7 days." in output


def test_estimates_are_marked(user: TerminalUser) -> None:
    output = shown(user, {}, {"model": "m", "requests": 1200, "input_tokens": 34, "estimated_requests": 2})
    assert "\nm 1,200 0 34 0 2\n" in output
    assert "the gateway's estimate" in output


def test_with_neither_a_gateway_nor_a_quota_there_is_nothing_to_show(user: TerminalUser) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    offline = only_line(user.having(GITHUB_URL=nowhere, GITHUB_API_URL=nowhere).types("usage"))
    assert "quota is unavailable: GitHub gave no answer" in offline
    assert "copilotapi doctor" in offline
    signed_out = only_line(user.having(GITHUB_COPILOT_TOKEN="").types("usage", "--json"))
    assert "quota is unavailable: No GitHub token is set. Run `copilotapi login`" in signed_out


def test_an_answer_of_another_shape_is_told(user: TerminalUser, upstream: Simulator) -> None:
    with telling({"/v1/usage": ["no"]}) as (url, _):
        assert "not this gateway" in only_line(user.types("usage", "--url", url))
    assert "not this gateway" in only_line(user.types("usage", "--url", upstream.url))


def test_help_shows_an_example(user: TerminalUser) -> None:
    assert "copilotapi usage --days 30 --json" in user.types("usage", "--help").output
