"""The one module that knows gevent: what arrives on a socket and in what time, when a caller leaves, what runs aside.

Elsewhere (a threaded server, an embedding host) every function still works and does less: a caller's leaving is then
noticed when the next write fails, unless the server itself offers to watch under WATCH.
"""

import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar, cast

from gevent import GreenletExit, Timeout, get_hub, getcurrent, monkey, sleep, spawn
from gunicorn.http.errors import ParseException

T = TypeVar("T")

# In WSGI's environ: the CallerSocket of the connection, where the server has one.
CALLER = "copilotapi.caller"
# Else: a function to call with what to do when the caller leaves, and with None when that has no use any more.
WATCH = "copilotapi.watch"

# How gevent ends work that nobody waits for any more.
Killed = GreenletExit

_READABLE = 1
# libev's lowest priority: what else has happened comes first.
_LAST = -2
# An application's send that makes no progress for this long is given up.
_WRITE_STALL_SECONDS = 60.0
# How long a caller may go on sending a body that was refused, and how long to close after that.
_DISCARD_SECONDS = 5.0
_CLOSE_SECONDS = 2.0
_DISCARD_BYTES = 65_536
_SWEEP_SECONDS = 0.5
# Shorter waits are rare, and half a second would be much of them.
_LEAST_SWEPT_SECONDS = 5.0
_NEVER = float("inf")
# One for all on the loop's thread, where nobody else runs between a read into it and its copy. A fresh one for each read
# would be cut down to what came.
MAX_READ_BYTES = 65_536
_BUFFER = memoryview(bytearray(MAX_READ_BYTES))


def is_cooperative() -> bool:
    """Whether this process runs on gevent's loop."""
    return bool(monkey.is_module_patched("socket"))


def run_aside(work: Callable[[], T]) -> T:
    """Runs CPU-bound work that releases the GIL without holding up the loop; in place where there is no loop."""
    if not is_cooperative():
        return work()
    result: T = get_hub().threadpool.apply(work)
    return result


def let_others_run() -> None:
    """For work that does not let go of the loop by itself: whoever can go on now, goes on first.

    gevent's sleep(0) comes back before the loop has looked at any socket; this asks to be woken after those.
    """
    if not is_cooperative():
        return
    hub: Any = get_hub()
    wake = hub.loop.async_(priority=_LAST)
    wake.start(getcurrent().switch)
    try:
        wake.send()
        hub.switch()
    finally:
        wake.stop()
        wake.close()


def limit_total(seconds: float) -> AbstractContextManager[object]:
    """Inside of it, work that takes longer in all raises TimeoutError, however little each single wait takes."""
    return Timeout(seconds, TimeoutError) if is_cooperative() else nullcontext()


class _Turns:
    """What waits for the end of the loop's turn, in a process that serves."""

    def __init__(self) -> None:
        self.hub: Any = None
        self.due: list[Callable[[], None]] = []

    def run(self) -> None:
        due, self.due = self.due, []
        for work in due:
            work()


_turns = _Turns()


def begin_turns() -> None:
    """From now on `soon` puts off. Called by the worker's own thread, once it serves."""
    _turns.hub = get_hub()


def end_turns() -> None:
    """What was put off is done, and nothing is put off any more."""
    _turns.hub = None
    _turns.run()


def soon(work: Callable[[], None]) -> None:
    """Does `work` once the loop has done what it has to do now, so that what many ask for can be done together; at once
    where there is no loop, and on a thread beside it. It must not raise.
    """
    if _turns.hub is None or get_hub() is not _turns.hub:
        work()
        return
    if not _turns.due:
        _turns.hub.loop.run_callback(_turns.run)
    _turns.due.append(work)


def start_aside(work: Callable[[], None]) -> Callable[[], None]:
    """Runs `work` beside the caller; the answer ends it where that can be done, and else does nothing."""
    if is_cooperative():
        running = spawn(work)
        return lambda: running.kill(block=False)
    threading.Thread(target=work, daemon=True).start()
    return lambda: None


def raw(sock: socket.socket) -> socket.socket:
    """The system's socket under gevent's own, which never waits; where gevent is not at work, the socket itself."""
    return cast(socket.socket, getattr(sock, "_sock", sock)) if is_cooperative() else sock


def send_all(sock: socket.socket, message: bytes) -> None:
    """In one send where it fits: gevent's sendall first asks for the buffer's size (gevent/_socketcommon.py)."""
    try:
        sent = raw(sock).send(message)
    except BlockingIOError:
        sent = 0
    if sent < len(message):
        sock.sendall(memoryview(message)[sent:])


class Sweeper:
    """Ends waits that last too long, looking twice a second: a timer for each wait would cost as much as the wait."""

    def __init__(self) -> None:
        self.watched: set[Arrivals] = set()
        self._is_sweeping = False

    def watch(self, arrivals: "Arrivals") -> None:
        """From now until it is taken out of `watched`."""
        self.watched.add(arrivals)
        if not self._is_sweeping:
            self._is_sweeping = True
            spawn(self._sweep)

    def _sweep(self) -> None:
        while self.watched:
            sleep(_SWEEP_SECONDS)
            now = time.monotonic()
            for arrivals in [each for each in self.watched if each.deadline <= now]:
                get_hub().loop.run_callback(arrivals.expire)
        self._is_sweeping = False


class Arrivals:
    """What comes in on one connected socket, as it comes: TLS is for others to read. On gevent's loop a wait costs no timer,
    and no read that finds nothing.
    """

    __slots__ = ("_hub", "_is_drained", "_recv_into", "_sock", "_sweeper", "_waiter", "_watcher", "deadline")

    def __init__(self, sock: socket.socket, sweeper: Sweeper) -> None:
        # Of the wait under way; without one it never comes.
        self.deadline = _NEVER
        self._sock = sock
        self._recv_into = raw(sock).recv_into
        self._sweeper = sweeper
        self._waiter: Any = None
        self._is_drained = True
        self._hub: Any = get_hub() if is_cooperative() else None
        self._watcher: Any = None
        if self._hub is not None:
            self._watcher = self._hub.loop.io(sock.fileno(), _READABLE)
            sweeper.watch(self)

    def recv(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """What has come, at most `max_bytes`, which are at most MAX_READ_BYTES; b"" when the far end has closed. TimeoutError
        when nothing came in time, half a second more or less; on the dot where it is short.
        """
        watcher, recv_into = self._watcher, self._recv_into
        if watcher is None or timeout_seconds < _LEAST_SWEPT_SECONDS:
            self._sock.settimeout(timeout_seconds)
            received = self._sock.recv(max_bytes)
            self._is_drained = len(received) < max_bytes
            return received
        while True:
            if self._is_drained:
                self.deadline = time.monotonic() + timeout_seconds
                self._waiter = waiter = getcurrent()
                # As gevent's Hub.wait, which makes sure that nobody else wakes the waiter: here it would only look again.
                watcher.start(waiter.switch)
                try:
                    self._hub.switch()
                finally:
                    watcher.stop()
                    self._waiter = None
                    self.deadline = _NEVER
            try:
                size = recv_into(_BUFFER, max_bytes)
            except BlockingIOError:
                self._is_drained = True
            else:
                self._is_drained = size < max_bytes
                return bytes(_BUFFER[:size])

    def poll(self, max_bytes: int) -> bytes | None:
        """As `recv`, but None at once when nothing has come."""
        if self._watcher is None:
            self._sock.settimeout(0)
        try:
            return raw(self._sock).recv(max_bytes)
        except BlockingIOError:
            return None

    def expire(self) -> None:
        """Called by the loop. The wait may have ended since the sweeper looked."""
        if self._waiter is not None and self.deadline <= time.monotonic():
            self._waiter.throw(TimeoutError)

    def close(self) -> None:
        self._sweeper.watched.discard(self)
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None


def end_reading(sock: socket.socket) -> None:
    """A read under way ends as if the far end had closed. Past gevent, whose shutdown() would end it by an error."""
    plain = monkey.get_original("socket", "socket")
    with plain(fileno=os.dup(sock.fileno())) as same:
        same.shutdown(socket.SHUT_RD)


class CallerSocket:
    """The connection a request came over, for a server that tells of its socket, or watches it itself."""

    __slots__ = ("_on_gone", "_peek", "_socket", "_watched_by_server", "_watcher")

    def __init__(
        self,
        sock: socket.socket | None,
        watched_by_server: Callable[[Callable[[], None] | None], None] = lambda on_gone: None,
    ) -> None:
        self._socket = sock if is_cooperative() else None
        self._peek = raw(sock).recv if sock is not None else None
        self._watcher: Any = None
        self._watched_by_server = watched_by_server
        self._on_gone: Callable[[], None] | None = None

    def limit_waits(self, seconds: float = _WRITE_STALL_SECONDS) -> None:
        """From now on a read or write that waits longer raises TimeoutError."""
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def watch(self, on_gone: Callable[[], None]) -> None:
        """Calls `on_gone` once, from the loop or another thread, when the caller closes its side. It must not block.

        A half-close counts as leaving: no known HTTP client half-closes and then reads.
        """
        self._watched_by_server(on_gone)
        if self._socket is None or self._socket.fileno() < 0:
            return
        self._on_gone = on_gone
        if self._watcher is None:
            self._watcher = get_hub().loop.io(self._socket.fileno(), _READABLE)
        self._watcher.start(self._readable)
        # Who left before the watch began is not asked for any more: the loop would tell a moment too late.
        self._readable()

    def release(self) -> None:
        """Ends the watch and the limit, before the server reads the next request from this connection."""
        self._watched_by_server(None)
        self._on_gone = None
        if self._watcher is not None:
            self._watcher.stop()
        if self._socket is not None and self._socket.fileno() >= 0:
            self._socket.settimeout(None)

    def discard(self, body: Any) -> None:
        """Once answered: reads what is left of the request's body, for a caller still sending when its connection closes
        may lose the answer (RFC 9112, 9.6). Gives a caller up who sends for too long or whose framing is broken.
        """
        if _is_read(body) or self._socket is None or self._socket.fileno() < 0:
            return
        with suppress(OSError, ParseException), limit_total(_DISCARD_SECONDS):
            while body.read(_DISCARD_BYTES):
                sleep(0)
            if not body.failed:
                return
        with suppress(OSError), limit_total(_CLOSE_SECONDS):
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_DISCARD_BYTES):
                sleep(0)
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The watch, not the socket."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _readable(self) -> None:
        if self._peek is None or self._watcher is None:
            return
        self._watcher.stop()
        try:
            is_gone = self._peek(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            self._watcher.start(self._readable)
            return
        except OSError:
            is_gone = True
        # Bytes are a pipelined request: it will be read in its turn, and this caller is still there.
        if is_gone and self._on_gone is not None:
            self._on_gone()


class CallerConnection(CallerSocket):
    """The same for the server that reads requests from it and writes answers. Only on gevent's loop."""

    __slots__ = ("_arrivals", "send_now", "socket")

    def __init__(self, sock: socket.socket, sweeper: Sweeper) -> None:
        super().__init__(sock)
        self.socket = sock
        # BlockingIOError when nothing can be taken at once.
        self.send_now = raw(sock).send
        self._arrivals = Arrivals(sock, sweeper)

    def next_bytes(self, max_bytes: int, timeout_seconds: float) -> bytes:
        """The beginning of a request; b"" at the end of the connection, or when none came in time."""
        try:
            return self._arrivals.recv(max_bytes, timeout_seconds)
        except TimeoutError:
            return b""

    def recv(self, max_bytes: int) -> bytes:
        """Of a request's body. OSError, TimeoutError."""
        return self.socket.recv(max_bytes)

    def send(self, data: bytes) -> None:
        """All of it. OSError, TimeoutError when the caller takes none of it for too long."""
        try:
            sent = self.send_now(data)
        except BlockingIOError:
            sent = 0
        # gevent's sendall would count the time that all of it takes (gevent/_socketcommon.py).
        while sent < len(data):
            sent += self.socket.send(memoryview(data)[sent:])

    def asks_nothing(self) -> bool:
        """False when a request has arrived that was not taken up yet."""
        try:
            raw(self.socket).recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        return False

    def shut_down(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        self._arrivals.close()
        with suppress(OSError):
            self.socket.close()


def caller_socket(environ: Mapping[str, Any]) -> CallerSocket:
    """Of a request. `environ` is WSGI's; gunicorn puts the socket into it."""
    known: CallerSocket | None = environ.get(CALLER)
    if known is not None:
        return known
    return CallerSocket(environ.get("gunicorn.socket"), environ.get(WATCH, lambda on_gone: None))


def _is_read(body: Any) -> bool:
    """Whether nothing of a request's body is still to come, as far as its reader tells."""
    left = getattr(body, "left", None)
    if left is None:
        # gunicorn's readers of a body with a length tell how much of it is still to come.
        left = getattr(getattr(body, "reader", None), "length", None)
    return left == 0 and not body.failed
