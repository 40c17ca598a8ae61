"""The one place where Redis is talked to and its failures are met. Knows no key and no value."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import redis
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from copilotapi.store.breaker import Breaker
from copilotapi.store.condition import CONNECTION, Condition
from copilotapi.store.connections import open_pool
from copilotapi.store.wire import unless_wrong_type

T = TypeVar("T")

_MOST_CONFLICTS = 64


class Away(Exception):
    """Redis did not do what was asked. `in_doubt`: perhaps it did, or still may."""

    def __init__(self, *, in_doubt: bool) -> None:
        super().__init__()
        self.in_doubt = in_doubt


class RedisLink:
    """`on_return` is called when the connection is back, `on_recovery` when nothing at all is wrong any more.

    ValueError for a URL it cannot use. `client` is to be used inside `ask` only.
    """

    def __init__(
        self,
        url: str,
        password: str | None,
        clock: Callable[[], float],
        on_return: Callable[[], None],
        on_recovery: Callable[[], None],
    ) -> None:
        self._breaker = Breaker(clock)
        self.condition = Condition(clock)
        self.pool = open_pool(url, password, self._breaker.shuts_out)
        self.client = redis.Redis(connection_pool=self.pool)
        self._on_return = on_return
        self._on_recovery = on_recovery

    def ask(self, place: str, talk: Callable[[], T]) -> T:
        """What `talk` answers; Away when Redis failed or refused.

        `place` names the operation in the condition. Each has its own: where one succeeds and another is refused under
        the same name, the log would tell a change at every call.
        """
        if not self._breaker.admits():
            raise Away(in_doubt=False)
        try:
            if self._breaker.is_trial():
                self._come_back()
            answer = talk()
        except ResponseError as exc:
            self._refused(place, exc)
            raise Away(in_doubt=False) from exc
        # ValueError: redis-py reads the numbers in a reply with int(); a UnicodeDecodeError is one too.
        except (RedisError, OSError, ValueError) as exc:
            self._lost(exc)
            raise Away(in_doubt=True) from exc
        finally:
            self._breaker.leave()
        self._settle(place)
        return answer

    def act_if(
        self, name: bytes, question: tuple[Any, ...], allows: Callable[[Any], bool], act: tuple[Any, ...]
    ) -> bool:
        """Sends `act` if the answer to `question` allows it and the key has not changed in between; else False.

        By WATCH and not by a script, so that an ACL without scripting is enough. Not by redis-py's Pipeline: when a
        timeout has cut its connection that one reconnects to say UNWATCH, and when this times out too the pool has
        lost a connection for good (redis-py 8.1).
        """
        connection: Any = self.pool.get_connection()
        try:
            for _ in range(_MOST_CONFLICTS):
                _say(connection, "WATCH", name)
                if not allows(unless_wrong_type(lambda: _say(connection, *question))):
                    _say(connection, "UNWATCH")
                    return False
                _say(connection, "MULTI")
                _say(connection, *act)
                if _say(connection, "EXEC") is not None:
                    return True
            return False
        except ResponseError:
            connection.disconnect()
            raise
        finally:
            self.pool.release(connection)

    def _come_back(self) -> None:
        """A PING before anything else, so that a Redis still silent leaves nothing in doubt. A refusal is an answer."""
        with suppress(ResponseError):
            self.client.ping()
        self._breaker.close()
        self._settle(CONNECTION)
        self._on_return()

    def _lost(self, exc: Exception) -> None:
        if self._breaker.shuts_out():
            return
        if self._breaker.open():
            self.pool.pool.disconnect()
        self.condition.note(CONNECTION, exc)

    def _refused(self, place: str, exc: ResponseError) -> None:
        # After a failover the address may lead to a new master, while old connections stay with the replica it became.
        if isinstance(exc, ReadOnlyError):
            self.pool.pool.disconnect()
        self.condition.note(place, exc)

    def _settle(self, place: str) -> None:
        if self.condition.clear(place):
            self._on_recovery()


def _say(connection: Any, *command: object) -> Any:
    connection.send_command(*command)
    return connection.read_response()
