from collections.abc import Iterator

import pytest

from copilotapi.simulator import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator
