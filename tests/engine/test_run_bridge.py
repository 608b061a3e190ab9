"""Requests for runs: the run key, the plan and what it is bound to, and lost answers."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults, SimulatedCrash
from arco_flow.domain.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    TooLarge,
    Unavailable,
)
from arco_flow.domain.events import RunKeyConflicted
from arco_flow.domain.ids import run_entity
from arco_flow.domain.manifest import Manifest
from arco_flow.engine.objects import load_plan
from arco_flow.engine.run_bridge import preview_run, request_fingerprint, request_run
from arco_flow.engine.views import PartitionRange, RunSpec
from arco_flow.simulation.shapes import CHAIN, KEYS, REGIONS, manifest_of
from arco_flow.simulation.workers import good, survive
from engine.world import RIVAL, SCOPE, SECONDS, Turns, World, check


async def deployed(manifest: Manifest | None = None, **world) -> World:
    made = World(behaviour=survive(good), **world)
    await made.deploy(manifest or manifest_of())
    return made


async def refused(reason: str, request, kind: type = InvalidInput):
    with pytest.raises(kind) as raised:
        await request
    assert raised.value.reason == reason
    return raised.value


# -- the run key -------------------------------------------------------------------------------


async def test_the_same_request_under_its_run_key_is_the_same_run() -> None:
    world = await deployed()
    first = await world.request(run_key="daily")
    again = await world.request(run_key="daily")
    assert first.created
    assert not again.created
    assert again.run_id == first.run_id
    await world.settle()
    late = await world.request(run_key="daily")
    assert (late.run_id, late.state) == (first.run_id, "SUCCEEDED")
    check(world.history())


async def test_who_triggers_a_request_does_not_make_it_another_one() -> None:
    world = await deployed()
    first = await world.request(run_key="daily", trigger="manual")
    assert (await world.request(run_key="daily", trigger="cli")).run_id == first.run_id


@pytest.mark.parametrize("before_the_first_is_over", [True, False])
async def test_another_request_under_a_run_key_is_a_conflict_that_is_recorded(
    before_the_first_is_over,
) -> None:
    world = await deployed()
    first = await world.request("*", run_key="daily")
    if not before_the_first_is_over:
        await world.settle()
    error = await refused("RUN_KEY_CONFLICT", world.request("t.a", run_key="daily"), Conflict)
    accepted = request_fingerprint(RunSpec(selection="*", run_key="daily"))
    wanted = request_fingerprint(RunSpec(selection="t.a", run_key="daily"))
    assert error.details == {
        "runKey": "daily",
        "runId": first.run_id,
        "acceptedFingerprint": accepted,
        "refusedFingerprint": wanted,
    }
    await world.settle()
    history = world.history()
    check(history)
    (entry,) = [
        entry
        for _, entry in history.entries(str(run_entity(SCOPE, first.run_id)))
        if isinstance(entry.event.data, RunKeyConflicted)
    ]
    assert entry.disposition == "ignored"
    assert entry.reason == "the run key stands for another request"
    assert len(history.of_kind("run")) == 1


async def test_a_run_key_in_two_unicode_spellings_is_one_run() -> None:
    world = await deployed()
    composed = "caf\u00e9"
    first = await world.request(run_key=composed)
    again = await world.request(run_key=unicodedata.normalize("NFD", composed))
    assert again.run_id == first.run_id
    assert again.run_key == composed


async def test_a_run_key_means_another_run_in_another_tenant() -> None:
    world = await deployed()
    await world.deploy(manifest_of(), RIVAL)
    ours = await world.request(run_key="daily")
    theirs = await world.request("t.a", RIVAL, run_key="daily")
    assert theirs.created
    assert theirs.run_id != ours.run_id
    await refused("RUN_NOT_FOUND", world.view(ours.run_id, RIVAL), NotFound)
    await world.settle()
    check(world.history())


@pytest.mark.parametrize("seed", range(10))
async def test_concurrent_requests_of_one_key_make_one_run(seed) -> None:
    faults = Turns(seed, yields=3)
    world = await deployed(seed=seed, instances=3, faults=faults)
    specs = [RunSpec(selection="*", run_key="daily")] * 5
    specs += [RunSpec(selection="t.a", run_key="daily")] * 3
    answers = await asyncio.gather(
        *(
            world.ask(
                "request", SCOPE, spec, lambda e, s=spec: request_run(e, SCOPE, s, actor="me")
            )
            for spec in specs
        ),
        return_exceptions=True,
    )
    made = [answer for answer in answers if not isinstance(answer, Exception)]
    conflicts = [answer for answer in answers if isinstance(answer, Conflict)]
    assert len(made) in (3, 5)
    assert len(made) + len(conflicts) == 8
    assert len({answer.run_id for answer in made}) == 1
    assert sum(answer.created for answer in made) == 1
    await world.settle()
    check(world.history())


async def test_a_request_whose_process_ended_is_answered_when_it_is_repeated() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults=faults)
    faults.fail_after("store.commit", SimulatedCrash())
    with pytest.raises(SimulatedCrash):
        await world.request(run_key="daily")
    again = await world.request(run_key="daily")
    assert not again.created
    await world.settle()
    assert (await world.view(again.run_id)).state == "SUCCEEDED"
    check(world.history())


async def test_a_request_that_was_not_applied_leaves_nothing_behind() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults=faults)
    faults.fail_before("store.commit", Unavailable("refused"))
    with pytest.raises(Unavailable):
        await world.request(run_key="daily")
    assert (await world.request("t.a", run_key="daily")).created, "the key was not reserved"


# -- what can not be planned -------------------------------------------------------------------


async def test_nothing_can_run_before_something_is_deployed() -> None:
    await refused("NOTHING_DEPLOYED", World().request(), NotFound)


async def test_more_tasks_than_a_run_holds_are_refused_with_the_way_out() -> None:
    keys = {"kind": "static", "keys": [f"k{number:05}" for number in range(10_001)]}
    world = await deployed(manifest_of({"a": []}, partitions=keys))
    error = await refused("TOO_MANY_TASKS", world.request(all_partitions=True), TooLarge)
    assert error.details == {"tasks": 10_001, "limit": 10_000}
    assert "several runs" in error.fix
    assert (world.history()).of_kind("run") == []


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({}, "PARTITIONS_REQUIRED"),
        ({"partitions": ["k1"], "all_partitions": True}, "PARTITIONS_AMBIGUOUS"),
        ({"partitions": ["k9"]}, "UNKNOWN_PARTITION"),
        ({"partition_range": PartitionRange(start="k3", end="k1")}, None),
        ({"partitions": ["k1"], "selection": "t.zzz"}, None),
        ({"partitions": ["k1"], "timeout_ms": -1}, "BAD_TIMEOUT"),
        ({"partitions": ["k1"], "run_key": " daily"}, None),
        ({"partitions": ["k1"], "run_key": "x" * 300}, None),
    ],
)
async def test_a_request_that_makes_no_sense_is_refused_and_leaves_nothing(spec, reason) -> None:
    world = await deployed(manifest_of({"a": []}, partitions=KEYS))
    with pytest.raises(InvalidInput) as raised:
        await world.request(**{"selection": "*", **spec})
    assert reason in (None, raised.value.reason)
    assert (world.history()).of_kind("run") == []


async def test_partitions_of_an_unpartitioned_asset_are_refused() -> None:
    world = await deployed(manifest_of({"a": []}))
    await refused("PARTITIONS_UNUSED", world.request(partitions=["k1"]))


async def test_an_input_that_was_never_made_and_is_not_part_of_the_run_is_refused() -> None:
    world = await deployed()
    error = await refused("UPSTREAM_NOT_MATERIALIZED", world.request("t.c"))
    assert error.details["inputs"] == ["t.b"]


# -- what a plan is bound to -------------------------------------------------------------------


async def test_a_run_reads_the_versions_that_were_current_when_it_was_planned() -> None:
    world = await deployed()
    first = await world.request()
    await world.settle()
    bound = await world.request("t.c")
    assert bound.catalog_snapshot_id != first.catalog_snapshot_id
    newer = await world.request("t.a+")
    await world.settle()
    plan = await load_plan(world.engine, SCOPE, bound.plan_id)
    made_first = await world.view(first.run_id)
    made_later = await world.view(newer.run_id)
    versions = {task.task: task.attempt_id for task in made_first.tasks}
    assert [(pin.asset, pin.attempt_id) for pin in plan.plan.pins] == [("t.b", versions["t.b"])]
    assert {task.attempt_id for task in made_later.tasks}.isdisjoint(versions.values())
    envelope = next(e for e in world.envelopes if e.run_id == bound.run_id)
    assert envelope.payload["inputs"]["b"]["versions"] == [["", "", versions["t.b"]]]


async def test_equal_requests_over_an_equal_catalog_have_equal_plans_in_any_process() -> None:
    world = await deployed()
    await world.request()
    await world.settle()
    spec = RunSpec(selection="t.b or t.c")
    first = await preview_run(world.engine, SCOPE, spec)
    world.clock.advance(3600 * SECONDS)
    second = await preview_run(world.fresh_engine(), SCOPE, spec)
    accepted = await world.request("t.b or t.c")
    assert first == second
    assert (accepted.plan_id, accepted.fingerprint) == (first.plan_id, first.fingerprint)
    assert accepted.catalog_snapshot_id == first.catalog_snapshot_id
    await world.settle()
    third = await preview_run(world.engine, SCOPE, spec)
    assert third.plan_id == first.plan_id, "only what is outside of the run is bound: t.a"
    await world.request("t.a")
    await world.settle()
    fourth = await preview_run(world.engine, SCOPE, spec)
    assert fourth.catalog_snapshot_id != first.catalog_snapshot_id


async def test_a_preview_stores_nothing() -> None:
    world = await deployed()
    before = len(world.writes.made)
    await preview_run(world.engine, SCOPE, RunSpec(selection="*"))
    assert len(world.writes.made) == before
    assert (world.history()).of_kind("run") == []


async def test_a_run_goes_on_with_the_code_that_it_was_planned_with() -> None:
    world = await deployed(manifest_of(CHAIN, code="v1"))
    run = await world.request()
    await world.run_for(1 * SECONDS)
    await world.deploy(manifest_of({"other": []}, code="v2"))
    await world.settle()
    view = await world.view(run.run_id)
    assert (view.state, view.code_version_id) == ("SUCCEEDED", "cv_v1")
    assert {e.payload["codeVersionId"] for e in world.envelopes} == {"cv_v1"}


async def test_missing_only_leaves_out_what_is_current_and_binds_it() -> None:
    manifest = manifest_of({"a": [], "b": ["a"]}, partitions=KEYS)
    world = await deployed(manifest)
    first = await world.request(partitions=["k1"])
    await world.request("t.a", partitions=["k2"])
    await world.settle()
    spec = RunSpec(selection="*", all_partitions=True, missing_only=True)
    preview = await preview_run(world.engine, SCOPE, spec)
    assert {task.task for task in preview.tasks} == {"t.a[k3]", "t.b[k2]", "t.b[k3]"}
    rest = await world.request(all_partitions=True, missing_only=True)
    assert rest.catalog_snapshot_id != first.catalog_snapshot_id, "t.a[k2] is pinned"
    await world.settle()
    assert (await world.view(rest.run_id)).state == "SUCCEEDED"
    await refused("NOTHING_MISSING", world.request(all_partitions=True, missing_only=True))


async def test_dynamic_partitions_are_those_registered_at_the_time_of_the_request() -> None:
    from arco_flow.engine.partitions import change_dynamic

    world = await deployed(manifest_of({"a": []}, partitions=REGIONS))
    await refused("UNKNOWN_PARTITION", world.request(partitions=["north"]))
    await change_dynamic(world.engine, SCOPE, "regions", ["north", "south"], [], actor="me")
    run = await world.request(all_partitions=True)
    await change_dynamic(world.engine, SCOPE, "regions", [], ["south"], actor="me")
    assert run.task_count == 2
    await world.settle()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    check(world.history())
