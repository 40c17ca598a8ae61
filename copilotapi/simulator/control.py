"""The simulator's own endpoints under /_simulator/: what was asked of it, faults, scenarios. Not part of any record."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from copilotapi.simulator.answers import JSON, Answer, json_answer
from copilotapi.simulator.faults import FaultError, fault_from
from copilotapi.simulator.scenarios import SCENARIOS, scenario_named
from copilotapi.simulator.wire import Request
from copilotapi.simulator.world import World, parsed

PREFIX = "/_simulator/"


def control(world: World, request: Request) -> Answer:
    """404 for an unknown path, 405 for a wrong method, 400 that says what is wrong with a fault or scenario."""
    methods = _ACTS.get(request.path.removeprefix(PREFIX))
    if methods is None:
        return _problem(404, f"no such control; there are {', '.join(PREFIX + name for name in _ACTS)}")
    act = methods.get(request.method)
    if act is None:
        return json_answer({"error": "wrong method"}, 405, allow=", ".join(methods))
    try:
        return json_answer(act(world, request))
    except ValueError as exc:
        return _problem(400, str(exc))


def _requests(world: World, request: Request) -> JSON:
    endpoint = re.fullmatch(r"endpoint=(\w+)", request.query)
    recorder = world.recorder
    recorded = recorder.to(endpoint[1]) if endpoint else list(recorder.requests)
    return {"requests": [one.as_json() for one in recorded]}


def _counts(world: World, request: Request) -> JSON:
    return dict(world.recorder.counts())


def _waiting_faults(world: World, request: Request) -> JSON:
    return {"faults": [fault.as_json() for fault in world.faults.waiting()]}


def _push_faults(world: World, request: Request) -> JSON:
    wire = parsed(request.body)
    wanted = wire if isinstance(wire, list) else [wire]
    faults = [fault_from(one) for one in wanted]
    for fault in faults:
        world.faults.push(fault)
    return {"faults": [fault.as_json() for fault in faults]}


def _clear_faults(world: World, request: Request) -> JSON:
    world.faults.clear()
    return {"faults": []}


def _expire(world: World, request: Request) -> JSON:
    world.account.expire_copilot_tokens()
    return {"expired": True}


def _reset(world: World, request: Request) -> JSON:
    wire: Any = parsed(request.body) if request.body else {}
    if not isinstance(wire, dict) or set(wire) - {"scenario"}:
        raise FaultError('send nothing, or {"scenario": name}')
    world.start_over(scenario_named(str(wire.get("scenario", world.scenario.name))).name)
    return {"scenario": world.scenario.name}


def _scenarios(world: World, request: Request) -> JSON:
    listed = {name: scenario.description for name, scenario in SCENARIOS.items()}
    return {"scenario": world.scenario.name, "scenarios": listed}


def _problem(status: int, message: str) -> Answer:
    return json_answer({"error": message}, status)


_ACTS: Mapping[str, Mapping[str, Callable[[World, Request], JSON]]] = {
    "requests": {"GET": _requests},
    "counts": {"GET": _counts},
    "faults": {"GET": _waiting_faults, "POST": _push_faults, "DELETE": _clear_faults},
    "expire": {"POST": _expire},
    "reset": {"POST": _reset},
    "scenarios": {"GET": _scenarios},
}
