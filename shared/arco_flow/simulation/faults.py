"""What goes wrong, drawn per seed: each kind may be on or off, so that no history has it all.

Every fault that strikes has an id, `place/moment#count`. A history told again with only some of
those ids is how a failure is shrunk to the few that it needs.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from arco_flow.adapters.memory.faults import Faults, SimulatedCrash
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.simulation.chance import Dice, stream
from arco_flow.simulation.kernel import Kernel, nap, turn

T = TypeVar("T")
SECONDS = 1000
RATES = (0.002, 0.01, 0.03, 0.08)
SLOW_RATES = (0, 0.01, 0.08, 0.3)
LANDING_RATES = (0, 0, 0.03, 0.15)
ECHO_RATES = OVERTAKING_RATES = (0, 0, 0.1, 0.5)
_BEFORE, _AFTER = 0, 1


@dataclass(frozen=True, slots=True)
class Storm:
    """A span in which every call of one port fails in one way: refused, or its answer lost."""

    from_ms: int
    until_ms: int
    port: str
    moment: str


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """The weather of one history. Rates are chances per call, per delivery, or per request.

    refused: not applied. lost: applied, the answer is lost. crashed: the process ends before or
    after. slow: the call takes up to `slow_ms`. yields: turns that others get within a call.
    pace_ms: each call takes half of it, also in calm weather, which has no other races.
    landed: a write is applied, or a request arrives, up to `landed_ms` after its caller was told
    that nobody knows.
    echoed: one that was answered arrives once more, so much later. locked: a commit is refused
    though nobody else has written. overtaken: a write over an object waits until it comes too
    late; one under a lease ten times as often, any other commit a tenth as often.
    pointer_ms: an object that is overwritten sooner than so long after its last write is refused
    for a while. duplicated, late, early, dropped: of deliveries. net_refused, net_lost, net_twice:
    of requests between processes. freezes, kills: times (ms from the start) at which a process
    stands still for a span, or ends. skews_ms: how far the clocks of processes are off.
    """

    refused: float = 0
    lost: float = 0
    crashed: float = 0
    slow: float = 0
    slow_ms: int = 0
    yields: int = 0
    pace_ms: int = 0
    landed: float = 0
    echoed: float = 0
    landed_ms: int = 0
    locked: float = 0
    overtaken: float = 0
    pointer_ms: int = 0
    duplicated: float = 0
    late: float = 0
    early: float = 0
    dropped: float = 0
    net_refused: float = 0
    net_lost: float = 0
    net_twice: float = 0
    storms: tuple[Storm, ...] = ()
    freezes: tuple[tuple[int, int], ...] = ()
    kills: tuple[int, ...] = ()
    skews_ms: tuple[int, ...] = (0,)


def draw_plan(seed: int, chaos_ms: int) -> FaultPlan:
    """The weather of a seed: each kind is on with a chance of its own, at a rate of its own."""
    chance = stream(seed, "weather")

    def rate(share: float = 0.6) -> float:
        return chance.choice(RATES) if chance.random() < share else 0

    return FaultPlan(
        refused=rate(),
        lost=rate(),
        crashed=min(rate(), 0.03),
        slow=chance.choice(SLOW_RATES),
        slow_ms=chance.choice((50, 500, 5 * SECONDS, 12 * SECONDS)),
        yields=chance.choice((0, 1, 3)),
        pace_ms=chance.choice((0, 0, 0, 30)),
        landed=chance.choice(LANDING_RATES),
        echoed=chance.choice(ECHO_RATES),
        landed_ms=chance.choice((500, 5 * SECONDS, 8 * SECONDS, 30 * SECONDS)),
        locked=rate(0.4),
        overtaken=chance.choice(OVERTAKING_RATES),
        pointer_ms=chance.choice((0, SECONDS)),
        duplicated=3 * rate(),
        late=3 * rate(),
        early=3 * rate(),
        dropped=rate(),
        net_refused=rate(),
        net_lost=rate(),
        net_twice=rate(),
        storms=_draw_storms(chance, chaos_ms),
        freezes=tuple(
            (chance.randrange(chaos_ms), chance.randrange(5 * SECONDS, 90 * SECONDS))
            for _ in range(chance.choice((0, 0, 1, 3)))
        ),
        kills=tuple(chance.randrange(chaos_ms) for _ in range(chance.choice((0, 0, 1, 3)))),
        skews_ms=chance.choice(_SKEWS),
    )


_SKEWS: Final = (
    (0,),
    (0,),
    (0, 40, -40),
    (0, 2 * SECONDS, -2 * SECONDS),
    (0, 3 * SECONDS, -3 * SECONDS),
    (60 * SECONDS, 0),
)


def _draw_storms(chance: random.Random, chaos_ms: int) -> tuple[Storm, ...]:
    storms = []
    for _ in range(chance.choice((0, 0, 1, 2))):
        start = chance.randrange(chaos_ms)
        length = chance.randrange(2 * SECONDS, 40 * SECONDS)
        port = chance.choice(("store", "store.commit", "tasks", "objects"))
        storms.append(Storm(start, start + length, port, chance.choice(("before", "after"))))
    return tuple(storms)


@dataclass(slots=True)
class Struck:
    """Which faults struck, in order, and which may strike: all, or only the ids in `only`."""

    only: frozenset[str] | None = None
    ids: list[str] = field(default_factory=list)
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def strikes(self, identity: str, place: str, kind: str) -> bool:
        """Whether a fault that chance has chosen strikes; it is noted then."""
        if self.only is not None and identity not in self.only:
            return False
        self.ids.append(identity)
        self.kinds[place, kind] += 1
        return True


class SimulatedFaults(Faults):
    """`Faults` of a plan: every port call of the world passes through here.

    active: off for the calm. Calls of the simulation itself, outside every job, are spared.
    """

    def __init__(self, kernel: Kernel, plan: FaultPlan, seed: int, struck: Struck) -> None:
        self.active = True
        self.plan = plan
        self.struck = struck
        self._is_spared = False
        self._kernel = kernel
        self._dice = Dice(seed)
        self._start_ms = kernel.clock.now_ms()

    def before(self, site: str) -> None:
        """Refuse the call, or end its process before it has an effect."""
        self._kernel.trace.site(site, _BEFORE)
        if self.active:
            plan = self.plan
            kind = self._kind(site, "before", plan.refused, plan.crashed)
            if kind == "crash":
                raise SimulatedCrash(f"before {site}")
            if kind:
                raise Unavailable(f"refused at {site}")

    def after(self, site: str) -> None:
        """Lose the answer, or end its process after the effect."""
        self._kernel.trace.site(site, _AFTER)
        if self.active:
            plan = self.plan
            kind = self._kind(site, "after", plan.lost, plan.crashed)
            if kind == "crash":
                raise SimulatedCrash(f"after {site}")
            if kind:
                raise OutcomeUnknown(f"no answer from {site}")

    async def pause(self, site: str) -> None:
        """Let others go on, or take a while."""
        if self._is_spared or self._kernel.current is None:
            return
        plan = self.plan
        if plan.pace_ms:
            await nap(int(self._dice.roll(f"{site}/time") * (plan.pace_ms + 1)))
        place = f"{site}/pace"
        if self.active and (plan.slow or plan.yields):
            roll = self._dice.roll(place)
            if roll < plan.slow:
                identity = f"{place}#{self._dice.count(place)}"
                if self.struck.strikes(identity, site, "slow"):
                    await nap(1 + int(roll / plan.slow * plan.slow_ms))
                return
            for _ in range(int(roll * 997) % (plan.yields + 1)):
                await turn()

    def chosen(self, place: str, kind: str, rate: float) -> float | None:
        """Whether a fault of this kind strikes here; then how hard, as a share in [0, 1)."""
        if not self.active or not rate:
            return None
        where = f"{place}/{kind}"
        roll = self._dice.roll(where)
        if roll >= rate:
            return None
        if not self.struck.strikes(f"{where}#{self._dice.count(where)}", place, kind):
            return None
        self._kernel.trace.say(self._kernel.clock.now_ms(), f"fault: {place} {kind}")
        return roll / rate

    def spared(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a port's call outside of time: no fault strikes it, nobody else goes on.
        Raises what it raises."""
        was_active, self.active, self._is_spared = self.active, False, True
        try:
            return immediate(work)
        finally:
            self.active, self._is_spared = was_active, False

    def _kind(self, site: str, moment: str, rate: float, crashed: float) -> str:
        """What happens at this moment of the call: "" nothing, "fail" or "crash"."""
        place = f"{site}/{moment}"
        roll = self._dice.roll(place)
        stormy = self.plan.storms and self._in_storm(site, moment)
        if stormy or roll < rate + crashed:
            crash = not stormy and roll >= rate
            identity = f"{place}#{self._dice.count(place)}"
            name = f"crash {moment}" if crash else moment
            if self._kernel.current is not None and self.struck.strikes(identity, site, name):
                self._kernel.trace.say(self._kernel.clock.now_ms(), f"fault: {name} {site}")
                return "crash" if crash else "fail"
        return ""

    def _in_storm(self, site: str, moment: str) -> bool:
        elapsed = self._kernel.clock.now_ms() - self._start_ms
        return any(
            storm.from_ms <= elapsed < storm.until_ms
            and storm.moment == moment
            and site.startswith(storm.port)
            for storm in self.plan.storms
        )


def immediate(work: Coroutine[Any, Any, T]) -> T:
    """The result of what never waits. Raises RuntimeError when it does."""
    try:
        work.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    work.close()
    raise RuntimeError("a port waits where nobody else can go on")
