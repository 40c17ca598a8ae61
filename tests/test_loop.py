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


_DONE = """
done = []
def later(name, *others):
    def work():
        done.append(name)
        for other in others:
            loop.soon(later(other))
    return work
def turn():
    gevent.sleep(0)
    gevent.sleep(0)
    print("".join(done) or "-")
"""


def test_what_is_put_off_is_done_together_in_its_order_and_once() -> None:
    script = """
loop.begin_turns()
for name in "abc":
    loop.soon(later(name, *("de" if name == "b" else "")))
print("".join(done) or "-")
turn()
turn()
loop.soon(later("f"))
turn()
"""
    assert said(_DONE + script) == ["-", "abcde", "abcde", "abcdef"]


def test_nothing_is_put_off_before_the_turns_begin_nor_after_they_end() -> None:
    script = """
loop.soon(later("a"))
print("".join(done))
loop.begin_turns()
loop.soon(later("b", "c"))
print("".join(done))
loop.end_turns()
print("".join(done))
loop.soon(later("d"))
print("".join(done))
turn()
"""
    assert said(_DONE + script) == ["a", "a", "abc", "abcd", "abcd"]


def test_nothing_is_put_off_on_a_thread_beside_the_loop() -> None:
    script = """
loop.begin_turns()
gevent.get_hub().threadpool.apply(lambda: (loop.soon(later("a")), print("".join(done))))
loop.soon(later("b"))
print("".join(done))
turn()
"""
    assert said(_DONE + script) == ["a", "a", "ab"]


_CALLER = """
arrivals.close()
gone = []
caller = loop.CallerConnection(ours, sweeper)
def turns():
    gevent.sleep(0.02)
    print("".join(gone) or "-")
"""


def test_a_caller_who_leaves_is_told_once_to_the_request_that_is_answered() -> None:
    script = """
for name in "ab":
    theirs.sendall(b"request")
    print(caller.next_bytes(100, 5).decode())
    caller.watch(lambda name=name: gone.append(name))
    turns()
    caller.release()
    turns()
theirs.sendall(b"request")
print(caller.next_bytes(100, 5).decode())
caller.watch(lambda: gone.append("c"))
theirs.close()
turns()
turns()
caller.release()
print(caller.next_bytes(100, 5) == b"")
"""
    assert said(_CALLER + script) == ["request", "-", "-", "request", "-", "-", "request", "c", "c", "True"]


def test_a_caller_who_left_before_the_watch_began_is_told_at_once() -> None:
    script = """
theirs.close()
caller.watch(lambda: gone.append("a"))
print(*gone)
turns()
"""
    assert said(_CALLER + script) == ["a", "a"]


def test_a_leaving_between_two_requests_is_nobodys() -> None:
    script = """
caller.watch(lambda: gone.append("a"))
caller.release()
theirs.close()
turns()
print(caller.next_bytes(100, 5) == b"")
print(*gone, "none")
"""
    assert said(_CALLER + script) == ["-", "True", "none"]


def test_bytes_sent_ahead_are_no_leaving_and_are_not_lost() -> None:
    script = """
caller.watch(lambda: gone.append("a"))
theirs.sendall(b"ahead")
turns()
caller.release()
print(caller.next_bytes(100, 5).decode())
"""
    assert said(_CALLER + script) == ["-", "ahead"]


def test_a_closed_connection_leaves_no_watch() -> None:
    script = """
caller.watch(lambda: gone.append("a"))
caller.close()
# The next socket gets the same number.
other, far = socket.socketpair()
print(other.fileno() == ours_number)
far.close()
turns()
print(len(sweeper.watched))
"""
    assert said(_CALLER + "ours_number = ours.fileno()\n" + script) == ["True", "-", "0"]


def test_a_caller_may_take_an_answer_slowly_but_not_stand_still() -> None:
    script = """
caller.limit_waits(0.4)
answer, taken = bytes(range(250)) * 8000, bytearray()
def take(size):
    while len(taken) < size:
        gevent.sleep(0.1)
        taken.extend(theirs.recv(200_000))
slow = gevent.spawn(take, len(answer))
started = time.monotonic()
caller.send(answer)
slow.join()
print(taken == answer, time.monotonic() - started > 0.4)
started = time.monotonic()
try:
    caller.send(answer)
except TimeoutError:
    print(0.4 <= time.monotonic() - started < 2)
"""
    assert said(_CALLER + script) == ["True", "True", "True"]
