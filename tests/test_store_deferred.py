"""Counts that are written to Redis together: fewer writes, and no reader, end or outage that misses one."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaiting
from pathlib import Path
from typing import Any

import pytest

from copilotapi.store import RedisStore, deferred
from tests.redis_server import RedisServer
from tests.test_store import Clock, eventually, together

pytestmark = pytest.mark.redis

ROOT = Path(__file__).parent.parent
HOUR = 3600.0
WRITERS = "copilotapi:writers"


class Worker:
    """A store as a process with a loop has it; what runs aside are threads, which end with the block."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = RedisStore(url, clock=clock, aside=self._start)
        self.threads: list[threading.Thread] = []

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()

    def add(self, count: int = 1) -> None:
        self.store.add("counters", {"calls": count}, HOUR)

    @property
    def is_deferring(self) -> bool:
        return self.store._deferred._writer is not None

    def defer(self) -> int:
        """Counts until the next count will be put off. Answers how many those were."""
        counted = 0
        give_up = time.monotonic() + 10
        while not self.is_deferring:
            assert time.monotonic() < give_up
            self.add()
            counted += 1
        return counted

    def _start(self, work: Callable[[], None]) -> None:
        self.threads.append(threading.Thread(target=work, daemon=True))
        self.threads[-1].start()


class Gates:
    """Holds each write of what was put off until it is let through."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self._begun, self._allowed = threading.Semaphore(0), threading.Semaphore(0)
        write = worker.store._counters.increment

        def wait_and_write(key: str, by: dict[str, int], ttl_seconds: float) -> dict[str, int]:
            if threading.current_thread() in worker.threads:
                self._begun.release()
                assert self._allowed.acquire(timeout=10)
            return write(key, by, ttl_seconds)

        monkeypatch.setattr(worker.store._counters, "increment", wait_and_write)

    def await_write(self) -> None:
        assert self._begun.acquire(timeout=10)

    def let_through(self, count: int = 1) -> None:
        self._allowed.release(count)


@pytest.fixture
def long_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """So long that nothing is written by the clock."""
    monkeypatch.setattr(deferred, "_INTERVAL_SECONDS", 600.0)


@pytest.fixture
def worker(redis_server: RedisServer) -> Iterator[Worker]:
    with Worker(redis_server.patient_url) as worker:
        yield worker


@pytest.fixture
def reader(redis_server: RedisServer) -> RedisStore:
    """Of another process."""
    return RedisStore(redis_server.patient_url)


def calls(server: RedisServer) -> int:
    return int(server.client.hget("copilotapi:counters", "calls") or 0)


def transactions(server: RedisServer) -> int:
    stats: dict[str, Any] = server.client.info("commandstats")
    return int(stats.get("cmdstat_exec", {}).get("calls", 0))


def still_waits(future: "Future[None]") -> bool:
    try:
        future.result(0.2)
    except StillWaiting:
        return True
    return False


# Fewer writes


def test_what_comes_alone_is_written_at_once_and_no_writer_is_listed(worker: Worker, redis_server: RedisServer) -> None:
    worker.add()
    assert calls(redis_server) == 1
    assert worker.threads == []
    assert not redis_server.client.exists(WRITERS)


def test_what_comes_fast_is_written_together(worker: Worker, redis_server: RedisServer) -> None:
    counted = worker.defer()
    before, started = transactions(redis_server), time.monotonic()
    for _ in range(2000):
        worker.add()
    intervals = (time.monotonic() - started) / deferred._INTERVAL_SECONDS
    worker.store.catch_up()
    assert calls(redis_server) == counted + 2000
    assert transactions(redis_server) - before <= intervals + 2


def test_a_writer_is_listed_while_it_puts_off_and_not_after(
    worker: Worker, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(worker, monkeypatch)
    worker.defer()
    worker.add()
    gates.await_write()
    assert redis_server.client.hlen(WRITERS) == 1
    assert redis_server.client.pttl(WRITERS) > 0
    gates.let_through(1000)
    for thread in worker.threads:
        thread.join(10)
    assert not redis_server.client.exists(WRITERS)
    assert not worker.is_deferring


def test_no_addition_of_many_threads_is_lost(worker: Worker, redis_server: RedisServer) -> None:
    together(24, lambda _: [worker.add() for _ in range(100)])
    worker.store.catch_up()
    assert calls(redis_server) == 2400
    assert worker.threads != []


def test_each_key_keeps_its_own_counters_and_ttl(worker: Worker, redis_server: RedisServer) -> None:
    worker.defer()
    for number in range(5):
        worker.store.add(f"key {number}", {"calls": number + 1, f"only {number}": 1}, HOUR * (number + 1))
    worker.store.catch_up()
    for number in range(5):
        assert worker.store.increment(f"key {number}", {}, HOUR) == {"calls": number + 1, f"only {number}": 1}
        assert redis_server.client.ttl(f"copilotapi:key {number}") > HOUR * number


# Readers


def test_a_reader_sees_what_its_own_process_put_off(redis_server: RedisServer, long_interval: None) -> None:
    with Worker(redis_server.patient_url) as worker:
        counted = worker.defer()
        worker.add()
        assert calls(redis_server) == counted
        worker.store.catch_up()
        assert worker.store.increment("counters", {}, HOUR) == {"calls": counted + 1}


def test_a_reader_waits_for_what_another_process_put_off(
    worker: Worker, reader: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(worker, monkeypatch)
    counted = worker.defer()
    worker.add()
    with ThreadPoolExecutor(1) as threads:
        caught_up = threads.submit(reader.catch_up)
        gates.await_write()
        assert still_waits(caught_up)
        gates.let_through(1000)
        caught_up.result(10)
    assert reader.increment("counters", {}, HOUR) == {"calls": counted + 1}


def test_a_reader_waits_for_the_write_after_the_one_under_way(
    worker: Worker, reader: RedisStore, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates = Gates(worker, monkeypatch)
    counted = worker.defer()
    worker.add()
    gates.await_write()
    worker.add()
    with ThreadPoolExecutor(1) as threads:
        caught_up = threads.submit(reader.catch_up)
        assert still_waits(caught_up)
        gates.let_through()
        gates.await_write()
        assert calls(redis_server) == counted + 1
        assert still_waits(caught_up)
        gates.let_through(1000)
        caught_up.result(10)
    assert reader.increment("counters", {}, HOUR) == {"calls": counted + 2}


def test_readers_miss_nothing_of_busy_workers(redis_server: RedisServer) -> None:
    with Worker(redis_server.patient_url) as one, Worker(redis_server.patient_url) as other:
        reader = RedisStore(redis_server.patient_url)
        for done in range(1, 9):
            together(8, lambda number: [(one, other)[number % 2].add() for _ in range(50)])
            reader.catch_up()
            assert reader.increment("counters", {}, HOUR) == {"calls": 400 * done}


def test_a_writer_that_was_killed_is_waited_for_once(reader: RedisStore, redis_server: RedisServer) -> None:
    redis_server.client.hset(WRITERS, "of a dead process", "7")
    reader.catch_up()
    assert not redis_server.client.exists(WRITERS)


def test_a_list_of_writers_that_is_none_is_replaced(worker: Worker, redis_server: RedisServer) -> None:
    redis_server.client.set(WRITERS, "no hash")
    worker.store.catch_up()
    counted = worker.defer()
    worker.add()
    worker.store.catch_up()
    assert calls(redis_server) == counted + 1
    assert worker.store.degraded is None


# The end


def test_closing_writes_what_was_put_off_and_ends_what_ran_aside(
    redis_server: RedisServer, long_interval: None
) -> None:
    with Worker(redis_server.patient_url) as worker:
        counted = worker.defer()
        for _ in range(10):
            worker.add()
        assert calls(redis_server) == counted
        worker.store.close()
        assert calls(redis_server) == counted + 10
        assert not redis_server.client.exists(WRITERS)
        for _ in range(10):
            worker.add()
        assert calls(redis_server) == counted + 20
        assert len(worker.threads) == 1


def test_what_is_put_off_in_a_patched_process_is_written_when_the_app_stops(redis_server: RedisServer) -> None:
    code = """
        from gevent import monkey

        monkey.patch_all()

        import os

        import gevent

        from copilotapi.app import create_app
        from copilotapi.settings import Settings
        from copilotapi.store import deferred

        deferred._INTERVAL_SECONDS = 600.0
        settings = Settings(redis_url=os.environ["TEST_REDIS_URL"], rate_limit_per_minute=0)
        app = create_app(settings, handler=lambda request: "Hello")

        def ask(number):
            body = {"model": "codex", "messages": [{"role": "user", "content": "Hello"}]}
            return app.test_client().post("/v1/chat/completions", json=body).status_code

        statuses = []
        for _ in range(20):
            answers = [gevent.spawn(ask, number) for number in range(20)]
            gevent.joinall(answers, raise_error=True)
            statuses += [answer.value for answer in answers]
        app.extensions["copilotapi.refresher"].stop()
        print(statuses.count(200))
    """
    environment = {**os.environ, "TEST_REDIS_URL": redis_server.patient_url, "COPILOTAPI_HOME": os.devnull}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "400", done.stderr
    [usage] = [key for key in redis_server.client.scan_iter("copilotapi:usage:*") if b":added:" not in key]
    counted = redis_server.client.hgetall(usage)
    assert sum(int(count) for name, count in counted.items() if name.endswith(b"|requests")) == 400
    assert transactions(redis_server) < 200


# Outages


def test_what_was_put_off_when_redis_went_is_added_once_when_it_is_back(redis_server: RedisServer) -> None:
    clock = Clock()
    with Worker(redis_server.patient_url, clock) as worker:
        worker.defer()
        redis_server.kill()
        kept = 0
        while kept < 100 or worker.is_deferring:
            worker.add()
            kept += 1
            assert kept < 1_000_000
        worker.add()
        kept += 1
        worker.store.catch_up()
        assert worker.store.increment("counters", {}, HOUR) == {"calls": kept}
        redis_server.start()
        clock.now += 5.1
        assert worker.store.probe() is True
        assert calls(redis_server) == kept
        assert worker.store.increment("counters", {}, HOUR) == {"calls": kept}


def test_nothing_is_put_off_while_something_is_wrong(redis_server: RedisServer) -> None:
    with Worker(redis_server.patient_url) as worker:
        redis_server.stop()
        for _ in range(50):
            worker.add()
        assert worker.threads == []
        assert worker.store.increment("counters", {}, HOUR) == {"calls": 50}


@pytest.mark.parametrize("denied", ["hincrby", "hdel", "hgetall", "pexpire"])
def test_a_command_that_is_denied_loses_no_count_and_is_missed_no_longer_than_it_is_denied(
    redis_server: RedisServer, denied: str
) -> None:
    redis_server.client.acl_setuser(
        "app", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", f"-{denied}"]
    )
    with Worker(redis_server.patient_url.replace("//", "//app:pw@")) as worker:
        for _ in range(50):
            worker.add()
        worker.store.catch_up()
        assert eventually(lambda: worker.store.degraded is not None)
        redis_server.client.acl_setuser("app", enabled=True, commands=["+@all"])
        assert eventually(worker.store.probe)
        worker.store.catch_up()
        assert worker.store.increment("counters", {}, HOUR) == {"calls": 50}
