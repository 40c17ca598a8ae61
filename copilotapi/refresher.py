"""The clock: one APScheduler job that keeps the token and the model list warm. Its death costs latency, nothing else."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from apscheduler.schedulers.background import BackgroundScheduler

from copilotapi.upstream.credentials import Credentials, NoAccount
from copilotapi.upstream.models import Catalogue

log = logging.getLogger(__name__)

_TICK_SECONDS = 5.0
_JITTER_SECONDS = 1


class Refresher:
    """Runs in every worker; the store's lock lets one of them exchange the token. Started and stopped by the server."""

    def __init__(
        self,
        credentials: Credentials | NoAccount,
        catalogue: Catalogue,
        tidy: Callable[[], object],
        on_stop: Callable[[], object],
    ) -> None:
        self._credentials = credentials
        self._catalogue = catalogue
        self._tidy = tidy
        self._on_stop = on_stop
        self._scheduler: BackgroundScheduler | None = None

    def start(self) -> None:
        """Begins at once; a second call does nothing."""
        if self._scheduler is not None:
            return
        self._scheduler = BackgroundScheduler(timezone=UTC, daemon=True)
        self._scheduler.add_job(
            self.tick,
            "interval",
            seconds=_TICK_SECONDS,
            jitter=_JITTER_SECONDS,
            next_run_time=datetime.now(UTC),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=30,
        )
        self._scheduler.start()

    def stop(self) -> None:
        """Returns with all counts written and idle connections closed; a tick under way ends by itself."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        self._on_stop()

    def tick(self) -> None:
        """What is due by now. Failures are logged where they happen and kept for /ready."""
        self._tidy()
        self._credentials.refresh_if_due()
        if self._credentials.status().seconds_left is not None:
            self._catalogue.refresh_if_due()
