"""The simulator as a thing to start and stop: a listening socket, a thread for each connection."""

import contextlib
import re
import socket
import threading
import time
from dataclasses import replace
from types import TracebackType

from copilotapi.simulator.answers import refuse
from copilotapi.simulator.control import PREFIX, control
from copilotapi.simulator.delivery import Broken, deliver
from copilotapi.simulator.faults import FaultQueue
from copilotapi.simulator.recorder import Recorded, Recorder
from copilotapi.simulator.routes import answer, find, host_headers
from copilotapi.simulator.scenarios import Settings
from copilotapi.simulator.wire import ClientGone, Connection, Request, Unreadable
from copilotapi.simulator.world import Call, World, parsed

_BACKLOG = 1024
_STOP_SECONDS = 2.0
_LOOK_SECONDS = 0.5
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?")


class Simulator:
    """GitHub and Copilot on one port of this machine.

    `port` 0 takes a free one. `github_tokens` None accepts any non-empty GitHub token. `direct` lets Copilot take GitHub
    tokens without an exchange. `settings` has the finer points. Raises ValueError for an unknown scenario; `start`
    raises OSError when the port is taken.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        scenario: str = "normal",
        github_tokens: frozenset[str] | None = None,
        direct: bool = False,
        settings: Settings | None = None,
    ) -> None:
        given = settings or Settings()
        if github_tokens is not None:
            given = replace(given, github_tokens=frozenset(github_tokens))
        self._world = World(replace(given, direct=direct or given.direct), scenario)
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._accepting: threading.Thread | None = None
        self._lock = threading.Lock()
        self._serving: dict[threading.Thread, Connection] = {}
        self._stopping = threading.Event()

    @property
    def url(self) -> str:
        """http://host:port, without a slash; the port is known after `start`."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def faults(self) -> FaultQueue:
        return self._world.faults

    @property
    def recorder(self) -> Recorder:
        return self._world.recorder

    def expire_copilot_tokens(self) -> None:
        """Every Copilot token issued so far answers 401 from now on."""
        self._world.account.expire_copilot_tokens()

    def token_life(self, expires_in_seconds: int, refresh_in_seconds: int) -> None:
        """How long Copilot tokens issued from now on live, and when they ask to be refreshed."""
        self._world.account.set_token_life(expires_in_seconds, refresh_in_seconds)

    def reset(self, scenario: str | None = None) -> None:
        """As at the start, in another scenario when one is named. Copilot tokens stay valid. Raises ValueError."""
        self._world.start_over(scenario)

    def start(self) -> "Simulator":
        """Listens; does nothing when it does already. Raises OSError."""
        if self._listener is not None:
            return self
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._listener = socket.create_server((self._host, self._port), family=family, backlog=_BACKLOG)
        self._listener.settimeout(_LOOK_SECONDS)
        self._port = int(self._listener.getsockname()[1])
        self._stopping.clear()
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), name="simulator", daemon=True)
        self._accepting.start()
        return self

    def stop(self) -> None:
        """Ends all connections; returns within 2 seconds. May be called twice."""
        self._stopping.set()
        if self._listener is None or self._accepting is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _STOP_SECONDS
        self._accepting.join(_STOP_SECONDS)
        with self._lock:
            serving = dict(self._serving)
        for connection in serving.values():
            connection.abort()
        for thread in serving:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._listener.close()
        self._listener = self._accepting = None

    def __enter__(self) -> "Simulator":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                sock, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                # Out of descriptors, or a client gone before it was served; a stopped listener ends the loop.
                self._stopping.wait(0.01)
                continue
            self._begin(Connection(sock))

    def _begin(self, connection: Connection) -> None:
        thread = threading.Thread(target=self._serve, args=(connection,), name="simulator-connection", daemon=True)
        with self._lock:
            self._serving[thread] = connection
        thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            while not self._stopping.is_set() and self._serve_one(connection):
                pass
        except (ClientGone, Broken):
            pass
        except Unreadable as exc:
            self._turn_away(connection, exc)
        finally:
            connection.close()
            with self._lock:
                del self._serving[threading.current_thread()]

    def _serve_one(self, connection: Connection) -> bool:
        request = connection.read_request(self._world.settings.body_limit_bytes)
        if request.path.startswith(PREFIX):
            return deliver(connection, request, control(self._world, request), ())
        return self._play(connection, request)

    def _play(self, connection: Connection, request: Request) -> bool:
        route, parts = find(request.method, request.path)
        record = Recorded(
            request.method, request.path, request.headers, request.body, route.endpoint, at=time.monotonic()
        )
        self.recorder.add(record)
        body = parsed(request.body) if request.body else None
        call = Call(request, route.endpoint, parts, self._base_url(request), self._world, body)
        faults = self.faults.take(route.endpoint, request.path, call.model)
        given = answer(route, call, faults)
        try:
            may_go_on = deliver(connection, request, given, call.faults)
        except ClientGone:
            if not self._stopping.is_set():
                self.recorder.gone(record)
            raise
        self.recorder.answered(record, given.status)
        return may_go_on

    def _base_url(self, request: Request) -> str:
        """The address the client used, so that the endpoints it is told are ones it can reach."""
        host = request.headers.get("host", "")
        return f"http://{host}" if _HOST.fullmatch(host) else self.url

    def _turn_away(self, connection: Connection, reason: Unreadable) -> None:
        refused = refuse(reason.status, str(reason)).answer
        refused = replace(refused, headers=refused.headers | host_headers())
        unread = Request("GET", "/", "", {"connection": "close"}, b"", 1)
        with contextlib.suppress(ClientGone):
            deliver(connection, unread, refused, ())
            connection.end()
