"""Many requests under one run key at once: all are answered with the run that one of them made."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import ScriptedFaults
from arco_flow.domain.errors import Contended
from arco_flow.engine.run_bridge import RACES, request_run
from arco_flow.engine.views import RunAccepted, RunSpec
from arco_flow.simulation.shapes import manifest_of
from engine.meanwhile import Meanwhile
from engine.world import SCOPE, World

SPEC = RunSpec(selection="*", run_key="daily")


async def deployed(faults) -> World:
    world = World(faults=faults)
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


async def test_who_lost_the_race_for_a_run_key_is_told_of_the_winners_run() -> None:
    meanwhile = Meanwhile()
    world = await deployed(meanwhile)
    won: list[RunAccepted] = []

    async def other_request() -> None:
        won.append(await request_run(world.engine, SCOPE, SPEC, actor="user:other"))

    meanwhile.during("store.commit", other_request)
    lost = await request_run(world.engine, SCOPE, SPEC, actor="user:me")
    assert (lost.run_id, lost.created, won[0].created) == (won[0].run_id, False, True)
