"""The keys people call with: which is known, what it may do. Looks for digests only, and never shows a key."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

_DIGEST_CHARS = 8


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` names a key without telling it; "anonymous" where no key is needed."""

    key_id: str
    is_admin: bool


ANONYMOUS = Caller("anonymous", is_admin=True)


class KeyRing:
    """Static keys. An admin key also opens what a client key opens."""

    def __init__(self, api_keys: Iterable[str], admin_key: str | None) -> None:
        self._callers = {_digest(key): Caller(key_id(key), is_admin=False) for key in api_keys}
        self._admin = _digest(admin_key) if admin_key else None
        if self._admin is not None:
            self._callers[self._admin] = Caller("admin", is_admin=True)
        self._key_ids = frozenset(caller.key_id for caller in self._callers.values())

    @property
    def is_empty(self) -> bool:
        return not self._callers

    @property
    def has_admin(self) -> bool:
        return self._admin is not None

    @property
    def key_ids(self) -> frozenset[str]:
        return self._key_ids

    def caller(self, api_key: str) -> Caller | None:
        """Whose key this is. However long the search takes, it tells of digests, and a digest does not lead to its key."""
        return self._callers.get(_digest(api_key))


def key_id(api_key: str) -> str:
    return "key-" + _digest(api_key).hex()[:_DIGEST_CHARS]


def _digest(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).digest()
