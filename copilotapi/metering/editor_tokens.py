"""The gateway's own tokens for editors, in the grammar of Copilot's (copilot-wire 2.3). Keeps nothing: a signature tells.

A token names the key it was issued for and is worth nothing without it. Whether that key still exists is the guard's
to say.
"""

import hmac
import secrets
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from copilotapi.metering.keys import Caller

LIFE_SECONDS = 1800
SKU = "copilotapi"

_SECRET_BYTES = 32
# chat: allowed; rt=0: no restricted telemetry; mcp and previews are for the editor's own settings to decide.
_FEATURES = f"sku={SKU};st=dotcom;chat=1;rt=0;8kp=1;mcp=1;editor_preview_features=1"


def signing_secret(encryption_keys: tuple[str, ...], github_token: str | None) -> bytes:
    """The same on every host with the same settings; with neither, random, and so to be made once per start."""
    source = encryption_keys[0] if encryption_keys else github_token
    if not source:
        return secrets.token_bytes(_SECRET_BYTES)
    return HKDF(SHA256(), _SECRET_BYTES, salt=None, info=b"copilotapi editor tokens").derive(source.encode())


class EditorTokens:
    """`clock` tells unix seconds. Never raises; what is not an unexpired token of ours is nobody's."""

    def __init__(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, key_id: str, life_seconds: int = LIFE_SECONDS) -> tuple[str, int]:
        """A token for the holder of that key, and the unix second in which it ends."""
        expires_at = int(self._clock()) + life_seconds
        fields = f"tid={secrets.token_hex(16)};exp={expires_at};{_FEATURES};k={key_id}"
        return f"{fields}:{self._signature(fields)}", expires_at

    def caller(self, editor_token: str) -> Caller | None:
        """Whom it was issued to, never as an admin."""
        fields, _, signature = editor_token.rpartition(":")
        if not hmac.compare_digest(_bytes(self._signature(fields)), _bytes(signature)):
            return None
        told = dict(pair.split("=", 1) for pair in fields.split(";"))
        return Caller(told["k"], is_admin=False) if self._clock() < int(told["exp"]) else None

    def _signature(self, fields: str) -> str:
        return hmac.new(self._secret, _bytes(fields), "sha256").hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
