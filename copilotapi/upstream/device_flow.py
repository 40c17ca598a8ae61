"""The device sign-in: a code for the user to enter at GitHub, and polls until GitHub hands out its token.

As RFC 8628 describes it and GitHub answers it (copilot-wire 1.1). It keeps nothing and prints nothing.
"""

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson
import requests

from copilotapi.errors import UpstreamFailed
from copilotapi.upstream.github import fetch
from copilotapi.upstream.headers import USER_AGENT
from copilotapi.upstream.transport import Transport

log = logging.getLogger(__name__)

_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:device_code"
# What every client asks for; a GitHub App ignores it (copilot-wire 1.2).
_SCOPE = "read:user"
# RFC 8628 3.2 and 3.5.
_DEFAULT_INTERVAL_SECONDS = 5
_SLOWER_BY_SECONDS = 5
# GitHub counts the interval by its own clock: other clients wait one second more as well (copilot-wire 1.1).
_MARGIN_SECONDS = 1
_MAX_SECONDS = 3600
_MAX_TOLD_CHARS = 300
_WORD = re.compile(r"[!-~]{1,16384}")
_USER_CODE = re.compile(r"[A-Za-z0-9-]{1,40}")
_EXPIRED = "The code expired before it was entered. Start again for a new one."


class DeviceFlowFailed(Exception):
    """There is no GitHub token to be had this way. The message is plain, one line, and free of secrets."""


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """`user_code` is to be entered at `verification_uri`; `device_code` is ours alone."""

    user_code: str
    verification_uri: str
    expires_in_seconds: int
    interval_seconds: int
    device_code: str = field(repr=False)


class DeviceFlow:
    """`github_url` is the web host without a trailing slash, `client_id` the application that is signed in to."""

    def __init__(self, transport: Transport, github_url: str, client_id: str) -> None:
        self._transport = transport
        self._github_url = github_url
        self._client_id = client_id

    def begin(self) -> DeviceCode:
        """A new code. DeviceFlowFailed when GitHub gives none or cannot be reached."""
        form = {"client_id": self._client_id, "scope": _SCOPE}
        try:
            status, answer = self._post("/login/device/code", form)
        except UpstreamFailed as exc:
            raise DeviceFlowFailed(exc.message) from exc
        if "device_code" not in answer:
            raise _refused(status, answer)
        return _device_code(answer)

    def poll(
        self,
        code: DeviceCode,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> str:
        """Waits until the user has agreed and returns the GitHub token.

        Blocks for `code.expires_in_seconds` and one request at most. An answer that does not come, or is no answer, is
        asked for again. DeviceFlowFailed when the user declines, the code expires, or GitHub refuses.
        """
        deadline = clock() + code.expires_in_seconds
        interval_seconds = code.interval_seconds
        failure = ""
        while (left_seconds := deadline - clock()) > 0:
            sleep(min(interval_seconds + _MARGIN_SECONDS, left_seconds))
            try:
                status, answer = self._ask(code.device_code)
            except UpstreamFailed as exc:
                failure = exc.message
                log.info("device_poll_failed", extra={"reason": failure})
                continue
            failure = ""
            match answer.get("error"):
                case None if "access_token" in answer:
                    return _github_token(answer)
                case "authorization_pending":
                    continue
                case "slow_down":
                    interval_seconds = _slower(interval_seconds, answer)
                case _:
                    raise _refused(status, answer)
        raise DeviceFlowFailed(f"{_EXPIRED} {failure}".rstrip())

    def _ask(self, device_code: str) -> tuple[int, dict[str, Any]]:
        """One poll. UpstreamFailed also for what a busy GitHub or a proxy says instead of an answer."""
        form = {"client_id": self._client_id, "device_code": device_code, "grant_type": _GRANT_TYPE}
        status, answer = self._post("/login/oauth/access_token", form)
        if status == 429:
            return status, {"error": "slow_down"}
        if status >= 500 or (status == 200 and not answer.keys() & {"error", "access_token"}):
            raise UpstreamFailed(f"GitHub answered {status} without a result.", code="upstream_bad_response")
        return status, answer

    def _post(self, path: str, form: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": USER_AGENT}
        request = requests.PreparedRequest()
        request.prepare(method="POST", url=self._github_url + path, headers=headers, data=form)
        response, body = fetch(self._transport, request)
        return response.status_code, _parsed(response.headers.get("Content-Type", ""), body)


def _parsed(content_type: str, body: bytes) -> dict[str, Any]:
    """The fields of a JSON object or of a form; {} for anything else."""
    if content_type.lower().startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(body.decode("utf-8", "replace")))
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _device_code(answer: Mapping[str, Any]) -> DeviceCode:
    code = DeviceCode(
        user_code=str(answer.get("user_code", "")),
        verification_uri=str(answer.get("verification_uri", "")),
        expires_in_seconds=_seconds(answer.get("expires_in"), 0),
        interval_seconds=_seconds(answer.get("interval"), _DEFAULT_INTERVAL_SECONDS),
        device_code=str(answer["device_code"]),
    )
    # Code and address are shown in a terminal, which control characters could repaint.
    is_shown_safely = _USER_CODE.fullmatch(code.user_code) and _WORD.fullmatch(code.verification_uri)
    is_link = urlsplit(code.verification_uri).scheme in {"http", "https"}
    if not (is_shown_safely and is_link and _WORD.fullmatch(code.device_code) and code.expires_in_seconds):
        raise DeviceFlowFailed("GitHub's answer holds no usable code. Check GITHUB_URL.")
    return code


def _github_token(answer: Mapping[str, Any]) -> str:
    github_token = answer["access_token"]
    if not isinstance(github_token, str) or not _WORD.fullmatch(github_token):
        raise DeviceFlowFailed("GitHub's answer holds no usable token.")
    return github_token


def _slower(interval_seconds: int, answer: Mapping[str, Any]) -> int:
    """The interval the answer names, if it is a longer one; else five seconds more (RFC 8628 3.5)."""
    told_seconds = _seconds(answer.get("interval"), 0)
    return told_seconds if told_seconds > interval_seconds else interval_seconds + _SLOWER_BY_SECONDS


def _seconds(value: object, default: int) -> int:
    """A whole number of seconds up to an hour, as JSON or a form writes it; `default` for anything else."""
    text = str(value)
    return min(int(text), _MAX_SECONDS) if re.fullmatch(r"[0-9]{1,9}", text) else default


def _refused(status: int, answer: Mapping[str, Any]) -> DeviceFlowFailed:
    error = _told(answer.get("error"))
    description = _told(answer.get("error_description"))
    match error:
        case "expired_token":
            return DeviceFlowFailed(_EXPIRED)
        case "access_denied":
            return DeviceFlowFailed("The sign-in was declined at GitHub.")
        case "" if status == 429:
            return DeviceFlowFailed("GitHub limits sign-ins for the moment. Try again in a few minutes.")
        case "" if 300 <= status < 400:
            return DeviceFlowFailed("GitHub answered with a redirect, which is not followed. Check GITHUB_URL.")
        case "":
            return DeviceFlowFailed(f"GitHub answered {status} without a sign-in code. Check GITHUB_URL.")
        case "Not Found":
            # What an unknown client id is answered with, as a 404.
            return DeviceFlowFailed("GitHub offers no device sign-in for this application. Check GITHUB_CLIENT_ID.")
    return DeviceFlowFailed(f"GitHub refused the sign-in: {description or 'no reason given'} ({error})")


def _told(value: object) -> str:
    """GitHub's own words, fit for one line of a terminal."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return "".join(character for character in text if character.isprintable())[:_MAX_TOLD_CHARS]
