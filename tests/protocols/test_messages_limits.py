"""Rate limits told in Anthropic's names."""

from datetime import UTC, datetime

import pytest

from copilotapi.protocols.messages import limit_headers

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


def test_every_limit_gets_its_name() -> None:
    told = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
        "x-ratelimit-exceeded": "a bucket",
    }
    assert limit_headers(told, NOW) == {
        "anthropic-ratelimit-requests-limit": "60",
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:01Z",
        "anthropic-ratelimit-tokens-limit": "150000",
        "anthropic-ratelimit-tokens-remaining": "149984",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T12:06:00Z",
    }


@pytest.mark.parametrize(
    ("wait", "reset"),
    [
        ("0s", "12:00:00"),
        ("17ms", "12:00:00"),
        ("1h2m3.5s", "13:02:03"),
        ("2m", "12:02:00"),
        ("59", None),
        ("", None),
        ("soon", None),
        ("-1s", None),
        ("1s 2s", None),
        ("9" * 40 + "s", None),
    ],
)
def test_a_time_to_wait_becomes_a_time_of_day(wait: str, reset: str | None) -> None:
    headers = limit_headers({"x-ratelimit-reset-tokens": wait}, NOW)
    assert headers == ({"anthropic-ratelimit-tokens-reset": f"2026-11-21T{reset}Z"} if reset else {})


@pytest.mark.parametrize("count", ["", "many", "-1", "1.5", "9" * 40])
def test_what_is_no_count_is_not_told(count: str) -> None:
    assert limit_headers({"x-ratelimit-limit-tokens": count}, NOW) == {}
