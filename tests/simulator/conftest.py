"""A fresh simulator for each test, and a client of it."""

from collections.abc import Iterator

import pytest

from copilotapi.simulator import Simulator
from tests.simulator.client import Client


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def client(simulator: Simulator) -> Client:
    return Client(simulator)
