"""What callers do to a plane in a random history: deploy, request, cancel, change partitions."""

from __future__ import annotations

import random

from arco_flow.domain.errors import Rejected
from arco_flow.domain.ids import Scope
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.context import Settings
from arco_flow.engine.deploy import deploy
from arco_flow.engine.partitions import change_dynamic
from arco_flow.engine.run_bridge import request_run
from arco_flow.engine.views import RunAccepted, RunSpec
from engine import workers
from engine.shapes import random_manifest
from engine.world import RIVAL, SCOPE, SECONDS, RandomFaults, World

ME = "user:me"
CHAOS_MS = 60 * SECONDS
RATES = (0, 0.002, 0.01, 0.03)


class Timings:
    """When a queue delivers: late, early, twice or never, by chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._odd = chance.choice([0, 0.05, 0.2])

    def __call__(self, queue: str, name: str, at_ms: int) -> list[int]:
        dice = self._chance.random() / (self._odd or 1e-9)
        if dice > 1:
            return [at_ms]
        if dice < 0.4:
            return [at_ms, at_ms + self._chance.randrange(30 * SECONDS)]
        if dice < 0.6:
            return [at_ms + self._chance.randrange(60 * SECONDS)]
        if dice < 0.8:
            return [at_ms - self._chance.randrange(5 * SECONDS)]
        return []


def stormy_world(seed: int) -> World:
    """A world whose faults, workers, processes and settings are drawn from a seed."""
    chance = random.Random(f"world {seed}")
    faults = RandomFaults(
        random.Random(f"faults {seed}"),
        refused=chance.choice(RATES),
        lost=chance.choice(RATES),
        crashed=chance.choice(RATES),
        yields=chance.choice([0, 1, 3]),
    )
    kinds = {
        workers.good: 8.0,
        workers.deaf: chance.choice([0, 1]),
        workers.failing: chance.choice([0, 1, 4]),
        workers.silent: chance.choice([0, 1, 4]),
        workers.dead: chance.choice([0, 0.5]),
        workers.late: chance.choice([0, 1, 4]),
        workers.overtaking: chance.choice([0, 1]),
        workers.double: chance.choice([0, 2]),
        workers.racing: chance.choice([0, 2]),
    }
    settings = Settings(
        callback_base_url="http://plane.test",
        max_in_flight=chance.choice([1, 2, 200]),
        cancel_grace_ms=chance.choice([1_000, 10_000]),
        quiet_ms=chance.choice([0, 1000, 60_000]),
        wake_ms=chance.choice([100, 1000, 5000]),
    )
    return World(
        seed,
        instances=chance.choice([1, 2, 4]),
        faults=faults,
        behaviour=workers.mixture(kinds),
        settings=settings,
        timing=Timings(random.Random(f"queue {seed}")),
        skews_ms=chance.choice([(0,), (0, 3 * SECONDS, -3 * SECONDS)]),
        drains=chance.choice([1, 3]),
        grain_ms=chance.choice([1, 100, 1000]),
    )


async def tell_history(world: World) -> None:
    """Let callers do what they do for a minute, then let the plane come to rest."""
    world.spawn(world.sweep_forever(20 * SECONDS))
    for scope, callers in ((SCOPE, 3), (RIVAL, 1)):
        world.spawn(_deploy(world, scope, 0))
        for number in range(callers):
            world.spawn(_caller(world, scope, number))
        world.spawn(_deploy(world, scope, world.chance.randrange(CHAOS_MS)))
        world.spawn(_register(world, scope))
    await world.run_for(CHAOS_MS)
    await world.settle()
    await world.close()


async def _deploy(world: World, scope: Scope, after_ms: int) -> None:
    await world.sleep(after_ms)
    manifest = random_manifest(world.chance, f"v{world.chance.randrange(3)}")
    raw = manifest_bytes(manifest)
    await world.insist(
        "deploy", scope, manifest, lambda e: deploy(e, scope, raw, location={}, actor=ME)
    )


async def _register(world: World, scope: Scope) -> None:
    """Add and delete keys of the dynamic partitions, after somebody has deployed."""
    for number in range(3):
        await world.sleep(world.chance.randrange(20 * SECONDS))
        added = (f"r{number}", f"s{world.chance.randrange(3)}")
        try:
            await world.insist(
                "dynamic",
                scope,
                ("regions", added),
                lambda e, added=added: change_dynamic(e, scope, "regions", added, (), actor=ME),
            )
        except Rejected:
            continue


async def _caller(world: World, scope: Scope, number: int) -> None:
    """Ask for runs, some under a key that others use too, and cancel some."""
    chance = world.chance
    for _ in range(2):
        await world.sleep(chance.randrange(CHAOS_MS // 2))
        spec = _spec(chance, f"own-{number}-{chance.randrange(10**9)}")
        for _ in range(chance.choice([1, 1, 2])):
            world.spawn(_request(world, scope, spec, chance.random() < 0.2))


def _spec(chance: random.Random, own_key: str) -> RunSpec:
    selection = chance.choice(["*", "*", "t.a+", "t.b", "t.local", "t.a or t.local"])
    return RunSpec(
        selection=selection,
        all_partitions=chance.random() < 0.8,
        missing_only=chance.random() < 0.1,
        run_key=chance.choice(["shared-1", "shared-2", own_key, own_key, own_key]),
        timeout_ms=chance.choice([0, 0, 0, 20 * SECONDS]),
    )


async def _request(world: World, scope: Scope, spec: RunSpec, cancel: bool) -> None:
    try:
        accepted: RunAccepted = await world.insist(
            "request", scope, spec, lambda e: request_run(e, scope, spec, actor=ME)
        )
        if cancel:
            await world.sleep(world.chance.randrange(10 * SECONDS))
            run_id = accepted.run_id
            await world.insist(
                "cancel",
                scope,
                run_id,
                lambda e: cancel_run(e, scope, run_id, reason="enough", actor=ME),
            )
    except Rejected:
        return
