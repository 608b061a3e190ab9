"""One history from its seed: chaos, calm, settle, check."""

from __future__ import annotations

import traceback
from collections import Counter
from dataclasses import dataclass, field

from arco_flow.domain.decision import Segment
from arco_flow.domain.errors import ArcoError
from arco_flow.simulation.checks import check_history
from arco_flow.simulation.faults import FaultPlan, draw_plan
from arco_flow.simulation.kernel import nap
from arco_flow.simulation.narration import tell_commit
from arco_flow.simulation.scenario import Scenario
from arco_flow.simulation.violation import Violation
from arco_flow.simulation.watch import Watch
from arco_flow.simulation.workload import EPILOGUE_MS, Workload, begin_workload, draw_workload
from arco_flow.simulation.world import MINUTES, SECONDS, World

SETTLE_MS = 12 * 60 * MINUTES
"""Within this much calm, everything that was begun has an end: promise of liveness. The longest
wait of the workloads is a missing acknowledgement of a dispatch."""
QUIET_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a history.

    events: steps of jobs and calls of ports. sometimes: what was reached, counted. struck: ids of
    the faults that struck, in order. lines: the timeline, when it was asked for.
    """

    scenario: Scenario
    violations: tuple[Violation, ...]
    trace_hash: str
    events: int
    commits: int
    simulated_ms: int
    struck: tuple[str, ...]
    sometimes: Counter[str] = field(default_factory=Counter)
    lines: tuple[tuple[int, str], ...] = ()


def simulate(scenario: Scenario, *, keep_lines: bool = False) -> Outcome:
    """Tell the history of a scenario and check it. The same scenario gives the same outcome."""
    workload = draw_workload(scenario.seed, scenario.load)
    plan = draw_plan(scenario.seed, workload.chaos_ms)
    return Simulation(scenario, workload, plan, keep_lines=keep_lines).tell()


class Simulation:
    """One history on its way."""

    def __init__(
        self, scenario: Scenario, workload: Workload, plan: FaultPlan, *, keep_lines: bool
    ) -> None:
        self.violations: list[Violation] = []
        self._calm_ms = 0
        self.scenario = scenario
        self.workload = workload
        self.world = World(
            scenario.seed,
            plan=plan,
            shape=workload.shape,
            behaviour=workload.behaviour,
            only=scenario.only,
            keep_lines=keep_lines,
        )
        self._start_ms = self.world.now_ms
        self.watch = Watch(self._on_violation, self._on_commit if keep_lines else None)
        self.world.store.observers.append(self.watch)
        self.world.objects.observers.append(self.watch)

    def tell(self) -> Outcome:
        """All phases; the checks of the end only when nothing was violated before it."""
        world, start_ms = self.world, self._start_ms
        self._begin()
        until_ms = self.scenario.until_ms
        self._run(start_ms + (self.workload.chaos_ms if until_ms is None else until_ms))
        world.calm()
        self._calm_ms = world.now_ms
        self._expect_wakes()
        self._settle()
        if not self.violations:
            self.violations += check_history(world, self.watch.commits)
        world.kernel.close()
        return Outcome(
            scenario=self.scenario,
            violations=tuple(self.violations),
            trace_hash=world.trace.digest(),
            events=world.trace.events,
            commits=len(self.watch.commits),
            simulated_ms=world.now_ms - start_ms,
            struck=tuple(world.struck.ids),
            sometimes=self._sometimes(),
            lines=tuple(world.trace.lines or ()),
        )

    def _begin(self) -> None:
        world, plan = self.world, self.world.faults.plan
        world.begin(world.sweep_forever(world.shape.sweep_ms), "sweeper")
        for number, (at_ms, span_ms) in enumerate(plan.freezes):
            world.begin(self._freeze(number, at_ms, span_ms), "freeze")
        for number, at_ms in enumerate(plan.kills):
            world.begin(self._kill(number, at_ms), "kill")
        begin_workload(world, self.workload, self.scenario.dropped)

    async def _freeze(self, number: int, at_ms: int, span_ms: int) -> None:
        await nap(at_ms)
        if self.world.faults.active and self.world.struck.strikes(
            f"process/freeze#{number}", "process", "freeze"
        ):
            self.world.fleet.freeze_one(span_ms)

    async def _kill(self, number: int, at_ms: int) -> None:
        await nap(at_ms)
        if self.world.faults.active and self.world.struck.strikes(
            f"process/kill#{number}", "process", "kill"
        ):
            self.world.fleet.kill_one()

    def _expect_wakes(self) -> None:
        """Once what was frozen or late has had its time; if clocks differ by what is allowed."""
        settings, skews_ms = self.world.shape.settings, self.world.faults.plan.skews_ms
        spread_ms = max(skews_ms) - min(skews_ms)
        if spread_ms <= settings.skew_ms:
            # Where calls take time a fold may lose a race, and then waits for the next bucket.
            buckets = 3 if self.world.faults.plan.pace_ms else 1
            soon_ms = buckets * (settings.wake_ms + settings.skew_ms) + spread_ms + SECONDS
            self.watch.expect_wakes(self.world.now_ms + 2 * MINUTES, soon_ms)

    def _expect_sweeps(self) -> None:
        """A sweep that found anything open is followed by the one that it has asked for, if clocks
        differ by less than half of what lies between the two."""
        world, width_ms = self.world, self.world.shape.settings.sweep_again_ms
        skews_ms, since_ms = world.faults.plan.skews_ms, world.swept_ms
        spread_ms = max(skews_ms) - min(skews_ms)
        is_late = world.now_ms > since_ms + 2 * width_ms + spread_ms
        is_calm = since_ms > self._calm_ms + EPILOGUE_MS
        is_asked = world.swept_while_open and 2 * spread_ms < width_ms
        if is_calm and is_late and is_asked and world.unfinished():
            text = f"none since {since_ms}, now {world.now_ms}"
            self._on_violation(Violation("a_sweep_asks_for_the_next_one", text))

    def _settle(self) -> None:
        """Calm weather until nothing is left to do: a worker may report long after its run."""
        world, end_ms, quiet = self.world, self.world.now_ms + SETTLE_MS, 0
        last_ms = self._start_ms + self.workload.until_ms
        left = world.unfinished()
        while (left or quiet < QUIET_ROUNDS) and not self.violations:
            if left and world.now_ms >= end_ms:
                text = f"not finished after {SETTLE_MS} ms of calm:\n" + "\n".join(left)
                self._on_violation(Violation("everything_ends", text))
            self._run(world.now_ms + (10 * SECONDS if left else MINUTES))
            left = world.unfinished()
            self._expect_sweeps()
            quiet = 0 if left or world.now_ms <= last_ms else quiet + 1

    def _run(self, until_ms: int) -> None:
        """Let happen what happens. What a process did not expect is a violation, also when its
        caller did not expect it either; any other error is one of the simulation."""
        unexpected = self.world.fleet.unexpected
        try:
            self.world.kernel.run(until_ms)
        except Exception:
            if not unexpected:
                raise
        if unexpected:
            text = "".join(traceback.format_exception(unexpected[0]))
            self._on_violation(Violation("no_internal_error", text))
            unexpected.clear()

    def _on_commit(self, entity: str, segment: Segment) -> None:
        self.world.trace.tell(self.world.now_ms, tell_commit(entity, segment))

    def _on_violation(self, violation: Violation) -> None:
        self.violations.append(violation)
        self.world.trace.say(self.world.now_ms, f"VIOLATED: {violation.invariant}")
        self.world.kernel.stopped = True

    def _sometimes(self) -> Counter[str]:
        found = Counter(self.watch.sometimes)
        found["a sweep was asked for by the one before it"] += self.world.chained_sweeps
        for (place, kind), times in self.world.struck.kinds.items():
            found[f"fault: {kind} {place}"] += times
        for answer in self.world.answers:
            if isinstance(answer.result, ArcoError):
                found[f"refused: {answer.result.reason}"] += 1
        return found
