import itertools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from copilotapi.errors import SignInFailed
from copilotapi.store import MemoryStore, Store
from copilotapi.upstream.credentials import Credentials
from copilotapi.upstream.endpoints import EndpointRules
from copilotapi.upstream.github import ExchangedToken, ExchangeRefused
from copilotapi.upstream.sealed import Sealer, StoredToken

RULES = EndpointRules("https://github.com", "https://api.github.com")
ENDPOINTS = {"api": "https://api.individual.githubcopilot.com"}
GITHUB_TOKEN = "gho_of_a_test"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class FakeGitHub:
    """Stands where GitHub does: counts exchanges, answers or refuses as told."""

    def __init__(self) -> None:
        self.exchanges = 0
        self.life_seconds = 1560.0
        self.endpoints: dict[str, Any] = ENDPOINTS
        self.refusal: ExchangeRefused | None = None
        self.on_exchange: Callable[[], None] = lambda: None
        self.takes_directly = False

    def exchange(self, github_token: str) -> ExchangedToken:
        assert github_token == GITHUB_TOKEN
        self.exchanges += 1
        self.on_exchange()
        if self.refusal is not None:
            raise self.refusal
        return ExchangedToken(f"tid={self.exchanges};exp=1:{'0' * 64}", self.life_seconds, self.endpoints, "test")

    def user(self, github_token: str) -> dict[str, Any]:
        return {"endpoints": ENDPOINTS, "login": "octocat", "copilot_plan": "individual"}

    def accepts_directly(self, github_token: str, api_url: str) -> bool:
        return self.takes_directly


class World:
    """One account, one store, one GitHub, and as many workers as a test wants."""

    def __init__(self) -> None:
        self.github = FakeGitHub()
        self.store: Store = MemoryStore()
        self.boot, self.wall = Clock(), Clock()

    def worker(self, github_token: str | None = GITHUB_TOKEN, store: Store | None = None) -> Credentials:
        return Credentials(
            github_token,
            self.github,  # type: ignore[arg-type]
            RULES,
            store or self.store,
            clock=self.boot,
            wall_clock=self.wall,
        )

    def sleep(self, seconds: float) -> None:
        self.boot.now += seconds
        self.wall.now += seconds


@pytest.fixture
def world() -> World:
    return World()


def test_the_first_request_exchanges_and_the_next_ones_do_not(world: World) -> None:
    worker = world.worker()
    first = worker.current()
    world.sleep(1379)
    assert worker.current() is first
    assert (first.generation, world.github.exchanges) == (1, 1)


def test_it_is_renewed_three_minutes_before_its_end(world: World) -> None:
    worker = world.worker()
    worker.current()
    world.sleep(1560 - 180)
    assert worker.current().generation == 2


def test_a_short_life_is_renewed_in_its_last_quarter(world: World) -> None:
    world.github.life_seconds = 400
    worker = world.worker()
    worker.current()
    world.sleep(299)
    assert worker.current().generation == 1
    world.sleep(1)
    assert worker.current().generation == 2


def test_no_scheduled_exchange_comes_within_thirty_seconds_of_the_last(world: World) -> None:
    world.github.life_seconds = 32
    worker = world.worker()
    worker.current()
    world.sleep(29)
    worker.refresh_if_due()
    assert world.github.exchanges == 1
    world.sleep(1)
    worker.refresh_if_due()
    assert world.github.exchanges == 2


def test_one_exchange_serves_all_workers(world: World) -> None:
    workers = [world.worker() for _ in range(4)]
    assert {worker.current().secret for worker in workers} == {workers[0].current().secret}
    assert world.github.exchanges == 1


def test_fifty_requests_at_a_cold_start_make_one_exchange(world: World) -> None:
    started = threading.Barrier(50)
    worker = world.worker()
    secrets: list[str] = []

    def ask() -> None:
        started.wait(10)
        secrets.append(worker.current().secret)

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (len(secrets), len(set(secrets)), world.github.exchanges) == (50, 1, 1)


def test_a_rejected_token_is_replaced_once_however_many_calls_met_the_rejection(world: World) -> None:
    worker, other = world.worker(), world.worker()
    rejected = worker.current()
    other.current()
    generations = {worker.replace(rejected).generation for _ in range(20)} | {other.replace(rejected).generation}
    assert (generations, world.github.exchanges) == ({2}, 2)


def test_each_generation_may_be_replaced_at_once(world: World) -> None:
    worker = world.worker()
    worker.replace(worker.replace(worker.current()))
    assert world.github.exchanges == 3


def test_tokens_that_are_rejected_from_birth_make_no_storm(world: World) -> None:
    worker = world.worker()
    worker.replace(worker.current())
    assert worker.rejected_again().status == 503
    for _ in range(10):
        with pytest.raises(SignInFailed):
            worker.replace(worker.current())
    assert world.github.exchanges == 2


def test_a_rejected_token_that_cannot_be_replaced_is_no_usable_one_until_the_clock_gets_another(world: World) -> None:
    worker = world.worker()
    rejected = worker.current()
    world.github.refusal = ExchangeRefused("down", code="copilot_token_unavailable", temporary=True)
    with pytest.raises(SignInFailed):
        worker.replace(rejected)
    assert worker.status().seconds_left is None
    world.github.refusal = None
    world.sleep(2)
    worker.refresh_if_due()
    assert (worker.status().seconds_left, worker.status().refusal) == (1560, None)


def test_a_failing_refresh_leaves_the_good_token_in_use_to_its_very_end(world: World) -> None:
    worker = world.worker()
    worker.current()
    world.github.refusal = ExchangeRefused("down", code="copilot_token_unavailable", temporary=True)
    world.sleep(1400)
    assert worker.current().generation == 1
    world.sleep(159)
    assert worker.current().generation == 1
    world.sleep(1)
    with pytest.raises(SignInFailed):
        worker.current()


def test_failures_back_off_and_every_worker_keeps_the_pause(world: World) -> None:
    world.github.refusal = ExchangeRefused("no seat", code="copilot_access_refused", temporary=False)
    worker, other = world.worker(), world.worker()
    for credentials in (worker, other, worker):
        with pytest.raises(SignInFailed) as caught:
            credentials.current()
        assert caught.value.code == "copilot_access_refused"
    assert world.github.exchanges == 1
    world.sleep(61)
    world.github.refusal = None
    assert other.current().generation == 1
    assert other.status().refusal is None


def test_pauses_grow_for_a_refused_account(world: World) -> None:
    world.github.refusal = ExchangeRefused("no seat", code="copilot_access_refused", temporary=False)
    worker = world.worker()
    attempts = []
    for second in range(4000):
        with pytest.raises(SignInFailed):
            worker.current()
        if world.github.exchanges > len(attempts):
            attempts.append(second)
        world.sleep(1)
    gaps = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert len(gaps) >= 4
    assert gaps == sorted(gaps)
    assert gaps[0] >= 45


def test_githubs_own_wish_for_a_pause_is_obeyed(world: World) -> None:
    world.github.refusal = ExchangeRefused("limit", code="x", temporary=True, pause_seconds=120)
    worker = world.worker()
    for _ in range(119):
        with pytest.raises(SignInFailed):
            worker.current()
        world.sleep(1)
    assert world.github.exchanges == 1


def test_the_operator_gets_a_new_token_and_joins_one_just_fetched(world: World) -> None:
    worker, other = world.worker(), world.worker()
    first = worker.refresh_now()
    assert (first.status, first.generation, first.expires_in, first.refresh_in) == ("refreshed", 1, 1560, 1380)
    assert other.refresh_now().status == "unchanged"
    world.sleep(6)
    assert (other.refresh_now().status, world.github.exchanges) == ("refreshed", 2)


def test_the_operator_may_cut_a_pause_short_but_not_hammer(world: World) -> None:
    world.github.refusal = ExchangeRefused("no seat", code="copilot_access_refused", temporary=False)
    worker = world.worker()
    for _ in range(20):
        with pytest.raises(SignInFailed):
            worker.refresh_now()
    assert world.github.exchanges == 1
    world.sleep(6)
    world.github.refusal = None
    assert worker.refresh_now().status == "refreshed"


def test_the_operator_is_not_told_unchanged_of_a_token_that_could_not_be_replaced(world: World) -> None:
    worker = world.worker()
    rejected = worker.current()
    world.github.refusal = ExchangeRefused("no seat", code="copilot_access_refused", temporary=False)
    with pytest.raises(SignInFailed):
        worker.replace(rejected)
    with pytest.raises(SignInFailed, match="no seat"):
        worker.refresh_now()


def test_a_paused_leader_cannot_overwrite_a_newer_token(world: World) -> None:
    """The lock of a worker that slept through its life was taken by another; its late write must lose."""
    slow, quick = world.worker(), world.worker()

    def overtaken() -> None:
        world.github.on_exchange = lambda: None
        sealed = Sealer(GITHUB_TOKEN)
        newer = sealed.seal(_stored(generation=5, obtained_at=world.wall.now))
        assert world.store.compare_and_set(f"token:{sealed.account}", newer, 5, 600)

    world.github.on_exchange = overtaken
    assert slow.current().generation == 5
    assert quick.current().generation == 5


def test_a_token_of_another_account_or_a_forged_one_is_never_sent(world: World) -> None:
    sealer = Sealer(GITHUB_TOKEN)
    foreign = Sealer("gho_of_somebody_else").seal(_stored(generation=9, obtained_at=world.wall.now))
    world.store.compare_and_set(f"token:{sealer.account}", foreign, 9, 600)
    assert world.worker().current().secret.startswith("tid=1;")


def test_the_stored_token_cannot_be_read_without_the_key(world: World) -> None:
    worker = world.worker()
    secret = worker.current().secret
    stored = world.store.get(f"token:{worker.account}")
    assert stored is not None
    assert secret.encode() not in stored
    assert GITHUB_TOKEN.encode() not in stored


def test_a_clock_that_jumps_costs_at_most_one_exchange(world: World) -> None:
    worker = world.worker()
    worker.current()
    for jump in (86_400, -2 * 86_400):
        world.wall.now += jump
        assert worker.current().generation == 1
        world.worker().current()
    assert world.github.exchanges <= 3


def test_sleep_of_the_machine_counts_as_age(world: World) -> None:
    worker = world.worker()
    worker.current()
    world.sleep(7200)
    assert worker.current().generation == 2


def test_a_foreign_host_in_the_answer_is_refused_and_the_old_token_kept(world: World) -> None:
    worker = world.worker()
    worker.current()
    world.github.endpoints = {"api": "https://evil.example"}
    world.sleep(1400)
    assert worker.current().generation == 1
    assert "evil.example" in str(worker.status().refusal)


def test_without_a_github_token_the_message_says_what_to_set(world: World) -> None:
    worker = world.worker(None)
    with pytest.raises(SignInFailed, match="GITHUB_COPILOT_TOKEN") as caught:
        worker.current()
    assert (caught.value.status, caught.value.code) == (503, "copilot_sign_in_required")
    assert worker.status().refusal is not None


def test_a_copilot_token_given_as_it_is_serves_until_its_end(world: World) -> None:
    given = f"tid=1;exp={int(world.wall.now) + 100};proxy-ep=proxy.individual.githubcopilot.com:{'0' * 64}"
    worker = world.worker(given)
    assert worker.current().secret == given
    assert worker.current().api_url == "https://api.individual.githubcopilot.com"
    assert (worker.refresh_now().status, worker.refresh_now().expires_in) == ("unchanged", None)
    world.sleep(101)
    with pytest.raises(SignInFailed, match="expired"):
        worker.current()
    assert world.github.exchanges == 0


def test_a_fine_grained_token_is_sent_directly(world: World) -> None:
    worker = world.worker("github_pat_x")
    assert worker.current().secret == "github_pat_x"
    with pytest.raises(SignInFailed):
        worker.replace(worker.current())
    assert world.github.exchanges == 0


@pytest.mark.parametrize("takes_directly", [True, False])
def test_a_404_of_the_exchange_is_tried_directly_once_and_remembered(world: World, takes_directly: bool) -> None:
    world.github.refusal = ExchangeRefused("none", code="copilot_access_refused", temporary=False, status=404)
    world.github.takes_directly = takes_directly
    worker = world.worker()
    if takes_directly:
        assert worker.current().secret == GITHUB_TOKEN
        world.sleep(10_000)
        assert worker.current().secret == GITHUB_TOKEN
    else:
        with pytest.raises(SignInFailed):
            worker.current()
    assert world.github.exchanges == 1


def _stored(generation: int, obtained_at: float) -> StoredToken:
    return StoredToken("tid=9;x:0", generation, ENDPOINTS["api"], None, obtained_at, 1560.0, "test")
