"""The processes of the plane: several at once, each with its own memory, clock and end."""

from __future__ import annotations

import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.domain.errors import ArcoError, OutcomeUnknown, Unavailable
from arco_flow.engine.context import Engine
from arco_flow.simulation.faults import SimulatedFaults
from arco_flow.simulation.kernel import Host, Job, Kernel, ended, nap

T = TypeVar("T")
Request = Callable[[Engine], Coroutine[Any, Any, T]]


@dataclass(frozen=True, slots=True)
class SkewedClock:
    """The clock of a process that is ahead of the true time, or behind it."""

    true: VirtualClock
    skew_ms: int

    def now_ms(self) -> int:
        """The true time and what it is off by."""
        return self.true.now_ms() + self.skew_ms

    def new_id(self) -> str:
        """As of the true clock: ids are unique, not ordered."""
        return self.true.new_id()


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """One process of the plane. ready: what it does before it serves, None when nothing."""

    host: Host
    engine: Engine
    ready: Job[None] | None = None


class Fleet:
    """Serves requests by processes of chance, and replaces those that die.

    build: makes the engine of a fresh process that remembers nothing. prepare: what a fresh
    process does before it serves, by its engine and its name; None when it serves at once.
    """

    def __init__(
        self,
        kernel: Kernel,
        faults: SimulatedFaults,
        chance: random.Random,
        build: Callable[[int], Engine],
        *,
        size: int,
        prepare: Callable[[Engine, str], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.deaths = 0
        self.unexpected: list[BaseException] = []
        self.on_death: Callable[[Instance], None] = lambda _instance: None
        self._kernel = kernel
        self._faults = faults
        self._chance = chance
        self._build = build
        self._prepare = prepare
        self._births = 0
        self.instances = [self._born() for _ in range(size)]
        kernel.on_crash = self._replace

    async def serve(self, name: str, work: Request[T]) -> T:
        """One request to one of the processes, over a network that may lose it or its answer.

        Raises what the work raises; Unavailable when it did not arrive; OutcomeUnknown when the
        answer did not, or the process died with it.
        """
        faults, plan = self._faults, self._faults.plan
        if faults.chosen("net", "refused", plan.net_refused) is not None:
            raise Unavailable(f"{name} did not arrive")
        if faults.chosen("net", "twice", plan.net_twice) is not None:
            instance = self._chance.choice(self.instances)
            self._kernel.start(self._watched(work, instance.engine), instance.host, name)
        share = faults.chosen("net", "landed", plan.landed)
        if share is not None:
            late_ms = 1 + int(share * plan.landed_ms)
            self._kernel.start(self._land(late_ms, name, work), self._kernel.platform, "landing")
            raise OutcomeUnknown(f"{name} may arrive yet")
        instance = self._chance.choice(self.instances)
        if instance.ready is not None:
            await ended(instance.ready)
        result = await self._kernel.call(self._watched(work, instance.engine), instance.host, name)
        if faults.chosen("net", "lost", plan.net_lost) is not None:
            raise OutcomeUnknown(f"the answer to {name} was lost")
        return result

    async def _land(self, ms: int, name: str, work: Request[Any]) -> None:
        """Let a request arrive that its sender has given up; nobody hears the answer."""
        await nap(ms)
        instance = self._chance.choice(self.instances)
        self._kernel.start(self._watched(work, instance.engine), instance.host, name)

    def name_of(self, engine: Engine) -> str:
        """The name of the process that an engine is of, as long as it lives."""
        return next(i.host.name for i in self.instances if i.engine is engine)

    def fresh_engine(self) -> Engine:
        """An engine that remembers nothing, of a process that serves nobody."""
        self._births += 1
        return self._build(self._births)

    def kill_one(self) -> None:
        """End a process of chance, with all that it was doing."""
        instance = self._chance.choice(self.instances)
        self._kernel.kill(instance.host)
        self._replace(instance.host)

    def freeze_one(self, ms: int) -> None:
        """Let a process of chance stand still; what it waits for goes on without it."""
        host = self._chance.choice(self.instances).host
        host.frozen_until_ms = max(host.frozen_until_ms, self._kernel.clock.now_ms() + ms)
        self._kernel.trace.say(self._kernel.clock.now_ms(), f"fault: {host.name} frozen {ms} ms")

    def _born(self) -> Instance:
        self._births += 1
        host, engine = Host(f"process-{self._births}"), self._build(self._births)
        if self._prepare is None:
            return Instance(host, engine)
        prepared = self._kernel.start(self._prepare(engine, host.name), host, "start")
        return Instance(host, engine, prepared)

    def _replace(self, host: Host) -> None:
        for index, instance in enumerate(self.instances):
            if instance.host is host:
                self.deaths += 1
                self.instances[index] = self._born()
                text = f"fault: {host.name} died; {self.instances[index].host.name} takes over"
                self._kernel.trace.say(self._kernel.clock.now_ms(), text)
                self.on_death(instance)
                return

    async def _watched(self, work: Request[T], engine: Engine) -> T:
        """An error that is none of ours is a bug, whoever catches it further up."""
        try:
            return await work(engine)
        except ArcoError:
            raise
        except Exception as error:
            self.unexpected.append(error)
            raise
