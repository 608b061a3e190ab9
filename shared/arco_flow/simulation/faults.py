"""What goes wrong, drawn per seed: each kind may be on or off, so that no history has it all.

Every fault that strikes has an id, `place/moment#count`. A history told again with only some of
those ids is how a failure is shrunk to the few that it needs.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from arco_flow.adapters.memory.faults import Faults, SimulatedCrash
from arco_flow.domain.errors import OutcomeUnknown, Unavailable
from arco_flow.simulation.chance import Dice, stream
from arco_flow.simulation.kernel import Kernel, nap, turn

SECONDS = 1000
RATES = (0.002, 0.01, 0.03, 0.08)
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
    duplicated, late, early, dropped: of deliveries. net_refused, net_lost, net_twice: of requests
    between processes. freezes, kills: times (ms from the start) at which a process stands still
    for a span, or ends. skews_ms: how far the clocks of processes are off.
    """

    refused: float = 0
    lost: float = 0
    crashed: float = 0
    slow: float = 0
    slow_ms: int = 0
    yields: int = 0
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
    """The weather of a seed: each kind is on with 3 chances in 5, at a rate of its own."""
    chance = stream(seed, "weather")

    def rate() -> float:
        return chance.choice(RATES) if chance.random() < 0.6 else 0

    return FaultPlan(
        refused=rate(),
        lost=rate(),
        crashed=min(rate(), 0.03),
        slow=rate(),
        slow_ms=chance.choice((50, 500, 5 * SECONDS)),
        yields=chance.choice((0, 1, 3)),
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
        skews_ms=chance.choice(((0,), (0,), (0, 3 * SECONDS, -3 * SECONDS), (60 * SECONDS, 0))),
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
        if not self.active or self._kernel.current is None:
            return
        plan = self.plan
        place = f"{site}/pace"
        if plan.slow or plan.yields:
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
