"""A whole plane under a virtual clock: several processes over one store, workers, and faults.

Everything that happens is a coroutine. What waits for a time waits in the agenda; the clock moves
only when nothing else can happen, so that a seed is one history, again and again.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from arco_flow.adapters.delivery import Delivery
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults, SimulatedCrash
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks, Timing, punctual
from arco_flow.domain.effects import StopAttempt
from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.errors import (
    ArcoError,
    Contended,
    OutcomeUnknown,
    Rejected,
    Unavailable,
)
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.domain.manifest import Manifest, manifest_bytes
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.deploy import deploy
from arco_flow.engine.dispatch import dispatch
from arco_flow.engine.query import get_run
from arco_flow.engine.run_bridge import request_run
from arco_flow.engine.sweeper import sweep
from arco_flow.engine.timer_ingest import ingest_timer
from arco_flow.engine.views import DeployOutcome, RunAccepted, RunSpec, RunView

SCOPE = Scope("acme", "main")
RIVAL = Scope("rival", "main")
"""Another tenant on the same plane, with the same assets and the same run keys."""

SECONDS = 1000
MINUTES = 60 * SECONDS

T = TypeVar("T")
Behaviour = Callable[["World", DispatchEnvelope], Awaitable[None]]


class RandomFaults(Faults):
    """Every call may be refused, lose its answer or be the last of its process, by chance.

    refused, lost, crashed: probabilities per call. active: switched off for the calm.
    yields: other coroutines get their turn within a call, up to so many times.
    """

    def __init__(
        self,
        chance: random.Random,
        *,
        refused: float = 0,
        lost: float = 0,
        crashed: float = 0,
        yields: int = 2,
    ) -> None:
        self.active = True
        self.seen: Counter[tuple[str, str]] = Counter()
        self._chance = chance
        self._refused, self._lost, self._crashed = refused, lost, crashed
        self._yields = yields

    def before(self, site: str) -> None:
        self._roll(site, "before", self._refused, Unavailable(f"refused at {site}"))

    def after(self, site: str) -> None:
        self._roll(site, "after", self._lost, OutcomeUnknown(f"no answer from {site}"))

    async def pause(self, site: str) -> None:
        if self.active:
            for _ in range(self._chance.randrange(self._yields + 1)):
                await asyncio.sleep(0)

    def _roll(self, site: str, moment: str, rate: float, error: ArcoError) -> None:
        if not self.active:
            return
        dice = self._chance.random()
        if dice < rate:
            self.seen[site, moment] += 1
            raise error
        if dice < rate + self._crashed:
            self.seen[site, f"crash {moment}"] += 1
            raise SimulatedCrash(f"{moment} {site}")


class RecordingObjects(MemoryObjects):
    """Objects with a log of every write: (key, bytes), in order."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(faults)
        self.writes: list[tuple[str, bytes]] = []

    def _write(self, key: str, data: bytes) -> int:
        self.writes.append((key, bytes(data)))
        return super()._write(key, data)


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """The clock of a process that is ahead of the true time, or behind it."""

    true: VirtualClock
    skew_ms: int

    def now_ms(self) -> int:
        return self.true.now_ms() + self.skew_ms

    def new_id(self) -> str:
        return self.true.new_id()


@dataclass(eq=False, slots=True)
class Instance:
    """One process of the plane: a memory of its own, and the requests that it is serving."""

    name: str
    engine: Engine
    running: dict[asyncio.Future[Any], None] = field(default_factory=dict)
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told. about: the request; result: what came back, or the refusal."""

    time_ms: int
    verb: str
    scope: Scope
    about: Any
    result: Any

    @property
    def accepted(self) -> bool:
        """Whether it was answered with 200."""
        return not isinstance(self.result, ArcoError)


@dataclass(frozen=True, slots=True)
class Sent:
    """A worker task that was delivered, and the version of its run at that moment."""

    entity: str
    task: str
    attempt: int
    version: int


class World:
    """The plane, its queue, its workers and its callers.

    behaviour: what a worker does with an envelope; it runs beside everything else.
    drains: how many deliveries of the queue run at a time. grain_ms: jobs wake at multiples of
    it, so that a coarse one makes much happen at the same moment.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        instances: int = 1,
        faults: Faults | None = None,
        behaviour: Behaviour | None = None,
        settings: Settings | None = None,
        timing: Timing = punctual,
        skews_ms: tuple[int, ...] = (),
        drains: int = 1,
        grain_ms: int = 1,
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.faults = faults or Faults()
        self.store = MemoryStore(self.clock, self.faults)
        self.objects = RecordingObjects(self.faults)
        self.tasks = MemoryTasks(self.clock, faults=self.faults, timing=timing)
        self.settings = settings or Settings(callback_base_url="http://plane.test")
        self.behaviour = behaviour
        self.drains = drains
        self.grain_ms = grain_ms
        self.answers: list[Answer] = []
        self.sent: list[Sent] = []
        self.stopped: set[str] = set()
        self.envelopes: list[DispatchEnvelope] = []
        self.failures: list[BaseException] = []
        self._births = 0
        self._skews_ms = skews_ms or (0,)
        self._agenda: list[tuple[int, float, int, asyncio.Future[None]]] = []
        self._order = 0
        self._awake = 0
        self._jobs: set[asyncio.Task[None]] = set()
        self.instances = [self._born() for _ in range(instances)]
        self._register()

    # -- processes of the plane ---------------------------------------------------------------

    @property
    def engine(self) -> Engine:
        """The engine of the first process."""
        return self.instances[0].engine

    def fresh_engine(self) -> Engine:
        """An engine that remembers nothing, as of a process that was just started."""
        return self._born().engine

    async def on_instance(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Serve one request in one of the processes.

        Raises what the work raises; OutcomeUnknown when the process died with the request in it.
        """
        instance = self.chance.choice(self.instances)
        request: asyncio.Future[T] = asyncio.ensure_future(work(instance.engine))
        instance.running[request] = None
        try:
            return await request
        except SimulatedCrash as crash:
            self._bury(instance)
            raise OutcomeUnknown(f"{instance.name} died: {crash}") from None
        except asyncio.CancelledError:
            if not instance.dead:
                raise
            raise OutcomeUnknown(f"{instance.name} died with this request") from None
        finally:
            del instance.running[request]

    def _born(self) -> Instance:
        self._births += 1
        skew = self._skews_ms[self._births % len(self._skews_ms)]
        engine = Engine(
            store=self.store,
            tasks=self.tasks,
            objects=AsyncMemoryObjects(self.objects),
            clock=SkewedClock(self.clock, skew),
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
            settings=self.settings,
        )
        return Instance(f"process-{self._births}", engine)

    def _bury(self, instance: Instance) -> None:
        """End a process with all that it was doing, and start another one in its place."""
        if instance.dead:
            return
        instance.dead = True
        for request in list(instance.running):
            request.cancel()
        self.instances[self.instances.index(instance)] = self._born()

    # -- routes of the queue ------------------------------------------------------------------

    def _register(self) -> None:
        self.tasks.register("dispatch", self._on_wake)
        self.tasks.register("timer_ingest", self._on_timer)
        self.tasks.register("worker", self._on_dispatch)
        self.tasks.register("stop_attempt", self._on_stop)

    async def _on_wake(self, body: bytes, _delivery: Delivery) -> None:
        await self.on_instance(lambda engine: dispatch(engine, body.decode()))

    async def _on_timer(self, body: bytes, _delivery: Delivery) -> None:
        timer = msgspec.json.decode(body)
        await self.on_instance(lambda e: ingest_timer(e, timer["entity"], timer["generation"]))

    async def _on_dispatch(self, body: bytes, _delivery: Delivery) -> None:
        envelope = parse_envelope(body)
        self.envelopes.append(envelope)
        entity = str(run_entity(Scope(envelope.tenant_id, envelope.workspace_id), envelope.run_id))
        head = await self.peek(self.store.load, entity)
        version = head.version if head else 0
        self.sent.append(Sent(entity, envelope.task_key, envelope.attempt, version))
        if self.behaviour is not None:
            self.spawn(self.behaviour(self, envelope))

    async def _on_stop(self, body: bytes, _delivery: Delivery) -> None:
        self.stopped.add(msgspec.json.decode(body, type=StopAttempt).attempt_id)

    async def peek(self, call: Callable[..., Awaitable[T]], *arguments: Any, **more: Any) -> T:
        """A port's answer without faults and without a turn for others."""
        unguarded: Any = getattr(call, "__wrapped__", call)
        if unguarded is not call:
            return await unguarded(getattr(call, "__self__", None), *arguments, **more)
        return await call(*arguments, **more)

    # -- time ---------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def sleep(self, ms: int) -> None:
        """Wait in virtual time; for jobs that were spawned."""
        wakened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        at_ms = -(-(self.now_ms + ms) // self.grain_ms) * self.grain_ms
        entry = (at_ms, self.chance.random(), self._order, wakened)
        heapq.heappush(self._agenda, entry)
        self._awake -= 1
        await wakened

    def spawn(self, work: Coroutine[Any, Any, None] | Awaitable[None]) -> None:
        """Let something happen beside everything else."""
        self._awake += 1
        job = asyncio.ensure_future(self._guarded(work))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._awake -= 1

    async def run(self, *, until_ms: int) -> None:
        """Let happen what happens up to a time. Raises what a job failed with."""
        while True:
            await self._until_all_wait()
            queue_ms = self.tasks.next_ms()
            due = [ms for ms in (queue_ms, self._agenda_ms()) if ms is not None]
            if not due or min(due) > until_ms:
                break
            self.clock.advance(max(min(due) - self.now_ms, 0))
            while self._agenda and self._agenda[0][0] <= self.now_ms:
                self._awake += 1
                heapq.heappop(self._agenda)[3].set_result(None)
            if queue_ms is not None and queue_ms <= self.now_ms:
                for _ in range(self.drains):
                    self.spawn(self._drain())
        self.clock.advance(max(until_ms - self.now_ms, 0))

    async def run_for(self, ms: int) -> None:
        """`run` for a span of time."""
        await self.run(until_ms=self.now_ms + ms)

    async def close(self) -> None:
        """End every job that still waits."""
        for job in list(self._jobs):
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)

    def _agenda_ms(self) -> int | None:
        return self._agenda[0][0] if self._agenda else None

    async def _until_all_wait(self) -> None:
        while self._awake:
            await asyncio.sleep(0)
        if self.failures:
            raise self.failures[0]

    async def _drain(self) -> None:
        await self.tasks.run_due()

    # -- what callers do ----------------------------------------------------------------------

    async def ask(
        self, verb: str, scope: Scope, about: Any, work: Callable[[Engine], Awaitable[T]]
    ) -> T:
        """One request, remembered with its answer when there was one."""
        try:
            result = await self.on_instance(work)
        except Rejected as refusal:
            self.answers.append(Answer(self.now_ms, verb, scope, about, refusal))
            raise
        self.answers.append(Answer(self.now_ms, verb, scope, about, result))
        return result

    async def insist(
        self, verb: str, scope: Scope, about: Any, work: Callable[[Engine], Awaitable[T]]
    ) -> T:
        """`ask` again until there is an answer, as a client with patience does."""
        pause = 100
        while True:
            try:
                return await self.ask(verb, scope, about, work)
            except (Unavailable, Contended):
                await self.sleep(pause)
                pause = min(pause * 2, 10 * SECONDS)

    async def deploy(
        self, manifest: Manifest, scope: Scope = SCOPE, *, dry_run: bool = False
    ) -> DeployOutcome:
        """Deploy now."""
        raw = manifest_bytes(manifest)
        return await deploy(self.engine, scope, raw, location={}, actor="user:me", dry_run=dry_run)

    async def request(self, selection: str = "*", scope: Scope = SCOPE, **spec: Any) -> RunAccepted:
        """Request a run now."""
        wanted = RunSpec(selection=selection, **spec)
        return await request_run(self.engine, scope, wanted, actor="user:me")

    async def view(self, run_id: str, scope: Scope = SCOPE) -> RunView:
        """A run as it stands."""
        return await get_run(self.fresh_engine(), scope, run_id)

    async def sweep(self) -> int | None:
        """One sweep now, by a process that was started for it."""
        instance = self._born()
        return await sweep(instance.engine, instance.name)

    async def sweep_forever(self, period_ms: int = MINUTES) -> None:
        """The sweeper of the plane, a job for `spawn`."""
        while True:
            await self.sleep(period_ms)
            try:
                await self.on_instance(lambda engine: sweep(engine, f"sweeper-{self._births}"))
            except (Unavailable, Contended):
                continue

    # -- what the plane still has to do -------------------------------------------------------

    async def unfinished(self) -> list[str]:
        """Entities with an event that waits or a debt, and runs that are not over."""
        names = await self.peek(self.store.overdue, 1 << 60, 100_000)
        found = []
        for name in names:
            head = await self.peek(self.store.load, name)
            items = await self.peek(self.store.inbox, name, 1000)
            if items or head is None or head.owed or head.timer_ms:
                found.append(f"{name}: {[item.event_id for item in items]} {head}")
        return found

    async def settle(self, limit_ms: int = 6 * 60 * MINUTES) -> None:
        """Calm weather until nothing is left to do. Raises AssertionError when that never is."""
        if isinstance(self.faults, RandomFaults):
            self.faults.active = False
        self.tasks.timing = punctual
        self.spawn(self.sweep_forever(10 * SECONDS))
        end_ms = self.now_ms + limit_ms
        quiet = 0
        while quiet < 3:
            left = await self.unfinished()
            assert self.now_ms < end_ms, f"not finished after {limit_ms} ms: {left}"
            # A worker may report long after its run is over, so that calm must last.
            quiet = 0 if left else quiet + 1
            await self.run_for(10 * SECONDS if left else MINUTES)
