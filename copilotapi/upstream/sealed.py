"""The Copilot token as it lies in the store: encrypted, tied to one GitHub account, dated. Knows no store and no clock."""

import base64
import hashlib
from dataclasses import asdict, dataclass

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


@dataclass(frozen=True, slots=True)
class StoredToken:
    """`obtained_at` is unix time, `life_seconds` counts from there."""

    copilot_token: str
    generation: int
    api_url: str
    proxy_url: str | None
    obtained_at: float
    life_seconds: float
    sku: str


class Sealer:
    """Encrypts with the first of `keys` and reads with any of them; without keys, one is derived from the GitHub token.

    A value sealed for another account, or touched by anyone, does not open.
    """

    def __init__(self, github_token: str, keys: tuple[str, ...] = ()) -> None:
        self.account = hashlib.blake2b(github_token.encode(), digest_size=12, person=b"copilotapi-acct").hexdigest()
        self._cipher = MultiFernet([Fernet(key) for key in keys] or [Fernet(_derived_key(github_token))])

    def seal(self, stored: StoredToken) -> bytes:
        return self._cipher.encrypt(orjson.dumps({"account": self.account, **asdict(stored)}))

    def open(self, sealed: bytes) -> StoredToken | None:
        """None when the value was not sealed by us for this account."""
        try:
            fields = orjson.loads(self._cipher.decrypt(sealed))
            if fields.pop("account") != self.account:
                return None
            return StoredToken(**fields)
        except (InvalidToken, orjson.JSONDecodeError, KeyError, TypeError):
            return None


def _derived_key(github_token: str) -> bytes:
    derived = HKDF(SHA256(), 32, salt=None, info=b"copilotapi token at rest").derive(github_token.encode())
    return base64.urlsafe_b64encode(derived)
