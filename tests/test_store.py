"""One contract, two stores; then what only one of them can show."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from copilotapi.store import MemoryStore, RedisStore, Store, open_store
from tests.redis_server import RedisServer, require_redis

ROOT = Path(__file__).parent.parent
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def shared_server() -> Iterator[RedisServer]:
    require_redis()
    with RedisServer() as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.redis)])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield open_store("memory://")
        return
    server: RedisServer = request.getfixturevalue("shared_server")
    server.client.flushall()
    store = open_store(server.patient_url)
    yield store
    assert store.degraded is None


def eventually(condition: Callable[[], bool], timeout_seconds: float = 10.0) -> bool:
    give_up = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.005)
    return True


def together(count: int, act: Callable[[int], object]) -> None:
    """`act` in `count` threads that begin at the same moment. The first failure is raised here."""
    start = threading.Barrier(count)

    def run(number: int) -> None:
        start.wait(30)
        act(number)

    with ThreadPoolExecutor(count) as threads:
        list(threads.map(run, range(count), timeout=60))


# Values


def test_what_was_never_set_is_absent(store: Store) -> None:
    assert store.get("nothing") is None


@pytest.mark.parametrize("value", [b"", b"plain", b"v1:1:00000000:x", b"\xff\x00\r\n:*3", b"x" * 1_000_000])
def test_a_value_comes_back_as_it_was(store: Store, value: bytes) -> None:
    store.set("key", value, HOUR)
    assert store.get("key") == value


def test_the_last_value_set_wins(store: Store) -> None:
    store.set("key", b"one", HOUR)
    store.set("key", b"two", HOUR)
    assert store.get("key") == b"two"


def test_a_deleted_value_is_absent(store: Store) -> None:
    store.set("key", b"value", HOUR)
    store.delete("key")
    assert store.get("key") is None


def test_deleting_what_is_absent_does_nothing(store: Store) -> None:
    store.delete("nothing")
    assert store.get("nothing") is None


def test_a_value_is_gone_after_its_ttl(store: Store) -> None:
    store.set("key", b"value", 0.05)
    assert eventually(lambda: store.get("key") is None)


@pytest.mark.parametrize("ttl_seconds", [0.0, -1.0])
def test_a_ttl_of_nothing_leaves_nothing(store: Store, ttl_seconds: float) -> None:
    store.set("key", b"old", HOUR)
    store.set("key", b"new", ttl_seconds)
    assert eventually(lambda: store.get("key") is None)


def test_an_endless_ttl_is_taken(store: Store) -> None:
    store.set("key", b"value", float("inf"))
    assert store.get("key") == b"value"


def test_a_key_may_hold_any_text(store: Store) -> None:
    for key in ("a b", "ünï:cödé", "new\r\nline", "\ud800"):
        store.set(key, key.encode(errors="replace"), HOUR)
        assert store.get(key) == key.encode(errors="replace")


# Compare and set


def test_the_first_generation_is_stored(store: Store) -> None:
    assert store.compare_and_set("key", b"one", 1, HOUR) is True
    assert store.get("key") == b"one"


def test_a_newer_generation_replaces_an_older(store: Store) -> None:
    store.compare_and_set("key", b"nine", 9, HOUR)
    assert store.compare_and_set("key", b"ten", 10, HOUR) is True
    assert store.get("key") == b"ten"


@pytest.mark.parametrize("generation", [1, 6, 7])
def test_an_older_or_equal_generation_is_refused(store: Store, generation: int) -> None:
    store.compare_and_set("key", b"seven", 7, HOUR)
    assert store.compare_and_set("key", b"stale", generation, HOUR) is False
    assert store.get("key") == b"seven"


def test_an_expired_generation_stands_in_no_ones_way(store: Store) -> None:
    store.compare_and_set("key", b"seven", 7, 0.05)
    assert eventually(lambda: store.get("key") is None)
    assert store.compare_and_set("key", b"one", 1, HOUR) is True


def test_a_plain_value_is_older_than_every_generation(store: Store) -> None:
    store.compare_and_set("key", b"seven", 7, HOUR)
    store.set("key", b"plain", HOUR)
    assert store.get("key") == b"plain"
    assert store.compare_and_set("key", b"one", 1, HOUR) is True


def test_the_newest_of_many_writers_wins(store: Store) -> None:
    together(24, lambda number: store.compare_and_set("key", b"%d" % number, number + 1, HOUR))
    assert store.get("key") == b"23"


def test_of_writers_with_one_generation_one_is_told_that_it_won(store: Store) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if store.compare_and_set("key", b"%d" % number, 5, HOUR):
            won.append(number)

    together(24, write)
    assert len(won) == 1
    assert store.get("key") == b"%d" % won[0]


# Locks


def test_a_held_lock_is_refused_to_others(store: Store) -> None:
    with store.lock("key", HOUR) as is_ours, store.lock("key", HOUR) as is_theirs:
        assert (is_ours, is_theirs) == (True, False)


def test_being_refused_a_lock_does_not_release_it(store: Store) -> None:
    with store.lock("key", HOUR):
        with store.lock("key", HOUR):
            pass
        with store.lock("key", HOUR) as is_theirs:
            assert is_theirs is False


def test_a_lock_is_free_again_after_its_block(store: Store) -> None:
    for _ in range(3):
        with store.lock("key", HOUR) as is_ours:
            assert is_ours is True


def test_a_lock_is_free_again_after_a_failure(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.lock("key", HOUR):
        _ = 1 / 0
    with store.lock("key", HOUR) as is_ours:
        assert is_ours is True


def test_locks_of_different_keys_are_independent(store: Store) -> None:
    with store.lock("one", HOUR), store.lock("two", HOUR) as is_ours:
        assert is_ours is True


def test_a_lock_held_too_long_is_given_to_the_next_and_not_released_for_them(store: Store) -> None:
    with ExitStack() as slow, ExitStack() as next_holder:
        assert slow.enter_context(store.lock("key", 0.05))
        assert eventually(lambda: _takes(store, next_holder))
        slow.close()
        with store.lock("key", HOUR) as is_third:
            assert is_third is False


def _takes(store: Store, stack: ExitStack) -> bool:
    return stack.enter_context(store.lock("key", HOUR))


def test_of_many_threads_one_gets_the_lock(store: Store) -> None:
    gotten: list[int] = []
    everyone_asked = threading.Barrier(24)

    def take(number: int) -> None:
        with store.lock("key", HOUR) as is_ours:
            if is_ours:
                gotten.append(number)
            everyone_asked.wait(30)

    together(24, take)
    assert len(gotten) == 1


# Counters


def test_incrementing_answers_all_counters_of_the_key(store: Store) -> None:
    store.increment("key", {"in": 2}, HOUR)
    assert store.increment("key", {"out": 3, "in": 5}, HOUR) == {"in": 7, "out": 3}


def test_incrementing_by_nothing_only_reads(store: Store) -> None:
    assert store.increment("key", {}, HOUR) == {}
    store.increment("key", {"in": 2}, HOUR)
    assert store.increment("key", {}, HOUR) == {"in": 2}


def test_counters_may_go_down(store: Store) -> None:
    store.increment("key", {"in": 2}, HOUR)
    assert store.increment("key", {"in": -5}, HOUR) == {"in": -3}


def test_counters_of_different_keys_are_independent(store: Store) -> None:
    store.increment("one", {"in": 2}, HOUR)
    assert store.increment("two", {"in": 3}, HOUR) == {"in": 3}


def test_counters_may_have_any_name(store: Store) -> None:
    assert store.increment("key", {"gpt-4|ïn ": 1}, HOUR) == {"gpt-4|ïn ": 1}


def test_what_is_answered_cannot_change_what_is_stored(store: Store) -> None:
    store.increment("key", {"in": 2}, HOUR)["in"] = 100
    assert store.increment("key", {}, HOUR) == {"in": 2}


def test_counters_are_gone_after_their_ttl(store: Store) -> None:
    store.increment("key", {"in": 2}, 0.05)
    assert eventually(lambda: store.increment("key", {}, HOUR) == {})


def test_no_increment_of_many_threads_is_lost(store: Store) -> None:
    together(24, lambda number: [store.increment("key", {"in": number, "calls": 1}, HOUR) for _ in range(10)])
    assert store.increment("key", {}, HOUR) == {"in": 10 * sum(range(24)), "calls": 240}


# Counters without an answer


def test_what_was_added_shows_after_catching_up(store: Store) -> None:
    store.add("key", {"in": 2}, HOUR)
    store.add("key", {"in": 5, "out": 3}, HOUR)
    store.catch_up()
    assert store.increment("key", {}, HOUR) == {"in": 7, "out": 3}


def test_what_was_added_is_gone_after_its_ttl(store: Store) -> None:
    store.add("key", {"in": 2}, 0.05)
    store.catch_up()
    assert eventually(lambda: store.increment("key", {}, HOUR) == {})


def test_a_store_that_was_closed_still_counts(store: Store) -> None:
    store.add("key", {"in": 2}, HOUR)
    store.close()
    store.add("key", {"in": 3}, HOUR)
    assert store.increment("key", {}, HOUR) == {"in": 5}


# One key, another kind


def test_counters_and_locks_are_not_values(store: Store) -> None:
    store.increment("counters", {"in": 2}, HOUR)
    assert store.get("counters") is None
    with store.lock("lock", HOUR):
        assert store.get("lock") is None


def test_a_value_replaces_counters(store: Store) -> None:
    store.increment("key", {"in": 2}, HOUR)
    assert store.compare_and_set("key", b"value", 1, HOUR) is True
    assert store.get("key") == b"value"


def test_counters_replace_a_value(store: Store) -> None:
    store.set("key", b"value", HOUR)
    assert store.increment("key", {}, HOUR) == {}
    assert store.increment("key", {"in": 2}, HOUR) == {"in": 2}
    assert store.get("key") is None


# Memory


def test_memory_is_never_degraded() -> None:
    assert MemoryStore().degraded is None


def test_memory_lets_go_of_what_has_expired() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    for number in range(1000):
        store.set(f"key {number}", b"value", 5.0)
    clock.now += 11.0
    store.set("another", b"value", 5.0)
    assert len(store._entries) == 1


def test_memory_keeps_what_has_not_expired_when_it_lets_go_of_the_rest() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    store.set("long", b"value", HOUR)
    clock.now += 11.0
    store.set("another", b"value", 5.0)
    assert store.get("long") == b"value"


def test_a_value_in_memory_ends_at_its_ttl_to_the_moment() -> None:
    clock = Clock()
    store = MemoryStore(clock)
    store.set("key", b"value", 5.0)
    clock.now += 4.99
    assert store.get("key") == b"value"
    clock.now += 0.01
    assert store.get("key") is None


# Opening


def test_the_url_chooses_the_store() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    for url in ("redis://localhost", "rediss://localhost:6380/1", "unix:///run/redis.sock"):
        assert isinstance(open_store(url), RedisStore)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis",
        "http://u:hunter2@localhost",
        "memory://hunter2",
        "redis://u:hunter2@localhost:port",
        "redis://u:hunter2/x@localhost",
        "redis://u:hunter2@localhost?colour=hunter2",
        "redis://u:hunter2@localhost?db=hunter2",
        "rediss://u:hunter2@localhost?ssl_cert_reqs=hunter2",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="redis") as refused:
        open_store(url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.redis
def test_the_store_opens_no_connection_before_its_first_use(redis_server: RedisServer) -> None:
    store = open_store(redis_server.url)
    assert store.degraded is None
    assert len(redis_server.client.client_list()) == 1
    store.get("key")
    assert len(redis_server.client.client_list()) == 2


@pytest.mark.redis
def test_the_password_may_come_beside_the_url(redis_server: RedisServer) -> None:
    redis_server.config("requirepass", "opensesame")
    store = open_store(redis_server.patient_url, password="opensesame")
    store.set("key", b"value", HOUR)
    assert store.degraded is None
    assert open_store(redis_server.patient_url.replace("//", "//:opensesame@"), password="other").get("key") == b"value"


@pytest.mark.redis
def test_redis_is_reached_by_a_unix_socket(shared_server: RedisServer) -> None:
    store = open_store(shared_server.socket_url)
    store.set("key", b"by socket", HOUR)
    assert store.degraded is None
    assert open_store(shared_server.patient_url).get("key") == b"by socket"


@pytest.mark.redis
def test_an_option_that_would_break_the_store_is_overruled(shared_server: RedisServer) -> None:
    store = open_store(f"{shared_server.patient_url}&decode_responses=true&retry_on_timeout=true&protocol=3")
    store.set("key", b"\xff\xfe", HOUR)
    assert store.get("key") == b"\xff\xfe"


# What lies in Redis


@pytest.mark.redis
def test_all_keys_in_redis_have_the_prefix_and_end_by_themselves(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.set("value", b"x", HOUR)
    store.compare_and_set("generation", b"x", 1, HOUR)
    store.increment("counters", {"in": 1}, HOUR)
    with store.lock("lock", HOUR):
        assert store.probe()
        keys = redis_server.client.keys()
        assert {b"copilotapi:value", b"copilotapi:generation", b"copilotapi:counters", b"copilotapi:lock"} <= set(keys)
        assert all(key.startswith(b"copilotapi:") for key in keys)
        assert all(redis_server.client.pttl(key) > 0 for key in keys)


@pytest.mark.redis
def test_two_stores_share_what_lies_in_redis(shared_server: RedisServer) -> None:
    one, other = open_store(shared_server.patient_url), open_store(shared_server.patient_url)
    one.compare_and_set("shared", b"value", 3, HOUR)
    assert other.get("shared") == b"value"
    assert other.compare_and_set("shared", b"stale", 2, HOUR) is False
    one.increment("shared counters", {"in": 1}, HOUR)
    assert other.increment("shared counters", {"in": 1}, HOUR) == {"in": 2}
    with one.lock("shared lock", HOUR), other.lock("shared lock", HOUR) as is_theirs:
        assert is_theirs is False


@pytest.mark.redis
def test_three_hundred_threads_share_few_connections(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)

    def use(number: int) -> None:
        store.set(f"key {number}", b"%d" % number, HOUR)
        assert store.get(f"key {number}") == b"%d" % number
        store.increment("counters", {"calls": 1}, HOUR)

    together(300, use)
    assert store.degraded is None
    assert redis_server.client.hget("copilotapi:counters", "calls") == b"300"
    assert len(redis_server.client.client_list()) <= 33


# Processes


@pytest.mark.redis
def test_a_forked_process_uses_connections_of_its_own(shared_server: RedisServer) -> None:
    output = _run(
        shared_server,
        """
        import redis

        def client_id():
            return redis.Redis(connection_pool=store.connection_pool).client_id()

        store.set("forked", b"parent", 60)
        ids = [client_id()]
        pid = os.fork()
        if pid == 0:
            store.set("forked", b"child", 60)
            os._exit(3 if client_id() == ids[0] else 4 if store.degraded else 0)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), client_id() == ids[0], store.get("forked"), store.degraded)
        """,
    )
    assert output == "0 True b'child' None"


@pytest.mark.redis
def test_a_connection_given_back_in_a_forked_process_is_not_used_there(shared_server: RedisServer) -> None:
    output = _run(
        shared_server,
        """
        pool = store.connection_pool
        of_parent = pool.get_connection()
        pid = os.fork()
        if pid == 0:
            taken = [pool.get_connection()]
            pool.release(of_parent)
            taken += [pool.get_connection() for _ in range(pool.max_connections - 1)]
            os._exit(3 if of_parent in taken else 0)
        _, status = os.waitpid(pid, 0)
        of_parent.send_command("PING")
        print(os.waitstatus_to_exitcode(status), of_parent.read_response())
        """,
    )
    assert output == "0 b'PONG'"


@pytest.mark.redis
def test_a_connection_given_back_with_a_reply_unread_is_made_anew(shared_server: RedisServer) -> None:
    store = RedisStore(shared_server.patient_url)
    pool = store.connection_pool
    connection = pool.get_connection()
    connection.send_command("ECHO", "of another")
    assert connection.can_read(timeout=10)
    pool.release(connection)
    store.set("key", b"value", HOUR)
    assert store.get("key") == b"value"
    assert store.degraded is None


@pytest.mark.redis
def test_who_finds_no_connection_free_waits_no_longer_than_the_url_says(shared_server: RedisServer) -> None:
    store = RedisStore(f"{shared_server.url}?max_connections=2&timeout=0.1")
    pool = store.connection_pool
    taken = [pool.get_connection(), pool.get_connection()]
    started = time.monotonic()
    with pytest.raises(redis.ConnectionError, match="no connection became free"):
        pool.get_connection()
    assert time.monotonic() - started < 2
    for connection in taken:
        pool.release(connection)
    assert pool.get_connection() in taken


@pytest.mark.redis
def test_three_hundred_greenlets_share_the_store_in_a_patched_process(shared_server: RedisServer) -> None:
    output = _run(
        shared_server,
        """
        import gevent

        def use(number):
            store.set(f"greenlet {number}", b"%d" % number, 60)
            store.increment("greenlets", {"calls": 1}, 60)
            with store.lock("greenlets", 60) as is_ours:
                return store.get(f"greenlet {number}") == b"%d" % number

        greenlets = [gevent.spawn(use, number) for number in range(300)]
        gevent.joinall(greenlets, timeout=30)
        print(all(greenlet.value for greenlet in greenlets), store.increment("greenlets", {}, 60), store.degraded)
        """,
    )
    assert output == "True {'calls': 300} None"


def _run(server: RedisServer, code: str) -> str:
    """What `code` prints in a process that gevent has patched, as gunicorn's workers are; `store` is there."""
    setup = """
        from gevent import monkey

        monkey.patch_all()

        import os

        from copilotapi.store import open_store

        store = open_store(os.environ["TEST_REDIS_URL"])
    """
    environment = {**os.environ, "TEST_REDIS_URL": server.patient_url}
    command = [sys.executable, "-c", textwrap.dedent(setup) + textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
