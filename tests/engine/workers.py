"""Workers of the simulator that work in a world driven by asyncio."""

from __future__ import annotations

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import Rejected
from arco_flow.simulation import workers
from arco_flow.simulation.workers import WorkerGoneError
from engine.world import SECONDS, Behaviour, World


class Worker(workers.Worker):
    """One worker with one envelope."""

    world: World

    async def work(self, ms: int) -> None:
        """Work for a while. Raises WorkerGoneError when the platform stopped the attempt."""
        await self.world.sleep(ms)
        if self.envelope.attempt_id in self.world.stopped:
            raise WorkerGoneError("stopped by force")


async def good(world: World, envelope: DispatchEnvelope) -> None:
    """Claim, work with heartbeats, stage, report; give up when told that the run is cancelled."""
    worker = Worker(world, envelope)
    await worker.work(world.chance.randrange(500))
    answer = await worker.started()
    for _ in range(world.chance.randrange(4)):
        await worker.work(world.chance.randrange(3 * SECONDS))
        answer = await worker.heartbeat()
        if answer.should_cancel:
            await worker.completed("CANCELLED")
            return
    await worker.work(world.chance.randrange(2 * SECONDS))
    await worker.succeed()


async def silent(world: World, envelope: DispatchEnvelope) -> None:
    """Claim, perhaps give one sign of life, and never be heard of again."""
    worker = Worker(world, envelope)
    await worker.started()
    if world.chance.random() < 0.5:
        await worker.work(2 * SECONDS)
        await worker.heartbeat()


def survive(behaviour: Behaviour) -> Behaviour:
    """The end of a worker is no error of the test."""

    async def attend(world: World, envelope: DispatchEnvelope) -> None:
        try:
            await behaviour(world, envelope)
        except (WorkerGoneError, Rejected):
            return

    return attend
