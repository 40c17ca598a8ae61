"""What is asked of the gateways in the interleaved rounds, and of which of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.gateways import (
    AIOHTTP,
    COPILOT_API,
    DIRECT,
    LITELLM,
    NGINX,
    OWN,
    OWN_FREE,
    OWN_KEYS,
    OWN_REDIS,
    OWN_TLS,
    STOCK,
    STOCK_TLS,
)
from bench.job import Job
from bench.measure import Sample
from bench.wire import Plan

_PEERS = (OWN, STOCK, LITELLM, COPILOT_API, NGINX, AIOHTTP)
_OVER_TLS = (OWN_TLS, STOCK_TLS)
_WHOLE, _BURST, _PACED = Plan(), Plan("stream", 200), Plan("stream", 100, 20)
# LiteLLM cannot keep up with 160 streams on one core; its cost per chunk is what counts.
_LITELLM_STREAMS = 16


@dataclass(frozen=True, slots=True)
class Scenario:
    """`per` is the unit that the cost is counted by: request or chunk."""

    name: str
    job: Job
    gateways: tuple[str, ...]
    meaning: str
    per: str = "request"

    def job_for(self, gateway: str) -> Job:
        if gateway == LITELLM and self.job.kind == "streams":
            return replace(self.job, streams=_LITELLM_STREAMS)
        return self.job

    def cost_us(self, sample: Sample) -> float:
        return sample.cpu_per_chunk_us if self.per == "chunk" else sample.cpu_per_request_us


def _closed(plan: Plan, callers: int, prompt_bytes: int = 60, seconds: float = 1.5) -> Job:
    return Job("closed", plan, prompt_bytes, callers, seconds)


ROUNDS: Sequence[Scenario] = (
    Scenario(
        "small",
        _closed(_WHOLE, 8),
        (*_PEERS, *_OVER_TLS, OWN_FREE, OWN_REDIS),
        "60 bytes of prompt, 1 KB of answer, 8 callers",
    ),
    Scenario("p100k", _closed(_WHOLE, 4, 100_000), _PEERS, "100 KB of prompt, 1 KB of answer, 4 callers"),
    Scenario(
        "s200",
        _closed(_BURST, 4),
        (*_PEERS, *_OVER_TLS),
        "200 streamed chunks as fast as they come, 4 callers; for the whole request",
    ),
    Scenario(
        "paced",
        Job("streams", _PACED, streams=160),
        (*_PEERS, *_OVER_TLS),
        "160 streams of 100 chunks, one each 20 ms; per chunk, with the request's own share",
        per="chunk",
    ),
    Scenario("latency", _closed(_WHOLE, 1), (*_PEERS, DIRECT), "one caller, 60 bytes of prompt: time of the answer"),
)
SLOPES: Sequence[Scenario] = (
    *(
        Scenario(f"c{callers}", _closed(_WHOLE, callers), (OWN,), f"{callers} callers, 60 bytes of prompt")
        for callers in (4, 256, 1024)
    ),
    *(
        Scenario(f"c4 {name}", _closed(_WHOLE, 4, size), (OWN,), f"4 callers, {name} of prompt")
        for name, size in (("100 KB", 100_000), ("1 MB", 1_000_000))
    ),
    Scenario("c1 10 MB", _closed(_WHOLE, 1, 10_000_000), (OWN,), "1 caller, 10 MB of prompt"),
    Scenario(
        "keys", _closed(_WHOLE, 4), (OWN, OWN_KEYS), "4 callers, 60 bytes of prompt, each request with the next key"
    ),
    Scenario("c512", _closed(_WHOLE, 512), (OWN_REDIS,), "512 callers, counts in Redis"),
)
