"""What keys, passwords and tokens may be, as types for the fields.

A check raises ValueError with what to do, and never repeats the value.
"""

import base64
import re
from typing import Annotated

from pydantic import AfterValidator, SecretStr

from copilotapi.settings.values import is_unbroken

_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_PLACEHOLDER = re.compile(
    r"change[-_]?me.*|replace[-_]?me.*|your[-_].*(key|token|password|secret).*|<.*>|x{4,}|\.{3,}", re.I
)


def _secret(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not is_unbroken(text):
        raise ValueError("must not hold blanks, control or non-ASCII characters")
    if _PLACEHOLDER.fullmatch(text):
        raise ValueError("still holds an example value; put a real one")
    return value


def _github_token(value: SecretStr) -> SecretStr:
    if value.get_secret_value().startswith("ghp_"):
        raise ValueError("is a classic token (ghp_), which Copilot refuses; run `copilotapi login` for one that works")
    return value


def _fernet_key(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not _FERNET_KEY.fullmatch(text) or len(base64.urlsafe_b64decode(text)) != 32:
        raise ValueError("must be a Fernet key, 32 bytes in urlsafe base64: cryptography's Fernet.generate_key()")
    return value


Secret = Annotated[SecretStr, AfterValidator(_secret)]
GithubToken = Annotated[Secret, AfterValidator(_github_token)]
FernetKey = Annotated[SecretStr, AfterValidator(_fernet_key)]
