"""A whole plane under a virtual clock, driven step by step: for tests that say what happens when.

Everything that happens is a coroutine. What waits for a time waits in the agenda; the clock moves
only when nothing else can happen. Histories of chance are told by `arco_flow.simulation` instead,
whose watch and checks look at these worlds too.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from arco_flow.adapters.delivery import Delivery
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import Faults
from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.adapters.memory.tasks import MemoryTasks, Timing, punctual
from arco_flow.domain.effects import StopAttempt
from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.errors import Contended, Rejected, Unavailable
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
from arco_flow.simulation.checks import CHECKS
from arco_flow.simulation.faults import immediate
from arco_flow.simulation.fleet import SkewedClock
from arco_flow.simulation.history import History, read_history
from arco_flow.simulation.violation import ViolatedError, Violation
from arco_flow.simulation.watch import Watch
from arco_flow.simulation.world import (
    MINUTES,
    RIVAL,
    SCOPE,
    SECONDS,
    Answer,
    Sent,
    Shape,
    unfinished,
)

__all__ = ["MINUTES", "RIVAL", "SCOPE", "SECONDS", "Instance", "Turns", "World", "check"]

RETRY = {"maxRetries": 2, "delayMs": 1000}

T = TypeVar("T")
Behaviour = Callable[["World", DispatchEnvelope], Awaitable[None]]


class Turns(Faults):
    """No fault, but within every call others get their turn, up to so many times."""

    def __init__(self, seed: int, yields: int = 2) -> None:
        self._chance = random.Random(seed)
        self._yields = yields

    async def pause(self, site: str) -> None:
        for _ in range(self._chance.randrange(self._yields + 1)):
            await asyncio.sleep(0)


class Writes:
    """Observer of an object store: (key, bytes) of every write, in order."""

    def __init__(self) -> None:
        self.made: list[tuple[str, bytes]] = []

    def written(self, key: str, data: bytes, generation: int) -> None:
        self.made.append((key, data))

    def deleted(self, key: str) -> None:
        """A test that takes something away does so on purpose."""


@dataclass(frozen=True, eq=False, slots=True)
class Instance:
    """One process of the plane."""

    name: str
    engine: Engine


class World:
    """The plane, its queue, its workers and its callers.

    behaviour: what a worker does with an envelope; it runs beside everything else. Whatever is
    committed is watched: a violation is raised at the end of `run` and of `settle`.
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
        skews_ms: tuple[int, ...] = (0,),
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = VirtualClock()
        self.faults = faults or Faults()
        self.store = MemoryStore(self.clock, self.faults)
        self.objects = MemoryObjects(self.faults)
        self.tasks = MemoryTasks(self.clock, faults=self.faults, timing=timing)
        self.settings = settings or Settings(callback_base_url="http://plane.test")
        self.shape = Shape(settings=self.settings)
        self.behaviour = behaviour
        self.answers: list[Answer] = []
        self.sent: list[Sent] = []
        self.stopped: set[str] = set()
        self.envelopes: list[DispatchEnvelope] = []
        self.failures: list[BaseException] = []
        self.violations: list[Violation] = []
        self.writes = Writes()
        self.watch = Watch(self.violations.append)
        self.store.observers.append(self.watch)
        self.objects.observers.append(self.writes)
        self._births = 0
        self._skews_ms = skews_ms
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

    @property
    def fleet(self) -> World:
        """Where `read_history` finds a fresh engine."""
        return self

    def fresh_engine(self) -> Engine:
        """An engine that remembers nothing, as of a process that was just started."""
        return self._born().engine

    async def on_instance(self, work: Callable[[Engine], Awaitable[T]]) -> T:
        """Serve one request in one of the processes. Raises what the work raises."""
        return await work(self.chance.choice(self.instances).engine)

    def name_worker(self) -> str:
        """A name for a worker."""
        return f"w{self.chance.randrange(10**6)}"

    def _born(self) -> Instance:
        self._births += 1
        engine = Engine(
            store=self.store,
            tasks=self.tasks,
            objects=AsyncMemoryObjects(self.objects),
            clock=SkewedClock(self.clock, self._skews_ms[self._births % len(self._skews_ms)]),
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
            settings=self.settings,
        )
        return Instance(f"process-{self._births}", engine)

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
        head = self.peek(self.store.load(entity))
        version = head.version if head else 0
        self.sent.append(Sent(entity, envelope.task_key, envelope.attempt, version))
        if self.behaviour is not None:
            self.spawn(self.behaviour(self, envelope))

    async def _on_stop(self, body: bytes, _delivery: Delivery) -> None:
        self.stopped.add(msgspec.json.decode(body, type=StopAttempt).attempt_id)

    def peek(self, look: Coroutine[Any, Any, T]) -> T:
        """A port's answer without faults and without a turn for others."""
        with self._calm_ports():
            return immediate(look)

    @contextmanager
    def _calm_ports(self) -> Iterator[None]:
        before = self.store.faults
        self.store.faults = self.objects.faults = Faults()
        try:
            yield
        finally:
            self.store.faults = self.objects.faults = before

    # -- time ---------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.clock.now_ms()

    async def sleep(self, ms: int) -> None:
        """Wait in virtual time; for jobs that were spawned."""
        wakened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        entry = (self.now_ms + ms, self.chance.random(), self._order, wakened)
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
                self.spawn(self._drain())
        self.clock.advance(max(until_ms - self.now_ms, 0))
        assert not self.violations, self.violations[0]

    async def run_for(self, ms: int) -> None:
        """`run` for a span of time."""
        await self.run(until_ms=self.now_ms + ms)

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
        asked_ms = self.now_ms
        try:
            result = await self.on_instance(work)
        except Rejected as refusal:
            self.answers.append(Answer(asked_ms, self.now_ms, verb, scope, about, refusal))
            raise
        self.answers.append(Answer(asked_ms, self.now_ms, verb, scope, about, result))
        return result

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

    # -- how it ends --------------------------------------------------------------------------

    async def settle(self, limit_ms: int = 6 * 60 * MINUTES) -> None:
        """Let all deliveries be punctual until nothing is left to do. Raises AssertionError when
        that never is."""
        self.tasks.timing = punctual
        self.spawn(self.sweep_forever(10 * SECONDS))
        end_ms = self.now_ms + limit_ms
        quiet = 0
        while quiet < 3:
            left = self.unfinished()
            assert self.now_ms < end_ms, f"not finished after {limit_ms} ms: {left}"
            # A worker may report long after its run is over, so that calm must last.
            quiet = 0 if left else quiet + 1
            await self.run_for(10 * SECONDS if left else MINUTES)

    def unfinished(self) -> list[str]:
        """Entities with an event that waits or a debt, and runs that are not over."""
        return unfinished(self.store, self.peek)

    def history(self) -> History:
        """All that is stored, for the checks and for tests that look at a ledger."""
        with self._calm_ports():
            return read_history(self, self.watch.commits)


def check(history: History) -> None:
    """Every check of the simulator. Raises AssertionError that names the one that fails."""
    for invariant in CHECKS:
        try:
            invariant(history)
        except ViolatedError as error:
            raise AssertionError(f"{invariant.__name__}: {error}") from None
