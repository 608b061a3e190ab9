"""The entities' machines: how each kind is unpacked, decided and packed again.

The engine's loop is the same for all of them; a new kind is one more row of the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import msgspec

from arco_flow.domain import asset as catalog
from arco_flow.domain import dynamic
from arco_flow.domain.decision import Decision
from arco_flow.domain.deployment import Deployment, decide_deployment, decode_deployment
from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.domain.events import Event, TimerFired
from arco_flow.domain.ids import Entity
from arco_flow.domain.leadership import Leadership, decide_leadership, decode_leadership
from arco_flow.domain.run import Run, encode_run
from arco_flow.domain.run_decide import ORDER_VERSION, decide_run
from arco_flow.engine.context import Engine
from arco_flow.engine.objects import load_plan, load_run
from arco_flow.ports.log_context import follow_trace
from arco_flow.ports.store import Head

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Packed:
    """A state as its head holds it."""

    status: str
    state: bytes
    labels: Mapping[str, str] = field(default_factory=dict)
    timer_ms: int = 0


class Machine(ABC):
    """One kind of entity. S, the state type, differs per kind; the engine never looks inside."""

    order_version: ClassVar[int] = 1
    must_exist: ClassVar[bool] = False

    @abstractmethod
    async def load(
        self, engine: Engine, entity: Entity, head: Head | None, events: Sequence[Event]
    ) -> Any:
        """Unpack the state with all that deciding these events needs."""

    @abstractmethod
    async def decide(
        self, engine: Engine, entity: Entity, state: Any, events: Sequence[Event], now_ms: int
    ) -> Decision[Any]:
        """The pure decision, with its immutable attachments resolved."""

    @abstractmethod
    def pack(self, state: Any) -> Packed:
        """Pack a state for its head."""

    def remember(self, engine: Engine, entity: Entity, state: Any) -> None:
        """Keep a state that was just committed for the next request of this instance."""
        del engine, entity, state

    def lost_timer(self, state: Any, now_ms: int) -> TimerFired | None:
        """The firing of an armed timer that is overdue, for the sweeper."""
        del state, now_ms
        return None


class RunMachine(Machine):
    """Runs."""

    order_version = ORDER_VERSION
    must_exist = True

    async def load(
        self, engine: Engine, entity: Entity, head: Head | None, events: Sequence[Event]
    ) -> Run:
        """The run of the head."""
        del events
        if head is None:
            raise NotFound(f"no run '{entity.name}'")
        run = load_run(engine, head)
        follow_trace(run.run_id, run.traceparent)
        return run

    async def decide(
        self, engine: Engine, entity: Entity, state: Any, events: Sequence[Event], now_ms: int
    ) -> Decision[Run]:
        """`decide_run` over the run's plan."""
        run: Run = state
        plan = await load_plan(engine, entity.scope, run.plan_id)
        return decide_run(run, plan, events, now_ms)

    def pack(self, state: Any) -> Packed:
        """Packed state, run state as status, and what lists show."""
        run: Run = state
        labels = {"run_key": run.run_key, "plan": run.plan_id}
        return Packed(run.state, encode_run(run), labels, run.timer_ms)

    def remember(self, engine: Engine, entity: Entity, state: Any) -> None:
        """Save the next fold the unpacking."""
        engine.memory.runs.put(str(entity), state)

    def lost_timer(self, state: Any, now_ms: int) -> TimerFired | None:
        """The run's timer when its time is past."""
        run: Run = state
        if run.timer_ms and run.timer_ms <= now_ms:
            return TimerFired(run.timer_generation)
        return None


class AssetMachine(Machine):
    """Assets: the catalog."""

    async def load(
        self, engine: Engine, entity: Entity, head: Head | None, events: Sequence[Event]
    ) -> catalog.AssetCatalog:
        """Counters and the rows that the events touch."""
        counters = catalog.decode_counters(head.state) if head else catalog.Counters()
        keys = catalog.rows_needed(events)
        raw = await engine.store.rows(str(entity), keys) if keys else {}
        rows = {key: catalog.decode_materialization(body) for key, body in raw.items()}
        return catalog.AssetCatalog(entity.scope, entity.name, counters, rows)

    async def decide(
        self, engine: Engine, entity: Entity, state: Any, events: Sequence[Event], now_ms: int
    ) -> Decision[catalog.AssetCatalog]:
        """`decide_asset`."""
        del engine, entity
        return catalog.decide_asset(state, events, now_ms)

    def pack(self, state: Any) -> Packed:
        """Packed counters."""
        counters = state.counters
        labels = {"last_promoted_ms": str(counters.last_promoted_ms)}
        return Packed("ACTIVE", msgspec.msgpack.encode(counters), labels)


class DynamicMachine(Machine):
    """Dynamic partitions definitions."""

    async def load(
        self, engine: Engine, entity: Entity, head: Head | None, events: Sequence[Event]
    ) -> dynamic.DynamicSet:
        """Counters and the keys that the events touch."""
        counters = (
            dynamic.decode_dynamic_counters(head.state) if head else dynamic.DynamicCounters()
        )
        keys = dynamic.rows_needed(events)
        raw = await engine.store.rows(str(entity), keys) if keys else {}
        rows = {key: dynamic.decode_dynamic_key(body) for key, body in raw.items()}
        return dynamic.DynamicSet(counters, rows)

    async def decide(
        self, engine: Engine, entity: Entity, state: Any, events: Sequence[Event], now_ms: int
    ) -> Decision[dynamic.DynamicSet]:
        """`decide_dynamic`."""
        del engine, entity
        return dynamic.decide_dynamic(state, events, now_ms)

    def pack(self, state: Any) -> Packed:
        """Packed counters."""
        return Packed("ACTIVE", msgspec.msgpack.encode(state.counters))


@dataclass(frozen=True, slots=True)
class HeadMachine(Machine, Generic[S]):
    """Entities whose heads hold all of their state. empty: the state before the first commit;
    labels: what lists show of a state."""

    empty: S
    read: Callable[[bytes], S]
    decision: Callable[[S, Sequence[Event], int], Decision[S]]
    labels: Callable[[S], Mapping[str, str]]

    async def load(
        self, engine: Engine, entity: Entity, head: Head | None, events: Sequence[Event]
    ) -> S:
        """The state of the head."""
        del engine, entity, events
        return self.read(head.state) if head else self.empty

    async def decide(
        self, engine: Engine, entity: Entity, state: Any, events: Sequence[Event], now_ms: int
    ) -> Decision[S]:
        """The decision over the state alone."""
        del engine, entity
        return self.decision(state, events, now_ms)

    def pack(self, state: Any) -> Packed:
        """The packed state."""
        return Packed("ACTIVE", msgspec.msgpack.encode(state), self.labels(state))


_MACHINES: dict[str, Machine] = {
    "run": RunMachine(),
    "asset": AssetMachine(),
    "deployment": HeadMachine(
        Deployment(),
        decode_deployment,
        decide_deployment,
        lambda deployment: {"manifest": deployment.manifest_id},
    ),
    "dynamic": DynamicMachine(),
    "leadership": HeadMachine(
        Leadership(),
        decode_leadership,
        decide_leadership,
        lambda leadership: {"holder": leadership.holder},
    ),
}


def machine_of(entity: Entity) -> Machine:
    """The machine of an entity's kind. Raises InvalidInput for a kind that this code has not."""
    machine = _MACHINES.get(entity.kind)
    if machine is None:
        raise InvalidInput(
            f"'{entity.kind}' is no kind of entity", fix=f"known: {', '.join(_MACHINES)}"
        )
    return machine
