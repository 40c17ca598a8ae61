"""Rate limits as Anthropic's clients read them, from the headers in OpenAI's names that Copilot gives.

https://docs.claude.com/en/api/rate-limits and https://platform.openai.com/docs/guides/rate-limits list the names.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

_THINGS = ("requests", "tokens")
# How OpenAI writes a time to wait: 1s, 6m0s, 1h2m3.5s, 20ms.
_WAIT = re.compile(
    r"(?=[0-9])(?:([0-9]{1,4})h)?(?:([0-9]{1,4})m(?!s))?(?:([0-9]{1,6}(?:\.[0-9]+)?)s)?(?:([0-9]{1,6})ms)?"
)
_COUNT = re.compile(r"[0-9]{1,18}")


def limit_headers(headers: Mapping[str, str], now: datetime) -> dict[str, str]:
    """`anthropic-ratelimit-…` for what `headers` tell; nothing for what they do not. Their names are in small
    letters.
    """
    return {f"anthropic-ratelimit-{name}": value for thing in _THINGS for name, value in _told(headers, thing, now)}


def _told(headers: Mapping[str, str], thing: str, now: datetime) -> Iterator[tuple[str, str]]:
    for kind in ("limit", "remaining"):
        count = headers.get(f"x-ratelimit-{kind}-{thing}", "").strip()
        if _COUNT.fullmatch(count):
            yield f"{thing}-{kind}", count
    wait = _WAIT.fullmatch(headers.get(f"x-ratelimit-reset-{thing}", "").strip())
    if wait:
        hours, minutes, seconds, milliseconds = (float(part or 0) for part in wait.groups())
        until = now + timedelta(hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds)
        yield f"{thing}-reset", until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
