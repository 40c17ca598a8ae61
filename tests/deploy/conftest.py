from collections.abc import Iterator

import pytest

from copilotapi.simulator import Simulator
from tests.gateway_process import GatewayProcess, free_port


@pytest.fixture(scope="module")
def played_gateway() -> Iterator[GatewayProcess]:
    """A gateway before the simulator whose Redis is away."""
    with (
        Simulator() as simulator,
        GatewayProcess(simulator.url, REDIS_URL=f"redis://127.0.0.1:{free_port()}/0") as gateway,
    ):
        yield gateway
