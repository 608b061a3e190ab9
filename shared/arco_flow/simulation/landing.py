"""Writes that take effect at another time than their callers think: later, twice, or too late.

What a service does with a request is not over when its client gives up. A write that was refused by
a broken connection may land after the next attempt has landed; it is refused then only by its own
preconditions. The stores of the simulation do that; what a client would repeat is below the ports.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from arco_flow.adapters.memory.objects import AsyncMemoryObjects, MemoryObjects
from arco_flow.adapters.memory.store import MemoryStore
from arco_flow.domain.errors import ArcoError, Contended, OutcomeUnknown, Unavailable
from arco_flow.ports.store import Commit, Head, Lease, Posted
from arco_flow.simulation.faults import SimulatedFaults
from arco_flow.simulation.kernel import Kernel, nap

T = TypeVar("T")
Write = Callable[[], Coroutine[Any, Any, T]]

PATIENCE_MS: Final = 30_000
"""How long a write waits at the most until it comes too late."""
_LOOK_MS: Final = 200
_GIVEN_UP: Final = 0.3
"""Share of the writes too soon after another one whose client gives up."""


class Landings:
    """What of the weather happens to writes."""

    def __init__(self, kernel: Kernel, faults: SimulatedFaults) -> None:
        self._kernel = kernel
        self._faults = faults

    async def applied(self, place: str, write: Write[T], again: Write[Any] | None = None) -> T:
        """The answer of a write. again: how it lands later, by its own preconditions.

        Raises OutcomeUnknown when it is to land later, and what the write raises.
        """
        faults, plan = self._faults, self._faults.plan
        share = faults.chosen(place, "landed", plan.landed)
        if share is not None:
            self._later(share, again or write)
            raise OutcomeUnknown(f"no answer from {place}, where it may land yet")
        answer = await write()
        share = faults.chosen(place, "echoed", plan.echoed)
        if share is not None:
            self._later(share, again or write)
        return answer

    async def overtaken(self, place: str, is_late: Callable[[], bool], share: float = 1) -> None:
        """Wait until a write has been overtaken, where the weather has it so.

        share: of the weather's rate. Such a coincidence is rare, and each guard is for one.
        """
        if self._faults.chosen(place, "overtaken", share * self._faults.plan.overtaken) is None:
            return
        for _ in range(PATIENCE_MS // _LOOK_MS):
            if is_late():
                return
            await nap(_LOOK_MS)

    def _later(self, share: float, write: Write[Any]) -> None:
        ms = 1 + int(share * self._faults.plan.landed_ms)
        self._kernel.start(self._land(ms, write), self._kernel.platform, "landing")

    async def _land(self, ms: int, write: Write[Any]) -> None:
        await nap(ms)
        try:
            self._faults.spared(write())
        except ArcoError as refusal:
            text = f"a write comes too late: {refusal.message}"
            self._kernel.trace.tell(self._kernel.clock.now_ms(), text)


class LateStore(MemoryStore):
    """The model of the store, with the landings of a store that is far away."""

    def __init__(self, kernel: Kernel, faults: SimulatedFaults) -> None:
        super().__init__(kernel.clock, faults)
        self._weather = faults
        self._landings = Landings(kernel, faults)
        self._fenced = 0

    async def post(
        self, entity: str, event_id: str, body: bytes, *, replace: bool = False
    ) -> Posted:
        """See Store. One that lands later creates again what was consumed, and replaces what is
        newer."""

        async def write() -> Posted:
            return await MemoryStore.post(self, entity, event_id, body, replace=replace)

        return await self._landings.applied("store.post", write)

    async def commit(self, commit: Commit) -> Head:
        """See Store."""
        if commit.fence is not None:
            self._fenced += 1
            try:
                await self._landings.overtaken(
                    "a fenced commit", lambda: self._is_fenced(commit), 10
                )
            finally:
                self._fenced -= 1
        else:
            await self._landings.overtaken("store.commit", lambda: self._is_stale(commit), 0.1)
        if self._weather.chosen("store.commit", "locked", self._weather.plan.locked) is not None:
            raise Contended(f"'{commit.head.entity}' is being written by others")
        return await self._landings.applied(
            "store.commit", lambda: MemoryStore.commit(self, commit)
        )

    async def acquire_lease(self, name: str, holder: str, ttl_ms: int) -> Lease | None:
        """See Store. One that lands later is refused if the lease has changed since."""
        known, asked_ms = self._leases.get(name), self._now_ms()

        async def write() -> Lease | None:
            return await MemoryStore.acquire_lease(self, name, holder, ttl_ms)

        async def again() -> None:
            left_ms = ttl_ms - (self._now_ms() - asked_ms)
            if self._leases.get(name) is known and left_ms > 0:
                await MemoryStore.acquire_lease(self, name, holder, left_ms)

        lease = await self._landings.applied("store.acquire_lease", write, again)
        if lease is not None and known is not None and lease.token != known.token and self._fenced:
            # Whoever waits to be overtaken goes on before the new holder has written anything.
            await nap(2 * _LOOK_MS)
        return lease

    def _is_fenced(self, commit: Commit) -> bool:
        lease = self._leases.get(commit.fence[0]) if commit.fence else None
        return lease is None or commit.fence is None or lease.token != commit.fence[1]

    def _is_stale(self, commit: Commit) -> bool:
        head, items = self._heads.get(commit.head.entity), self._inbox.get(commit.head.entity, {})
        return (head.version if head else 0) != commit.expected_version or any(
            item is not items.get(item.event_id) for item in commit.consumed
        )


class LateObjects(AsyncMemoryObjects):
    """The model of the objects, with landings, and with a limit on writes to one object."""

    def __init__(self, objects: MemoryObjects, kernel: Kernel, faults: SimulatedFaults) -> None:
        super().__init__(objects)
        self._kernel = kernel
        self._weather = faults
        self._landings = Landings(kernel, faults)
        self._written_ms: dict[str, int] = {}

    async def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""

        async def write() -> int | None:
            self._written_ms[key] = self._kernel.clock.now_ms()
            return await AsyncMemoryObjects.put_if_absent(self, key, data)

        return await self._landings.applied("objects.put_if_absent", write)

    async def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects. Raises Unavailable when it comes too soon after the last write."""
        place = "objects.put_if_generation"

        async def write() -> int | None:
            self._written_ms[key] = self._kernel.clock.now_ms()
            return await AsyncMemoryObjects.put_if_generation(self, key, data, generation)

        def is_late() -> bool:
            known = self._weather.spared(AsyncMemoryObjects.get(self, key))
            return known is None or known.generation != generation

        await self._landings.overtaken(place, is_late)
        await self._paced(place, key)
        return await self._landings.applied(place, write)

    async def _paced(self, place: str, key: str) -> None:
        """Wait as a client does that is told to come again, or give up as it does at last."""
        pointer_ms, now_ms = self._weather.plan.pointer_ms, self._kernel.clock.now_ms()
        too_soon_ms = self._written_ms.get(key, 0) + pointer_ms - now_ms
        if not pointer_ms or too_soon_ms <= 0:
            return
        share = self._weather.chosen(place, "throttled", 1)
        if share is not None and share < _GIVEN_UP:
            raise Unavailable(f"too many writes to '{key}'")
        if share is not None:
            await nap(too_soon_ms)
