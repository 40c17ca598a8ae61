"""Sockets to the upstream hosts: opened within a deadline, through a proxy where one is set, TLS verified, reused.

Knows nothing of HTTP beyond the CONNECT line a proxy wants.
"""

import base64
import os
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from copilotapi.errors import UpstreamFailed
from copilotapi.loop import Arrivals, Sweeper, send_all
from copilotapi.upstream.tls import TlsStream

# Idle sockets are dropped before the far end is likely to: load balancers commonly close after 60 s of silence.
_MAX_IDLE_SECONDS = 50.0
# As many streams may end together and as many begin.
_MAX_IDLE_SOCKETS = 512
_MAX_PROXY_HEAD_BYTES = 16_384
# Of a connection that should have nothing to say.
_PEEKED_BYTES = 4096
# How many lie between the first process of this program and this one: cheaper to ask for than the process id.
_forks = 0


def _note_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_note_fork)


class Origin(NamedTuple):
    scheme: str
    host: str
    port: int


def origin_of(url: str) -> Origin:
    parts = urlsplit(url)
    return Origin(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


@dataclass(frozen=True)
class Network:
    """How to reach the outside: `https_proxy` as a URL, `no_proxy` as host suffixes, `ca_bundle` as a file of PEM roots, or a
    folder of them as OpenSSL's rehash names them."""

    https_proxy: str | None = None
    no_proxy: tuple[str, ...] = ()
    ca_bundle: str | None = None

    def proxy_for(self, origin: Origin) -> str | None:
        if origin.scheme != "https" or self._bypasses(origin.host):
            return None
        return self.https_proxy

    def _bypasses(self, host: str) -> bool:
        suffixes = (entry.strip().lower().lstrip(".").split(":")[0] for entry in self.no_proxy)
        return any(suffix == "*" or host == suffix or host.endswith("." + suffix) for suffix in suffixes if suffix)


class Connection:
    """An open socket to one origin. `reused` is true from its second request on; `tls` is None where there is none.

    `recv(max_bytes, timeout_seconds)` is that of loop.Arrivals, or with TLS that of TlsStream, which may give more.
    """

    __slots__ = ("_arrivals", "_sock", "idle_since", "origin", "recv", "reused", "tls")

    def __init__(self, origin: Origin, sock: socket.socket, arrivals: Arrivals, tls: TlsStream | None = None) -> None:
        self.origin = origin
        self.tls = tls
        self.recv = arrivals.recv if tls is None else tls.recv
        self.reused = False
        self.idle_since = 0.0
        self._sock = sock
        self._arrivals = arrivals

    def send(self, message: bytes, timeout_seconds: float) -> None:
        """All of it. TimeoutError when the far end took none of it for so long."""
        self._sock.settimeout(timeout_seconds)
        if self.tls is None:
            send_all(self._sock, message)
        else:
            self.tls.send(message)

    def close(self) -> None:
        self._arrivals.close()
        self._sock.close()

    def is_alive(self) -> bool:
        """False when the far end closed it, or sent bytes that nobody asked for."""
        try:
            return (self._arrivals if self.tls is None else self.tls).poll(_PEEKED_BYTES) is None
        except OSError:
            return False

    def shutdown(self) -> None:
        """Ends both directions at once, so that whoever waits on this socket wakes. Any thread may call it."""
        with suppress(OSError):  # closed or reset already: what was wanted
            self._sock.shutdown(socket.SHUT_RDWR)


@dataclass
class ConnectionPool:
    """Idle sockets by origin. `open` raises UpstreamFailed with nothing received; it never waits past its seconds."""

    network: Network
    clock: Callable[[], float] = time.monotonic
    _idle: dict[Origin, deque[Connection]] = field(default_factory=dict)
    _forks: int = field(default_factory=lambda: _forks)
    _context: ssl.SSLContext | None = None
    _sweeper: Sweeper = field(default_factory=Sweeper)

    def take_idle(self, origin: Origin) -> Connection | None:
        self._forget_after_fork()
        idle = self._idle.get(origin) or ()
        while idle:
            connection = idle.pop()
            if self.clock() - connection.idle_since < _MAX_IDLE_SECONDS and connection.is_alive():
                connection.reused = True
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection) -> None:
        idle = self._idle.setdefault(connection.origin, deque())
        if len(idle) >= _MAX_IDLE_SOCKETS:
            connection.close()
            return
        connection.idle_since = self.clock()
        idle.append(connection)

    def drop_stale(self) -> None:
        self._forget_after_fork()
        latest = self.clock() - _MAX_IDLE_SECONDS
        # Another thread may come to know another host meanwhile.
        for idle in list(self._idle.values()):
            # The longest idle come first.
            while idle and idle[0].idle_since <= latest:
                idle.popleft().close()

    def open(self, origin: Origin, timeout_seconds: float) -> Connection:
        deadline = self.clock() + timeout_seconds
        proxy = self.network.proxy_for(origin)
        try:
            sock = self._dial(origin_of(proxy) if proxy else origin, deadline)
            try:
                if proxy:
                    _connect_through(sock, proxy, origin, lambda: self._left(deadline))
                return self._connection(origin, sock, deadline)
            except BaseException:
                sock.close()
                raise
        except TimeoutError as exc:
            message = f"Connecting to {origin.host} took longer than {timeout_seconds:g} s."
            raise UpstreamFailed(message, status=504, code="upstream_timeout", nothing_received=True) from exc
        except ssl.SSLCertVerificationError as exc:
            message = f"The TLS certificate of {origin.host} was not accepted: {exc.verify_message}."
            raise UpstreamFailed(message, code="upstream_tls_failed", nothing_received=True) from exc
        except (OSError, UnicodeError) as exc:
            message = f"Could not connect to {origin.host}: {getattr(exc, 'strerror', None) or type(exc).__name__}."
            raise UpstreamFailed(message, code="upstream_unreachable", nothing_received=True) from exc

    def _connection(self, origin: Origin, sock: socket.socket, deadline: float) -> Connection:
        arrivals = Arrivals(sock, self._sweeper)
        if origin.scheme != "https":
            return Connection(origin, sock, arrivals)
        try:
            tls = TlsStream(sock, arrivals, self._tls(), origin.host)
            tls.shake_hands(self._left(deadline))
        except BaseException:
            arrivals.close()
            raise
        return Connection(origin, sock, arrivals, tls)

    def close(self) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.close()
        self._idle.clear()

    def _dial(self, origin: Origin, deadline: float) -> socket.socket:
        failure: OSError = ConnectionError("the name has no address")
        for family, kind, protocol, _, address in _addresses(origin):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.settimeout(self._left(deadline))
                sock.connect(address)
            except OSError as exc:
                sock.close()
                failure = exc
            else:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return sock
        raise failure

    def _left(self, deadline: float) -> float:
        left = deadline - self.clock()
        if left <= 0:
            raise TimeoutError
        return left

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            roots = self.network.ca_bundle or DEFAULT_CA_BUNDLE_PATH
            is_folder = os.path.isdir(roots)
            self._context = ssl.create_default_context(
                cafile=None if is_folder else roots, capath=roots if is_folder else None
            )
            self._context.minimum_version = ssl.TLSVersion.TLSv1_2
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context

    def _forget_after_fork(self) -> None:
        """Two processes must not talk on one connection."""
        if self._forks != _forks:
            self._forks = _forks
            self.close()


def _addresses(origin: Origin) -> list[Any]:
    """As getaddrinfo tells them. gevent asks it on a thread, which an address in figures is not worth."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, origin.host)
        except OSError:
            continue
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (origin.host, origin.port))]
    return socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)


def _connect_through(sock: socket.socket, proxy: str, origin: Origin, seconds_left: Callable[[], float]) -> None:
    """The CONNECT exchange of RFC 9110 9.3.6; ConnectionError when the proxy refuses. What `seconds_left` raises."""
    parts = urlsplit(proxy)
    target = f"{origin.host}:{origin.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if parts.username:
        account = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append("Proxy-Authorization: Basic " + base64.b64encode(account.encode()).decode())
    sock.sendall(("\r\n".join(lines) + "\r\n\r\n").encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        sock.settimeout(seconds_left())
        received = sock.recv(1)
        if not received or len(head) > _MAX_PROXY_HEAD_BYTES:
            raise ConnectionError("the proxy closed the connection")
        head += received
    status = head.split(b" ", 2)[1:2]
    if not (status and status[0].startswith(b"2")):
        raise ConnectionError(0, f"the proxy answered {status[0].decode('latin-1') if status else 'nonsense'}")
