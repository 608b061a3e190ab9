"""Keys of a dynamic definition when it becomes a dimension, and after it is deployed no more."""

from __future__ import annotations

import shlex

import pytest

from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.deployed import current_deployment
from arco_flow.engine.partitions import change_dynamic
from arco_flow.simulation.shapes import REGIONS, manifest_of
from engine.world import SCOPE, World


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
