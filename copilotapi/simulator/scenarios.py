"""Named states of the world to start the simulator in, and the settings they change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from copilotapi.simulator.faults import Fault

_EVERY_CALL = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """How the simulated GitHub and Copilot behave when nothing goes wrong.

    `github_tokens` None accepts any. `direct` lets a GitHub token be used at Copilot without an exchange.
    `endpoints`: "self" names the simulator in the exchange's answer, "absent" leaves them out, "proxy-ep" leaves them out
    but names `proxy_host` (default: the simulator's, without its port) inside the Copilot token. `api_url` overrides
    `endpoints.api`. `device_outcome` is what the device flow ends in after `device_pending_polls`: granted, denied or
    expired.
    """

    github_tokens: frozenset[str] | None = None
    direct: bool = False
    expires_in_seconds: int = 1800
    refresh_in_seconds: int = 1500
    clock_skew_seconds: int = 0
    endpoints: str = "self"
    api_url: str | None = None
    proxy_host: str | None = None
    has_seat: bool = True
    sku: str = "yearly_subscriber"
    premium_entitlement: float = 300.0
    premium_used: float = 0.0
    overage_permitted: bool = True
    body_limit_bytes: int = 64 * 1024 * 1024
    chunk_delay_seconds: float = 0.0
    device_outcome: str = "granted"
    device_pending_polls: int = 1
    device_interval_seconds: int = 5
    device_life_seconds: int = 899


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    description: str
    faults: tuple[Fault, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def _on(path: str, kind: str, **numbers: Any) -> tuple[Fault, ...]:
    return (Fault(kind, path, **({"times": _EVERY_CALL} | numbers)),)


_ALL = (
    Scenario("normal", "everything works, with Copilot's usual oddities (split Claude choices, duplicate models)"),
    Scenario("chunked-slowly", "a word every 50 ms, as a person would watch it", changes={"chunk_delay_seconds": 0.05}),
    Scenario("slow-first-byte", "every answer begins after 5 seconds", _on("inference", "delay", delay_seconds=5)),
    Scenario("hangs", "answers never begin", _on("inference", "hang")),
    Scenario("stalls", "streams fall silent after 3 events, the connection stays open", _on("inference", "stall")),
    Scenario("cut-streams", "the connection breaks after 3 events", _on("inference", "cut")),
    Scenario(
        "early-end", "streams end cleanly after 4 events, without a finish", _on("inference", "end", after_events=4)
    ),
    Scenario("error-in-stream", "an error event comes after 3 events of a 200", _on("inference", "error")),
    Scenario("garbage", "an event that is not JSON comes after 3 events", _on("inference", "garbage")),
    Scenario("resets", "every third call ends in a TCP reset", _on("inference", "reset", every=3)),
    Scenario("flaky", "every third call is a 503", _on("inference", "status", status=503, every=3)),
    Scenario("crlf", "events end in CRLF", _on("inference", "crlf")),
    Scenario("comments", "a comment line comes before each event", _on("inference", "comments")),
    Scenario("split-utf8", "bodies arrive split inside characters and lines", _on("inference", "split_utf8")),
    Scenario("drip", "bodies arrive 16 bytes at a time", _on("inference", "drip")),
    Scenario(
        "rate-limited",
        "every call is a 429 with Retry-After: 2",
        _on("inference", "status", status=429, code="user_global_rate_limited", retry_after=2),
    ),
    Scenario(
        "weekly-limit",
        "every call is a 429 with a wait of two days",
        _on("inference", "status", status=429, code="user_weekly_rate_limited", retry_after=172_800),
    ),
    Scenario(
        "model-overloaded",
        "gpt-4.1 is overloaded, the other models work",
        _on("inference", "status", status=429, code="model_overloaded", model="gpt-4.1"),
    ),
    Scenario(
        "quota-exhausted",
        "premium models answer 402, those that cost nothing work",
        changes={"premium_used": 300.0, "overage_permitted": False},
    ),
    Scenario(
        "content-filter", "answers end in content_filter", _on("inference", "answer", finish_reason="content_filter")
    ),
    Scenario("prompt-filtered", "every prompt is refused with 422", _on("inference", "status", status=422)),
    Scenario("too-large", "every call is a 413", _on("inference", "status", status=413)),
    Scenario("forbidden", "Copilot answers 403 to everything", _on("capi", "status", status=403)),
    Scenario("client-too-old", "Copilot answers 466 to everything", _on("capi", "status", status=466)),
    Scenario("copilot-down", "Copilot answers 502 to everything, sign-in works", _on("capi", "status", status=502)),
    Scenario("models-down", "only the list of models fails, with 503", _on("models", "status", status=503)),
    Scenario(
        "token-expires-fast",
        "Copilot tokens live 5 seconds",
        changes={"expires_in_seconds": 5, "refresh_in_seconds": 4},
    ),
    Scenario(
        "token-expired-early", "every fifth call finds its Copilot token expired", _on("inference", "expire", every=5)
    ),
    Scenario(
        "clock-skew",
        "expires_at lies two hours in the past, refresh_in is right",
        changes={"clock_skew_seconds": -7200},
    ),
    Scenario("no-endpoints", "the exchange names no endpoints at all", changes={"endpoints": "absent"}),
    Scenario("proxy-ep-only", "the exchange names a host only inside the token", changes={"endpoints": "proxy-ep"}),
    Scenario("token-refused", "GitHub answers 401 Bad credentials", _on("token_exchange", "status", status=401)),
    Scenario("no-seat", "GitHub answers 403: no access to Copilot", changes={"has_seat": False}),
    Scenario("no-licence", "GitHub answers 404 to the exchange", _on("token_exchange", "status", status=404)),
    Scenario("github-rate-limited", "GitHub answers 403: API rate limit", _on("token_exchange", "status", status=403)),
    Scenario("github-down", "GitHub answers 503 to everything", _on("github", "status", status=503)),
    Scenario(
        "direct-only",
        "the exchange is a 404, the GitHub token itself is taken by Copilot",
        _on("token_exchange", "status", status=404),
        {"direct": True},
    ),
    Scenario("sign-in-denied", "the device sign-in is refused by the user", changes={"device_outcome": "denied"}),
    Scenario(
        "sign-in-expired", "the device code expires before the user is done", changes={"device_outcome": "expired"}
    ),
)

SCENARIOS: Mapping[str, Scenario] = MappingProxyType({scenario.name: scenario for scenario in _ALL})


def scenario_named(name: str) -> Scenario:
    """Raises ValueError that lists the names there are."""
    if name not in SCENARIOS:
        raise ValueError(f"unknown scenario {name!r}; known are {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
