"""From rows to figures, goals and the page."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.density import FEW, MANY, Steady
from bench.figures import ratio, spread
from bench.gateways import LITELLM, OWN, OWN_KEYS, STOCK
from bench.goals import goals
from bench.held import Held
from bench.page import page
from bench.report import Report, read_report
from bench.rounds import Row


def row(number: int, gateway: str, cost_us: float, scenario: str = "small") -> Row:
    return Row(number, scenario, gateway, cost_us, 100, {"p50": 1.0, "p99": 2.0}, {}, {})


# The neighbours of round 2 made everything three times as slow.
ROWS = [
    *(row(number, OWN, cost) for number, cost in ((1, 100.0), (2, 300.0), (3, 110.0))),
    *(row(number, STOCK, cost) for number, cost in ((1, 200.0), (2, 600.0), (3, 550.0))),
]


def report(*rows: Row) -> Report:
    return Report("2026-01-01", "2 cores", 1024, {"nginx": "1.22.1"}, 3, list(rows))


def test_a_ratio_is_the_median_of_the_ratios_within_a_round() -> None:
    found = ratio(ROWS, ("small", STOCK), ("small", OWN))
    assert found is not None
    assert (found.median, found.low, found.high) == (2.0, 2.0, 5.0)


def test_only_rounds_that_have_both_count() -> None:
    found = ratio(ROWS[:4], ("small", STOCK), ("small", OWN))
    assert found is not None
    assert (found.low, found.high) == (2.0, 2.0)
    assert ratio(ROWS[:3], ("small", STOCK), ("small", OWN)) is None


@pytest.mark.parametrize(("failed", "expected"), [(1, 150.0), (2, 200.0)])
def test_a_round_in_which_much_failed_gives_no_figure(failed: int, expected: float) -> None:
    rows = [replace(row(1, OWN, 100.0), failures={"status 429": failed}), row(2, OWN, 200.0), row(1, STOCK, 300.0)]
    found = spread(rows, "small", OWN)
    assert found is not None
    assert found.median == expected
    assert (ratio(rows, ("small", STOCK), ("small", OWN)) is None) is (failed > 1)


def test_what_was_not_measured_has_no_figure() -> None:
    assert spread(ROWS, "paced", OWN) is None
    assert all(goal.value is None for goal in goals(report()))


def verdict(cost_us: float) -> tuple[bool | None, bool | None]:
    rows = [row(1, OWN, cost_us), row(1, STOCK, 1000.0)]
    goal = next(goal for goal in goals(report(*rows)) if goal.what == "small: cost / stock")
    return goal.holds(goal.gate), goal.holds(goal.aim)


@pytest.mark.parametrize(
    ("cost_us", "expected"), [(450.0, (True, True)), (499.0, (True, False)), (501.0, (False, False))]
)
def test_a_goal_holds_up_to_its_limit(cost_us: float, expected: tuple[bool, bool]) -> None:
    assert verdict(cost_us) == expected


def value_of(what: str, told: Report) -> float | None:
    return next(goal.value for goal in goals(told) if goal.what.startswith(what))


def steady(number: int, streams: int, cost_us: float) -> Steady:
    return Steady(number, streams, cost_us, {})


def test_what_many_keys_cost_is_compared_within_a_round() -> None:
    rows = [row(1, OWN, 100.0, "keys"), row(1, OWN_KEYS, 108.0, "keys"), row(2, OWN_KEYS, 300.0, "keys")]
    assert value_of("cost of a request: 10,000 keys / 1 key", report(*rows)) == 1.08


def test_what_many_streams_cost_is_compared_within_a_round() -> None:
    told = report()
    assert value_of("cost of a chunk of 5,000 streams / of 100", told) is None
    # The neighbours of round 2 made everything three times as slow.
    told.density += [steady(1, FEW, 20.0), steady(1, MANY, 24.0), steady(2, FEW, 60.0), steady(2, MANY, 78.0)]
    told.density += [steady(3, FEW, 20.0), steady(3, MANY, 22.0), steady(4, MANY, 99.0)]
    assert value_of("cost of a chunk of 5,000 streams / of 100", told) == 1.2
    assert "| 100 | 20 | 20 (20–60) |" in page(told)
    assert "| 5,000 | 1,000 | 51 (22–99) |" in page(told)


def test_the_page_shows_costs_ratios_goals_and_who_was_absent() -> None:
    full = report(*ROWS)
    full.absent[LITELLM] = "no network"
    text = page(full)
    assert f"| {OWN} | 110 (100–300) |" in text
    assert f"| {STOCK} | 2.00 (2.00–5.00) |" in text
    assert "| small: cost / stock | 0.50 | ≤ 0.50 | holds | ≤ 0.45 | **missed** |" in text
    assert "LiteLLM (no network)" in text


def test_answers_that_were_not_whole_are_named_on_the_page() -> None:
    held = Held(OWN, 1000, 998, {"p99": 1.0}, {"p99": 2.0}, {"no [DONE]": 2}, 50.0, {"pss": 1}, 20.0)
    spoilt = report(replace(ROWS[0], failures={"status 429": 3}))
    spoilt.held.append(held)
    spoilt.density.append(replace(steady(2, MANY, 30.0), failures={"no [DONE]": 1}))
    text = page(spoilt)
    assert "- CopilotAPI, small, round 1: 3 status 429 of 100 requests" in text
    assert "- CopilotAPI, 1,000 streams: 2 no [DONE]" in text
    assert "- CopilotAPI, 5,000 streams, round 2: 1 no [DONE]" in text


def test_a_report_survives_being_stored(tmp_path: Path) -> None:
    stored = report(*ROWS)
    stored.density.append(steady(1, FEW, 20.0))
    stored.write(tmp_path / "results.json")
    assert read_report(tmp_path / "results.json") == stored


def test_a_stored_run_is_shown_without_measuring(tmp_path: Path) -> None:
    report(*ROWS).write(tmp_path / "results.json")
    told = CliRunner().invoke(main, ["--from", str(tmp_path / "results.json")])
    assert told.exit_code == 0
    assert f"| {STOCK} | 2.00 (2.00–5.00) |" in told.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--peers", "envoy"], "unknown: envoy; there are stock, nginx"),
        (["--scenarios", "smal"], "unknown: smal; there are small"),
        (["--quick", "--write"], "--quick measures too little for the page"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments: list[str], complaint: str) -> None:
    told = CliRunner().invoke(main, arguments)
    assert told.exit_code == 2
    assert complaint in told.output


def test_a_file_that_is_no_run_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text(json.dumps({"rows": []}))
    told = CliRunner().invoke(main, ["--from", str(tmp_path / "other.json")])
    assert told.exit_code == 1
    assert told.output == "Error: other.json is not the result of a run\n"


def test_a_run_from_before_a_part_existed_can_be_shown(tmp_path: Path) -> None:
    report(*ROWS).write(tmp_path / "results.json")
    told = json.loads((tmp_path / "results.json").read_text())
    del told["density"]
    (tmp_path / "old.json").write_text(json.dumps(told))
    assert read_report(tmp_path / "old.json").density == []
