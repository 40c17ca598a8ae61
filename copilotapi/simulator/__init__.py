"""A stand-in for GitHub and Copilot on one local port: the double of the tests, the upstream of the demo, and a thing
to test other clients against. It imports nothing but the standard library. How to drive it: docs/simulator.md."""

from copilotapi.simulator.faults import Fault, FaultError
from copilotapi.simulator.recorder import Recorded
from copilotapi.simulator.scenarios import SCENARIOS, Scenario, Settings
from copilotapi.simulator.server import Simulator

__all__ = ["SCENARIOS", "Fault", "FaultError", "Recorded", "Scenario", "Settings", "Simulator"]
