"""Dynamic partitions: keys in insertion order, changed by many at once."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import InvalidInput, NotFound, OutcomeUnknown, Unavailable
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.partitions import MAX_CHANGES, change_dynamic, dynamic_keys
from arco_flow.simulation.shapes import REGIONS, manifest_of
from engine.world import RIVAL, SCOPE, Turns, World, check


def two_definitions() -> Manifest:
    """One dynamic definition by itself, another one as a dimension."""
    dims = {"region": REGIONS, "shop": {"kind": "dynamic", "name": "shops"}}
    plain = manifest_of({"a": []}, partitions=REGIONS).assets
    crossed = manifest_of({"b": []}, partitions={"kind": "multi", "dims": dims}).assets
    return Manifest(code_version_id="cv_1", module="t", assets=[*plain, *crossed])


async def deployed(**world) -> World:
    made = World(**world)
    await made.deploy(two_definitions())
    return made


async def change(world: World, added=(), deleted=(), definition="regions") -> list[str]:
    return await change_dynamic(world.engine, SCOPE, definition, added, deleted, actor="user:me")


async def test_keys_keep_the_order_in_which_they_came() -> None:
    world = await deployed()
    assert await change(world, ["north", "east"]) == ["north", "east"]
    assert await change(world, ["away", "north"]) == ["north", "east", "away"]
    assert await change(world, [], ["east", "never"]) == ["north", "away"]
    assert await change(world, ["east"]) == ["north", "away", "east"], "it came anew"
    assert await change(world, ["both"], ["both"]) == ["north", "away", "east"]
    check(world.history())


async def test_definitions_and_tenants_do_not_share_keys() -> None:
    world = await deployed()
    await change(world, ["north"])
    assert await change(world, ["s1"], definition="shops") == ["s1"]
    assert await dynamic_keys(world.engine, RIVAL, "regions") == []


async def test_a_key_in_two_unicode_spellings_is_one_key() -> None:
    world = await deployed()
    composed = "caf\u00e9"
    await change(world, [composed])
    assert await change(world, [unicodedata.normalize("NFD", composed)]) == [composed]
    assert await change(world, [], [unicodedata.normalize("NFD", composed)]) == []


@pytest.mark.parametrize("key", ["", ".", "..", "__x__", "a/b", "k" * 3000, "h=1", "a:b", "_"])
async def test_a_key_that_could_not_name_a_document_is_a_key_like_any_other(key) -> None:
    world = await deployed()
    assert await change(world, ["north", key, key]) == ["north", key]
    assert await change(world, [key, "east"]) == ["north", key, "east"]
    assert await change(world, [], [key]) == ["north", "east"]
    check(world.history())


@pytest.mark.parametrize("name", ["eu/shops", "eu:shops", "s" * 2000, "..", "__x__"])
async def test_a_definition_may_have_any_name(name) -> None:
    world = World()
    asset = manifest_of({"a": []}, partitions={"kind": "dynamic", "name": name}).assets
    await world.deploy(Manifest(code_version_id="cv_1", module="t", assets=asset))
    assert await change(world, ["north"], definition=name) == ["north"]
    check(world.history())


@pytest.mark.parametrize("seed", range(20))
async def test_many_changes_at_once_are_all_made_and_each_caller_sees_his_own(seed) -> None:
    world = await deployed(seed=seed, instances=3, faults=Turns(seed))
    names = [f"k{number}" for number in range(8)]

    async def add(name: str) -> None:
        keys = await world.on_instance(
            lambda e: change_dynamic(e, SCOPE, "regions", [name], [], actor="user:me")
        )
        assert name in keys

    await asyncio.gather(*map(add, names))
    assert sorted(await dynamic_keys(world.engine, SCOPE, "regions")) == names
    await world.settle()
    check(world.history())


async def test_a_change_whose_answer_was_lost_can_be_repeated() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults=faults)
    faults.fail_after("store.commit", OutcomeUnknown("no answer"))
    with pytest.raises(OutcomeUnknown):
        await change(world, ["north", "east"])
    assert await change(world, ["north", "east"]) == ["north", "east"]


async def test_a_change_that_was_refused_by_the_store_changes_nothing() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults=faults)
    faults.fail_before("store.commit", Unavailable("refused"))
    with pytest.raises(Unavailable):
        await change(world, ["north"])
    assert await dynamic_keys(world.engine, SCOPE, "regions") == []


@pytest.mark.parametrize(
    ("added", "definition", "said"),
    [
        (["north"], "region", "did you mean 'regions'"),
        (["a...b"], "regions", "a...b"),
        (["new\nline"], "regions", "can not be shown"),
        ([f"k{number}" for number in range(MAX_CHANGES + 1)], "regions", "more than 1000"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(added, definition, said) -> None:
    world = await deployed()
    with pytest.raises((InvalidInput, NotFound), match=said):
        await change(world, added, definition=definition)
    history = world.history()
    assert not any(history.rows[entity] for entity in history.of_kind("dynamic"))


@pytest.mark.parametrize("key", ["a|b", "[a", "a]", "a,b"])
async def test_a_key_of_a_dimension_holds_nothing_that_joins_or_lists_keys(key) -> None:
    world = await deployed()
    with pytest.raises(InvalidInput, match="holds one of") as raised:
        await change(world, ["s1", key], definition="shops")
    assert raised.value.reason == "BAD_PARTITION_KEY"
    assert await change(world, ["s1"], [key], definition="shops") == ["s1"], "it may be deleted"
    await world.deploy(manifest_of({"a": []}, partitions=REGIONS))
    assert await change(world, [key]) == [key], "of what is no dimension it is a key like any other"


async def test_as_many_keys_as_a_change_may_hold_are_taken_at_once_and_listed_in_pages() -> None:
    world = await deployed()
    keys = [f"k{number:04}" for number in range(2 * MAX_CHANGES)]
    await change(world, keys[:MAX_CHANGES])
    assert await change(world, keys[MAX_CHANGES:]) == keys
