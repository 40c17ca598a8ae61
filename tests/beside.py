"""Tests that mostly wait: what they do begins with the first test of their module, and they look at what came of it."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pytest

T = TypeVar("T")


def begun_with_the_module(work: Callable[[], T], test: str) -> Callable[..., Iterator[Future[T] | None]]:
    """A fixture of the module in which `test` asks for it; None where that test is not to run. `work` shares nothing with
    the tests that run meanwhile. What it raises, a skip too, is raised by `result`.
    """

    @pytest.fixture(scope="module", autouse=True)
    def begun(request: pytest.FixtureRequest) -> Iterator[Future[T] | None]:
        is_wanted = any((item.path, item.name) == (request.path, test) for item in request.session.items)
        with ThreadPoolExecutor(1) as pool:
            yield pool.submit(work) if is_wanted else None

    return begun
