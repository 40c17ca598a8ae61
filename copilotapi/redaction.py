"""What looks like a credential becomes "[redacted]". It knows the shapes of secrets and imports nothing of ours.

Every pattern runs in time linear in the text: each repetition is either bounded or ends where the next match may start.
"""

import re
from collections.abc import Iterable
from urllib.parse import quote

REDACTED = "[redacted]"
_SHORTEST_SECRET = 6
# So many are looked for one by one.
_FEW = 24

# A word starts after anything but a letter or digit, or after an escape that ends in one: \n, %2F, \x1b, \u0022.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=%[0-9A-Fa-f]{2})|(?<=\\x[0-9A-Fa-f]{2})|(?<=\\u[0-9A-Fa-f]{4}))"
_REST = r"""[^\s"'<>]+"""

# GitHub's prefixes: https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
# The leading (?=[…]) lists every first letter: it costs a quarter of trying the alternatives at each place.
_WHOLE = re.compile(
    r"(?=[gscte])"
    + _START
    + r"(?:gh[opusr]_[A-Za-z0-9_]{4,}|github_pat_[A-Za-z0-9_]{4,}|(?:sk-|cpa_)[A-Za-z0-9_-]{4,}"
    + rf"|tid(?:=|%3[Dd]){_REST}|eyJ[A-Za-z0-9_-]{{8,}}\.[A-Za-z0-9_.-]+)"
)
# The name stays for the reader, the value goes. "token" is also an English word: its value must look like no other.
_NAMED = re.compile(
    r"""(?=[paxbtrdc])(
    (?:proxy-)?authorization["']?\s{0,4}[:=]\s{0,4}["']?(?:(?:bearer|basic|token)\s{1,8})?
  | x-api-key["']?\s{0,4}[:=]\s{0,4}["']?
  | \bbearer[\s:]{1,8}
  | \btoken\s{1,8}(?=[^\s"'<>]{20}|(?![0-9]{1,19}(?![^\s"'<>,;.:)]))[^\s"'<>0-9]{0,19}[0-9])
  | (?:access_token|refresh_token|\btoken|device_code|client_secret|api_?keys?|password|passwd)
    (?:=|["']\s{0,4}[:=]\s{0,4})["']?
    )"""
    rf"""(?!(?:(?:bearer|basic|token)\s{{1,8}})?\[redacted\])(?:(?<=["'])[^"'\r\n]+|{_REST})""",
    re.IGNORECASE | re.VERBOSE,
)
_USER_INFO = re.compile(r"""(?<=://)(?:[^\s/?#"'<>@]*@)+""")
_SECRET_NAME = re.compile(
    r"token|(?:.*[-_])?(?:authorization|api[-_]?keys?|admin[-_]key|passw(?:or)?d|secret|cookie|device[-_]code"
    r"|(?:github|copilot|access|refresh|gateway)[-_]token)",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """`text` without GitHub and Copilot tokens, authorization values, API keys and the user part of URLs."""
    if text.isalnum():
        # Every pattern below has a sign in it that is neither letter nor digit.
        return text
    text = _WHOLE.sub(REDACTED, text)
    text = _NAMED.sub(rf"\1{REDACTED}", text)
    return _USER_INFO.sub(f"{REDACTED}@", text)


def names_a_secret(name: str) -> bool:
    """Whether a field or header of this name holds a credential, whatever its value looks like."""
    return _SECRET_NAME.fullmatch(name) is not None


class Redactor:
    """`redact`, and before it every one of the given secrets, as it is and as it looks in a URL.

    Secrets shorter than six characters are left alone: they would tear up ordinary words.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        long_enough = {secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}
        spellings = long_enough | {quote(secret, safe="") for secret in long_enough}
        # A secret may contain another one; the longest goes first.
        self._spellings = sorted(spellings, key=len, reverse=True)
        self._by_beginning: dict[str, list[str]] = {}
        if len(spellings) > _FEW:
            for spelling in self._spellings:
                self._by_beginning.setdefault(spelling[:_SHORTEST_SECRET], []).append(spelling)

    def __call__(self, text: str) -> str:
        for spelling in self._possible(text) if self._by_beginning else self._spellings:
            text = text.replace(spelling, REDACTED)
        return redact(text)

    def _possible(self, text: str) -> list[str]:
        """Of many secrets, those whose beginning is in the text: thousands of keys must not make each line slow."""
        known = self._by_beginning
        beginnings = {text[at : at + _SHORTEST_SECRET] for at in range(len(text) - _SHORTEST_SECRET + 1)}
        found = [spelling for beginning in beginnings if beginning in known for spelling in known[beginning]]
        return sorted(found, key=len, reverse=True)
