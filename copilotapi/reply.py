"""An answer on its way to the caller: what the HTTP side sends, and whom it tells how that ended."""

from collections.abc import Iterable
from typing import Protocol

from copilotapi.errors import ApiError
from copilotapi.relay import Source


class Settle(Protocol):
    """The account of a request: called once, before the caller can know that its answer has ended."""

    def __call__(self, *, failed: bool) -> None: ...


class Reply:
    """`headers` and the `first` bytes are known; `rest` gives the others, and None when nothing has come for a while, at least
    each TICK_SECONDS. Whoever takes them says `end` or `fail`, and `close` in any case.
    """

    __slots__ = ("_settle", "_source", "first", "headers", "rest")

    def __init__(
        self,
        headers: dict[str, str],
        first: bytes,
        rest: Iterable[bytes | None] = (),
        source: Source | None = None,
        settle: Settle | None = None,
    ) -> None:
        self.headers = headers
        self.first = first
        self.rest = rest
        self._source = source
        self._settle = settle

    def take_first(self) -> bytes:
        first, self.first = self.first, b""
        return first

    def end(self) -> None:
        """All has been taken."""
        self._account(failed=False)
        if self._source is not None:
            self._source.finish()

    def fail(self, error: ApiError) -> None:
        """It ended with `error`, which is fit to be told afterwards: what was sent to get the answer is taken out of it."""
        if self._source is not None:
            self._source.clear_of_secrets(error)
        self._account(failed=True)

    def close(self) -> None:
        """Without `end` before it, the caller has left or the answer is given up."""
        source, self._source = self._source, None
        try:
            self._account(failed=True)
        finally:
            if source is not None:
                source.close()

    def _account(self, *, failed: bool) -> None:
        settle, self._settle = self._settle, None
        if settle is not None:
            settle(failed=failed)
