"""Each call that a small history makes of a port goes wrong once, in each of its four ways.

Random histories find what needs two faults; this finds what needs one, and forgets no place.
"""

from __future__ import annotations

import pytest

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import Rejected
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.deploy import deploy
from arco_flow.engine.run_bridge import request_run
from arco_flow.engine.views import RunSpec
from arco_flow.simulation.checks import check_history
from arco_flow.simulation.faults import FaultPlan
from arco_flow.simulation.history import read_history
from arco_flow.simulation.kernel import nap
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.violation import Violation
from arco_flow.simulation.watch import Watch
from arco_flow.simulation.workers import Worker, survive
from arco_flow.simulation.workload import Deploying
from arco_flow.simulation.world import MINUTES, SCOPE, SECONDS, Shape, World

WAYS = {
    "refused": (FaultPlan(refused=1), "before"),
    "lost": (FaultPlan(lost=1), "after"),
    "crashed before": (FaultPlan(crashed=1), "before"),
    "crashed after": (FaultPlan(crashed=1), "after"),
}
"""The weather in which every call would go wrong in this way, and the moment of the call at which
it does; only one of them may."""
READS = (
    "store.now_ms",
    "store.load",
    "store.load_many",
    "store.inbox",
    "store.rows",
    "store.document",
    "store.overdue",
    "store.segments",
    "objects.get",
)
WRITES = (
    "store.post",
    "store.commit",
    "store.acquire_lease",
    "tasks.enqueue",
    "tasks.enqueue_many",
    "objects.put_if_absent",
    "objects.put_if_generation",
)
SHAPES = {"several": Shape(instances=3), "embedded": Shape(embedded=True)}
# Whether a read fails before or after it was made makes no difference to anybody.
CASES = [("several", site, way) for site in READS for way in ("refused", "crashed before")]
CASES += [("several", site, way) for site in WRITES for way in WAYS]
# What differs in a plane that owns its workers is that they end with it.
CASES += [("embedded", site, "crashed before") for site in (*READS, "store.list_heads")]
CASES += [("embedded", site, "crashed after") for site in WRITES]


class SmallHistory:
    """Two runs of one chain, one after the other, and one that is cancelled.

    only: id of the one fault that may strike.
    """

    def __init__(self, shape: Shape, plan: FaultPlan, only: str) -> None:
        self.world = World(
            0,
            plan=plan,
            shape=shape,
            behaviour=survive(_work),
            only=frozenset({only}),
        )
        self.violations: list[Violation] = []
        self.watch = Watch(self.violations.append)
        self.world.store.observers.append(self.watch)
        self.world.objects.observers.append(self.watch)

    def tell(self) -> bool:
        """Whether the fault struck; the history is checked in any case."""
        world = self.world
        world.begin(world.sweep_forever(20 * SECONDS), "sweeper")
        world.begin(self._call(), "callers")
        world.kernel.run(world.now_ms + 90 * SECONDS)
        world.calm()
        self._settle()
        self.violations += check_history(world, self.watch.commits)
        assert not self.violations, self.violations[0]
        assert not world.fleet.unexpected
        history = read_history(world, self.watch.commits)
        states = sorted(history.run(run).state for run in history.of_kind("run"))
        assert states == ["CANCELLED", "SUCCEEDED", "SUCCEEDED"]
        world.kernel.close()
        return bool(world.struck.ids)

    def _settle(self) -> None:
        kernel, end_ms = self.world.kernel, self.world.now_ms + 60 * MINUTES
        while left := self.world.unfinished():
            assert self.world.now_ms < end_ms, left
            kernel.run(self.world.now_ms + 10 * SECONDS)
        # A worker may report long after its run is over.
        kernel.run(self.world.now_ms + 2 * MINUTES)

    async def _call(self) -> None:
        world = self.world
        manifest = manifest_of({"a": [], "b": ["a"]}, retry={"maxRetries": 2, "delayMs": 1000})
        raw = manifest_bytes(manifest)
        await world.insist(
            "deploy",
            SCOPE,
            Deploying(manifest, "first"),
            lambda e: deploy(
                e, SCOPE, raw, location={}, actor="me", request_id="first", replaces=0
            ),
        )
        for key in ("first", "second", "third"):
            spec = RunSpec(selection="*", run_key=key)
            run = await world.insist(
                "request", SCOPE, spec, lambda e, spec=spec: request_run(e, SCOPE, spec, actor="me")
            )
            await nap((3 if key == "third" else 25) * SECONDS)
        try:
            await world.insist(
                "cancel",
                SCOPE,
                run.run_id,
                lambda e: cancel_run(e, SCOPE, run.run_id, reason="enough", actor="user:me"),
            )
        except Rejected:
            return


async def _work(world: World, envelope: DispatchEnvelope) -> None:
    """The second task fails at its first attempt; the rest succeed after a sign of life."""
    worker = Worker(world, envelope)
    await worker.started()
    await worker.work(2 * SECONDS)
    await worker.heartbeat()
    await worker.work(2 * SECONDS)
    if envelope.task_key == "t.b" and envelope.attempt == 1:
        await worker.completed("FAILED")
    else:
        await worker.succeed()


@pytest.mark.parametrize(("shape", "site", "way"), CASES)
def test_one_fault_anywhere_changes_no_outcome(shape, site, way):
    plan, moment = WAYS[way]
    nth, struck = 0, True
    while struck:
        nth += 1
        try:
            struck = SmallHistory(SHAPES[shape], plan, f"{site}/{moment}#{nth}").tell()
        except BaseException as error:
            error.add_note(f"call {nth} of {site} {way}")
            raise
    assert nth > 1, f"{site} is never called"


def test_the_small_history_comes_by_every_port_that_the_engine_uses():
    history, called = SmallHistory(SHAPES["several"], FaultPlan(), "none"), set()
    world, before = history.world, history.world.faults.before

    def noted(site: str) -> None:
        if world.kernel.current is not None:
            called.add(site)
        before(site)

    world.faults.before = noted
    history.tell()
    assert called == {*READS, *WRITES}
