import re

import pytest
from cryptography.fernet import Fernet

from copilotapi.metering.editor_tokens import EditorTokens, signing_secret
from copilotapi.metering.keys import Caller

_SECRET = b"s" * 32


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.5

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> EditorTokens:
    return EditorTokens(_SECRET, clock)


def test_a_token_has_the_grammar_of_copilots_and_tells_its_end(tokens: EditorTokens) -> None:
    editor_token, expires_at = tokens.issue("key-0a1b2c3d")
    assert expires_at == 1_800_001_800
    assert re.fullmatch(r"tid=[0-9a-f]{32};exp=1800001800;sku=copilotapi(;\w+=[^;:]+)+:[0-9a-f]{64}", editor_token)


def test_a_token_is_its_keys_and_never_an_admins(tokens: EditorTokens) -> None:
    for key_id in ("key-0a1b2c3d", "admin", "anonymous"):
        assert tokens.caller(tokens.issue(key_id)[0]) == Caller(key_id, is_admin=False)


def test_two_tokens_of_one_key_differ(tokens: EditorTokens) -> None:
    assert tokens.issue("key-1")[0] != tokens.issue("key-1")[0]


def test_a_token_ends_on_time(tokens: EditorTokens, clock: Clock) -> None:
    editor_token, expires_at = tokens.issue("key-1", life_seconds=60)
    clock.now = expires_at - 0.01
    assert tokens.caller(editor_token)
    clock.now = expires_at
    assert tokens.caller(editor_token) is None


def test_a_token_of_another_secret_is_nobodys(tokens: EditorTokens, clock: Clock) -> None:
    assert tokens.caller(EditorTokens(b"t" * 32, clock).issue("key-1")[0]) is None


def test_no_part_of_a_token_can_be_changed(tokens: EditorTokens) -> None:
    editor_token, expires_at = tokens.issue("key-1")
    assert tokens.caller(editor_token.replace("k=key-1", "k=admin")) is None
    assert tokens.caller(editor_token.replace(str(expires_at), str(expires_at + 1))) is None
    assert tokens.caller(editor_token[:-1]) is None
    assert tokens.caller(editor_token.upper()) is None


@pytest.mark.parametrize(
    "given", ["", ":", "tid=1", "tid=1:" + "0" * 64, ":" + "é" * 64, "k=\udce9:\udcff", "tid=;exp=x:"]
)
def test_what_is_no_token_of_ours_is_nobodys(tokens: EditorTokens, given: str) -> None:
    assert tokens.caller(given) is None


def test_hosts_with_the_same_settings_share_the_secret_and_others_do_not() -> None:
    older, newer = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    assert signing_secret((newer, older), "gho_one") == signing_secret((newer,), "gho_two")
    assert signing_secret((), "gho_one") == signing_secret((), "gho_one")
    assert len({signing_secret((newer,), None), signing_secret((older,), None), signing_secret((), "gho_one")}) == 3


def test_without_any_setting_the_secret_is_random() -> None:
    assert signing_secret((), None) != signing_secret((), None)
    assert len(signing_secret((), None)) == 32
