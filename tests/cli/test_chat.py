"""Asking from the command line: the answer alone on standard output, all else beside it, and every failure in one line."""

import json
import signal
from collections.abc import Iterator

import pytest
from click.testing import Result

from copilotapi.cli.chat import Told
from copilotapi.simulator import Simulator
from tests.cli.terminal_user import API_KEY, STOP_SECONDS, TerminalUser, only_line
from tests.gateway_process import GatewayProcess, free_port

CUT = "[[simulate: cut after_events=4]]"


@pytest.fixture
def asker(user: TerminalUser, running: GatewayProcess) -> TerminalUser:
    """Whose gateway is running."""
    return user.having(PORT=str(running.port))


@pytest.fixture
def slow() -> Iterator[Simulator]:
    """A word every 50 ms."""
    with Simulator(scenario="chunked-slowly") as simulator:
        yield simulator


def answered(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    return result.stdout


def last_messages(upstream: Simulator) -> list[dict[str, str]]:
    asked = next(one for one in reversed(upstream.recorder.requests) if one.endpoint == "chat")
    messages: list[dict[str, str]] = json.loads(asked.body)["messages"]
    return messages


def test_the_answer_alone_is_on_standard_output(asker: TerminalUser) -> None:
    result = asker.types("chat", "Hello there")
    assert answered(result).startswith("You said: “Hello there”. I am gpt-4.1")
    assert result.stdout.count("\n") == 1
    assert result.stderr.startswith("gpt-4.1 · 3 tokens in, ")
    assert result.stderr.endswith(" out (upstream)\n")


def test_where_no_gateway_runs_the_command_answers_by_itself(user: TerminalUser, upstream: Simulator) -> None:
    result = user.types("chat", "--model", "claude-sonnet-4-5-20250929", "--system", "Be brief.", "Hello")
    assert "I am claude-sonnet-4.5" in answered(result)
    assert result.stderr.startswith("claude-sonnet-4.5 · ")
    assert last_messages(upstream) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_another_gateway_is_asked_at_its_address(
    user: TerminalUser, running: GatewayProcess, upstream: Simulator
) -> None:
    # One in this process would have to sign in first.
    before = upstream.recorder.counts()["token_exchange"]
    assert "“Hi”" in answered(user.types("chat", "Hi", "--url", running.url))
    assert upstream.recorder.counts()["token_exchange"] == before


@pytest.mark.parametrize("arguments", [["chat"], ["chat", "-"]])
def test_the_prompt_comes_from_standard_input(asker: TerminalUser, upstream: Simulator, arguments: list[str]) -> None:
    answered(asker.types(*arguments, stdin="\ufeffTwo\nlines äöü\n"))
    assert last_messages(upstream)[-1]["content"] == "Two\nlines äöü\n"


@pytest.mark.parametrize(
    ("stdin", "words"), [("", "nothing to ask"), (" \n", "nothing to ask"), (b"\xff\xfe", "not UTF-8")]
)
def test_a_prompt_that_is_none_is_told(
    asker: TerminalUser, upstream: Simulator, stdin: str | bytes, words: str
) -> None:
    asked = upstream.recorder.counts()["chat"]
    assert words in only_line(asker.types("chat", stdin=stdin))
    assert upstream.recorder.counts()["chat"] == asked


def test_a_program_gets_one_object(asker: TerminalUser) -> None:
    result = asker.types("chat", "--json", "Hello", "--model", "gpt-4.1")
    told = json.loads(answered(result))
    assert result.stderr == ""
    assert told["model"] == "gpt-4.1"
    assert told["text"].startswith("You said: “Hello”.")
    assert told["usage"]["prompt_tokens"] > 0
    assert (told["finish_reason"], told["usage_source"], told["fallback"], told["warnings"]) == (
        "stop",
        "upstream",
        None,
        [],
    )


def test_a_model_that_stands_in_is_announced(asker: TerminalUser) -> None:
    limited = "[[simulate: status=429 code=user_model_rate_limited model=gpt-5.1]]"
    fallback = asker.types("chat", "--model", "gpt-5.1", limited)
    assert "I am gpt-4o" in answered(fallback)
    assert " · fallback gpt-5.1->gpt-4o" in fallback.stderr
    newest = asker.types("chat", "--model", "claude-opus-4-9", "Hello")
    assert "model:claude-opus-4-9->claude-opus-4.7" in newest.stderr


def test_a_model_of_another_protocol_answers_too(asker: TerminalUser) -> None:
    assert "I am gpt-5.1-codex" in answered(asker.types("chat", "--model", "gpt-5.1-codex", "Hello"))


def test_an_estimate_and_an_end_before_the_end_are_told() -> None:
    told = Told()
    told.take({"model": "m", "choices": [{"delta": {"content": "Text"}, "finish_reason": "length"}]})
    told.take({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "estimated": True}})
    assert told.summary() == "m · 7 tokens in, 3 out (estimate) · ended by length"


def test_half_a_character_is_replaced() -> None:
    assert Told().take({"choices": [{"delta": {"content": "a\ud83d"}}]}) == "a?"


def test_an_answer_that_breaks_off_is_a_failure_after_what_came(asker: TerminalUser) -> None:
    result = asker.types("chat", f"Hello {CUT}")
    assert result.exit_code == 1
    assert result.stdout == "You said: \n"
    assert result.stderr == "Error: Copilot closed the connection before its answer was complete.\n"
    assert asker.types("chat", "--json", f"Hello {CUT}").stdout == ""


def test_an_unknown_model_is_told_with_near_ones(asker: TerminalUser) -> None:
    assert "Did you mean gpt-4.1" in only_line(asker.types("chat", "--model", "gtp-4.1", "Hello"))


def test_a_key_the_gateway_does_not_know_is_told(asker: TerminalUser) -> None:
    line = only_line(asker.having(API_KEYS="some-other-key").types("chat", "Hello"))
    assert "The API key is not known here." in line
    assert "some-other-key" not in line


def test_without_a_sign_in_the_way_to_one_is_told(user: TerminalUser) -> None:
    assert "copilotapi login" in only_line(user.having(GITHUB_COPILOT_TOKEN="").types("chat", "Hello"))


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("token-refused", "GitHub does not accept the GitHub token"),
        ("no-seat", "GitHub refuses Copilot to this account"),
        ("quota-exhausted", "quota"),
    ],
)
def test_an_account_that_may_not_ask_is_told_in_one_line(user: TerminalUser, scenario: str, words: str) -> None:
    with Simulator(scenario=scenario) as simulator:
        there = user.having(GITHUB_URL=simulator.url, GITHUB_API_URL=simulator.url)
        assert words in only_line(there.types("chat", "--model", "claude-sonnet-4.5", "Hello"))


def test_no_network_and_no_gateway_are_told(user: TerminalUser) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    offline = user.having(GITHUB_URL=nowhere, GITHUB_API_URL=nowhere)
    assert "Could not connect to 127.0.0.1" in only_line(offline.types("chat", "Hello"))
    assert "copilotapi serve" in only_line(user.types("chat", "Hello", "--url", nowhere))


def test_settings_that_cannot_be_used_are_told_by_name(user: TerminalUser) -> None:
    for name, value in (("PORT", "many"), ("COMPLETION_HANDLER", "no_such_module:answer")):
        result = user.having(**{name: value}).types("chat", "Hello")
        assert result.exit_code == 78
        assert result.stderr.startswith(f"copilotapi: {name}")
        assert result.stderr.count("\n") == 1


def test_a_redis_that_is_away_is_nobodys_business(user: TerminalUser) -> None:
    ended = user.having(REDIS_URL=f"redis://127.0.0.1:{free_port()}").runs("chat", "Hello")
    assert ended.returncode == 0
    assert ended.stderr.count("\n") == 1


def test_help_shows_examples(user: TerminalUser) -> None:
    assert 'copilotapi chat "Which day is it?"' in user.types("chat", "--help").output


# At a terminal.


def test_a_terminal_gets_a_dim_last_line_and_nothing_that_steers_it(asker: TerminalUser) -> None:
    with asker.at_a_terminal("chat", "red\x1b[31m\x07") as terminal:
        shown = terminal.reads()
        assert terminal.process.wait(STOP_SECONDS) == 0
    assert "Waiting for the answer" in shown
    assert "“red[31m”" in shown
    assert "\x1b[2mgpt-4.1 · " in shown


def test_no_color_is_honoured_and_a_prompt_is_wanted(asker: TerminalUser) -> None:
    with asker.having(NO_COLOR="1").at_a_terminal("chat") as terminal:
        assert "Error: Give a PROMPT" in terminal.reads()
        assert terminal.process.wait(STOP_SECONDS) == 1


def test_ctrl_c_ends_quietly_and_hangs_up_on_copilot(user: TerminalUser, slow: Simulator) -> None:
    there = user.having(GITHUB_URL=slow.url, GITHUB_API_URL=slow.url)
    with there.at_a_terminal("chat", "[[simulate: answer words=2000]]") as terminal:
        terminal.reads(until=rb"(\w+ ){5}")
        terminal.process.send_signal(signal.SIGINT)
        shown = terminal.reads()
        assert terminal.process.wait(STOP_SECONDS) == 130
    assert "Traceback" not in shown
    assert "Aborted" not in shown
    assert "tokens in" not in shown
    asked = next(one for one in slow.recorder.requests if one.endpoint == "chat")
    assert slow.recorder.wait_for(lambda: asked.client_gone_at is not None, STOP_SECONDS)


def test_ctrl_c_before_the_answer_begins_is_taken_too(user: TerminalUser) -> None:
    with Simulator(scenario="hangs") as simulator:
        there = user.having(GITHUB_URL=simulator.url, GITHUB_API_URL=simulator.url)
        with there.starts("chat", "Hello") as process:
            assert simulator.recorder.wait_for(lambda: simulator.recorder.counts()["chat"] > 0, STOP_SECONDS)
            process.send_signal(signal.SIGINT)
            assert process.wait(STOP_SECONDS) == 130
            assert (process.stdout.read(), process.stderr.read()) == ("", "")  # type: ignore[union-attr]


def test_the_key_reaches_the_gateway_only(asker: TerminalUser, upstream: Simulator) -> None:
    answered(asker.types("chat", "Hello"))
    assert not [one for one in upstream.recorder.requests if API_KEY in f"{one.headers}{one.body!r}"]
