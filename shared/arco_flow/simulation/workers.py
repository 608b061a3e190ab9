"""Workers of all kinds: good ones, failing, silent, late, double-reporting, racing, forging.

They speak to the plane as real ones do: by its callback, with the token of their envelope, again
and again until there is an answer; their outputs are staged and committed by a marker.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from arco_flow.domain.envelope import CallbackResponse, DispatchEnvelope
from arco_flow.domain.errors import Rejected, Unavailable
from arco_flow.domain.ids import Scope, version_prefix
from arco_flow.engine.worker_callback import record_callback
from arco_flow.simulation.world import SECONDS, Behaviour, World

PATIENCE_MS = (100, 200, 400, 800, 2_000, 5_000, 10_000, 20_000)
"""Pauses between the tries of one report; after the last one the worker gives up."""


class WorkerGoneError(Exception):
    """The worker ends here: it was stopped, or the plane did not answer."""


class Worker:
    """One worker with one envelope."""

    def __init__(self, world: World, envelope: DispatchEnvelope, name: str = "") -> None:
        self.world = world
        self.envelope = envelope
        self.name = name or world.name_worker()
        self.scope = Scope(envelope.tenant_id, envelope.workspace_id)

    async def work(self, ms: int) -> None:
        """Work for a while. Raises WorkerGoneError when the platform stopped the attempt."""
        await self.world.sleep(ms)
        if self.envelope.attempt_id in self.world.stopped:
            raise WorkerGoneError("stopped by force")

    async def started(self) -> CallbackResponse:
        """Claim the attempt."""
        return await self.tell("started")

    async def heartbeat(self) -> CallbackResponse:
        """Give a sign of life."""
        return await self.tell("heartbeat", progressPct=50)

    async def completed(self, outcome: str = "SUCCEEDED", **more: Any) -> CallbackResponse:
        """Report the end."""
        if outcome == "FAILED":
            more.setdefault("error", {"category": "USER_CODE", "message": "boom"})
        return await self.tell("completed", outcome=outcome, **more)

    async def succeed(self) -> CallbackResponse:
        """Stage and commit an output, then report it."""
        return await self.completed("SUCCEEDED", output=await self.stage())

    async def stage(self) -> dict[str, Any]:
        """Write the version and its marker, create-only; answers the report about it."""
        partition = self.envelope.partition_key
        asset = self.envelope.payload["assetKey"]
        prefix = version_prefix(self.scope, asset, partition, self.envelope.attempt_id)
        # The same for every worker of the attempt: the second to write finds what it would write.
        data = msgspec.json.encode({"attempt": self.envelope.attempt_id})
        digest = hashlib.sha256(data).hexdigest()
        marker = {"attemptId": self.envelope.attempt_id, "contentHash": digest}
        await self._put(prefix + "data.json", data)
        await self._put(prefix + "_commit", msgspec.json.encode(marker))
        return {"rowCount": 1, "contentHash": digest, "outputPath": prefix}

    async def tell(self, verb: str, **fields: Any) -> CallbackResponse:
        """Report until there is an answer. Raises what refuses it, or WorkerGoneError."""
        fields = {
            "attempt": self.envelope.attempt,
            "attemptId": self.envelope.attempt_id,
            "workerId": self.name,
            **fields,
        }
        about = {"task": self.envelope.task_key, "run": self.envelope.run_id, **fields}
        raw = msgspec.json.encode(fields)
        token, task_id = self.envelope.task_token, self.envelope.task_id
        report = self.world.door.report if self.world.shape.by_http else record_callback
        for pause_ms in (*PATIENCE_MS, 0):
            try:
                return await self.world.ask(
                    verb,
                    self.scope,
                    about,
                    lambda engine: report(engine, task_id, verb, token, raw),
                )
            except Unavailable:
                if not pause_ms:
                    break
                await self.work(pause_ms)
        raise WorkerGoneError("the plane did not answer")

    async def _put(self, key: str, data: bytes) -> None:
        for pause_ms in PATIENCE_MS:
            try:
                self.world.objects.put_if_absent(key, data)
            except Unavailable:
                await self.work(pause_ms)
            else:
                return
        raise WorkerGoneError("the object store did not answer")


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


async def deaf(world: World, envelope: DispatchEnvelope) -> None:
    """Report a success whatever the plane says about the claim or a cancel."""
    worker = Worker(world, envelope)
    try:
        await worker.started()
    except Rejected:
        await worker.work(100)
    await worker.work(world.chance.randrange(10 * SECONDS))
    await worker.succeed()


async def failing(world: World, envelope: DispatchEnvelope) -> None:
    """Fail, mostly in a way that is retried."""
    worker = Worker(world, envelope)
    await worker.started()
    await worker.work(world.chance.randrange(1 * SECONDS))
    category = world.chance.choice(["USER_CODE", "USER_CODE", "INFRASTRUCTURE", "DATA_QUALITY"])
    await worker.completed("FAILED", error={"category": category, "message": "boom"})


async def silent(world: World, envelope: DispatchEnvelope) -> None:
    """Claim, perhaps give one sign of life, and never be heard of again."""
    worker = Worker(world, envelope)
    await worker.started()
    if world.chance.random() < 0.5:
        await worker.work(2 * SECONDS)
        await worker.heartbeat()


async def dead(_world: World, _envelope: DispatchEnvelope) -> None:
    """Take the envelope and die."""


async def late(world: World, envelope: DispatchEnvelope) -> None:
    """Start late, and report after everybody has given the attempt up."""
    worker = Worker(world, envelope)
    await worker.work(world.chance.randrange(40 * SECONDS))
    await worker.started()
    await worker.work(world.chance.randrange(60 * SECONDS))
    await worker.succeed()


async def long(world: World, envelope: DispatchEnvelope) -> None:
    """Work for minutes with regular signs of life, as most of a day's tasks do."""
    worker = Worker(world, envelope)
    answer = await worker.started()
    for _ in range(world.chance.randrange(10, 60)):
        await worker.work(3 * SECONDS)
        answer = await worker.heartbeat()
        if answer.should_cancel:
            await worker.completed("CANCELLED")
            return
    await worker.succeed()


async def overtaking(world: World, envelope: DispatchEnvelope) -> None:
    """Report the end, and only then the start."""
    worker = Worker(world, envelope)
    await worker.succeed()
    await worker.started()


async def double(world: World, envelope: DispatchEnvelope) -> None:
    """Report the end twice, the second time perhaps another one."""
    worker = Worker(world, envelope)
    await worker.started()
    if world.chance.random() < 0.5:
        await worker.work(world.chance.randrange(2 * SECONDS))
    output = await worker.stage()
    await worker.completed("SUCCEEDED", output=output)
    if world.chance.random() < 0.5:
        await worker.work(world.chance.randrange(2 * SECONDS))
    if world.chance.random() < 0.5:
        await worker.completed("SUCCEEDED", output=output)
    else:
        await worker.completed("FAILED")


async def racing(world: World, envelope: DispatchEnvelope) -> None:
    """Two workers got the same envelope; the loser may go on as if it had not lost."""
    world.start_worker(survive(good)(world, envelope))
    rival = world.chance.choice([good, deaf, deaf, failing, overtaking])
    await rival(world, envelope)


def survive(behaviour: Behaviour) -> Behaviour:
    """The end of a worker is no error of the simulation."""

    async def attend(world: World, envelope: DispatchEnvelope) -> None:
        try:
            await behaviour(world, envelope)
        except (WorkerGoneError, Rejected):
            return

    return attend


def mixture(weights: dict[Behaviour, float]) -> Behaviour:
    """One of these behaviours per delivery; in calm weather all workers are good."""
    kinds, shares = list(weights), list(weights.values())

    async def attend(world: World, envelope: DispatchEnvelope) -> None:
        calm = not world.faults.active
        chosen = good if calm else world.chance.choices(kinds, shares)[0]
        await survive(chosen)(world, envelope)

    return attend
