"""The keys people call with: which is known, what it may do. Compares digests only, and never shows a key."""

import hashlib
import hmac
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

    @property
    def is_empty(self) -> bool:
        return not self._callers

    @property
    def has_admin(self) -> bool:
        return self._admin is not None

    @property
    def key_ids(self) -> list[str]:
        return [caller.key_id for caller in self._callers.values()]

    def caller(self, api_key: str) -> Caller | None:
        """Whose key this is. The comparison takes as long for a wrong key as for a right one."""
        given = _digest(api_key)
        found = None
        for digest, caller in self._callers.items():
            if hmac.compare_digest(digest, given):
                found = caller
        return found


def key_id(api_key: str) -> str:
    return "key-" + _digest(api_key).hex()[:_DIGEST_CHARS]


def _digest(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode("utf-8", "surrogateescape")).digest()
