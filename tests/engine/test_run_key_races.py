"""Many requests under one run key at once: all are answered with the run that one of them made."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import Contended, OutcomeUnknown, Unavailable
from arco_flow.engine.run_bridge import RACES, request_run
from arco_flow.engine.views import RunAccepted, RunSpec
from arco_flow.simulation.shapes import manifest_of
from arco_flow.simulation.workers import good, survive
from engine.meanwhile import Meanwhile
from engine.world import SCOPE, World, check

SPEC = RunSpec(selection="*", run_key="daily")


async def deployed(faults) -> World:
    world = World(faults=faults, behaviour=survive(good))
    await world.deploy(manifest_of())
    return world


@pytest.mark.parametrize("lost", [1, RACES - 1])
async def test_a_request_that_found_all_locked_and_no_winner_makes_its_run_after_all(lost) -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    for nth in range(1, lost + 1):
        faults.fail_before("store.commit", Contended("locked"), nth=nth)
    run = await world.request(run_key="daily")
    assert run.created
    assert (await world.view(run.run_id)).state == "RUNNING"


async def test_a_request_that_never_comes_by_says_so_after_some_races() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    for nth in range(1, 2 * RACES):
        faults.fail_before("store.commit", Contended("locked"), nth=nth)
    before = faults.calls["store.commit"]
    with pytest.raises(Contended):
        await world.request(run_key="daily")
    assert faults.calls["store.commit"] - before == RACES


async def test_a_run_whose_first_commit_landed_unheard_is_answered_as_made_and_goes_on() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    faults.fail_after("store.commit", OutcomeUnknown("no answer"))
    before = faults.calls["store.commit"]
    run = await world.request(run_key="daily")
    assert (run.created, faults.calls["store.commit"] - before) == (True, 1)
    assert world.tasks.next_ms() == world.now_ms, "its first tasks were dispatched"
    again = await world.request(run_key="daily")
    assert (again.run_id, again.created) == (run.run_id, False)
    await world.settle()
    assert (await world.view(run.run_id)).state == "SUCCEEDED"
    check(world.history())


async def test_a_first_commit_that_is_not_found_when_it_is_looked_for_is_made_again() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    faults.fail_before("store.commit", OutcomeUnknown("no answer"))
    run = await world.request(run_key="daily")
    assert run.created
    assert (await world.view(run.run_id)).state == "RUNNING"


async def test_a_first_commit_that_can_not_be_looked_for_is_found_by_the_next_race() -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    faults.fail_after("store.commit", OutcomeUnknown("no answer"))
    faults.fail_before("store.document", Unavailable("away"), nth=2)
    run = await world.request(run_key="daily")
    assert (await world.view(run.run_id)).state == "RUNNING"


@pytest.mark.parametrize("last", [OutcomeUnknown("no answer"), Contended("locked")])
async def test_what_may_have_landed_in_any_race_is_not_told_as_not_written(last) -> None:
    faults = ScriptedFaults()
    world = await deployed(faults)
    for nth in range(1, RACES):
        faults.fail_before("store.commit", OutcomeUnknown("no answer"), nth=nth)
    faults.fail_before("store.commit", last, nth=RACES)
    with pytest.raises(OutcomeUnknown):
        await world.request(run_key="daily")


async def test_who_lost_the_race_for_a_run_key_is_told_of_the_winners_run() -> None:
    meanwhile = Meanwhile()
    world = await deployed(meanwhile)
    won: list[RunAccepted] = []

    async def other_request() -> None:
        won.append(await request_run(world.engine, SCOPE, SPEC, actor="user:other"))

    meanwhile.during("store.commit", other_request)
    lost = await request_run(world.engine, SCOPE, SPEC, actor="user:me")
    assert (lost.run_id, lost.created, won[0].created) == (won[0].run_id, False, True)
