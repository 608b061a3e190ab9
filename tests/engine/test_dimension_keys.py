"""Keys of a dynamic definition when it becomes a dimension, and after it is deployed no more."""

from __future__ import annotations

import shlex

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import InvalidInput, NotFound, Unavailable
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.deployed import current_deployment
from arco_flow.engine.partitions import change_dynamic, dynamic_keys
from arco_flow.simulation.shapes import REGIONS, manifest_of
from engine.meanwhile import Meanwhile
from engine.world import SCOPE, World, check


async def change(world: World, added=(), deleted=()) -> list[str]:
    return await change_dynamic(world.engine, SCOPE, "regions", added, deleted, actor="user:me")


async def by_itself() -> World:
    """The definition is no dimension yet."""
    world = World()
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    return world


def crossed() -> Manifest:
    """The definition as a dimension."""
    return manifest_of({"b": []}, partitions={"kind": "multi", "dims": {"region": REGIONS}})


@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_definition_whose_keys_could_not_be_named_does_not_become_a_dimension(
    dry_run,
) -> None:
    world = await by_itself()
    await change(world, ["north", "a|b", "c, d"])
    with pytest.raises(InvalidInput, match=r"'a\|b', 'c, d' of dynamic partitions 'regions'") as no:
        await world.deploy(crossed(), dry_run=dry_run)
    assert (no.value.reason, no.value.where) == ("BAD_PARTITION_KEY", "partitions of asset 't.b'")
    assert shlex.split(no.value.fix)[-4:] == ["delete", "regions", "a|b", "c, d"]
    assert (await current_deployment(world.engine, SCOPE)).deployment == 1
    await change(world, [], ["a|b", "c, d"])
    assert (await world.deploy(crossed(), dry_run=dry_run)).added == ["t.b"]


async def test_of_many_such_keys_some_are_named_and_how_many_there_are() -> None:
    world = await by_itself()
    await change(world, [f"a|{number:02}" for number in range(30)])
    with pytest.raises(InvalidInput, match="and 25 more") as raised:
        await world.deploy(crossed())
    assert raised.value.details["count"] == 30


async def test_keys_of_a_definition_that_is_deployed_no_more_may_be_deleted_but_not_added() -> None:
    world = await by_itself()
    await change(world, ["north", "a|b"])
    await world.deploy(manifest_of({"b": []}))
    with pytest.raises(NotFound, match="no dynamic partitions 'regions'"):
        await change(world, ["south"], ["a|b"])
    assert await change(world, [], ["a|b"]) == ["north"]
    assert await change(world, [], ["north"]) == []
    with pytest.raises(NotFound, match="no dynamic partitions 'regions'"):
        await change(world, [], ["north"])


async def keys_and_deployment(world: World) -> tuple[list[str], int]:
    current = await current_deployment(world.engine, SCOPE)
    return await dynamic_keys(world.engine, SCOPE, "regions"), current.deployment


@pytest.mark.parametrize("site", ["store.commit", "objects.put_if_absent", "store.load"])
async def test_a_key_that_comes_while_it_becomes_a_dimension_stops_the_one_or_is_refused(
    site,
) -> None:
    """At each call that a deployment makes there."""
    for nth in range(12):
        meanwhile = Meanwhile()
        world = World(faults=meanwhile)
        await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
        refused: list[str] = []

        async def add(world=world, refused=refused) -> None:
            try:
                await change(world, ["a|b"])
            except InvalidInput:
                refused.append("key")

        meanwhile.during(site, add)
        meanwhile.passed = nth
        try:
            await world.deploy(crossed())
        except InvalidInput:
            refused.append("deployment")
        if meanwhile.work is not None:
            break
        state = await keys_and_deployment(world)
        assert (refused, *state) in ((["key"], [], 2), (["deployment"], ["a|b"], 1)), nth
        check(world.history())
    assert nth > 0, f"{site} is never called"


async def test_a_key_is_refused_whose_change_began_before_the_deployment_of_its_dimension() -> None:
    meanwhile = Meanwhile()
    world = World(faults=meanwhile)
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    meanwhile.during("store.now_ms", lambda: world.deploy(crossed()))
    with pytest.raises(InvalidInput, match=r"key 'a\|b' of dimension 'regions'"):
        await change(world, ["north", "a|b"])
    assert await keys_and_deployment(world) == ([], 2)
    check(world.history())


async def test_what_is_no_dimension_any_more_takes_such_keys_and_becomes_none_with_them() -> None:
    world = await by_itself()
    await world.deploy(crossed())
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    assert await change(world, ["a|b"]) == ["a|b"]
    with pytest.raises(InvalidInput, match="could name them"):
        await world.deploy(crossed())


async def test_a_dimension_of_a_deployment_that_failed_is_one_until_another_is_deployed() -> None:
    faults = ScriptedFaults()
    world = World(faults=faults)
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    faults.fail_before("objects.put_if_absent", Unavailable("refused"))
    with pytest.raises(Unavailable):
        await world.deploy(crossed())
    with pytest.raises(InvalidInput, match="of dimension 'regions'"):
        await change(world, ["a|b"])
    await world.deploy(manifest_of({"a": [], "c": []}, partitions=REGIONS))
    assert await change(world, ["a|b"]) == ["a|b"]


async def test_a_dry_run_makes_nothing_a_dimension() -> None:
    world = await by_itself()
    await world.deploy(crossed(), dry_run=True)
    assert await change(world, ["a|b"]) == ["a|b"]
