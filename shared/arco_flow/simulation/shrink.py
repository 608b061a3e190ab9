"""From a history that fails to the least that fails: fewer faults, fewer operations, less time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from arco_flow.simulation.scenario import Scenario
from arco_flow.simulation.simulate import Outcome, simulate
from arco_flow.simulation.workload import draw_workload

T = TypeVar("T")
MAX_RUNS = 400
"""Histories told for one shrinking; what is not found by then stays in."""


class Shrinker:
    """Tells a scenario again and again with less in it, as long as one invariant is violated."""

    def __init__(self, invariant: str, *, max_runs: int = MAX_RUNS) -> None:
        self.runs = 0
        self._invariant = invariant
        self._max_runs = max_runs

    def shrink(self, outcome: Outcome) -> Scenario:
        """The least scenario found that violates the invariant as this outcome did."""
        smallest = replace(outcome.scenario, only=frozenset(outcome.struck))
        if not self._fails(smallest):
            return outcome.scenario
        smallest = self._with_fewer_faults(smallest, outcome.struck)
        smallest = self._with_fewer_operations(smallest)
        return self._with_fewer_faults(smallest, sorted(smallest.only or ()))

    def _with_fewer_faults(self, scenario: Scenario, struck: Sequence[str]) -> Scenario:
        kept = least(
            list(dict.fromkeys(struck)),
            lambda ids: self._fails(replace(scenario, only=frozenset(ids))),
        )
        return replace(scenario, only=frozenset(kept))

    def _with_fewer_operations(self, scenario: Scenario) -> Scenario:
        drawn = draw_workload(scenario.seed, scenario.load).operations
        numbers = [o.number for o in drawn if o.number not in scenario.dropped]
        everything = frozenset(numbers) | scenario.dropped

        def without(kept: Sequence[int]) -> Scenario:
            return replace(scenario, dropped=everything - frozenset(kept))

        return without(least(numbers, lambda kept: self._fails(without(kept))))

    def _fails(self, scenario: Scenario) -> bool:
        if self.runs >= self._max_runs:
            return False
        self.runs += 1
        found = simulate(scenario).violations
        return any(violation.invariant == self._invariant for violation in found)


def least(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A subsequence that fails and of which no single item can be left out (ddmin, Zeller 1999).

    `items` is known to fail. Raises nothing; asks `fails` at most quadratically often.
    """
    kept, parts = list(items), 2
    if fails([]):
        return []
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(kept))
    return kept
