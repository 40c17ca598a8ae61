from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from copilotapi.metering.ledger import Ledger
from copilotapi.protocols.conversation import Usage
from copilotapi.store import MemoryStore

DAY_SECONDS = 86_400
ROW = {"requests": 0, "errors": 0, "input_tokens": 0, "output_tokens": 0, "cached_tokens": 0, "estimated_requests": 0}


class World:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 23, 59, tzinfo=UTC).timestamp()
        self.store = MemoryStore(lambda: self.now)

    def ledger(self) -> Ledger:
        return Ledger(self.store, ["anonymous", "key-1", "key-2"], lambda: self.now)


@pytest.fixture
def world() -> World:
    return World()


def test_requests_of_one_key_model_and_day_add_up(world: World) -> None:
    ledger = world.ledger()
    ledger.record("key-1", "gpt-4.1", Usage(100, 10, cached_tokens=40), failed=False)
    ledger.record("key-1", "gpt-4.1", Usage(5, 2, estimated=True), failed=False)
    ledger.record("key-1", "gpt-4.1", None, failed=True)
    assert ledger.usage_of("key-1", 1) == [
        {
            "day": "2026-11-21",
            "key": "key-1",
            "model": "gpt-4.1",
            "requests": 3,
            "errors": 1,
            "input_tokens": 105,
            "output_tokens": 12,
            "cached_tokens": 40,
            "estimated_requests": 1,
        }
    ]


def test_keys_see_their_own_rows_and_the_administrator_all(world: World) -> None:
    ledger = world.ledger()
    ledger.record("key-1", "gpt-4.1", Usage(1, 1), failed=False)
    ledger.record("key-2", "gpt-4o", Usage(2, 2), failed=False)
    assert [row["key"] for row in ledger.usage_of("key-2", 7)] == ["key-2"]
    assert [row["key"] for row in ledger.usage_of_all(7)] == ["key-1", "key-2"]


def test_models_are_told_apart_whatever_their_names_hold(world: World) -> None:
    ledger = world.ledger()
    for model in ("b", "a|b", "a"):
        ledger.record("key-1", model, None, failed=False)
    assert [(row["model"], row["requests"]) for row in ledger.usage_of("key-1", 1)] == [("a", 1), ("a|b", 1), ("b", 1)]


def test_days_are_utc_days_newest_first(world: World) -> None:
    ledger = world.ledger()
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    world.now += 60
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    assert [row["day"] for row in ledger.usage_of("key-1", 2)] == ["2026-11-22", "2026-11-21"]
    assert [row["day"] for row in ledger.usage_of("key-1", 1)] == ["2026-11-22"]


def test_a_day_is_forgotten_after_sixty_two(world: World) -> None:
    ledger = world.ledger()
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    world.now += 61 * DAY_SECONDS
    assert len(ledger.usage_of("key-1", 62)) == 1
    world.now += DAY_SECONDS
    assert ledger.usage_of("key-1", 1000) == []


def test_workers_share_one_account(world: World) -> None:
    one, other = world.ledger(), world.ledger()
    one.record("anonymous", "gpt-4.1", Usage(1, 2), failed=False)
    other.record("anonymous", "gpt-4.1", Usage(3, 4), failed=False)
    [row] = one.usage_of("anonymous", 1)
    assert (row["requests"], row["input_tokens"], row["output_tokens"]) == (2, 4, 6)


def test_what_was_put_off_is_read_too(world: World) -> None:
    class Slow(MemoryStore):
        """Counts only when someone wants to know."""

        def __init__(self) -> None:
            super().__init__()
            self.put_off: list[tuple[str, Mapping[str, int], float]] = []

        def add(self, key: str, by: Mapping[str, int], ttl_seconds: float) -> None:
            self.put_off.append((key, by, ttl_seconds))

        def catch_up(self) -> None:
            while self.put_off:
                self.increment(*self.put_off.pop())

    ledger = Ledger(Slow(), ["key-1"], lambda: world.now)
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    assert [row["requests"] for row in ledger.usage_of("key-1", 1)] == [1]
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    assert [row["requests"] for row in ledger.usage_of_all(1)] == [2]


def test_reading_counts_nothing(world: World) -> None:
    ledger = world.ledger()
    assert ledger.usage_of_all(62) == []
    ledger.record("key-1", "gpt-4.1", None, failed=False)
    before = ledger.usage_of_all(1)
    assert ledger.usage_of_all(1) == before == [{**ROW, **before[0], "requests": 1}]
