"""Everything the endpoints share: the account, the waiting faults, the record of requests; and one call to it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from copilotapi.simulator.account import Account
from copilotapi.simulator.answers import Refused, refuse, refuse_text
from copilotapi.simulator.devices import DeviceCodes
from copilotapi.simulator.directives import PromptCounts, faults_in
from copilotapi.simulator.faults import Fault, FaultError, FaultQueue
from copilotapi.simulator.recorder import Recorder
from copilotapi.simulator.refusals import refusal
from copilotapi.simulator.scenarios import Scenario, Settings, scenario_named
from copilotapi.simulator.wire import Request


class World:
    """`settings` are those of the scenario laid over those given. Raises ValueError for an unknown scenario."""

    def __init__(self, settings: Settings, scenario: str) -> None:
        self._given = settings
        self.scenario: Scenario = scenario_named(scenario)
        self.settings = self._scenario_settings()
        self.account = Account(self.settings)
        self.devices = DeviceCodes(self.settings)
        self.faults = FaultQueue(self.scenario.faults)
        self.recorder = Recorder()
        self.prompts = PromptCounts()

    def start_over(self, scenario: str | None = None) -> None:
        """As at the start, in another scenario when one is named; only issued Copilot tokens stay valid. Raises ValueError."""
        self.scenario = scenario_named(self.scenario.name if scenario is None else scenario)
        self.settings = self._scenario_settings()
        self.account.start_over(self.settings)
        self.devices.start_over(self.settings)
        self.faults.replace(self.scenario.faults)
        self.recorder.clear()
        self.prompts.clear()

    def _scenario_settings(self) -> Settings:
        return replace(self._given, **self.scenario.changes)


@dataclass(slots=True)
class Call:
    """One request under way. `parts` are the named pieces of its path; directives in its prompt add to `faults`.

    `body` is None when it is not JSON.
    """

    request: Request
    endpoint: str
    parts: dict[str, str]
    base_url: str
    world: World
    body: Any
    faults: list[Fault] = field(default_factory=list)

    def header(self, name: str) -> str:
        return self.request.headers.get(name, "")

    @property
    def model(self) -> str | None:
        return model_in(self.body)

    def meet(self, faults: Sequence[Fault]) -> None:
        """Takes faults upon this call. Raises Refused when one of them is the answer."""
        self.faults.extend(faults)
        for fault in faults:
            if fault.kind == "expire":
                self.world.account.expire_copilot_tokens()
                raise refuse_text(401, "unauthorized: token expired")
            if fault.kind == "status":
                raise Refused(refusal(fault, self.endpoint))

    def obey(self, prompt: str) -> None:
        """Takes the directives in a prompt upon this call. Raises Refused, for a directive that makes no sense too."""
        try:
            faults = faults_in(prompt)
        except FaultError as exc:
            raise refuse(400, str(exc), "simulator_directive") from exc
        mine = [fault for fault in faults if fault.model in (None, self.model)]
        self.meet(self.world.prompts.due(prompt, mine))


def model_in(body: Any) -> str | None:
    model = body.get("model") if isinstance(body, dict) else None
    return model if isinstance(model, str) else None


def _not_json(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def parsed(body: bytes) -> Any:
    """The body as JSON; None when it is not."""
    try:
        return json.loads(body, parse_constant=_not_json)
    except (ValueError, RecursionError):
        return None
