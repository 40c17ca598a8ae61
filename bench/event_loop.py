"""The fastest event loop there is: uvloop in the bench's own environment, asyncio's elsewhere.

Without garbage collections: with thousands of connections each takes tens of milliseconds, which a measurement would put
down to the gateway. So whoever runs here leaves no cycles of objects behind.
"""

import asyncio
import gc
import importlib
from collections.abc import Coroutine
from typing import Any, TypeVar

_Result = TypeVar("_Result")


def run(main: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        new_event_loop = importlib.import_module("uvloop").new_event_loop
    except ModuleNotFoundError:
        new_event_loop = asyncio.new_event_loop
    gc.disable()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)
