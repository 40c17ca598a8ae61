"""The one simulated account: its Copilot tokens, its quota, the model terms it has accepted. Safe from any thread."""

import secrets
import threading
import time
from datetime import UTC, datetime
from urllib.parse import urlencode

from copilotapi.simulator.answers import JSON
from copilotapi.simulator.scenarios import Settings

_KEPT_TOKENS = 10_000


class Account:
    def __init__(self, settings: Settings) -> None:
        self._lock = threading.Lock()
        self._copilot_tokens: dict[str, float] = {}
        self.start_over(settings)

    def start_over(self, settings: Settings) -> None:
        """Quota, token life and accepted terms as at the start. Issued Copilot tokens stay as they are."""
        with self._lock:
            self._settings = settings
            self._github_tokens = settings.github_tokens
            self._expires_in_seconds = settings.expires_in_seconds
            self._refresh_in_seconds = settings.refresh_in_seconds
            self._premium_used = settings.premium_used
            self._enabled_models: set[str] = set()

    def knows(self, github_token: str) -> bool:
        with self._lock:
            return bool(github_token) and (self._github_tokens is None or github_token in self._github_tokens)

    def sign_in(self) -> str:
        """A new GitHub token that this account accepts."""
        github_token = f"ghu_{secrets.token_hex(18)}"
        with self._lock:
            if self._github_tokens is not None:
                self._github_tokens |= {github_token}
        return github_token

    def set_token_life(self, expires_in_seconds: int, refresh_in_seconds: int) -> None:
        """For the Copilot tokens issued from now on."""
        with self._lock:
            self._expires_in_seconds = expires_in_seconds
            self._refresh_in_seconds = refresh_in_seconds

    def issue(self, proxy_host: str | None, expires_in_seconds: int | None, refresh_in_seconds: int | None) -> JSON:
        """A new Copilot token as `token`, `expires_at` (unix seconds), `refresh_in` (seconds). None means as set."""
        with self._lock:
            life = self._expires_in_seconds if expires_in_seconds is None else expires_in_seconds
            refresh_in = self._refresh_in_seconds if refresh_in_seconds is None else refresh_in_seconds
            expires_at = int(time.time()) + life + self._settings.clock_skew_seconds
            copilot_token = _copilot_token(expires_at, self._settings.sku, proxy_host)
            self._copilot_tokens[copilot_token] = time.monotonic() + life
            while len(self._copilot_tokens) > _KEPT_TOKENS:
                del self._copilot_tokens[next(iter(self._copilot_tokens))]
        return {"token": copilot_token, "expires_at": expires_at, "refresh_in": refresh_in}

    def accepts(self, copilot_token: str) -> bool:
        with self._lock:
            return time.monotonic() < self._copilot_tokens.get(copilot_token, 0.0)

    def expire_copilot_tokens(self) -> None:
        with self._lock:
            self._copilot_tokens.clear()

    def enable(self, model_id: str) -> None:
        with self._lock:
            self._enabled_models.add(model_id)

    def has_enabled(self, model_id: str) -> bool:
        with self._lock:
            return model_id in self._enabled_models

    def spend(self, premium_requests: float) -> bool:
        """Takes them from the quota; False, and nothing taken, when the quota does not allow it."""
        with self._lock:
            if not self._may_spend(premium_requests):
                return False
            self._premium_used += premium_requests
            return True

    def may_spend(self, premium_requests: float) -> bool:
        with self._lock:
            return self._may_spend(premium_requests)

    def quota(self) -> JSON:
        """`premium_interactions` as in GET /copilot_internal/user (copilot-wire 3.1)."""
        with self._lock:
            entitlement, used = self._settings.premium_entitlement, self._premium_used
            permitted = self._settings.overage_permitted
        remaining = max(0.0, entitlement - used)
        return {
            "quota_id": "premium_interactions",
            "entitlement": int(entitlement),
            "remaining": int(remaining),
            "quota_remaining": round(remaining, 2),
            "percent_remaining": round(100 * remaining / entitlement, 2) if entitlement else 0.0,
            "unlimited": False,
            "overage_count": round(max(0.0, used - entitlement), 2),
            "overage_permitted": permitted,
        }

    def quota_headers(self) -> dict[str, str]:
        """As on every answer of Copilot (copilot-wire 3.2): URL-encoded, `rem` in percent."""
        quota = self.quota()
        snapshot = {
            "ent": quota["entitlement"],
            "ov": quota["overage_count"],
            "ovPerm": str(quota["overage_permitted"]).lower(),
            "rem": quota["percent_remaining"],
            "rst": f"{reset_date()}T00:00:00Z",
        }
        return {"x-quota-snapshot-premium_interactions": urlencode(snapshot)}

    def _may_spend(self, premium_requests: float) -> bool:
        left = self._settings.premium_entitlement - self._premium_used
        return premium_requests <= 0 or left > 0 or self._settings.overage_permitted


def reset_date() -> str:
    """The first day of next month, when quotas start over."""
    today = datetime.now(UTC)
    year, month = (today.year + 1, 1) if today.month == 12 else (today.year, today.month + 1)
    return f"{year:04}-{month:02}-01"


def _copilot_token(expires_at: int, sku: str, proxy_host: str | None) -> str:
    proxy = f"proxy-ep={proxy_host};" if proxy_host else ""
    return (
        f"tid={secrets.token_hex(16)};exp={expires_at};sku={sku};{proxy}st=dotcom;chat=1;cit=1;malfil=1;"
        "editor_preview_features=1;mcp=1;ccr=1;rt=1;8kp=1;ip=192.0.2.1;asn=AS64500:"
        f"{secrets.token_hex(32)}"
    )
