"""What an error of Copilot becomes, by the table of copilot-wire 8.2."""

import email.utils
import json
import time

import pytest

from copilotapi.upstream.refusals import is_account_wide, passed_headers, read_envelope, refusal, retry_after_seconds

SECRET = "tid=0123456789;exp=1:abcdef"


def envelope(code: str = "", message: str = "as told", **more: str) -> bytes:
    return json.dumps({"error": {"message": message, "code": code, **more}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (400, envelope("model_not_supported"), (404, "invalid_request_error", "model_not_found")),
        (400, envelope("invalid_request_body"), (400, "invalid_request_error", "invalid_request_body")),
        (400, envelope("unsupported_api_for_model"), (400, "invalid_request_error", "unsupported_api_for_model")),
        (400, envelope("unsupported_value"), (400, "invalid_request_error", "unsupported_value")),
        (400, envelope("invalid_reasoning_effort"), (400, "invalid_request_error", "invalid_reasoning_effort")),
        (400, envelope(""), (400, "invalid_request_error", None)),
        (400, b"bad request: missing Editor-Version header for IDE auth", (400, "invalid_request_error", None)),
        (
            400,
            envelope("model_max_prompt_tokens_exceeded"),
            (400, "invalid_request_error", "context_length_exceeded"),
        ),
        (
            400,
            envelope("", "prompt token count of 9000 exceeds the limit of 8000"),
            (400, "invalid_request_error", "context_length_exceeded"),
        ),
        (
            400,
            envelope("", "Request body is too large for model context window"),
            (400, "invalid_request_error", "context_length_exceeded"),
        ),
        (413, envelope("context_length_exceeded"), (400, "invalid_request_error", "context_length_exceeded")),
        (400, envelope("rate_limited"), (429, "rate_limit_error", "rate_limited")),
        (400, envelope("rate_limited:weekly"), (429, "rate_limit_error", "rate_limited")),
        (401, b"unauthorized: token expired", (503, "server_error", "copilot_sign_in_required")),
        (402, envelope("quota_exceeded", "You have no quota"), (402, "insufficient_quota", "insufficient_quota")),
        (402, b"", (402, "insufficient_quota", "insufficient_quota")),
        (403, envelope("free_quota_exceeded"), (402, "insufficient_quota", "insufficient_quota")),
        (429, envelope("", "quota exceeded"), (402, "insufficient_quota", "insufficient_quota")),
        (500, envelope("", "disk quota exceeded"), (502, "server_error", "upstream_error")),
        (403, b"access to this endpoint is forbidden", (403, "permission_error", "copilot_forbidden")),
        (403, envelope("feature_blocked"), (403, "permission_error", "feature_blocked")),
        (404, envelope("not_found"), (404, "invalid_request_error", "not_found")),
        (408, b"", (504, "server_error", "upstream_timeout")),
        (413, envelope("", "failed to parse request"), (413, "invalid_request_error", None)),
        (413, b"413 Request Entity Too Large", (413, "invalid_request_error", None)),
        (421, b"misdirected request", (502, "server_error", "upstream_error")),
        (422, b"the prompt was filtered", (400, "invalid_request_error", "content_filter")),
        (424, envelope("failed_dependency"), (424, "invalid_request_error", "failed_dependency")),
        (429, b"", (429, "rate_limit_error", "rate_limit_exceeded")),
        (429, envelope("user_weekly_rate_limited"), (429, "rate_limit_error", "user_weekly_rate_limited")),
        (429, envelope("model_overloaded:gpt-4.1"), (429, "rate_limit_error", "model_overloaded")),
        (466, b"client version not supported", (502, "server_error", "copilot_client_version_refused")),
        (499, envelope("cancelled"), (502, "server_error", "cancelled")),
        (500, envelope("internal_error"), (502, "server_error", "internal_error")),
        (502, b"<html><body>502 Bad Gateway</body></html>", (502, "server_error", "upstream_error")),
        (503, b"upstream connect error", (503, "server_error", "upstream_unavailable")),
        (504, b"", (504, "server_error", "upstream_unavailable")),
        (302, b"", (502, "server_error", "upstream_error")),
        (204, b"", (502, "server_error", "upstream_error")),
    ],
)
def test_each_answer_of_the_table_has_one_meaning(status: int, body: bytes, shown: tuple[int, str, str | None]) -> None:
    refused = refusal(status, {}, body)
    assert (refused.status, refused.kind, refused.code) == shown
    assert refused.upstream_status == status
    assert refused.message


def test_our_own_sign_in_is_never_the_callers_401() -> None:
    bodies = (b"", b"unauthorized", envelope("any_code"))
    statuses = {refusal(status, {}, body).status for status in range(300, 600) for body in bodies}
    assert 401 not in statuses
    assert all(status >= 400 for status in statuses)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (envelope("c", "m", param="p"), ("m", "c", "p")),
        (b'{"message": "unwrapped", "code": "c"}', ("unwrapped", "c", "")),
        (b'{"error": null, "message": "beside"}', ("beside", "", "")),
        (b'{"error": "only text"}', ("only text", "", "")),
        (b'{"error": {"message": 5, "code": 7, "param": null}}', ("", "", "")),
        (b"plain text\r\nin two lines", ("plain text in two lines", "", "")),
        (b"<!DOCTYPE html><html>no</html>", ("", "", "")),
        (b"  <HTML><head></head>", ("", "", "")),
        (b"", ("", "", "")),
        (b"{}", ("", "", "")),
        (b"null", ("", "", "")),
        (b"\xff\xfe", ("\ufffd\ufffd", "", "")),
        (b'{"error": {"message": "a\\u001b[31mb\\u0000c"}}', ("a [31mb c", "", "")),
    ],
)
def test_every_form_of_envelope_is_read(body: bytes, told: tuple[str, str, str]) -> None:
    assert read_envelope(body) == told


def test_a_long_story_is_cut() -> None:
    assert len(refusal(400, {}, b"x" * 50_000).message) == 1000


@pytest.mark.parametrize("body", [b"your token " + SECRET.encode() + b" is bad", envelope("c", f"Bearer {SECRET}")])
def test_an_echoed_credential_never_comes_through(body: bytes) -> None:
    for secrets in ((SECRET,), ()):
        assert "0123456789" not in refusal(400, {}, body, secrets).message


def test_the_field_at_fault_is_named() -> None:
    assert refusal(400, {}, envelope("invalid_request_body", param="n")).param == "n"
    assert refusal(400, {}, envelope("model_not_supported")).param == "model"


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("1e300", 30 * 86_400.0),
        ("inf", 30 * 86_400.0),
        ("nan", None),
        ("soon", None),
        ("", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
        ("Mon, 99 Foo 2001 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_nothing(told: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": told}) == seconds


def test_retry_after_may_be_a_date() -> None:
    told = email.utils.formatdate(time.time() + 600, usegmt=True)
    assert retry_after_seconds({"Retry-After": told}) == pytest.approx(600, abs=5)
    assert retry_after_seconds({}) is None


def test_limits_and_quotas_are_passed_on_and_nothing_else() -> None:
    headers = {
        "X-RateLimit-Exceeded": "bucket",
        "x-quota-snapshot-chat": "ent=1",
        "Set-Cookie": "s=1",
        "x-github-request-id": "1",
    }
    passed = {"X-RateLimit-Exceeded": "bucket", "x-quota-snapshot-chat": "ent=1"}
    assert passed_headers(headers) == passed
    assert refusal(429, headers, b"").headers == passed


@pytest.mark.parametrize(
    ("status", "code", "is_wide"),
    [
        (429, "user_global_rate_limited", True),
        (429, "user_weekly_rate_limited:2026-12-01", True),
        (429, "integration_rate_limited", True),
        (429, "extension_blocked", True),
        (402, "", True),
        (429, "quota_exceeded", True),
        (429, "user_model_rate_limited", False),
        (429, "model_overloaded", False),
        (429, "rate_limited", False),
        (503, "", False),
    ],
)
def test_only_limits_of_the_account_rule_out_another_model(status: int, code: str, is_wide: bool) -> None:
    assert is_account_wide(refusal(status, {}, envelope(code))) is is_wide
