import pytest
from prometheus_client.parser import text_string_to_metric_families

from copilotapi.metering.metrics import CONTENT_TYPE, Metrics
from copilotapi.protocols.conversation import Usage


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> Metrics:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics = Metrics()
    metrics.known_models = lambda: {"gpt-4.1"}
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_usage_is_counted_by_model_direction_and_source(metrics: Metrics) -> None:
    metrics.count_usage("gpt-4.1", Usage(100, 10))
    metrics.count_usage("gpt-4.1", Usage(1, 2, estimated=True))
    counted = {labels: value for (name, labels), value in samples(metrics).items() if name == "copilotapi_tokens_total"}
    assert counted == {
        (("direction", "input"), ("model", "gpt-4.1"), ("source", "upstream")): 100,
        (("direction", "output"), ("model", "gpt-4.1"), ("source", "upstream")): 10,
        (("direction", "input"), ("model", "gpt-4.1"), ("source", "estimate")): 1,
        (("direction", "output"), ("model", "gpt-4.1"), ("source", "estimate")): 2,
    }


def test_names_that_callers_invent_share_one_label(metrics: Metrics) -> None:
    for number in range(100):
        metrics.count_usage(f"invented-{number}", Usage(1, 1))
    models = {dict(labels)["model"] for name, labels in samples(metrics) if name == "copilotapi_tokens_total"}
    assert models == {"other"}


def test_before_a_catalogue_is_known_no_model_has_a_label(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert Metrics().model_label("gpt-4.1") == "other"


def test_open_streams_go_up_and_down(metrics: Metrics) -> None:
    metrics.open_streams.inc()
    metrics.open_streams.inc()
    metrics.open_streams.dec()
    assert samples(metrics)[("copilotapi_open_streams", ())] == 1


def test_two_apps_in_one_process_count_apart(metrics: Metrics) -> None:
    metrics.fallbacks.inc()
    assert samples(metrics)[("copilotapi_fallbacks_total", ())] == 1
    assert samples(Metrics())[("copilotapi_fallbacks_total", ())] == 0


def test_the_text_is_the_exposition_format(metrics: Metrics) -> None:
    assert metrics.text().startswith(b"# HELP copilotapi_")
    assert CONTENT_TYPE.startswith("text/plain")
