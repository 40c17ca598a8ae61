"""The pool of connections to Redis: few, made when first used, and short of patience. Knows no command."""

import queue
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import RedisError
from redis.retry import Retry

_LIMITS = {
    "max_connections": 32,
    "timeout": 2.0,
    "socket_connect_timeout": 0.25,
    "socket_timeout": 0.25,
}


class FreeConnections(queue.LifoQueue[Any]):
    """The pool's free connections; None stands for one not made yet. Gives none to a thread that is shut out.

    Without that, whoever waited for a connection would try a frozen Redis in turn, each in a quarter second of its own.
    """

    def __init__(self, shuts_out: Callable[[], bool], maxsize: int) -> None:
        super().__init__(maxsize)
        self._shuts_out = shuts_out

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        connection = super().get(block, timeout)
        if self._shuts_out():
            self.put_nowait(connection)
            raise queue.Empty
        return connection

    def disconnect(self) -> None:
        """Closes what is free. The pool's own disconnect() may hit a connection that another thread has just taken."""
        taken = []
        with suppress(queue.Empty):
            while True:
                taken.append(super().get(block=False))
        for connection in taken:
            if connection is not None:
                connection.disconnect()
            self.put_nowait(connection)


class Pool(redis.BlockingConnectionPool):
    """redis-py's own without its bookkeeping for metrics, a twentieth of what a small request costs (redis-py 8.1)."""

    def get_connection(self, command_name: object = None, *keys: object, **options: object) -> Any:
        """One that is connected and has nothing to read. ConnectionError when none becomes free in time."""
        self._checkpid()
        try:
            connection = self.pool.get(timeout=self.timeout)
        except queue.Empty:
            raise redis.ConnectionError("no connection became free in time") from None
        try:
            if connection is None:
                connection = self.make_connection()  # type: ignore[no-untyped-call]
            _make_ready(connection)
        except BaseException:
            self._give_back(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        if connection.pid != self.pid:
            # Of the process that this one was forked from.
            connection.disconnect()
            connection = None
        elif connection.should_reconnect():
            connection.disconnect()
        self._give_back(connection)

    def _give_back(self, connection: Any) -> None:
        with suppress(queue.Full):
            self.pool.put_nowait(connection)


def _make_ready(connection: Any) -> None:
    """What Redis has closed since, or said unasked, is connected anew."""
    connection.connect()
    with suppress(redis.ConnectionError, redis.TimeoutError, OSError):
        if not connection.can_read():
            return
    connection.disconnect()
    connection.connect()


def open_pool(url: str, password: str | None, shuts_out: Callable[[], bool]) -> Pool:
    """Connects to nothing yet; a forked process starts with an empty pool (redis-py compares process ids).

    Options in the URL's query are redis-py's, and win over the limits here. ValueError when the URL cannot be used.
    """
    settled = {
        "queue_class": partial(FreeConnections, shuts_out),
        # A second attempt doubles what a frozen Redis costs, and could count twice.
        "retry": Retry(NoBackoff(), 0, supported_errors=()),
        # That check is a PING before the command: with no second attempt it fails just as the command would.
        "health_check_interval": 0,
        "decode_responses": False,
        # No greeting: a new connection costs no round trip but AUTH and SELECT.
        "protocol": 2,
        "driver_info": None,
    }
    try:
        given = ({"password": password} if password else {}) | parse_url(url)  # type: ignore[no-untyped-call]
        pool = Pool(**(_LIMITS | given | settled))  # type: ignore[no-untyped-call]
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        # Their texts may repeat parts of the URL.
        raise ValueError("the URL of Redis has a bad port, or an option that redis-py does not take") from None
    return pool
