"""The sliding window in memory: the same verdicts as limits' own memory, without its threads."""

import threading

import limits.storage.memory
import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from copilotapi.metering.window_counts import WindowCounts

# An hour with a remainder, so that windows begin off the round.
_START = 1_763_000_017.0


class Clock:
    def __init__(self) -> None:
        self.now = _START

    def __call__(self) -> float:
        return self.now


@given(
    limit=st.integers(1, 5),
    steps=st.lists(st.tuples(st.floats(0, 45), st.sampled_from(["a", "b"])), min_size=1, max_size=60),
)
def test_every_verdict_is_that_of_limits_own_memory(limit: int, steps: list[tuple[float, str]]) -> None:
    clock, item = Clock(), RateLimitItemPerMinute(limit)
    ours = SlidingWindowCounterRateLimiter(WindowCounts(clock))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits.storage.memory.time, "time", clock)
        theirs = SlidingWindowCounterRateLimiter(_without_timer())
        for seconds, address in steps:
            clock.now += seconds
            assert ours.hit(item, address) == theirs.hit(item, address)
            assert ours.get_window_stats(item, address).remaining == theirs.get_window_stats(item, address).remaining


def _without_timer() -> MemoryStorage:
    storage = MemoryStorage()
    storage.timer.cancel()
    storage.timer.join()
    storage.timer = threading.main_thread()  # type: ignore[assignment]
    return storage


def test_counting_starts_no_thread() -> None:
    before = threading.active_count()
    strategy = SlidingWindowCounterRateLimiter(WindowCounts())
    assert strategy.hit(RateLimitItemPerMinute(1), "a")
    assert not strategy.hit(RateLimitItemPerMinute(1), "a")
    assert threading.active_count() == before


def test_what_no_window_needs_any_more_is_forgotten() -> None:
    clock = Clock()
    counts = WindowCounts(clock)
    strategy = SlidingWindowCounterRateLimiter(counts)
    for number in range(100):
        strategy.hit(RateLimitItemPerMinute(1), f"address-{number}")
    clock.now += 200
    strategy.hit(RateLimitItemPerMinute(1), "late")
    assert counts.reset() == 1


def test_a_key_can_be_cleared() -> None:
    strategy = SlidingWindowCounterRateLimiter(WindowCounts())
    item = RateLimitItemPerMinute(1)
    assert strategy.hit(item, "a")
    assert strategy.hit(item, "b")
    strategy.clear(item, "a")
    assert strategy.hit(item, "a")
    assert not strategy.hit(item, "b")


def test_plain_counts_end_with_their_time() -> None:
    clock = Clock()
    counts = WindowCounts(clock)
    assert [counts.incr("k", 10), counts.incr("k", 10, amount=2), counts.get("k")] == [1, 3, 3]
    assert counts.get_expiry("k") == clock.now + 10
    assert counts.get_expiry("unknown") == clock.now
    clock.now += 10
    assert [counts.get("k"), counts.incr("k", 10)] == [0, 1]
    assert counts.check()
