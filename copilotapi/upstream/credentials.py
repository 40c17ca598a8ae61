"""The Copilot token: one per account, kept fresh for all workers, replaced once when Copilot stops taking it.

Correctness lives in `current()` and `replace()`: process copy, then the store's, then an exchange under a lock, written
by compare-and-set on the generation. The scheduler only makes this cheap; without it one request pays for the exchange.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from copilotapi.errors import SignInFailed
from copilotapi.store import Store
from copilotapi.upstream.endpoints import EndpointRules, ForeignEndpoint, token_fields
from copilotapi.upstream.github import ExchangeRefused, GitHub
from copilotapi.upstream.pause import ExchangePause, Refusal
from copilotapi.upstream.sealed import Sealer, StoredToken

log = logging.getLogger(__name__)

# From contract 7.2 and 7.3.
_REFRESH_MARGIN_SECONDS = 180.0
_MIN_GAP_SECONDS = 30.0
_LOCK_SECONDS = 12.0
_WAIT_SECONDS = 15.0
_OPERATOR_GAP_SECONDS = 5.0

_POLL_SECONDS = 0.1
_KEPT_AFTER_DEATH_SECONDS = 600.0
_FOREVER = float("inf")
# A record dated further ahead than this was written by a host whose clock cannot be compared with ours.
_MAX_CLOCK_SKEW_SECONDS = 60.0
# Of the user answer (copilot-wire 3.1), what says nothing about who the account is.
_QUOTA_FIELDS = (
    "copilot_plan",
    "access_type_sku",
    "token_based_billing",
    "quota_reset_date",
    "quota_snapshots",
    "monthly_quotas",
    "limited_user_quotas",
    "limited_user_reset_date",
)
_UNSET = "No GitHub token is set. Run `copilotapi login`, or set GITHUB_COPILOT_TOKEN, and start the gateway anew."


@dataclass(frozen=True, slots=True)
class CopilotToken:
    """What goes upstream, and where to. `obtained` is on the process's own clock."""

    secret: str = field(repr=False)
    generation: int
    api_url: str
    proxy_url: str | None
    obtained: float
    life_seconds: float
    sku: str = ""

    @property
    def due_seconds(self) -> float:
        return self.life_seconds - min(_REFRESH_MARGIN_SECONDS, self.life_seconds / 4)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The answer to an operator. Times are seconds from now; None where a token has no such end."""

    status: Literal["refreshed", "unchanged"]
    generation: int
    expires_in: int | None
    refresh_in: int | None


@dataclass(frozen=True, slots=True)
class CredentialStatus:
    """For /ready and the metrics. `seconds_left` is None without a usable token, infinite in direct mode."""

    seconds_left: float | None
    generation: int
    refusal: Refusal | None


def boot_clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system has such a clock."""
    boottime = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boottime is None else time.clock_gettime(boottime)


class Credentials:
    """Holds the token of one GitHub account. Every method may be called from any thread; SignInFailed is the one error.

    `on_exchange` is told "ok" or the code of the refusal, once per exchange.
    """

    def __init__(
        self,
        github_token: str | None,
        github: GitHub,
        rules: EndpointRules,
        store: Store,
        *,
        encryption_keys: tuple[str, ...] = (),
        clock: Callable[[], float] = boot_clock,
        wall_clock: Callable[[], float] = time.time,
        on_exchange: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        self._github_token = github_token or ""
        self._github = github
        self._rules = rules
        self._store = store
        self._sealer = Sealer(self._github_token, encryption_keys)
        self._pause = ExchangePause(store, self._key("refusal"), wall_clock)
        self._clock = clock
        self._wall_clock = wall_clock
        self._on_exchange = on_exchange
        self._held: CopilotToken | None = None
        self._rejected_generation = 0
        self._is_direct = self._github_token.startswith(("github_pat_", "tid="))
        self._flight = threading.Lock()

    @property
    def account(self) -> str:
        """A name for the account that tells nothing about it: the same token gives the same name on every host."""
        return self._sealer.account

    @property
    def sku(self) -> str:
        """The kind of subscription, as the latest token tells it; "" while there is none. Never asks."""
        return self._held.sku if self._held else ""

    def current(self) -> CopilotToken:
        """A token to send now. Exchanges only when none is alive, or when this caller is the one to renew a due one."""
        held = self._held
        if held is None or self._age(held) >= held.life_seconds:
            return self._newer_than(held.generation if held else 0)
        return self._renewed(held) if self._may_renew(held) else held

    def replace(self, rejected: CopilotToken) -> CopilotToken:
        """Another token than the one Copilot just answered 401 to: the store's newer one, else a new one, at once."""
        if self._is_direct:
            message = (
                "Copilot does not accept the token given. Run `copilotapi login`, or set GITHUB_COPILOT_TOKEN anew."
            )
            raise SignInFailed(message, code="copilot_sign_in_required")
        self._rejected_generation = max(self._rejected_generation, rejected.generation)
        return self._newer_than(rejected.generation)

    def rejected_again(self) -> SignInFailed:
        """A token fresh from `replace` was answered 401 as well: asking for more would only be a storm."""
        message = "Copilot does not accept the tokens GitHub issues for this account. Sign in again."
        return self._pause.begin(ExchangeRefused(message, code="copilot_sign_in_required", temporary=False))

    def refresh_now(self) -> Refreshed:
        """The operator's refresh: always exchanges, but joins one under way and repeats none within 5 s."""
        if self._is_direct:
            return Refreshed("unchanged", self.current().generation, None, None)
        held = self._held
        latest = self._adopt_newer(held.generation if held else 0) or held
        self._pause.check_operator(_OPERATOR_GAP_SECONDS)
        if latest is not None and self._age(latest) < _OPERATOR_GAP_SECONDS:
            return self._refreshed("unchanged", latest)
        renewed = self._newer_than(latest.generation if latest else 0, despite_pause=True)
        return self._refreshed("refreshed", renewed)

    def refresh_if_due(self) -> None:
        """The scheduled refresh. Raises nothing: a refusal is kept for `status()` and paused for."""
        held = self._held
        if not self._github_token or self._pause.is_on():
            return
        try:
            if held is None or self._age(held) >= held.life_seconds or self._is_rejected(held):
                self._newer_than(held.generation if held else 0)
            elif self._may_renew(held):
                self._renewed(held)
        except SignInFailed as exc:
            log.debug("token_refresh_failed", extra={"code": exc.code})

    def quota(self) -> dict[str, Any]:
        """The account's plan and quotas as GitHub tells them; `{"unavailable": reason}` when it does not."""
        if not self._github_token or self._github_token.startswith("tid="):
            return {"unavailable": "No GitHub token is set."}
        try:
            user = self._github.user(self._github_token)
        except ExchangeRefused as exc:
            return {"unavailable": exc.message}
        return {name: user[name] for name in _QUOTA_FIELDS if name in user}

    def status(self) -> CredentialStatus:
        refusal = self._pause.refusal
        if not self._github_token:
            refusal = Refusal(_UNSET, "copilot_sign_in_required", 0, _FOREVER, 0)
        held = self._held
        if held is None:
            return CredentialStatus(None, 0, refusal)
        left_seconds = held.life_seconds - self._age(held)
        # Without a refusal its successor is on the way.
        is_usable = left_seconds > 0 and not (refusal is not None and self._is_rejected(held))
        return CredentialStatus(left_seconds if is_usable else None, held.generation, refusal)

    def _newer_than(self, generation: int, despite_pause: bool = False) -> CopilotToken:
        """Single flight within the process. Waits up to 15 s for whoever is at it, then goes itself."""
        if not self._github_token:
            raise SignInFailed(_UNSET, code="copilot_sign_in_required")
        acquired = self._flight.acquire(timeout=_WAIT_SECONDS)
        try:
            held = self._held
            if held is not None and held.generation > generation and self._age(held) < held.life_seconds:
                return held
            if self._is_direct:
                return self._directly()
            return self._from_store_or_exchange(generation, despite_pause)
        finally:
            if acquired:
                self._flight.release()

    def _directly(self) -> CopilotToken:
        self._pause.check()
        try:
            self._held = self._direct_token()
        except ExchangeRefused as exc:
            raise self._pause.begin(exc) from exc
        self._pause.end()
        return self._held

    def _renewed(self, held: CopilotToken) -> CopilotToken:
        """A newer token if this caller can get it without waiting for another; else the one held, which is alive."""
        if not self._flight.acquire(blocking=False):
            return held
        try:
            with self._store.lock(self._key("exchange"), _LOCK_SECONDS) as is_ours:
                newer = self._adopt_newer(held.generation)
                if newer or not is_ours:
                    return newer or held
                self._pause.check()
                return self._exchange(held.generation)
        except SignInFailed:
            return held
        finally:
            self._flight.release()

    def _from_store_or_exchange(self, generation: int, despite_pause: bool) -> CopilotToken:
        """Single flight across processes: the lock's holder exchanges, the others wait for what it writes."""
        give_up = self._clock() + _WAIT_SECONDS
        while self._clock() < give_up:
            if newer := self._adopt_newer(generation):
                return newer
            if not despite_pause:
                self._pause.check()
            with self._store.lock(self._key("exchange"), _LOCK_SECONDS) as is_ours:
                if is_ours:
                    return self._adopt_newer(generation) or self._exchange(generation)
            time.sleep(_POLL_SECONDS * random.uniform(0.5, 1.5))
        return self._exchange(generation)

    def _exchange(self, generation: int) -> CopilotToken:
        try:
            stored = self._exchanged(generation)
        except ExchangeRefused as exc:
            if exc.status == 404 and (direct := self._try_directly()):
                return direct
            self._on_exchange(exc.code)
            raise self._pause.begin(exc) from exc
        kept_seconds = stored.life_seconds + _KEPT_AFTER_DEATH_SECONDS
        sealed = self._sealer.seal(stored)
        if not self._store.compare_and_set(self._key("token"), sealed, stored.generation, kept_seconds):
            # We were overtaken while GitHub answered: a newer token is there, and stays.
            return self._adopt_newer(generation) or self._hold(stored)
        log.info("token_refreshed", extra={"generation": stored.generation, "life_seconds": stored.life_seconds})
        return self._hold(stored)

    def _exchanged(self, generation: int) -> StoredToken:
        exchanged = self._github.exchange(self._github_token)
        endpoints = self._endpoints(exchanged.endpoints, exchanged.copilot_token)
        self._on_exchange("ok")
        return StoredToken(
            copilot_token=exchanged.copilot_token,
            generation=generation + 1,
            api_url=endpoints[0],
            proxy_url=endpoints[1],
            obtained_at=self._wall_clock(),
            life_seconds=exchanged.life_seconds,
            sku=exchanged.sku,
        )

    def _endpoints(self, named: Any, copilot_token: str) -> tuple[str, str | None]:
        try:
            endpoints = self._rules.choose(named, copilot_token)
        except ForeignEndpoint as exc:
            raise ExchangeRefused(f"{exc}.", code="copilot_access_refused", temporary=True) from exc
        return endpoints.api_url, endpoints.proxy_url

    def _hold(self, stored: StoredToken) -> CopilotToken:
        age_seconds = max(self._wall_clock() - stored.obtained_at, 0.0)
        self._held = CopilotToken(
            secret=stored.copilot_token,
            generation=stored.generation,
            api_url=stored.api_url,
            proxy_url=stored.proxy_url,
            obtained=self._clock() - age_seconds,
            life_seconds=stored.life_seconds,
            sku=stored.sku,
        )
        self._pause.end()
        return self._held

    def _adopt_newer(self, generation: int) -> CopilotToken | None:
        """The store's token if it is newer, alive by our clock and dated plausibly."""
        sealed = self._store.get(self._key("token"))
        stored = self._sealer.open(sealed) if sealed else None
        if stored is None or stored.generation <= generation:
            return None
        age_seconds = self._wall_clock() - stored.obtained_at
        return self._hold(stored) if -_MAX_CLOCK_SKEW_SECONDS < age_seconds < stored.life_seconds else None

    def _direct_token(self) -> CopilotToken:
        """The token given is itself the bearer: a Copilot token until it ends, or a GitHub token that Copilot takes."""
        named: Any = {}
        life_seconds = _FOREVER
        if self._github_token.startswith("tid="):
            life_seconds = self._life_of(self._github_token)
        elif self._rules.api_override is None:
            named = self._github.user(self._github_token).get("endpoints") or {}
        api_url, proxy_url = self._endpoints(named, self._github_token)
        return CopilotToken(self._github_token, 1, api_url, proxy_url, self._clock(), life_seconds, "direct")

    def _life_of(self, copilot_token: str) -> float:
        expires_at = token_fields(copilot_token).get("exp", "")
        life_seconds = float(expires_at) - self._wall_clock() if expires_at.isdecimal() else _FOREVER
        if life_seconds <= 0:
            message = (
                "The Copilot token in GITHUB_COPILOT_TOKEN has expired; a GitHub token would be renewed by itself."
            )
            raise ExchangeRefused(message, code="copilot_sign_in_required", temporary=False)
        return life_seconds

    def _try_directly(self) -> CopilotToken | None:
        """Tokens of some applications are not exchanged but taken as they are (copilot-wire 2.6). Remembered."""
        try:
            direct = self._direct_token()
            if not self._github.accepts_directly(self._github_token, direct.api_url):
                return None
        except ExchangeRefused:
            return None
        self._is_direct = True
        self._held = direct
        log.info("direct_mode", extra={"reason": "the exchange answered 404, Copilot takes the GitHub token itself"})
        return direct

    def _is_rejected(self, token: CopilotToken) -> bool:
        return token.generation <= self._rejected_generation

    def _may_renew(self, token: CopilotToken) -> bool:
        return self._age(token) >= max(token.due_seconds, _MIN_GAP_SECONDS) and not self._pause.is_on()

    def _age(self, token: CopilotToken) -> float:
        return self._clock() - token.obtained

    def _refreshed(self, status: Literal["refreshed", "unchanged"], token: CopilotToken) -> Refreshed:
        age_seconds = self._age(token)
        return Refreshed(
            status,
            token.generation,
            max(int(token.life_seconds - age_seconds), 0),
            max(int(token.due_seconds - age_seconds), 0),
        )

    def _key(self, name: str) -> str:
        return f"{name}:{self._sealer.account}"


class NoAccount:
    """Stands where Credentials stand when a handler answers: nothing to sign in to, nothing to refresh."""

    account = "none"
    sku = ""

    def refresh_now(self) -> Refreshed:
        return Refreshed("unchanged", 0, None, None)

    def refresh_if_due(self) -> None:
        pass

    def status(self) -> CredentialStatus:
        return CredentialStatus(_FOREVER, 0, None)

    def quota(self) -> dict[str, Any]:
        return {"unavailable": "A completion handler answers here; no GitHub account is asked."}
