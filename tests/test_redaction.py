"""What looks like a credential is removed, ordinary words stay, and a hostile text cannot make it slow."""

import time

import pytest

from copilotapi.redaction import Redactor, names_a_secret, redact

CANARY = "c4n4ryC4N4RYc4n4ry"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *[(f"a {kind}_{CANARY} b", "a [redacted] b") for kind in ("gho", "ghp", "ghu", "ghs", "ghr", "github_pat")],
        (f"x gho_{CANARY}.", "x [redacted]."),
        (rf"line\nghu_{CANARY}", r"line\n[redacted]"),
        (f"to=%2Fghu_{CANARY}", "to=%2F[redacted]"),
        (rf"say \u0022sk-{CANARY}\u0022", r"say \u0022[redacted]\u0022"),
        (f"got tid=1;exp=2;proxy-ep=p.example:{CANARY} today", "got [redacted] today"),
        (f'{{"token":"tid=1;exp=2:{CANARY}","n":1}}', '{"token":"[redacted]","n":1}'),
        (f'{{"token": "{CANARY}", "n": 1}}', '{"token": "[redacted]", "n": 1}'),
        (f"?token={CANARY}", "?token=[redacted]"),
        (f"tid%3D1%3B{CANARY}", "[redacted]"),
        (f"Bearer {CANARY} x", "Bearer [redacted] x"),
        (f"BEARER:\t{CANARY}", "BEARER:\t[redacted]"),
        (f"sent token {CANARY} on", "sent token [redacted] on"),
        ("sent token abcdefghijklmnopqrstuvwxyz on", "sent token [redacted] on"),
        ("Authorization: token short", "Authorization: token [redacted]"),
        ("Proxy-Authorization: Basic dXNlcjpwYXNz", "Proxy-Authorization: Basic [redacted]"),
        ("{'authorization': 'Bearer short'}", "{'authorization': 'Bearer [redacted]'}"),
        ("{'x-api-key': 'short', 'n': 1}", "{'x-api-key': '[redacted]', 'n': 1}"),
        (f"Authorization: Bearer gho_{CANARY}", "Authorization: Bearer [redacted]"),
        (f"key sk-ant-{CANARY}-x", "key [redacted]"),
        (f"key cpa_{CANARY}", "key [redacted]"),
        ('"password": "two words", 1', '"password": "[redacted]", 1'),
        (f"client_secret={CANARY}", "client_secret=[redacted]"),
        (f"redis://user:{CANARY}@host:6379/0", "redis://[redacted]@host:6379/0"),
        (f"redis://:p@{CANARY}@host/0", "redis://[redacted]@host/0"),
        (f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.{CANARY}", "[redacted]"),
    ],
)
def test_what_looks_like_a_credential_is_removed_and_its_surroundings_stay(text: str, expected: str) -> None:
    assert redact(text) == expected
    assert redact(expected) == expected


@pytest.mark.parametrize(
    "text",
    [
        "token expired, refresh due in 1500 s",
        "token 5 of 10, token 7.",
        "a risk-averse task-queue on disk-full",
        "highs_and_lows and throughs_between",
        "API_KEYS: holds the same key twice; REDIS_PASSWORD: is set",
        "GET https://api.github.com/copilot_internal/v2/token 200",
        "GITHUB_COPILOT_TOKEN: is a classic token (ghp_), which Copilot refuses",
        "mail me@example.com about max_tokens=256",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_are_removed_whatever_they_look_like() -> None:
    redactor = Redactor(["plain words/secret", "plain words", "short"])

    assert redactor("a plain words/secret b") == "a [redacted] b"
    assert redactor("a plain words b") == "a [redacted] b"
    assert redactor("?q=plain%20words%2Fsecret&") == "?q=[redacted]&"
    assert redactor(f"gho_{CANARY}") == "[redacted]"


def test_of_thousands_of_secrets_each_is_found_wherever_it_stands() -> None:
    secrets = [f"plain words {number:05d}/secret" for number in range(3000)]
    redactor = Redactor([*secrets, "plain words 00077/secret and more", "words 00042"])
    for secret in (secrets[0], secrets[1234], secrets[-1]):
        assert redactor(f"before {secret}after") == "before [redacted]after"
    assert redactor(f"{secrets[5]}{secrets[6]} {secrets[5]}") == "[redacted][redacted] [redacted]"
    assert redactor("plain words 00077/secret and more") == "[redacted]"
    assert redactor("their words 00042.") == "their [redacted]."
    assert redactor("plain%20words%2000009%2Fsecret") == "[redacted]"
    for innocent in ("", "plain", "plain words", "plain words 99999/secret"):
        assert redactor(innocent) == innocent


def test_a_secret_too_short_to_be_told_from_a_word_is_left() -> None:
    assert Redactor(["model", ""])("the model") == "the model"


@pytest.mark.parametrize(
    "name", ["Authorization", "x-api-key", "api_keys", "ADMIN_KEY", "github_token", "set-cookie", "token"]
)
def test_some_names_hold_secrets(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize("name", ["token_count", "max_tokens", "api_key_id", "key", "authorization_kind", ""])
def test_other_names_do_not(name: str) -> None:
    assert not names_a_secret(name)


@pytest.mark.parametrize(
    "unit",
    ["a", " ", "9", "%20", "\\n", "gh", "gho_", "eyJ", "sk-", "tid=", "://", "://a", "a@", "://a@", "Bearer ", "token ",
     "token=\"", "token" + " " * 9, "authorization:", "x-api-key", "password='", "[redacted]"],
)  # fmt: skip
def test_a_megabyte_of_hostile_text_takes_less_than_two_seconds(unit: str) -> None:
    text = (unit * 1_000_000)[:1_000_000]
    started = time.process_time()
    redact(text)
    names_a_secret(text)
    assert time.process_time() - started < 2
