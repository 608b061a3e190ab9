"""A deterministic simulation of the whole plane: the production code under a virtual clock.

    outcome = simulate(Scenario(seed=7))
    outcome.violations    # what was promised and not kept; empty when all is well

One process holds several processes of the plane, their store, queue and objects, workers of all
kinds and callers of all kinds; everything that can go wrong does, drawn from the seed. The same
scenario is the same history in every process. docs/testing.md tells how to read one.
"""

from arco_flow.simulation.goals import GOALS, unreached
from arco_flow.simulation.scenario import Finding, Load, Scenario, decode_finding, encode_finding
from arco_flow.simulation.shrink import Shrinker
from arco_flow.simulation.simulate import Outcome, simulate
from arco_flow.simulation.violation import Violation

__all__ = [
    "Scenario",
    "Load",
    "simulate",
    "Outcome",
    "Violation",
    "Shrinker",
    "Finding",
    "encode_finding",
    "decode_finding",
    "GOALS",
    "unreached",
]
