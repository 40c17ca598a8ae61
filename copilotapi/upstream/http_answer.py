"""One HTTP/1.1 answer, parsed as its bytes come, strictly: nothing that two readers could take for different answers.

Knows no socket and no clock.
"""

from typing import Any

import httptools

from copilotapi.errors import UpstreamFailed

_MAX_HEAD_BYTES = 65_536
_MAX_INTERIM_ANSWERS = 10


class Headers(dict[str, str]):
    """A head's fields by their names in lower case, repeated ones joined (RFC 9110, 5.3). Asked for in any case."""

    def __init__(self, fields: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        for raw_name, raw_value in fields:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            self[name] = f"{self[name]}, {value}" if name in self else value

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


class HttpAnswer:
    """One response as llhttp reads it. UpstreamFailed on framing that two readers could understand differently."""

    __slots__ = (
        *("_interim_answers", "_parser", "_without_body", "body", "bytes_received", "complete"),
        *("fields", "head_complete", "keeps_alive", "on_body", "status"),
    )

    def __init__(self, method: str) -> None:
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.body: list[bytes] = []
        self.on_body = self.body.append
        self.head_complete = False
        self.complete = False
        self.keeps_alive = False
        # Counted as long as the head is not complete.
        self.bytes_received = 0
        self._without_body = method == "HEAD"
        self._interim_answers = 0
        self._parser: Any = httptools.HttpResponseParser(self)

    def feed(self, received: bytes) -> None:
        if not self.head_complete:
            if self.bytes_received > _MAX_HEAD_BYTES:
                raise _bad_answer("its head is too long")
            self.bytes_received += len(received)
        try:
            self._parser.feed_data(received)
        except httptools.HttpParserUpgrade as exc:
            raise _bad_answer("it switched protocols") from exc
        except httptools.HttpParserError as exc:
            self.keeps_alive = False
            if not self.complete:
                raise _bad_answer("its framing is broken") from exc

    def release(self) -> None:
        """The parser holds this object's methods: without this, only a garbage collection would free the two."""
        self._parser = None

    @property
    def ends_with_the_connection(self) -> bool:
        """Neither a length nor chunks (RFC 9112 6.3, rule 8): the end of the connection is the end of the body."""
        if not self.head_complete:
            return False
        names = {name.lower() for name, _ in self.fields}
        return b"content-length" not in names and b"transfer-encoding" not in names

    def on_message_begin(self) -> None:
        if self.complete:
            # A second answer to one request: it is not for us, and is not looked at.
            raise _bad_answer("another one follows it")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status >= 200:
            self.head_complete = True
            self.keeps_alive = self._parser.should_keep_alive()
            self.complete = self._without_body

    def on_message_complete(self) -> None:
        if self.head_complete:
            self.complete = True
            return
        self._interim_answers += 1
        self.fields = []
        if self._interim_answers > _MAX_INTERIM_ANSWERS:
            raise _bad_answer("it never came to a final answer")


def _bad_answer(why: str) -> UpstreamFailed:
    return UpstreamFailed(f"Copilot's answer could not be read: {why}.", code="upstream_bad_response")
