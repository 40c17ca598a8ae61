"""The device sign-in: codes handed out, polled, and at last granted or not (copilot-wire 1.1)."""

import secrets
import threading
import time
from dataclasses import dataclass

from copilotapi.simulator.answers import JSON
from copilotapi.simulator.scenarios import Settings

_DESCRIPTIONS = {
    "authorization_pending": "The authorization request is still pending.",
    "slow_down": "Too many requests have been made in the same timeframe.",
    "expired_token": "This 'device_code' has expired.",
    "access_denied": "The authorization request was denied.",
    "incorrect_device_code": "The device_code provided is not valid.",
}
_SLOWER_BY_SECONDS = 5
_KEPT_CODES = 1_000


@dataclass(slots=True)
class _Code:
    issued_at: float
    interval_seconds: int
    polled_at: float | None = None
    polls: int = 0


class DeviceCodes:
    """Safe from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self.start_over(settings)

    def start_over(self, settings: Settings) -> None:
        with self._lock:
            self._settings = settings
            self._codes: dict[str, _Code] = {}

    def issue(self, base_url: str) -> JSON:
        """What POST /login/device/code answers."""
        device_code = secrets.token_hex(20)
        with self._lock:
            interval_seconds = self._settings.device_interval_seconds
            self._codes[device_code] = _Code(time.monotonic(), interval_seconds)
            while len(self._codes) > _KEPT_CODES:
                del self._codes[next(iter(self._codes))]
        return {
            "device_code": device_code,
            "user_code": f"{secrets.token_hex(2)}-{secrets.token_hex(2)}".upper(),
            "verification_uri": f"{base_url}/login/device",
            "expires_in": self._settings.device_life_seconds,
            "interval": interval_seconds,
        }

    def poll(self, device_code: str) -> JSON | None:
        """The error of this poll as OAuth writes it, or None when the user has agreed."""
        with self._lock:
            code = self._codes.get(device_code)
            error = "incorrect_device_code" if code is None else self._outcome(code)
            if error is None:
                del self._codes[device_code]
                return None
            interval = {"interval": code.interval_seconds} if code and error == "slow_down" else {}
        return {"error": error, "error_description": _DESCRIPTIONS[error]} | interval

    def _outcome(self, code: _Code) -> str | None:
        now = time.monotonic()
        previous, code.polled_at = code.polled_at, now
        if now - code.issued_at >= self._settings.device_life_seconds:
            return "expired_token"
        if previous is not None and now - previous < code.interval_seconds:
            code.interval_seconds += _SLOWER_BY_SECONDS
            return "slow_down"
        code.polls += 1
        if code.polls <= self._settings.device_pending_polls:
            return "authorization_pending"
        return {"granted": None, "denied": "access_denied", "expired": "expired_token"}[self._settings.device_outcome]
