"""What callers do to a plane in a history: a list of operations, drawn before it begins.

A list, so that a failure can be told again without the operations that it does not need.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import msgspec

from arco_flow.domain.deployment import Deployment
from arco_flow.domain.errors import Conflict, Rejected
from arco_flow.domain.ids import Scope, run_entity
from arco_flow.domain.manifest import Manifest, manifest_bytes
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.context import Settings
from arco_flow.engine.deploy import deploy
from arco_flow.engine.deployed import last_deployment
from arco_flow.engine.objects import load_manifest
from arco_flow.engine.partitions import change_dynamic
from arco_flow.engine.run_bridge import request_run
from arco_flow.engine.views import DeployOutcome, RunAccepted, RunSpec
from arco_flow.simulation import workers
from arco_flow.simulation.chance import stream
from arco_flow.simulation.fleet import Request as AskedOf
from arco_flow.simulation.hostile import attack
from arco_flow.simulation.kernel import nap
from arco_flow.simulation.scenario import Load
from arco_flow.simulation.shapes import random_manifest
from arco_flow.simulation.world import MINUTES, RIVAL, SCOPE, SECONDS, Behaviour, Shape, World

ME = "user:me"


CHAOS_MS = {Load.BUSY: 60 * SECONDS, Load.SPARSE: 6 * 60 * MINUTES}
"""How long callers call and everything may go wrong."""
EPILOGUE_MS = 4 * MINUTES
"""Of calm after which nothing is late or stands still any more."""
_EPILOGUES = 0.4
"""Share of the histories that go on then."""


@dataclass(frozen=True, slots=True)
class Deploy:
    """Make a manifest current."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Deploying:
    """A request to deploy. request_id: "" of a client that names neither it nor what to replace.
    since_ms: when its client began, with a look at what is current."""

    manifest: Manifest
    request_id: str = ""
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Register:
    """Add keys to the dynamic partitions."""

    added: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for a run, perhaps several times at once, and perhaps cancel it after a while."""

    spec: RunSpec
    copies: int
    cancel_after_ms: int | None


@dataclass(frozen=True, slots=True)
class NewerEvent:
    """A process of the next revision sends every open run an event that we do not know."""

    number: int


@dataclass(frozen=True, slots=True)
class Attack:
    """Somebody sends what nobody should: see `hostile`."""

    number: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that a caller does. at_ms: from the start."""

    number: int
    at_ms: int
    scope: Scope
    what: Deploy | Register | Request | NewerEvent | Attack


@dataclass(frozen=True, slots=True)
class Workload:
    """Everything of a history but its faults."""

    load: Load
    shape: Shape
    behaviour: Behaviour
    operations: tuple[Operation, ...]

    @property
    def chaos_ms(self) -> int:
        """How long callers call."""
        return CHAOS_MS[self.load]

    @property
    def until_ms(self) -> int:
        """When the last operation begins."""
        return max(operation.at_ms for operation in self.operations)


def draw_workload(seed: int, load: Load) -> Workload:
    """What happens in the history of a seed when nothing goes wrong."""
    chance = stream(seed, "workload")
    return Workload(load, _draw_shape(chance), _draw_workers(chance), _draw_all(chance, load))


def _draw_shape(chance: random.Random) -> Shape:
    settings = Settings(
        callback_base_url="http://plane.test",
        max_in_flight=chance.choice([1, 2, 200]),
        cancel_grace_ms=chance.choice([1_000, 10_000]),
        quiet_ms=chance.choice([0, 1000, 60_000]),
        wake_ms=chance.choice([100, 1000, 5000]),
        skew_ms=chance.choice([100, 5000]),
        sweep_after_ms=chance.choice([2 * SECONDS, 10 * SECONDS]),
        sweep_again_ms=chance.choice([0, 5 * SECONDS, 20 * SECONDS]),
    )
    return Shape(
        # The scheduler calls once a minute where sweeps ask for the next one themselves.
        sweep_ms=MINUTES if settings.sweep_again_ms else chance.choice([8, 20]) * SECONDS,
        instances=chance.choice([1, 2, 4]),
        embedded=chance.random() < 0.2,
        by_http=chance.random() < 0.3,
        settings=settings,
    )


def _draw_workers(chance: random.Random) -> Behaviour:
    return workers.mixture(
        {
            workers.good: 8.0,
            workers.long: chance.choice([0, 2, 6]),
            workers.deaf: chance.choice([0, 1]),
            workers.failing: chance.choice([0, 1, 30]),
            workers.silent: chance.choice([0, 1, 4]),
            workers.dead: chance.choice([0, 0.5]),
            workers.late: chance.choice([0, 1, 4]),
            workers.overtaking: chance.choice([0, 1]),
            workers.double: chance.choice([0, 2, 6]),
            workers.racing: chance.choice([0, 2, 6]),
        }
    )


def _draw_all(chance: random.Random, load: Load) -> tuple[Operation, ...]:
    drawn: list[tuple[int, Scope, Any]] = []
    chaos_ms = CHAOS_MS[load]
    for scope, requests in ((SCOPE, chance.choice([4, 8])), (RIVAL, 2)):
        drawn.append((0, scope, Deploy(random_manifest(chance, "v0"))))
        drawn += [(at_ms, scope, what) for at_ms, what in _draw_deployments(chance, chaos_ms)]
        for number in range(3):
            added = (f"r{number}", f"s{chance.randrange(3)}")
            drawn.append((chance.randrange(chaos_ms), scope, Register(added)))
        for number in range(requests):
            drawn.append((chance.randrange(chaos_ms), scope, _draw_request(chance, number)))
        for number in range(chance.choice([0, 2])):
            drawn.append((chance.randrange(chaos_ms), scope, NewerEvent(number)))
        for number in range(chance.choice([0, 3])):
            drawn.append((chance.randrange(chaos_ms), scope, Attack(number)))
    drawn += [(at_ms, SCOPE, what) for at_ms, what in _draw_epilogue(chance, chaos_ms)]
    return tuple(Operation(number, *operation) for number, operation in enumerate(drawn))


def _draw_deployments(chance: random.Random, chaos_ms: int) -> list[tuple[int, Deploy]]:
    """One now and then, or several within seconds, as from branches that are merged together."""
    number, span_ms = chance.choice([(1, chaos_ms), (3, chaos_ms), (4, 3 * SECONDS)])
    start_ms = chance.randrange(chaos_ms - span_ms + 1)
    return [
        (
            start_ms + chance.randrange(span_ms),
            Deploy(random_manifest(chance, f"v{chance.randrange(3)}")),
        )
        for _ in range(number)
    ]


def _draw_epilogue(chance: random.Random, chaos_ms: int) -> list[tuple[int, Request]]:
    """Runs in weather that is calm again: what waits then waits for nothing but its wake."""
    if chance.random() > _EPILOGUES:
        return []
    return [
        (chaos_ms + EPILOGUE_MS + chance.randrange(3 * SECONDS), _draw_request(chance, 10 + number))
        for number in range(3)
    ]


def _draw_request(chance: random.Random, number: int) -> Request:
    own_key = f"own-{number}"
    spec = RunSpec(
        selection=chance.choice(["*", "*", "t.a+", "t.b", "t.local", "t.a or t.local"]),
        all_partitions=chance.random() < 0.8,
        missing_only=chance.random() < 0.1,
        run_key=chance.choice(["shared-1", "shared-2", own_key, own_key, own_key]),
        timeout_ms=chance.choice([0, 0, 0, 20 * SECONDS]),
    )
    cancel_after_ms = chance.randrange(10 * SECONDS) if chance.random() < 0.2 else None
    return Request(spec, chance.choice([1, 1, 2]), cancel_after_ms)


def begin_workload(world: World, workload: Workload, dropped: frozenset[int]) -> None:
    """Let callers do what they do, but for the operations of these numbers."""
    for operation in workload.operations:
        if operation.number not in dropped:
            copies = operation.what.copies if isinstance(operation.what, Request) else 1
            for _ in range(copies):
                world.begin(_perform(world, operation), f"operation {operation.number}")


async def _perform(world: World, operation: Operation) -> None:
    await nap(operation.at_ms)
    scope, what = operation.scope, operation.what
    try:
        if isinstance(what, Deploy):
            await _deploy(world, scope, what, operation.number)
        elif isinstance(what, Register):
            await _register(world, scope, what)
        elif isinstance(what, Request):
            await _request(world, scope, what)
        elif isinstance(what, NewerEvent):
            await _send_newer(world, scope, what)
        else:
            await attack(world, scope, stream(what.number, f"attack {operation.number}"))
    except Rejected:
        return


async def _deploy(world: World, scope: Scope, what: Deploy, number: int) -> None:
    """By a client that names nothing, one that insists as commands do, or one that gives up and
    goes back to what it has seen."""
    if number % 3 == 0:
        about, raw = Deploying(what.manifest), manifest_bytes(what.manifest)
        await world.insist(
            "deploy", scope, about, lambda e: deploy(e, scope, raw, location={}, actor=ME)
        )
    elif number % 3 == 1:
        await _replace(world, scope, what.manifest, f"{number}", world.insist)
    else:
        seen = await _replace(world, scope, what.manifest, f"{number}", world.try_once)
        if seen.number:
            back = await world.insist(
                "look", scope, seen.number, lambda e: load_manifest(e, scope, seen.manifest_id)
            )
            await _replace(world, scope, back, f"{number}.back", world.insist)


async def _replace(
    world: World, scope: Scope, manifest: Manifest, name: str, ask: Callable[..., Awaitable[object]]
) -> Deployment:
    """Deploy by requests that have names, and name what they replace, until one is not refused.
    Answers what was seen as current; nothing (number 0) when there was an answer."""
    raw = manifest_bytes(manifest)
    for tries in count():
        since_ms = world.now_ms
        seen = await world.insist("look", scope, "current", lambda e: last_deployment(e, scope))
        about = Deploying(manifest, f"{name}.{tries}", since_ms)
        work = _replacing(scope, raw, about.request_id, seen.revision)
        try:
            told = await ask("deploy", scope, about, work)
        except Conflict:
            continue
        return Deployment() if told else seen
    raise AssertionError("each refusal is of a time before the next look")


def _replacing(scope: Scope, raw: bytes, name: str, revision: int) -> AskedOf[DeployOutcome]:
    return lambda engine: deploy(
        engine, scope, raw, location={}, actor=ME, request_id=name, replaces=revision
    )


async def _register(world: World, scope: Scope, what: Register) -> None:
    await world.insist(
        "dynamic",
        scope,
        ("regions", what.added),
        lambda e: change_dynamic(e, scope, "regions", what.added, (), actor=ME),
    )


async def _request(world: World, scope: Scope, what: Request) -> None:
    spec = what.spec
    accepted: RunAccepted = await world.insist(
        "request", scope, spec, lambda e: request_run(e, scope, spec, actor=ME)
    )
    if what.cancel_after_ms is not None:
        await nap(what.cancel_after_ms)
        run_id = accepted.run_id
        await world.insist(
            "cancel",
            scope,
            run_id,
            lambda e: cancel_run(e, scope, run_id, reason="enough", actor=ME),
        )


async def _send_newer(world: World, scope: Scope, what: NewerEvent) -> None:
    """An event type and fields of a revision after ours, into the inbox of each open run."""
    told = [a for a in world.answers if a.verb == "request" and a.scope == scope and a.accepted]
    for answer in told:
        entity = str(run_entity(scope, answer.result.run_id))
        await _post_newer(world, scope, entity, f"annotated:{what.number}")


async def _post_newer(world: World, scope: Scope, entity: str, event_id: str) -> None:
    body = msgspec.json.encode(
        {
            "id": event_id,
            "timeMs": world.now_ms,
            "subject": entity,
            "actor": "newer",
            "schemaVersion": 2,
            "mood": "a field of tomorrow",
            "data": {"type": "RunAnnotated", "note": "of tomorrow"},
        }
    )
    await world.insist(
        "newer", scope, (entity, event_id), lambda e: e.store.post(entity, event_id, body)
    )
