"""The catalogue over a clock, a store and a fetch that the tests hold in their hands."""

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
import requests

from copilotapi.errors import ApiError, UpstreamFailed
from copilotapi.store import MemoryStore, Store
from copilotapi.upstream import client
from copilotapi.upstream.client import CopilotClient
from copilotapi.upstream.credentials import CopilotToken
from copilotapi.upstream.headers import Identification
from copilotapi.upstream.models import Catalogue, merged
from copilotapi.upstream.transport import Clocks, Transport
from tests.raw_server import RawServer, answering

KEY = "models:account"
GPT = {"id": "gpt-4.1", "vendor": "OpenAI", "is_chat_default": True, "capabilities": {"type": "chat"}}
CLAUDE = {
    "id": "claude-sonnet-4.5",
    "vendor": "Anthropic",
    "supported_endpoints": ["/chat/completions", "/v1/messages"],
    "capabilities": {"type": "chat", "tokenizer": "o200k_base"},
}


class World:
    """One account, one Copilot, one store, and as many workers as a test wants."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.store: Store = MemoryStore(lambda: self.now)
        self.listed: list[Any] = [GPT]
        self.failure: ApiError | None = None
        self.fetches = 0
        self.on_fetch: Callable[[], object] = lambda: None

    def worker(self, **aliases: str) -> Catalogue:
        return Catalogue(
            self.fetch, self.store, lambda: KEY, aliases, clock=lambda: self.now, wall_clock=lambda: self.now
        )

    def fetch(self) -> list[dict[str, Any]]:
        self.fetches += 1
        self.on_fetch()
        if self.failure is not None:
            raise self.failure
        return self.listed


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_fetched_once_in_ten_minutes(world: World) -> None:
    worker = world.worker()
    worker.models()
    world.listed = [GPT, CLAUDE]
    world.now += 599
    assert (list(worker.models()), world.fetches) == (["gpt-4.1"], 1)
    world.now += 1
    assert (list(worker.models()), world.fetches) == (["gpt-4.1", "claude-sonnet-4.5"], 2)


def test_workers_share_one_fetch_through_the_store(world: World) -> None:
    workers = [world.worker() for _ in range(4)]
    assert [list(worker.models()) for worker in workers] == [["gpt-4.1"]] * 4
    assert world.fetches == 1


def test_what_another_worker_fetched_does_not_grow_younger(world: World) -> None:
    world.worker().models()
    world.now += 500
    late = world.worker()
    late.models()
    world.now += 100
    late.models()
    assert world.fetches == 2


def test_of_workers_that_come_due_together_one_fetches(world: World) -> None:
    workers = [world.worker() for _ in range(3)]
    for worker in workers:
        worker.models()
    world.now += 600
    served: list[list[str]] = []
    world.on_fetch = lambda: served.extend(list(worker.models()) for worker in workers[1:])
    workers[0].models()
    assert (served, world.fetches) == ([["gpt-4.1"]] * 2, 2)


@pytest.mark.parametrize(
    "shared",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"models": 1, "fetched_at": 1000000}',
        b'{"models": [], "fetched_at": 1000000}',
        b'{"models": [{"id": "gpt-9"}], "fetched_at": "now"}',
        b'{"models": [{"id": "gpt-9"}], "fetched_at": 999400}',
        b'{"models": [{"id": "gpt-9"}], "fetched_at": 1000060}',
    ],
)
def test_a_shared_catalogue_that_is_damaged_old_or_from_the_future_is_not_taken(world: World, shared: bytes) -> None:
    world.store.set(KEY, shared, 600)
    assert list(world.worker().models()) == ["gpt-4.1"]


def test_a_failed_refresh_keeps_the_old_list_and_is_repeated_after_half_a_minute(world: World) -> None:
    worker = world.worker()
    worker.models()
    world.failure = UpstreamFailed("down", code="upstream_unreachable")
    world.now += 600
    assert [list(worker.models()) for _ in range(5)] == [["gpt-4.1"]] * 5
    world.now += 29
    worker.models()
    assert world.fetches == 2
    world.now += 1
    worker.models()
    assert world.fetches == 3
    world.failure, world.listed = None, [CLAUDE]
    world.now += 30
    assert list(worker.models()) == ["claude-sonnet-4.5"]


@pytest.mark.parametrize("listed", [[], [1, None, "gpt-4.1"], [{"name": "no id"}, {"id": ""}, {"id": 4}]])
def test_a_list_without_a_model_counts_as_a_failure(world: World, listed: list[Any]) -> None:
    worker = world.worker()
    worker.models()
    world.listed = listed
    world.now += 600
    assert list(worker.listed()) == ["gpt-4.1"]
    with pytest.raises(UpstreamFailed):
        world.worker().listed()


def test_without_any_catalogue_the_list_tells_what_went_wrong_and_names_are_let_through(world: World) -> None:
    world.failure = UpstreamFailed("down", code="upstream_unreachable")
    worker = world.worker(fast="small", small="gpt-4.1")
    assert worker.models() == {}
    with pytest.raises(UpstreamFailed, match="down"):
        worker.listed()
    assert worker.find("anything") is None
    assert worker.alias("fast") == "gpt-4.1"
    assert worker.alias("anything") == "anything"


def test_a_failure_at_a_cold_start_is_met_once_by_all_who_wait(world: World) -> None:
    asked = threading.Barrier(8)
    begun, may_fail = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        may_fail.wait(10)

    world.on_fetch = hold
    world.failure = UpstreamFailed("down", code="upstream_unreachable")
    worker = world.worker()

    def ask() -> None:
        asked.wait(10)
        worker.models()

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    may_fail.set()
    for thread in threads:
        thread.join(10)
    assert world.fetches == 1


def test_those_who_ask_during_the_first_fetch_wait_for_it(world: World) -> None:
    begun, may_answer = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        may_answer.wait(10)

    world.on_fetch = hold
    worker = world.worker()
    answers: list[list[str]] = []
    threads = [threading.Thread(target=lambda: answers.append(list(worker.models()))) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(10)
    may_answer.set()
    for thread in threads:
        thread.join(10)
    assert (answers, world.fetches) == ([["gpt-4.1"]] * 5, 1)


def test_those_who_ask_during_a_renewal_are_served_the_old_list_at_once(world: World) -> None:
    worker = world.worker()
    worker.models()
    begun, may_answer = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        may_answer.wait(10)

    world.on_fetch, world.listed = hold, [CLAUDE]
    world.now += 600
    renewing = threading.Thread(target=worker.refresh_if_due)
    renewing.start()
    assert begun.wait(10)
    assert list(worker.models()) == ["gpt-4.1"]
    may_answer.set()
    renewing.join(10)
    assert list(worker.models()) == ["claude-sonnet-4.5"]


def test_it_is_stale_after_half_an_hour_without_renewal(world: World) -> None:
    worker = world.worker()
    assert not worker.stale_seconds
    worker.models()
    world.failure = UpstreamFailed("down", code="upstream_unreachable")
    world.now += 1800
    worker.models()
    assert not worker.stale_seconds
    world.now += 1
    assert worker.stale_seconds == 1801
    world.failure = None
    world.now += 30
    worker.models()
    assert worker.stale_seconds is None


def test_known_ids_are_told_without_asking_anyone(world: World) -> None:
    worker = world.worker()
    assert "gpt-4.1" not in worker.known_ids()
    assert world.fetches == 0
    worker.models()
    assert "gpt-4.1" in worker.known_ids()


def test_a_model_is_found_by_alias_and_by_another_spelling(world: World) -> None:
    world.listed = [GPT, CLAUDE]
    worker = world.worker(work="claude-sonnet-4-5-20250929")
    for name in ("work", "claude-sonnet-4-5"):
        found = worker.find(name)
        assert found is not None
        assert found.id == "claude-sonnet-4.5"


def test_a_version_of_claude_that_is_not_there_is_answered_by_the_newest_and_told(world: World) -> None:
    world.listed = [GPT, CLAUDE, {**CLAUDE, "id": "claude-sonnet-4"}]
    worker = world.worker(work="claude-sonnet-9")
    for name in ("claude-sonnet-9", "work"):
        found = worker.find(name)
        assert found is not None
        assert found.id == "claude-sonnet-4.5"
        assert worker.replaced(name) == "claude-sonnet-9"
    for name in ("claude-sonnet-4-5", "sonnet", "gpt-4.1", "nobody"):
        assert worker.replaced(name) is None


@pytest.mark.parametrize(("limits", "most"), [({"max_output_tokens": 9}, 9), ({}, None), ([], None), (None, None)])
def test_the_longest_answer_is_known_where_the_list_tells_it(world: World, limits: object, most: int | None) -> None:
    world.listed = [{**GPT, "capabilities": {"type": "chat", "limits": limits}}]
    assert world.worker().max_output_tokens("gpt-4.1") == most
    assert world.worker().max_output_tokens("nobody") is None


@pytest.mark.parametrize("state", ["unconfigured", "disabled"])
def test_a_model_whose_terms_are_not_accepted_is_found_only_by_its_name(world: World, state: str) -> None:
    world.listed = [GPT, CLAUDE, {**CLAUDE, "id": "claude-sonnet-5", "policy": {"state": state, "terms": "…"}}]
    worker = world.worker()
    names = ("sonnet", "claude-sonnet-9", "claude-sonnet-5-20260801")
    found = [model.id for name in names if (model := worker.find(name)) is not None]
    assert found == ["claude-sonnet-4.5", "claude-sonnet-4.5", "claude-sonnet-5"]


def test_an_unknown_model_is_a_404_that_names_near_ones(world: World) -> None:
    with pytest.raises(ApiError, match=r"Did you mean gpt-4\.1\?") as caught:
        world.worker().find("gpt-4.1x")
    error = caught.value
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")


def test_an_unknown_name_is_not_repeated_at_any_length(world: World) -> None:
    with pytest.raises(ApiError, match="GET /v1/models") as caught:
        world.worker().find("z" * 100_000)
    assert len(caught.value.message) < 300


def test_the_default_is_the_one_that_copilot_marks(world: World) -> None:
    world.listed = [CLAUDE, GPT]
    assert world.worker().default() == "gpt-4.1"
    world.store = MemoryStore()
    world.listed = [CLAUDE]
    assert world.worker().default() is None


def test_duplicates_become_one_model_whose_first_entry_wins() -> None:
    twice: list[dict[str, Any]] = [
        {"id": "gpt-4", "vendor": "first"},
        CLAUDE,
        {"id": "gpt-4", "vendor": "second", "name": "GPT-4"},
    ]
    models = merged(twice)
    assert list(models) == ["gpt-4", "claude-sonnet-4.5"]
    assert (models["gpt-4"].vendor, models["gpt-4"].wire["name"]) == ("first", "GPT-4")


@pytest.mark.parametrize(
    ("wire", "kind", "endpoints"),
    [
        ({}, "chat", ("/chat/completions",)),
        ({"capabilities": {"type": "chat"}}, "chat", ("/chat/completions",)),
        ({"capabilities": {"type": "embeddings"}}, "embeddings", ()),
        ({"capabilities": {"type": "completion"}, "supported_endpoints": None}, "completion", ()),
        ({"supported_endpoints": ["/responses", "ws:/responses"]}, "chat", ("/responses", "ws:/responses")),
        ({"supported_endpoints": []}, "chat", ()),
        ({"capabilities": "nonsense", "supported_endpoints": "nonsense"}, "chat", ("/chat/completions",)),
    ],
)
def test_absent_endpoints_mean_chat_for_chat_models(
    wire: dict[str, Any], kind: str, endpoints: tuple[str, ...]
) -> None:
    model = merged([{"id": "m", **wire}])["m"]
    assert (model.kind, model.endpoints, model.tokenizer) == (kind, endpoints, "o200k_base")
    assert isinstance(model.wire["capabilities"], dict)


class KnownToken:
    """Stands where Credentials does."""

    def __init__(self, api_url: str) -> None:
        self._copilot_token = CopilotToken("tid=1", 1, api_url, None, 0, 1800)

    def current(self) -> CopilotToken:
        return self._copilot_token


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.mount("http://", Transport())
        yield session


def client_of(api_url: str, session: requests.Session) -> CopilotClient:
    credentials: Any = KnownToken(api_url)
    return CopilotClient(credentials, Identification("e", "p", "i", "v"), session, Clocks(), 16)


def listing(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def test_the_list_is_what_copilot_calls_data(session: requests.Session) -> None:
    with RawServer(answering(listing(b'{"data": [{"id": "m"}]}'))) as server:
        assert client_of(server.url, session).list_models() == [{"id": "m"}]


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"null", b"{}", b'{"data": null}', b'{"data": {"id": "m"}}'])
def test_a_list_that_cannot_be_read_is_a_failure(session: requests.Session, body: bytes) -> None:
    with RawServer(answering(listing(body))) as server, pytest.raises(UpstreamFailed) as caught:
        client_of(server.url, session).list_models()
    assert caught.value.code == "upstream_bad_response"


def test_a_silent_copilot_holds_nobody_who_waits_for_the_list(
    session: requests.Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat may think for minutes (FIRST_BYTE_TIMEOUT); a list does not."""
    assert client._CATALOGUE_CLOCKS.total_seconds <= 15
    monkeypatch.setattr(client, "_CATALOGUE_CLOCKS", Clocks(1, 0.1, 0.1, 0.1))
    over = threading.Event()

    def say_nothing(connection: socket.socket, number: int) -> None:
        over.wait(10)

    with RawServer(say_nothing) as server:
        with pytest.raises(UpstreamFailed) as caught:
            client_of(server.url, session).list_models()
        over.set()
    assert caught.value.code == "upstream_timeout"


def test_what_is_shared_is_copilots_own_list(world: World) -> None:
    world.worker().models()
    assert orjson.loads(world.store.get(KEY) or b"")["models"] == [GPT]
