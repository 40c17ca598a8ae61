from collections.abc import Iterator

import pytest

from copilotapi.simulator import Simulator
from tests.redis_server import redis_server

__all__ = ["redis_server"]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator
