"""Prometheus metrics with bounded labels: routes by template, models by catalogue, never a key or a path as it came."""

import os
from collections.abc import Callable, Container
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.multiprocess import MultiProcessCollector

from copilotapi.protocols.conversation import Usage

_FIRST_BYTE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320)
_OTHER_MODEL = "other"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _ProcessId:
    """prometheus_client asks for it with each count; the system is asked once in a process."""

    def __init__(self) -> None:
        self._ask()
        os.register_at_fork(after_in_child=self._ask)

    def __call__(self) -> int:
        return self._process_id

    def _ask(self) -> None:
        self._process_id = os.getpid()


# As prometheus_client's page on multiprocess mode tells: https://prometheus.github.io/client_python/multiprocess/.
if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    values.ValueClass = values.MultiProcessValue(_ProcessId())  # type: ignore[no-untyped-call]


class Metrics:
    """One set per app. Workers of one gunicorn share theirs through PROMETHEUS_MULTIPROC_DIR when it is set."""

    def __init__(self) -> None:
        self.known_models: Callable[[], Container[str]] = tuple
        self._is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ
        self._registry = registry = CollectorRegistry()
        self._children: dict[tuple[object, ...], Any] = {}
        self.requests = Counter(
            "copilotapi_requests", "Requests answered.", ["route", "method", "status"], registry=registry
        )
        self.tokens = Counter("copilotapi_tokens", "Tokens used.", ["model", "direction", "source"], registry=registry)
        self.first_byte = Histogram(
            "copilotapi_first_byte_seconds",
            "Time from a request to the first byte of Copilot's answer.",
            ["model"],
            buckets=_FIRST_BYTE_BUCKETS,
            registry=registry,
        )
        self.open_streams = Gauge(
            "copilotapi_open_streams", "Answers being streamed now.", registry=registry, multiprocess_mode="livesum"
        )
        self.exchanges = Counter(
            "copilotapi_token_exchanges", "Token exchanges with GitHub.", ["outcome"], registry=registry
        )
        self.retries = Counter("copilotapi_upstream_retries", "Calls sent again.", ["reason"], registry=registry)
        self.fallbacks = Counter("copilotapi_fallbacks", "Answers by the fallback model.", registry=registry)
        self.token_seconds_left = Gauge(
            "copilotapi_token_seconds_left",
            "Life left in the Copilot token; 0 without one.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self.redis_up = Gauge(
            "copilotapi_store_up",
            "1 while the shared store answers, 0 while memory stands in.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )

    def model_label(self, model: str) -> str:
        """`model` when the catalogue knows it: what a caller invents makes no label of its own."""
        return model if model in self.known_models() else _OTHER_MODEL

    def count_request(self, route: str, method: str, status: str) -> None:
        self._labelled(self.requests, route, method, status).inc()

    def observe_first_byte(self, model: str, seconds: float) -> None:
        self._labelled(self.first_byte, self.model_label(model)).observe(seconds)

    def count_usage(self, model: str, usage: Usage) -> None:
        label, source = self.model_label(model), "estimate" if usage.estimated else "upstream"
        self._labelled(self.tokens, label, "input", source).inc(usage.input_tokens)
        self._labelled(self.tokens, label, "output", source).inc(usage.output_tokens)

    def _labelled(self, metric: Counter | Histogram, *labels: str) -> Any:
        """As `metric.labels`, which takes a lock and makes texts anew each time; labels are few."""
        known = (id(metric), *labels)
        if (child := self._children.get(known)) is None:
            child = self._children[known] = metric.labels(*labels)
        return child

    def text(self) -> bytes:
        """The exposition text, of all workers where they share."""
        if not self._is_shared:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
