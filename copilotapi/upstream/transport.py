"""One HTTP/1.1 exchange on a pooled socket, behind requests' adapter interface.

Why not HTTPAdapter: a wait on it cannot be given up for a moment (to send a heartbeat) nor ended by another greenlet,
and its read timeout is no deadline. See docs/decisions/0001-own-transport.md.
"""

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict

from copilotapi.errors import CallerGone, UpstreamFailed
from copilotapi.loop import MAX_READ_BYTES
from copilotapi.upstream.connections import Connection, ConnectionPool, Network, Origin, origin_of
from copilotapi.upstream.http_answer import Headers, HttpAnswer

# How long a call waits before it says so. Heartbeats are due every 10 s, the first after 20 (contract 3, 7.7).
TICK_SECONDS = 10.0
_FOREVER_SECONDS = 86_400.0
# After a stream's last event only the framing's end is still to come, in the same packet or right behind it.
_END_SECONDS = 0.01
_READS_OF_AN_END = 4
# A longer body is not copied behind its head, to go out with it.
_LONG_BYTES = 262_144
# Few URLs are asked for, again and again.
_REMEMBERED_URLS = 256


@dataclass(frozen=True, slots=True)
class Clocks:
    """Four separate limits in seconds: to connect, until the response head, between reads of the body, for all of it."""

    connect_seconds: float = 5.0
    first_byte_seconds: float = 300.0
    idle_seconds: float = 90.0
    total_seconds: float = 1800.0


class AnswerHead(NamedTuple):
    """Status and headers of an answer, as much of requests.Response as is needed before its body."""

    status_code: int
    headers: Mapping[str, str]


class Exchange(Protocol):
    """A request under way and its answer.

    `wait_head` and `read` return None when `tick_seconds` passed with nothing to report: call again. Both raise
    UpstreamFailed when there is no complete answer, CallerGone after `abort`. Whoever began an exchange closes it.
    """

    def wait_head(self, tick_seconds: float) -> AnswerHead | None: ...
    def read(self, tick_seconds: float = TICK_SECONDS) -> bytes | None:
        """The next bytes of the body as they came; b"" at its end."""

    def abort(self) -> None:
        """Ends the exchange at once, from any thread, without blocking."""

    def finish(self) -> None:
        """As `close`, where all that matters has come: the connection may serve again."""

    def close(self) -> None: ...


class Transport(BaseAdapter):
    """requests' seam. `start` is the way the gateway goes; `send` makes `Session.send` work on the same sockets."""

    def __init__(
        self,
        network: Network | None = None,
        clocks: Clocks | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.clocks = clocks or Clocks()
        self._clock = clock
        self._pool = ConnectionPool(network or Network(), clock)

    def begin(self, request: requests.PreparedRequest, clocks: Clocks | None = None) -> "SocketExchange":
        """`start` for a prepared request."""
        body: Any = request.body or b""
        payload = body.encode() if isinstance(body, str) else body
        return self.start(request.method or "GET", request.url or "", request.headers, payload, clocks)

    def start(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, clocks: Clocks | None = None
    ) -> "SocketExchange":
        """Connects; the first `wait_head` sends the request. UpstreamFailed when no connection could be made,
        ValueError on a line break inside a header."""
        target = _target(url)
        parts = _request_parts(method, target, headers, body)
        return SocketExchange(self._pool, target.origin, method, parts, clocks or self.clocks, self._clock)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """TLS, proxy and CA come from the Network given at construction; `verify`, `cert` and `proxies` are not read."""
        exchange = self.begin(request, self._with_timeout(timeout))
        try:
            head = None
            while head is None:
                head = exchange.wait_head(_FOREVER_SECONDS)
        except BaseException:
            exchange.close()
            raise
        response = requests.Response()
        response.status_code = head.status_code
        response.headers = CaseInsensitiveDict(head.headers)
        response.url = request.url or ""
        response.request = request
        response.raw = exchange
        if not stream:
            _ = response.content
        return response

    def drop_stale(self) -> None:
        """Closes connections that have been idle for too long to serve again."""
        self._pool.drop_stale()

    def close(self) -> None:
        self._pool.close()

    def _with_timeout(self, timeout: float | tuple[float | None, float | None] | None) -> Clocks:
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        clocks = self.clocks
        if connect is not None:
            clocks = replace(clocks, connect_seconds=connect)
        if read is not None:
            clocks = replace(clocks, first_byte_seconds=read, idle_seconds=read)
        return clocks


class SocketExchange:
    """See Exchange. Also serves as `Response.raw`: `read1`, `stream`, `close`, `release_conn`."""

    __slots__ = (
        *("_aborted", "_answer", "_clock", "_clocks", "_connection", "_deadline", "_has_come", "_is_sent"),
        *("_method", "_origin", "_parts", "_pool", "_total_deadline"),
    )

    def __init__(
        self,
        pool: ConnectionPool,
        origin: Origin,
        method: str,
        parts: tuple[bytes, ...],
        clocks: Clocks,
        clock: Callable[[], float],
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._method = method
        self._parts = parts
        self._clocks = clocks
        self._clock = clock
        self._total_deadline = clock() + clocks.total_seconds
        self._aborted = False
        self._has_come = False
        self._connection: Connection | None = None
        self._connect(pool.take_idle(self._origin))

    def wait_head(self, tick_seconds: float) -> AnswerHead | None:
        while not self._answer.head_complete:
            self._send()
            received = self._receive(tick_seconds)
            if received is None:
                return None
            if not received:
                if self._may_send_again():
                    self._connect()
                    continue
                raise self._cut()
            self._answer.feed(received)
        # What was sent will not be sent again; a long prompt need not lie here as long as its answer takes.
        self._parts = ()
        self._deadline = self._clock() + self._clocks.idle_seconds
        return AnswerHead(self._answer.status, Headers(self._answer.fields))

    def read(self, tick_seconds: float = TICK_SECONDS) -> bytes | None:
        answer = self._answer
        body = answer.body
        while not body:
            if answer.complete:
                self._finish()
                return b""
            received = self._receive(tick_seconds)
            if received is None:
                return None
            if received:
                self._has_come = True
                answer.feed(received)
            elif answer.ends_with_the_connection:
                answer.complete = True
            else:
                raise self._cut()
        came = body[0] if len(body) == 1 else b"".join(body)
        body.clear()
        return came

    def abort(self) -> None:
        self._aborted = True
        if self._connection is not None:
            self._connection.shutdown()

    def finish(self) -> None:
        with contextlib.suppress(UpstreamFailed, CallerGone):
            for _ in range(_READS_OF_AN_END):
                if not self.read(_END_SECONDS):
                    break
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._answer.release()
            self._connection.close()
            self._connection = None

    def read1(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        received = self.read(_FOREVER_SECONDS)
        while received is None:
            received = self.read(_FOREVER_SECONDS)
        return received

    def stream(self, amt: int = MAX_READ_BYTES, decode_content: bool | None = None) -> Iterator[bytes]:
        while received := self.read1():
            yield received

    def release_conn(self) -> None:
        self.close()

    def _connect(self, idle: Connection | None = None) -> None:
        self.close()
        self._connection = idle or self._pool.open(self._origin, self._clocks.connect_seconds)
        self._is_sent = False
        self._answer = HttpAnswer(self._method)
        self._deadline = self._clock() + self._clocks.first_byte_seconds

    def _send(self) -> None:
        """The request, if it is not sent yet. Not part of construction: an abort must reach a send that blocks."""
        while not self._is_sent:
            if self._aborted or self._connection is None:
                raise self._cut()
            try:
                left = min(self._deadline, self._total_deadline) - self._clock()
                if left <= 0:
                    raise TimeoutError
                for part in self._parts:
                    self._connection.send(part, left)
            except TimeoutError as exc:
                raise self._timed_out("it did not take the request") from exc
            except OSError as exc:
                if self._aborted:
                    raise self._cut() from exc
                # A far end that refuses early (413) answers and closes while we still write: its answer is read next.
                if self._connection.reused:
                    self._connect()
                    continue
            self._is_sent = True

    def _may_send_again(self) -> bool:
        """Only a kept-alive connection that died before any byte: the far end closed it while we were writing."""
        return (
            self._connection is not None
            and self._connection.reused
            and not self._answer.bytes_received
            and not self._aborted
        )

    def _receive(self, tick_seconds: float) -> bytes | None:
        connection, clock = self._connection, self._clock
        if connection is None:
            raise self._cut()
        recv = connection.recv
        now = clock()
        if self._has_come:
            # Only waiting counts as silence, not what the caller took to be told of what came.
            self._has_come = False
            self._deadline = now + self._clocks.idle_seconds
        left = min(tick_seconds, self._deadline - now, self._total_deadline - now)
        try:
            if left <= 0:
                raise TimeoutError
            return recv(MAX_READ_BYTES, left)
        except TimeoutError as exc:
            if self._aborted:
                raise CallerGone from exc
            if clock() < min(self._deadline, self._total_deadline):
                return None
            raise self._timed_out(self._silence()) from exc
        except OSError as exc:
            if self._may_send_again():
                return b""
            raise self._cut() from exc

    def _silence(self) -> str:
        if self._clock() >= self._total_deadline:
            return f"the answer was not complete after {self._clocks.total_seconds:g} s"
        if not self._answer.head_complete:
            return f"no answer began within {self._clocks.first_byte_seconds:g} s"
        return f"the answer stopped for {self._clocks.idle_seconds:g} s"

    def _timed_out(self, what: str) -> UpstreamFailed:
        self.close()
        message = f"Copilot did not answer in time: {what}."
        return UpstreamFailed(message, status=504, code="upstream_timeout", nothing_received=self._nothing_received)

    def _cut(self) -> UpstreamFailed | CallerGone:
        self.close()
        if self._aborted:
            return CallerGone()
        message = "Copilot closed the connection before its answer was complete."
        return UpstreamFailed(message, code="upstream_disconnected", nothing_received=self._nothing_received)

    @property
    def _nothing_received(self) -> bool:
        return not self._answer.bytes_received

    def _finish(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._answer.release()
        if self._answer.keeps_alive and not self._aborted:
            self._pool.give_back(connection)
        else:
            connection.close()


class AdapterExchange:
    """The same over any other requests adapter, for tests and for callers who mount their own. Cannot tick or abort."""

    def __init__(
        self, adapter: BaseAdapter, method: str, url: str, headers: Mapping[str, str], body: bytes, clocks: Clocks
    ) -> None:
        request = requests.PreparedRequest()
        request.method, request.url, request.body = method, url, body
        request.headers = CaseInsensitiveDict(headers)
        try:
            self._response = adapter.send(
                request, stream=True, timeout=(clocks.connect_seconds, clocks.first_byte_seconds)
            )
        except requests.Timeout as exc:
            message = "Copilot did not answer in time."
            raise UpstreamFailed(message, status=504, code="upstream_timeout", nothing_received=True) from exc
        except requests.RequestException as exc:
            message = "Copilot could not be reached."
            raise UpstreamFailed(message, code="upstream_unreachable", nothing_received=True) from exc

    def wait_head(self, tick_seconds: float) -> AnswerHead | None:
        return AnswerHead(self._response.status_code, self._response.headers)

    def read(self, tick_seconds: float = TICK_SECONDS) -> bytes | None:
        try:
            received: bytes = self._response.raw.read1(MAX_READ_BYTES)
        except (OSError, urllib3.exceptions.HTTPError) as exc:
            message = "Copilot closed the connection before its answer was complete."
            raise UpstreamFailed(message, code="upstream_disconnected") from exc
        return received

    def abort(self) -> None:
        """A foreign adapter offers no way in; its own timeouts bound the wait."""

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        self._response.close()


class _Target(NamedTuple):
    origin: Origin
    path: str
    host: str


@functools.lru_cache(maxsize=_REMEMBERED_URLS)
def _target(url: str) -> _Target:
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(origin_of(url), path, parts.netloc.rpartition("@")[2])


def _request_parts(method: str, target: _Target, headers: Mapping[str, str], body: bytes) -> tuple[bytes, ...]:
    """The request as it goes out, in one piece unless it is long. ValueError on a line break inside a header."""
    lines = [f"{method} {target.path} HTTP/1.1", f"Host: {target.host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if (body or method == "POST") and "Content-Length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(lines)
    if not text.count("\n") == text.count("\r") == len(lines) - 1:
        raise ValueError("line break in a header")
    head = f"{text}\r\n\r\n".encode("latin-1")
    return (head + body,) if len(body) < _LONG_BYTES else (head, body)
