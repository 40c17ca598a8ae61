"""Redis down, frozen, slow, full, read-only, forbidding or talking nonsense: nothing raises, nothing waits long."""

import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from copilotapi.store import RedisStore, open_store
from tests.raw_server import RawServer
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parent.parent.parent
HOUR = 3600.0
# An operation that waited for Redis takes 250 ms at least; one that did not takes less than one.
SLOW_SECONDS = 0.2


class Clock:
    """Time that passes only when told to: the breaker's pauses are skipped, not slept through."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_pause(self) -> None:
        self.now += 5.1


class Wire:
    """A TCP proxy before Redis. `delay_seconds` holds every reply back; `loses` drops "requests" or "replies".

    `forget` does what a firewall does that has lost its table: what is connected stays so, and gets no answer.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = [self._listener]
        self.delay_seconds = 0.0
        self.loses = ""
        self._forgotten: set[socket.socket] = set()
        self._closing = threading.Event()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> "Wire":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def forget(self) -> None:
        self._forgotten.update(self._sockets)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [client, server]
                threading.Thread(target=self._pump, args=(client, server, "requests"), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, "replies"), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, direction: str) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if direction == "replies":
                    self._closing.wait(self.delay_seconds)
                if self.loses != direction and source not in self._forgotten:
                    target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


def slow_calls(count: int, act: Callable[[], object]) -> int:
    return sum(_seconds(act) > SLOW_SECONDS for _ in range(count))


def _seconds(act: Callable[[], object]) -> float:
    start = time.monotonic()
    act()
    return time.monotonic() - start


def use_everything(store: RedisStore) -> None:
    """Every operation, as a caller sees it whatever Redis does."""
    store.set("a value", b"value", HOUR)
    assert store.get("a value") == b"value"
    assert store.compare_and_set("a generation", b"seven", 7, HOUR) is True
    assert store.compare_and_set("a generation", b"six", 6, HOUR) is False
    assert store.get("a generation") == b"seven"
    with store.lock("a lock", HOUR) as is_ours, store.lock("a lock", HOUR) as is_theirs:
        assert (is_ours, is_theirs) == (True, False)
    with store.lock("a lock", HOUR) as is_ours:
        assert is_ours is True
    before = store.increment("counters", {"in": 1, "out": 0}, HOUR)
    assert store.increment("counters", {"in": 1, "out": 1}, HOUR) == {name: n + 1 for name, n in before.items()}
    store.delete("a value")
    store.delete("a generation")


def is_degraded_by(store: RedisStore, *words: str) -> bool:
    assert store.degraded is not None
    return all(word in store.degraded for word in words)


# Away and back


def test_redis_that_is_down_at_the_start_joins_later(redis_server: RedisServer) -> None:
    redis_server.stop()
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    use_everything(store)
    assert is_degraded_by(store, "cannot be reached", "keeps its own values")
    redis_server.start()
    clock.pass_pause()
    assert store.probe() is True
    assert store.degraded is None
    store.set("key", b"value", HOUR)
    assert open_store(redis_server.patient_url).get("key") == b"value"


def test_a_probe_at_the_start_says_whether_redis_is_there(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    assert store.probe() is True
    redis_server.stop()
    assert RedisStore(redis_server.url).probe() is False


def test_redis_killed_mid_run_costs_no_call_and_is_used_again_when_back(redis_server: RedisServer) -> None:
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    store.set("key", b"before", HOUR)
    redis_server.kill()
    assert store.get("key") is None
    use_everything(store)
    store.set("key", b"meanwhile", HOUR)
    assert store.get("key") == b"meanwhile"
    redis_server.start()
    assert store.get("key") == b"meanwhile"
    clock.pass_pause()
    assert store.probe() is True
    assert store.get("key") is None
    use_everything(store)
    assert store.degraded is None
    redis_server.kill()
    assert store.get("key") is None


def test_a_restart_between_two_calls_is_not_even_noticed(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.set("key", b"value", HOUR)
    redis_server.restart()
    store.set("key", b"value", HOUR)
    assert store.get("key") == b"value"
    assert store.degraded is None


def test_redis_that_comes_back_is_found_by_ordinary_calls_too(redis_server: RedisServer) -> None:
    redis_server.stop()
    store = RedisStore(redis_server.patient_url)
    store.set("key", b"value", HOUR)
    redis_server.start()
    give_up = time.monotonic() + 30
    while store.degraded and time.monotonic() < give_up:
        store.get("key")
        time.sleep(0.02)
    assert store.degraded is None


def test_flapping_leaves_no_file_open_and_no_count_behind(redis_server: RedisServer) -> None:
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    counted, open_files = [], []
    for _ in range(6):
        redis_server.kill()
        for _ in range(50):
            store.increment("counters", {"calls": 1}, HOUR)
            store.get("key")
        redis_server.start()
        clock.pass_pause()
        assert store.probe() is True
        counted.append(store.increment("counters", {}, HOUR))
        open_files.append(len(os.listdir("/proc/self/fd")))
    assert counted == [{"calls": 50}] * 6
    assert max(open_files) <= open_files[0] + 1


def test_a_lock_taken_in_memory_ends_well_when_redis_returns_meanwhile(redis_server: RedisServer) -> None:
    redis_server.stop()
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    with store.lock("key", HOUR) as is_ours:
        assert is_ours is True
        redis_server.start()
        clock.pass_pause()
        assert store.probe() is True
    with store.lock("key", HOUR) as is_ours:
        assert is_ours is True


def test_a_lock_taken_in_redis_ends_well_when_redis_goes_meanwhile(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    with store.lock("key", HOUR) as is_ours:
        redis_server.kill()
        assert is_ours is True
    with store.lock("key", HOUR) as is_ours:
        assert is_ours is True


def test_the_newer_generation_wins_after_a_partition(redis_server: RedisServer) -> None:
    clock = Clock()
    with Wire(redis_server.port) as wire:
        near, far = RedisStore(redis_server.patient_url), RedisStore(wire.url, clock=clock)
        near.compare_and_set("token", b"five", 5, HOUR)
        wire.loses = "requests"
        assert far.get("token") is None
        assert far.compare_and_set("token", b"six, far", 6, HOUR) is True
        assert far.get("token") == b"six, far"
        near.compare_and_set("token", b"seven, near", 7, HOUR)
        wire.loses = ""
        clock.pass_pause()
        assert far.probe() is True
        assert far.compare_and_set("token", b"six, far", 6, HOUR) is False
        assert far.get("token") == near.get("token") == b"seven, near"
        assert far.compare_and_set("token", b"eight, far", 8, HOUR) is True
        assert near.get("token") == b"eight, far"


def test_a_trial_that_is_cut_short_leaves_the_next_to_another(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    redis_server.stop()
    store = RedisStore(redis_server.patient_url, clock=clock)
    store.get("key")
    redis_server.start()
    clock.pass_pause()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(store.connection_pool, "get_connection", stop)
        with pytest.raises(KeyboardInterrupt):
            store.get("key")
    with ThreadPoolExecutor(1) as another_thread:
        another_thread.submit(store.get, "key").result()
    assert store.degraded is None


# Counts over an outage


def test_increments_during_an_outage_show_here_and_are_added_after(redis_server: RedisServer) -> None:
    clock = Clock()
    store, other = RedisStore(redis_server.patient_url, clock=clock), RedisStore(redis_server.patient_url)
    redis_server.stop()
    for _ in range(10):
        store.increment("counters", {"in": 3, "calls": 1}, HOUR)
    assert store.increment("counters", {}, HOUR) == {"in": 30, "calls": 10}
    redis_server.start()
    other.increment("counters", {"calls": 5}, HOUR)
    clock.pass_pause()
    assert store.increment("counters", {"in": 1}, HOUR) == {"in": 31, "calls": 15}
    assert other.increment("counters", {}, HOUR) == {"in": 31, "calls": 15}
    assert redis_server.client.pttl("copilotapi:counters") > 0


def test_reading_counters_is_enough_to_add_what_was_kept(redis_server: RedisServer) -> None:
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    redis_server.stop()
    store.increment("counters", {"calls": 1}, HOUR)
    redis_server.start()
    clock.pass_pause()
    assert store.increment("counters", {}, HOUR) == {"calls": 1}
    assert redis_server.client.hgetall("copilotapi:counters") == {b"calls": b"1"}


@pytest.mark.parametrize("loses", ["requests", "replies"])
def test_an_increment_whose_answer_was_lost_is_counted_once(redis_server: RedisServer, loses: str) -> None:
    clock = Clock()
    with Wire(redis_server.port) as wire:
        store = RedisStore(wire.url, clock=clock)
        store.increment("counters", {"calls": 1}, HOUR)
        wire.loses = loses
        assert store.increment("counters", {"calls": 1}, HOUR) == {"calls": 1}
        store.increment("counters", {"calls": 1}, HOUR)
        wire.loses = ""
        clock.pass_pause()
        assert store.probe() is True
        assert store.increment("counters", {}, HOUR) == {"calls": 3}


def test_no_increment_around_a_freeze_is_lost_or_doubled(redis_server: RedisServer) -> None:
    clock = Clock()
    store = RedisStore(redis_server.url, clock=clock)
    store.increment("counters", {"calls": 1}, HOUR)
    redis_server.freeze()
    with ThreadPoolExecutor(40) as threads:
        list(threads.map(lambda _: store.increment("counters", {"calls": 1}, HOUR), range(200)))
    redis_server.thaw()
    for _ in range(20):
        clock.pass_pause()
        if store.probe():
            break
    assert store.increment("counters", {}, HOUR) == {"calls": 201}


def test_kept_increments_take_no_room_for_each_call(redis_server: RedisServer) -> None:
    redis_server.stop()
    store = RedisStore(redis_server.patient_url)
    for _ in range(5000):
        store.increment("counters", {"calls": 1}, HOUR)
    waiting = store._counters._waiting
    assert len(waiting._unseen) + len(waiting._in_doubt) <= 3


# Frozen, slow, silent


def test_a_frozen_redis_is_waited_for_once_and_then_not_at_all(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url)
    use_everything(store)
    redis_server.freeze()
    assert slow_calls(1, lambda: store.get("key")) == 1
    assert slow_calls(200, lambda: use_everything(store)) <= 1
    assert is_degraded_by(store, "does not answer in time")


def test_many_callers_of_a_frozen_redis_wait_no_longer_than_one(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    store = RedisStore(redis_server.url)
    use_everything(store)
    redis_server.freeze()
    with ThreadPoolExecutor(200) as threads:
        waits = list(threads.map(lambda _: _seconds(lambda: store.get("key")), range(400)))
    assert max(waits) < 1.0
    assert is_degraded_by(store, "does not answer in time")
    assert len(caplog.records) == 1
    assert slow_calls(50, lambda: store.get("key")) == 0


def test_while_one_caller_tries_again_the_others_do_not_wait(redis_server: RedisServer) -> None:
    clock = Clock()
    store = RedisStore(redis_server.url, clock=clock)
    redis_server.freeze()
    store.get("key")
    clock.pass_pause()
    with ThreadPoolExecutor(20) as threads:
        waits = list(threads.map(lambda _: _seconds(lambda: store.get("key")), range(200)))
    assert sum(wait > SLOW_SECONDS for wait in waits) == 1


def test_a_silent_redis_is_tried_after_two_seconds_and_then_every_five() -> None:
    clock = Clock()
    with RawServer(lambda connection, number: connection.recv(1) and connection.close()) as broken:
        store = RedisStore(broken.url.replace("http://", "redis://"), clock=clock)
        tried = []
        for seconds in (0.0, 1.9, 0.2, 4.9, 0.2, 4.9, 0.2):
            clock.now += seconds
            store.get("key")
            tried.append(broken.accepted)
    assert tried == [1, 1, 2, 2, 3, 3, 4]


def test_a_slow_redis_is_left_alone_like_a_frozen_one(redis_server: RedisServer) -> None:
    with Wire(redis_server.port) as wire:
        store = RedisStore(wire.url)
        use_everything(store)
        wire.delay_seconds = 2.0
        assert slow_calls(200, lambda: store.set("key", b"value", HOUR)) <= 2
        assert is_degraded_by(store, "does not answer in time")


def test_a_redis_that_only_accepts_does_not_use_up_the_pool() -> None:
    silent = threading.Event()
    clock = Clock()
    with RawServer(lambda connection, number: silent.wait() and None) as black_hole:
        store = RedisStore(black_hole.url.replace("http://", "redis://"), clock=clock)
        for _ in range(4):
            assert slow_calls(50, lambda: use_everything(store)) <= 1
            clock.pass_pause()
        assert black_hole.accepted <= 4
        silent.set()


def test_connections_that_died_in_silence_cost_one_wait_together(redis_server: RedisServer) -> None:
    clock = Clock()
    with Wire(redis_server.port) as wire:
        store = RedisStore(wire.url + "?socket_timeout=0.25", clock=clock)
        wire.delay_seconds = 0.05
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: store.get("key"), range(8)))
        assert len(_connection_ids(redis_server)) > 1
        wire.delay_seconds = 0.0
        wire.forget()
        assert slow_calls(1, lambda: store.get("key")) == 1
        clock.pass_pause()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: store.get("key"), range(8)))
        assert store.degraded is None


def test_a_freeze_in_the_middle_of_a_comparison_loses_no_connection(redis_server: RedisServer) -> None:
    clock = Clock()
    with Wire(redis_server.port) as wire:
        store = RedisStore(wire.url + "?max_connections=1&timeout=0.2", clock=clock)
        store.compare_and_set("key", b"one", 1, HOUR)
        for generation in range(2, 5):
            wire.loses = "replies"
            assert store.compare_and_set("key", b"x", generation, HOUR) is True
            wire.loses = ""
            clock.pass_pause()
            assert store.probe() is True


def test_a_greenlet_stopped_at_any_moment_leaves_no_reply_for_another(redis_server: RedisServer) -> None:
    code = """
        from gevent import monkey

        monkey.patch_all()

        import os

        import gevent

        from copilotapi.store import open_store

        store = open_store(os.environ["TEST_REDIS_URL"] + "?max_connections=2&socket_timeout=10")
        for number in range(8):
            store.set(f"key {number}", b"value %d" % number, 600)

        def read(phase):
            number = phase % 8
            try:
                with gevent.Timeout((phase % 500) / 100_000):
                    return store.get(f"key {number}") in {b"value %d" % number, None}
            except gevent.Timeout:
                return "stopped"

        outcomes = []
        for phase in range(0, 1000, 2):
            greenlets = [gevent.spawn(read, phase), gevent.spawn(read, phase + 1)]
            gevent.joinall(greenlets, raise_error=True)
            outcomes += [greenlet.value for greenlet in greenlets]
        right = all(store.get(f"key {number}") == b"value %d" % number for number in range(8))
        print(False in outcomes, "stopped" in outcomes, right, store.degraded)
    """
    with Wire(redis_server.port) as wire:
        wire.delay_seconds = 0.002
        environment = {**os.environ, "TEST_REDIS_URL": wire.url}
        command = [sys.executable, "-c", textwrap.dedent(code)]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False True True None", done.stderr


# There, but refusing


def test_a_replica_is_read_while_memory_takes_the_writes(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.compare_and_set("token", b"five", 5, HOUR)
    redis_server.client.replicaof("127.0.0.1", "1")
    assert store.probe() is False
    assert is_degraded_by(store, "replica")
    assert store.get("token") == b"five"
    assert store.compare_and_set("token", b"four", 4, HOUR) is False
    assert store.compare_and_set("token", b"six", 6, HOUR) is True
    assert store.get("token") == b"six"
    use_everything(store)
    redis_server.client.replicaof("NO", "ONE")
    assert store.probe() is True
    assert store.degraded is None
    assert store.get("token") == b"five"
    assert redis_server.client.hgetall("copilotapi:counters") == {b"in": b"2", b"out": b"1"}


def test_a_replica_makes_the_store_connect_anew(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.get("key")
    before = _connection_ids(redis_server)
    redis_server.client.replicaof("127.0.0.1", "1")
    store.set("key", b"value", HOUR)
    store.get("key")
    assert not before & _connection_ids(redis_server)


def _connection_ids(server: RedisServer) -> set[str]:
    own = str(server.client.client_id())
    return {client["id"] for client in server.client.client_list() if client["id"] != own}


def test_a_full_redis_is_still_read_and_used_again_when_there_is_room(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.set("key", b"old", HOUR)
    redis_server.config("maxmemory-policy", "noeviction")
    redis_server.config("maxmemory", 1)
    assert store.get("key") == b"old"
    store.set("key", b"new", HOUR)
    assert is_degraded_by(store, "out of memory")
    assert store.get("key") == b"new"
    use_everything(store)
    redis_server.config("maxmemory", 0)
    assert store.probe() is True
    assert store.get("key") == b"old"
    assert redis_server.client.hgetall("copilotapi:counters") == {b"in": b"2", b"out": b"1"}


def test_a_wrong_password_degrades_and_is_told_to_no_one(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.config("requirepass", "opensesame")
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    for url in (redis_server.url, redis_server.url.replace("//", "//user:hunter2@")):
        store = RedisStore(url, clock=clock)
        for _ in range(3):
            use_everything(store)
            assert store.probe() is False
            clock.pass_pause()
        assert is_degraded_by(store, "does not accept the user or password")
        assert "hunter2" not in f"{store.degraded} {vars(store)} {store.limits_uri} {store.limits_options}"
    assert "hunter2" not in " ".join(str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("denied", ["set", "hincrby", "hgetall", "ping", "pttl", "exists", "pexpire"])
def test_one_denied_command_stops_nothing(
    redis_server: RedisServer, denied: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copilotapi.store")
    store = _store_of_user(redis_server, f"-{denied}")
    for _ in range(5):
        use_everything(store)
    assert len(caplog.records) <= 2
    _allow_everything(redis_server)
    use_everything(store)
    assert store.probe() is True


@pytest.mark.parametrize("denied", ["get", "del", "watch"])
def test_where_no_lock_can_be_given_back_each_ends_with_its_ttl(
    redis_server: RedisServer, denied: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copilotapi.store")
    store = _store_of_user(redis_server, f"-{denied}")
    for _ in range(3):
        assert _seconds(lambda: _wait_for_lock(store, 0.1)) < 5.0
        store.compare_and_set("a generation", b"value", 1, HOUR)
        store.get("a generation")
        store.delete("a generation")
    assert is_degraded_by(store, "denies this user a command (unlock)")
    assert len(caplog.records) == 1
    _allow_everything(redis_server)
    assert store.probe() is True
    use_everything(store)


def test_a_denied_command_is_named_and_the_rest_is_still_shared(redis_server: RedisServer) -> None:
    store = _store_of_user(redis_server, "-hincrby")
    other = RedisStore(redis_server.patient_url)
    store.increment("counters", {"in": 1}, HOUR)
    assert is_degraded_by(store, "denies this user a command (increment)")
    store.set("key", b"value", HOUR)
    assert other.get("key") == b"value"
    assert store.probe() is False


def test_what_redis_takes_again_is_not_hidden_by_what_it_refused(redis_server: RedisServer) -> None:
    store = _store_of_user(redis_server, "-set")
    store.increment("counters", {"in": 1}, HOUR)
    for key in ("one", "two", "three"):
        store.compare_and_set(key, b"kept in memory", 5, HOUR)
    redis_server.client.acl_setuser("app", enabled=True, commands=["+@all", "-hincrby"])
    store.increment("counters", {"in": 1}, HOUR)
    store.set("one", b"set", HOUR)
    assert store.compare_and_set("two", b"six", 6, HOUR) is True
    store.delete("three")
    assert store.degraded is not None
    assert [store.get("one"), store.get("two"), store.get("three")] == [b"set", b"six", None]


def test_a_redis_that_may_not_be_pinged_is_found_again(redis_server: RedisServer) -> None:
    redis_server.stop()
    clock = Clock()
    store = RedisStore(redis_server.patient_url.replace("//", "//app:pw@"), clock=clock)
    store.get("key")
    redis_server.start()
    _store_of_user(redis_server, "-ping")
    clock.pass_pause()
    assert store.probe() is True


def test_increments_that_may_not_be_checked_wait_until_they_may(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.stop()
    clock = Clock()
    store = RedisStore(redis_server.patient_url.replace("//", "//app:pw@"), clock=clock)
    store.increment("counters", {"calls": 1}, HOUR)
    redis_server.start()
    _store_of_user(redis_server, "-exists")
    clock.pass_pause()
    caplog.clear()
    for _ in range(10):
        store.increment("counters", {"calls": 1}, HOUR)
    assert store.increment("counters", {}, HOUR) == {"calls": 11}
    assert len(caplog.records) == 1
    _allow_everything(redis_server)
    assert store.probe() is True
    assert redis_server.client.hgetall("copilotapi:counters") == {b"calls": b"11"}


def test_redis_without_scripts_is_enough(redis_server: RedisServer) -> None:
    store = _store_of_user(redis_server, "-@scripting")
    use_everything(store)
    assert store.probe() is True
    assert redis_server.client.hgetall("copilotapi:counters") == {b"in": b"2", b"out": b"1"}


def _allow_everything(server: RedisServer) -> None:
    server.client.acl_setuser("app", enabled=True, commands=["+@all"])


def _store_of_user(server: RedisServer, rule: str) -> RedisStore:
    server.client.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", rule])
    return RedisStore(server.patient_url.replace("//", "//app:pw@"))


def test_a_server_with_no_connection_left_degrades_and_leaks_none(redis_server: RedisServer) -> None:
    clock = Clock()
    redis_server.client.ping()
    redis_server.config("maxclients", 1)
    store = RedisStore(redis_server.patient_url, clock=clock)
    use_everything(store)
    assert store.degraded is not None
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        clock.pass_pause()
        store.get("key")
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    redis_server.config("maxclients", 100)
    clock.pass_pause()
    assert store.probe() is True


REPLIES = {
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "busy": b"-BUSY Redis is busy running a script\r\n",
    "cluster down": b"-CLUSTERDOWN The cluster is down\r\n",
    "moved": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "ask": b"-ASK 3999 127.0.0.1:6381\r\n",
    "try again": b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
    "master down": b"-MASTERDOWN Link with MASTER is down\r\n",
    "disk": b"-MISCONF Redis is configured to save RDB snapshots\r\n",
    "unknown command": b"-ERR unknown command\r\n",
    "no UTF-8": b"-ERR \xff\xfe\r\n",
    "no number": b":twelve\r\n",
    "no length": b"$many\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "half a reply": b"$100\r\nhalf",
    "nothing": b"",
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
def test_a_server_that_answers_anything_else_degrades(reply: bytes) -> None:
    def answer(connection: socket.socket, number: int) -> None:
        while request := connection.recv(65536):
            if not reply:
                connection.close()
                return
            connection.sendall(reply * (request.count(b"\r\n*") + 1))

    clock = Clock()
    with RawServer(answer) as server:
        store = RedisStore(server.url.replace("http://", "redis://"), clock=clock)
        for _ in range(2):
            use_everything(store)
            assert store.probe() is False
            clock.pass_pause()


def test_a_certificate_that_no_one_vouches_for_is_refused(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_self_signed(tmp_path))
    received: list[bytes] = []

    def answer(connection: socket.socket, number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            received.append(tls.recv(65536))

    with RawServer(answer) as server:
        store = RedisStore(server.url.replace("http://127.0.0.1", "rediss://:hunter2@localhost"))
        use_everything(store)
        assert is_degraded_by(store, "cannot be reached")
        assert received == []


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path


# Damaged, missing, of another kind


DAMAGED = {
    "no text": b"\xff\xfe\xfd",
    "empty": b"",
    "plain": b"value",
    "no checksum": b"v1:7:value",
    "other version": b"v2:7:00000000:value",
    "generation that is no number": b"v1:seven:00000000:value",
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_a_value_that_is_not_ours_is_absent_and_replaced(redis_server: RedisServer, raw: bytes) -> None:
    store = RedisStore(redis_server.patient_url)
    redis_server.client.set("copilotapi:key", raw)
    assert store.get("key") is None
    assert store.compare_and_set("key", b"one", 1, HOUR) is True
    assert store.get("key") == b"one"
    assert store.degraded is None


def test_a_value_with_any_one_bit_flipped_or_its_end_cut_off_is_absent(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.compare_and_set("key", b"value", 12, HOUR)
    whole = redis_server.client.get("copilotapi:key")
    flipped = [
        bytes(byte ^ (1 << bit) * (at == n) for n, byte in enumerate(whole))
        for at in range(len(whole))
        for bit in range(8)
    ]
    for raw in (*flipped, *(whole[:length] for length in range(len(whole)))):
        redis_server.client.set("copilotapi:key", raw)
        assert store.get("key") is None, raw
    redis_server.client.set("copilotapi:key", whole)
    assert store.get("key") == b"value"


@pytest.mark.parametrize("kind", ["list", "hash", "set"])
def test_a_key_of_another_type_is_absent_and_replaced(redis_server: RedisServer, kind: str) -> None:
    store = RedisStore(redis_server.patient_url)

    def spoil() -> None:
        redis_server.client.flushall()
        put = {"list": redis_server.client.lpush, "set": redis_server.client.sadd}.get(kind)
        for key in ("a value", "a generation", "a lock", "counters"):
            put(f"copilotapi:{key}", "x") if put else redis_server.client.hset(f"copilotapi:{key}", "x", "y")

    spoil()
    assert store.get("a value") is None
    assert store.increment("counters", {}, HOUR) == {}
    use_everything(store)
    assert store.degraded is None


def test_a_lock_key_that_never_ends_is_taken_by_one_caller(redis_server: RedisServer) -> None:
    redis_server.client.set("copilotapi:key", "left behind")
    store = RedisStore(redis_server.patient_url)
    everyone_asked = threading.Barrier(16)

    def take(_: int) -> bool:
        with store.lock("key", HOUR) as is_ours:
            everyone_asked.wait(30)
            return is_ours

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(take, range(16))) == 1


def test_a_counter_that_is_no_number_starts_again_and_spoils_no_other(redis_server: RedisServer) -> None:
    redis_server.client.hset("copilotapi:counters", mapping={"good": "5", "bad": "many", b"\xff": "x"})
    store = RedisStore(redis_server.patient_url)
    assert store.increment("counters", {}, HOUR) == {"good": 5}
    assert store.increment("counters", {"good": 1, "bad": 2}, HOUR) == {"good": 6, "bad": 2}
    assert store.degraded is None


def test_a_flushed_redis_starts_again_from_nothing(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    use_everything(store)
    store.compare_and_set("token", b"nine", 9, HOUR)
    redis_server.client.flushall()
    assert store.get("token") is None
    assert store.compare_and_set("token", b"one", 1, HOUR) is True
    use_everything(store)
    assert store.degraded is None


# Locks and their holders


def test_the_lock_of_a_dead_process_is_free_after_its_ttl(redis_server: RedisServer) -> None:
    code = """
        import os, sys, time

        from copilotapi.store import open_store

        with open_store(os.environ["TEST_REDIS_URL"]).lock("key", 1.0) as is_ours:
            print(is_ours, flush=True)
            time.sleep(60)
    """
    environment = {**os.environ, "TEST_REDIS_URL": redis_server.patient_url}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        os.kill(holder.pid, signal.SIGKILL)
    store = RedisStore(redis_server.patient_url)
    assert redis_server.client.exists("copilotapi:key")
    waited = _seconds(lambda: _wait_for_lock(store))
    assert waited < 5.0


def _wait_for_lock(store: RedisStore, ttl_seconds: float = HOUR) -> None:
    for _ in range(1000):
        with store.lock("key", ttl_seconds) as is_ours:
            if is_ours:
                return
        time.sleep(0.01)
    pytest.fail("the lock never became free")


def test_a_refused_comparison_leaves_no_watch_on_the_connection(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.patient_url)
    store.compare_and_set("key", b"seven", 7, HOUR)
    assert store.compare_and_set("key", b"six", 6, HOUR) is False
    redis_server.client.set("copilotapi:key", "changed")
    store.increment("counters", {"in": 1}, HOUR)
    assert store.degraded is None


def test_a_lost_lock_is_not_released_for_its_new_owner(redis_server: RedisServer) -> None:
    one, other = RedisStore(redis_server.patient_url), RedisStore(redis_server.patient_url)
    first = one.lock("key", HOUR)
    assert first.__enter__() is True
    redis_server.client.delete("copilotapi:key")
    with other.lock("key", HOUR) as is_theirs:
        assert is_theirs is True
        first.__exit__(None, None, None)
        with one.lock("key", HOUR) as is_ours:
            assert is_ours is False


# What is said


def test_each_change_is_logged_once_and_a_long_outage_once_a_minute(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copilotapi.store")
    clock = Clock()
    store = RedisStore(redis_server.patient_url, clock=clock)
    use_everything(store)
    redis_server.stop()
    for _ in range(29):
        use_everything(store)
        clock.now += 6
    redis_server.start()
    assert store.probe() is True
    use_everything(store)
    assert [record.message for record in caplog.records] == ["store_degraded"] * 3 + ["store_recovered"]
    assert "cannot be reached" in vars(caplog.records[0])["reason"]


def test_a_refused_operation_is_logged_once_however_often_it_is_tried(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "copilotapi.store")
    store = _store_of_user(redis_server, "-hincrby")
    for _ in range(50):
        use_everything(store)
    assert [record.message for record in caplog.records] == ["store_degraded"]


# The limiter beside it


@pytest.fixture
def limited(redis_server: RedisServer) -> tuple[RedisStore, SlidingWindowCounterRateLimiter]:
    store = RedisStore(redis_server.url)
    limiter = SlidingWindowCounterRateLimiter(storage_from_string(store.limits_uri, **store.limits_options))
    assert _connection_ids(redis_server) == set()
    return store, limiter


def test_the_limiter_counts_over_the_connections_of_the_store(
    limited: tuple[RedisStore, SlidingWindowCounterRateLimiter], redis_server: RedisServer
) -> None:
    _, limiter = limited
    item = RateLimitItemPerMinute(2)
    assert [limiter.hit(item, "someone") for _ in range(3)] == [True, True, False]
    assert len(_connection_ids(redis_server)) == 1
    assert all(key.startswith((b"copilotapi:", b"{copilotapi:")) for key in redis_server.client.scan_iter())


def test_the_limiter_is_shut_out_with_everyone_while_redis_is_frozen(
    limited: tuple[RedisStore, SlidingWindowCounterRateLimiter], redis_server: RedisServer
) -> None:
    store, limiter = limited
    item = RateLimitItemPerMinute(2)
    limiter.hit(item, "someone")
    redis_server.freeze()

    def hit() -> None:
        with pytest.raises(StorageError):
            limiter.hit(item, "someone")

    store.probe()
    assert slow_calls(50, hit) == 0


ERRORS = [kind for kind in vars(redis.exceptions).values() if isinstance(kind, type) and issubclass(kind, RedisError)]
# The two that carry an address want it well written.
RAISED = [kind("1 127.0.0.1:1") for kind in ERRORS] + [
    OSError(),
    TimeoutError(),
    UnicodeDecodeError("utf-8", b"", 0, 1, ""),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_no_error_of_redis_reaches_a_caller(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisStore("redis://127.0.0.1:1")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(store.connection_pool, "get_connection", fail)
    use_everything(store)
    assert store.probe() is False
