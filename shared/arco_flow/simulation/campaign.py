"""Many histories: seed after seed for a time, on several processors."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from multiprocessing import get_context

from arco_flow.simulation.scenario import Load, Scenario
from arco_flow.simulation.simulate import Outcome, simulate
from arco_flow.simulation.violation import Violation

_SLICE = 10


@dataclass(slots=True)
class Tally:
    """What a number of histories came to. seconds: of wall time. failed: seed and violation."""

    seeds: int = 0
    events: int = 0
    commits: int = 0
    simulated_ms: int = 0
    seconds: float = 0
    sometimes: Counter[str] = field(default_factory=Counter)
    failed: list[tuple[int, Violation]] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Count one history."""
        self.seeds += 1
        self.events += outcome.events
        self.commits += outcome.commits
        self.simulated_ms += outcome.simulated_ms
        self.sometimes.update(outcome.sometimes)
        self.failed += [(outcome.scenario.seed, found) for found in outcome.violations]

    def merge(self, other: Tally) -> None:
        """Count what another process has counted."""
        self.seeds += other.seeds
        self.events += other.events
        self.commits += other.commits
        self.simulated_ms += other.simulated_ms
        self.sometimes.update(other.sometimes)
        self.failed += other.failed


def tell_seeds(first: int, number: int, load: Load) -> Tally:
    """The histories of `number` seeds, one after the other."""
    tally = Tally()
    for seed in range(first, first + number):
        tally.add(simulate(Scenario(seed, load)))
    return tally


def run_campaign(
    first: int,
    *,
    load: Load,
    number: int | None = None,
    seconds: float | None = None,
    jobs: int = 1,
) -> Tally:
    """Histories from seed `first` on, at least one, until so many are told or so long was worked.

    Raises nothing of a history: what is violated is in the tally.
    """
    started, total = time.perf_counter(), Tally()

    def goes_on() -> bool:
        return seconds is None or time.perf_counter() - started < seconds

    slices = _slices(first, number, goes_on)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(tell_seeds, *part, load) for part in islice(slices, 2 * jobs)]
        while waiting:
            total.merge(waiting.pop(0).result())
            waiting += [pool.submit(tell_seeds, *part, load) for part in islice(slices, 1)]
        total.seconds = time.perf_counter() - started
    return total


def _slices(
    first: int, number: int | None, goes_on: Callable[[], bool]
) -> Iterator[tuple[int, int]]:
    for start in count(0, _SLICE):
        left = _SLICE if number is None else min(_SLICE, number - start)
        if left <= 0 or (start and not goes_on()):
            return
        yield first + start, left
