"""What arrives on a socket under gevent's loop, in a process of its own: pytest's stays as it is."""

import subprocess
import sys

_PREAMBLE = """
from gevent import monkey; monkey.patch_all()
import gevent, socket, time
from copilotapi import loop
loop._SWEEP_SECONDS, loop._LEAST_SWEPT_SECONDS = 0.05, 0.2
ours, theirs = socket.socketpair()
sweeper = loop.Sweeper()
arrivals = loop.Arrivals(ours, sweeper)
"""


def said(script: str) -> list[str]:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", _PREAMBLE + script], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_bytes_end_and_silence_are_told_apart() -> None:
    script = """
theirs.sendall(b"abc")
print(arrivals.recv(2, 5).decode(), arrivals.recv(2, 5).decode())
started = time.monotonic()
try:
    arrivals.recv(2, 0.3)
except TimeoutError:
    print(0.3 <= time.monotonic() - started < 1)
theirs.sendall(b"d")
print(arrivals.recv(2, 5).decode())
theirs.close()
print(arrivals.recv(2, 5) == b"")
"""
    assert said(script) == ["ab", "c", "True", "d", "True"]


def test_a_short_wait_ends_on_the_dot() -> None:
    script = """
loop._SWEEP_SECONDS = 30
started = time.monotonic()
try:
    arrivals.recv(1, 0.1)
except TimeoutError:
    print(0.1 <= time.monotonic() - started < 1)
"""
    assert said(script) == ["True"]


def test_a_wait_that_found_something_is_not_ended_afterwards() -> None:
    script = """
gevent.spawn_later(0.2, theirs.sendall, b"x")
print(arrivals.recv(1, 0.25).decode())
gevent.sleep(0.5)
arrivals.close()
gevent.sleep(0.2)
print(len(sweeper.watched), sweeper._is_sweeping)
"""
    assert said(script) == ["x", "0", "False"]


def test_whoever_shuts_the_socket_down_wakes_the_one_who_waits() -> None:
    script = """
gevent.spawn_later(0.1, ours.shutdown, socket.SHUT_RDWR)
print(arrivals.recv(1, 20) == b"")
"""
    assert said(script) == ["True"]


def test_each_of_many_waits_ends_by_itself() -> None:
    script = """
pairs = [socket.socketpair() for _ in range(200)]
ended = []
def wait(number):
    try:
        loop.Arrivals(pairs[number][0], sweeper).recv(1, 0.3 + number % 3)
    except TimeoutError:
        ended.append(number)
waits = [gevent.spawn(wait, number) for number in range(200)]
for number in range(0, 200, 2):
    pairs[number][1].sendall(b"x")
gevent.joinall(waits, timeout=10)
print(sorted(ended) == list(range(1, 200, 2)))
"""
    assert said(script) == ["True"]


def test_work_that_lets_others_run_lets_those_run_whose_bytes_have_come() -> None:
    script = """
told = []
def reader():
    told.append(arrivals.recv(1, 20))
gevent.spawn(reader)
gevent.sleep(0)
theirs.sendall(b"x")
loop.let_others_run()
print(told == [b"x"])
"""
    assert said(script) == ["True"]
