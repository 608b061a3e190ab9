"""The world around the plane: its stores, its queue, its workers and its callers."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from arco_flow.adapters.delivery import Delivery, QueueSettings
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.faults import SimulatedCrash
from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.domain.effects import StopAttempt
from arco_flow.domain.envelope import DispatchEnvelope, parse_envelope
from arco_flow.domain.errors import ArcoError, Contended, Rejected, Unavailable
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.dispatch import dispatch
from arco_flow.engine.recover_runs import recover_runs
from arco_flow.engine.sweeper import sweep
from arco_flow.engine.timer_ingest import ingest_timer_task
from arco_flow.ports.store import Store
from arco_flow.simulation.chance import stream
from arco_flow.simulation.faults import FaultPlan, SimulatedFaults, Struck
from arco_flow.simulation.fleet import Fleet, Instance, Request, SkewedClock
from arco_flow.simulation.front_door import FrontDoor
from arco_flow.simulation.kernel import Host, Job, Kernel, ended, nap
from arco_flow.simulation.landing import LateObjects, LateStore
from arco_flow.simulation.narration import tell_answer
from arco_flow.simulation.trace import Trace

SCOPE = Scope("acme", "main")
RIVAL = Scope("rival", "main")
"""Another tenant on the same plane, with the same assets and the same run keys."""

SECONDS = 1000
MINUTES = 60 * SECONDS

T = TypeVar("T")
Behaviour = Callable[["World", DispatchEnvelope], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller was told. about: the request; result: what came back, the refusal, or why a
    caller has given up who asks once.

    asked_ms, time_ms: when the request that was answered was sent, and when it was answered.
    """

    asked_ms: int
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


@dataclass(frozen=True, slots=True)
class Shape:
    """How the plane of a history is built. instances: processes at once; sweep_ms: between two
    sweeps; queue: of every queue. embedded: one process that owns its workers, as on a laptop:
    they end with it, and its successor gives back what they held. by_http: workers report through
    the HTTP application, not to the use case."""

    instances: int = 1
    embedded: bool = False
    by_http: bool = False
    sweep_ms: int = 20 * SECONDS
    settings: Settings = field(default_factory=lambda: Settings("http://plane.test"))
    queue: QueueSettings = field(default_factory=QueueSettings)


class World:
    """The plane with everything around it, at virtual time.

    behaviour: what a worker does with an envelope. Nothing moves until `kernel.run` is called.
    """

    def __init__(
        self,
        seed: int,
        *,
        plan: FaultPlan,
        shape: Shape,
        behaviour: Behaviour,
        only: frozenset[str] | None = None,
        keep_lines: bool = False,
    ) -> None:
        self.clock = VirtualClock()
        self.chance = stream(seed, "world")
        self.trace = Trace(keep_lines=keep_lines)
        self.kernel = Kernel(self.clock, stream(seed, "schedule"), self.trace)
        self.struck = Struck(only)
        self.faults = SimulatedFaults(self.kernel, plan, seed, self.struck)
        self.shape = shape
        self.behaviour = behaviour
        self.store = LateStore(self.kernel, self.faults)
        self.objects = MemoryObjects(self.faults)
        self.objects_of_the_plane = LateObjects(self.objects, self.kernel, self.faults)
        self.tasks = MemoryTasks(
            self.clock, faults=self.faults, default=shape.queue, timing=self._delivery_times
        )
        self.kernel.sources.append(self.tasks)
        self.workers: list[Host] = []
        self.door = FrontDoor()
        self.fleet = Fleet(
            self.kernel,
            self.faults,
            stream(seed, "fleet"),
            self._engine,
            size=1 if shape.embedded else shape.instances,
            prepare=self._recover if shape.embedded else None,
        )
        self.fleet.on_death = self._on_death
        self.answers: list[Answer] = []
        self.sent: list[Sent] = []
        self.envelopes: list[DispatchEnvelope] = []
        self.stopped: set[str] = set()
        self.swept_ms = self.now_ms
        self.swept_while_open = False
        self.chained_sweeps = 0
        self._register()

    @property
    def now_ms(self) -> int:
        """The true time."""
        return self.clock.now_ms()

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Let something happen beside everything else, where no fault ends it."""
        self.kernel.start(work, self.kernel.platform, name)

    async def ask(self, verb: str, scope: Scope, about: Any, work: Request[T]) -> T:
        """One request, remembered with its answer when there was one."""
        asked_ms = self.now_ms
        try:
            result = await self.fleet.serve(verb, work)
        except Rejected as refusal:
            self._remember(Answer(asked_ms, self.now_ms, verb, scope, about, refusal))
            raise
        self._remember(Answer(asked_ms, self.now_ms, verb, scope, about, result))
        return result

    async def insist(self, verb: str, scope: Scope, about: Any, work: Request[T]) -> T:
        """`ask` again until there is an answer, as a client with patience does."""
        pause_ms = 100
        while True:
            try:
                return await self.ask(verb, scope, about, work)
            except (Unavailable, Contended):
                await nap(pause_ms)
                pause_ms = min(pause_ms * 2, 10 * SECONDS)

    async def try_once(self, verb: str, scope: Scope, about: Any, work: Request[T]) -> T | None:
        """`ask` without patience: None when there was no answer, which is remembered, too."""
        asked_ms = self.now_ms
        try:
            return await self.ask(verb, scope, about, work)
        except (Unavailable, Contended) as error:
            self._remember(Answer(asked_ms, self.now_ms, verb, scope, about, error))
            return None

    async def sweep_forever(self, period_ms: int) -> None:
        """What the scheduler does: call the sweeper of one process, again and again."""
        while True:
            await nap(period_ms)
            try:
                await self._sweep_once()
            except (Unavailable, Contended):
                continue

    async def _sweep_once(self) -> None:
        self.swept_ms, self.swept_while_open = self.now_ms, bool(self.unfinished())
        await self.fleet.serve("sweep", lambda engine: sweep(engine, self.fleet.name_of(engine)))

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.faults.active = False
        if not self.shape.settings.sweep_again_ms:
            self.begin(self.sweep_forever(10 * SECONDS), "sweeper of the calm")

    async def sleep(self, ms: int) -> None:
        """Wait, at virtual time."""
        await nap(ms)

    def unfinished(self) -> list[str]:
        """Entities with an event that waits or a debt, and runs that are not over."""
        return unfinished(self.store, self.peek)

    def peek(self, look: Coroutine[Any, Any, T]) -> T:
        """A port's answer outside of time: without faults, without a turn for others."""
        return self.faults.spared(look)

    def _remember(self, answer: Answer) -> None:
        self.answers.append(answer)
        if self.trace.lines is not None:
            text = tell_answer(answer.verb, answer.about, answer.result)
            self.trace.tell(self.now_ms, text)

    def _engine(self, births: int) -> Engine:
        skews = self.faults.plan.skews_ms
        return Engine(
            store=self.store,
            tasks=self.tasks,
            objects=self.objects_of_the_plane,
            clock=SkewedClock(self.clock, skews[births % len(skews)]),
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
            settings=self.shape.settings,
        )

    # -- a plane that owns its workers --------------------------------------------------------

    async def _recover(self, engine: Engine, name: str) -> None:
        try:
            for scope in (SCOPE, RIVAL):
                await recover_runs(engine, scope, f"{name}:")
        except (Unavailable, Contended) as error:
            await nap(SECONDS)
            raise SimulatedCrash(f"because it could not start: {error.message}") from error

    def _on_death(self, _instance: Instance) -> None:
        if self.shape.embedded:
            for host in self.workers:
                self.kernel.kill(host)
            self.workers.clear()

    # -- the queue ----------------------------------------------------------------------------

    def _register(self) -> None:
        self.tasks.register("dispatch", self._on_wake)
        self.tasks.register("timer_ingest", self._on_timer)
        self.tasks.register("worker", self._on_dispatch)
        self.tasks.register("stop_attempt", self._on_stop)
        self.tasks.register("sweeper", self._on_sweep)

    def _delivery_times(self, queue: str, _name: str, at_ms: int) -> list[int]:
        plan, faults, place = self.faults.plan, self.faults, f"queue {queue}"
        if (share := faults.chosen(place, "dropped", plan.dropped)) is not None:
            # Not even a durable queue is a guard: the sweeper makes up for what never comes.
            return []
        times = [at_ms]
        if (share := faults.chosen(place, "late", plan.late)) is not None:
            times = [at_ms + int(share * 3 * MINUTES)]
        elif (share := faults.chosen(place, "early", plan.early)) is not None:
            times = [at_ms - int(share * 5 * SECONDS)]
        if (share := faults.chosen(place, "duplicated", plan.duplicated)) is not None:
            times.append(times[0] + int(share * 30 * SECONDS))
        return times

    async def _on_wake(self, body: bytes, _delivery: Delivery) -> None:
        await self.fleet.serve("dispatch", lambda engine: dispatch(engine, body.decode()))

    async def _on_timer(self, body: bytes, _delivery: Delivery) -> None:
        await self.fleet.serve("timer", lambda engine: ingest_timer_task(engine, body))

    async def _on_sweep(self, _body: bytes, _delivery: Delivery) -> None:
        self.chained_sweeps += 1
        await self._sweep_once()

    async def _on_dispatch(self, body: bytes, _delivery: Delivery) -> None:
        envelope = parse_envelope(body)
        entity = str(run_entity(Scope(envelope.tenant_id, envelope.workspace_id), envelope.run_id))
        head = self.peek(self.store.load(entity))
        version = head.version if head else 0
        self.envelopes.append(envelope)
        self.sent.append(Sent(entity, envelope.task_key, envelope.attempt, version))
        text = f"delivery {envelope.task_key} attempt {envelope.attempt} reaches a worker"
        self.trace.tell(self.now_ms, text)
        await ended(self.start_worker(self.behaviour(self, envelope)))

    def start_worker(self, work: Coroutine[Any, Any, None]) -> Job[None]:
        """Let a worker begin, in a process of its own."""
        host = Host(f"worker-{len(self.workers)}")
        self.workers.append(host)
        return self.kernel.start(work, host, host.name)

    def name_worker(self) -> str:
        """A name for a worker: of the plane that owns it, where one does."""
        name = f"w{self.chance.randrange(10**6)}"
        return f"{self.fleet.instances[0].host.name}:{name}" if self.shape.embedded else name

    async def _on_stop(self, body: bytes, _delivery: Delivery) -> None:
        self.stopped.add(msgspec.json.decode(body, type=StopAttempt).attempt_id)


def unfinished(store: Store, peek: Callable[[Coroutine[Any, Any, Any]], Any]) -> list[str]:
    """Entities with an event that waits or a debt, and runs that are not over; each in words.

    peek: runs a look at the store to its end and answers its result.
    """
    found = []
    for name in peek(store.overdue(1 << 60, 100_000)):
        head = peek(store.load(name))
        items = peek(store.inbox(name, 1000))
        if items or head is None or head.owed or head.timer_ms:
            found.append(f"{name}: waits {[item.event_id for item in items]}, head {head}")
    return found
