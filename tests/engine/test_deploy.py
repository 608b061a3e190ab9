"""Deployments: what is compared, what becomes current, and what is left alone."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.deployment import Deployment
from arco_flow.domain.errors import InvalidInput, NotFound, OutcomeUnknown, Unavailable
from arco_flow.domain.ids import deployment_entity, manifest_path
from arco_flow.domain.manifest import DepSpec, Manifest, TimeoutsSpec, manifest_bytes
from arco_flow.engine.deploy import deploy
from arco_flow.engine.deployed import current_deployment
from arco_flow.simulation.shapes import CHAIN, KEYS, manifest_of
from arco_flow.simulation.workers import good, survive
from engine.world import RETRY, RIVAL, SCOPE, Turns, World, check


def changed(manifest: Manifest, key: str, **fields) -> Manifest:
    """The manifest with one asset declared otherwise."""
    assets = [
        msgspec.structs.replace(spec, **fields) if spec.key == key else spec
        for spec in manifest.assets
    ]
    return msgspec.structs.replace(manifest, assets=assets)


async def materialized(manifest: Manifest | None = None, **spec) -> World:
    world = World(behaviour=survive(good))
    await world.deploy(manifest or manifest_of())
    await world.request(**spec)
    await world.settle()
    return world


async def test_the_first_deployment_adds_everything() -> None:
    world = World()
    with pytest.raises(NotFound):
        await current_deployment(world.engine, SCOPE)
    outcome = await world.deploy(manifest_of())
    assert (outcome.deployment, outcome.added) == (1, ["t.a", "t.b", "t.c"])
    assert (outcome.changed, outcome.removed, outcome.stale_partitions) == ({}, [], {})
    current = await current_deployment(world.engine, SCOPE)
    assert (current.manifest_id, current.deployment) == (outcome.manifest_id, 1)
    with pytest.raises(NotFound):
        await current_deployment(world.engine, RIVAL)


async def test_a_deployment_says_what_it_adds_changes_and_removes() -> None:
    world = World()
    await world.deploy(manifest_of())
    outcome = await world.deploy(manifest_of({"a": [], "b": ["a"], "d": ["b"]}))
    assert (outcome.added, outcome.changed, outcome.removed) == (["t.d"], {}, ["t.c"])
    assert outcome.deployment == 2


@pytest.mark.parametrize(
    ("fields", "aspect", "stale"),
    [
        ({"code_version": "v2"}, "code", True),
        ({"deps": []}, "dependencies", True),
        ({"deps": [DepSpec(asset="t.a")]}, "dependencies", True),
        ({"io": "parquet"}, "io", True),
        ({"retry": RETRY}, "retries", False),
        ({"timeouts": TimeoutsSpec(execution_ms=1)}, "timeouts", False),
        ({"priority": 5}, "resources", False),
        ({"description": "more to say"}, "labels", False),
    ],
)
async def test_what_makes_existing_partitions_stale(fields, aspect, stale) -> None:
    world = await materialized()
    outcome = await world.deploy(changed(manifest_of(), "t.b", **fields))
    assert outcome.changed == {"t.b": [aspect]}
    assert outcome.stale_partitions == ({"t.b": 1} if stale else {})


async def test_only_partitions_that_other_code_made_are_stale() -> None:
    manifest = manifest_of({"a": []}, partitions=KEYS)
    world = await materialized(manifest, all_partitions=True)
    newer = changed(manifest, "t.a", code_version="v2")
    assert (await world.deploy(newer)).stale_partitions == {"t.a": 3}
    await world.request(partitions=["k1"])
    await world.settle()
    back = await world.deploy(manifest)
    assert back.stale_partitions == {"t.a": 1}, "k1 alone was made by v2"


async def test_a_dry_run_says_the_same_and_changes_nothing() -> None:
    world = await materialized()
    newer = changed(manifest_of(), "t.b", code_version="v2")
    writes = len(world.writes.made)
    before = world.history()
    dry = await world.deploy(newer, dry_run=True)
    after = world.history()
    assert len(world.writes.made) == writes
    assert before.heads == after.heads
    assert (await current_deployment(world.engine, SCOPE)).deployment == 1
    done = await world.deploy(newer)
    assert (dry.changed, dry.stale_partitions) == (done.changed, done.stale_partitions)
    assert (dry.dry_run, done.dry_run, done.deployment) == (True, False, 2)


async def test_the_same_manifest_again_is_unchanged_but_from_elsewhere_it_is_deployed() -> None:
    world = World()
    raw = manifest_bytes(manifest_of())

    async def again(location):
        return await deploy(world.engine, SCOPE, raw, location=location, actor="user:me")

    first = await again({"target": "here"})
    second = await again({"target": "here"})
    third = await again({"target": "there"})
    assert (first.unchanged, second.unchanged, third.unchanged) == (False, True, False)
    assert [first.deployment, second.deployment, third.deployment] == [1, 1, 2]
    current = await current_deployment(world.engine, SCOPE)
    assert current.location == {"target": "there"}


async def test_going_back_to_an_older_manifest_is_a_deployment_too() -> None:
    world = World()
    for manifest in (manifest_of(CHAIN), manifest_of({"a": []}), manifest_of(CHAIN)):
        last = await world.deploy(manifest)
    assert last.deployment == 3
    assert last.added == ["t.b", "t.c"]
    check(world.history())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"codeVersionId":"v","module":"m"}',
        manifest_bytes(manifest_of({"a": ["zzz"]})),
        manifest_bytes(manifest_of({"a": ["b"], "b": ["a"]})),
    ],
)
async def test_a_manifest_that_is_not_valid_stores_nothing(raw) -> None:
    world = World()
    with pytest.raises(InvalidInput):
        await deploy(world.engine, SCOPE, raw, location={}, actor="user:me")
    assert not world.writes.made
    assert not (world.history()).heads


@pytest.mark.parametrize("seed", range(20))
async def test_many_first_deployments_at_once_are_each_there_when_they_are_answered(seed) -> None:
    world = World(seed, instances=3, faults=Turns(seed, yields=3))
    entity = str(deployment_entity(SCOPE))

    async def deployed(number: int) -> str:
        raw = manifest_bytes(manifest_of(code=f"v{number}"))
        outcome = await world.on_instance(
            lambda e: deploy(e, SCOPE, raw, location={}, actor="user:me")
        )
        rows = world.peek(world.store.rows(entity))
        made = [msgspec.json.decode(row, type=Deployment).manifest_id for row in rows.values()]
        assert outcome.manifest_id in made
        return outcome.manifest_id

    manifests = await asyncio.gather(*map(deployed, range(6)))
    await world.settle()
    history = world.history()
    assert len(history.rows[entity]) == len(set(manifests)) == 6
    check(history)


@pytest.mark.parametrize("site", ["store.commit", "objects.put_if_absent"])
async def test_a_deployment_whose_answer_was_lost_can_be_repeated(site) -> None:
    faults = ScriptedFaults()
    world = World(faults=faults)
    faults.fail_after(site, OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        await world.deploy(manifest_of())
    outcome = await world.deploy(manifest_of())
    assert outcome.deployment == 1
    stored = world.objects.get(manifest_path(SCOPE, outcome.manifest_id))
    assert stored is not None
    assert stored.data == manifest_bytes(manifest_of())


async def test_a_deployment_that_the_store_refused_is_not_current() -> None:
    faults = ScriptedFaults()
    world = World(faults=faults)
    await world.deploy(manifest_of())
    faults.fail_before("store.commit", Unavailable("refused"))
    with pytest.raises(Unavailable):
        await world.deploy(manifest_of({"a": []}))
    assert (await current_deployment(world.engine, SCOPE)).deployment == 1
