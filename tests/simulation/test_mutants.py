"""The checks themselves are checked: each mutant must be noticed, each survivor explained."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from itertools import chain

import pytest

from arco_flow.simulation.checks import CHECKS
from simulation import mutant_report
from simulation.mutants import DIRECTED, MUTANTS, SURVIVORS
from simulation.patches import Patches

WATCHING = ("arco_flow.simulation.watch", "arco_flow.simulation.simulate")
RECORDED = mutant_report.recorded()
FEW = 3
"""Seeds that a survivor is told with here; the script tells all of them."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_histories_notice_the_mutant(name):
    """The recorded seed first: that most of them still fail is what keeps this quick."""
    mutant = MUTANTS[name]
    likely = [RECORDED[name]] if name in RECORDED else []
    catch = mutant_report.first_catch(mutant.apply, chain(likely, range(mutant_report.SEEDS)))
    assert catch is not None, f"no history of {mutant_report.SEEDS} fails"
    assert mutant.caught_by & {*catch.invariants}, catch


@pytest.mark.parametrize("name", DIRECTED)
def test_a_test_of_its_own_notices_the_mutant(name):
    module, _, function = DIRECTED[name].test.partition(":")
    test = getattr(importlib.import_module(module), function)
    with Patches() as patches:
        DIRECTED[name].apply(patches)
        assert any(_fails(test, arguments) for arguments in DIRECTED[name].arguments)


def _fails(test, arguments):
    try:
        asyncio.run(test(**arguments))
    except (Exception, pytest.fail.Exception):
        return True
    return False


@pytest.mark.parametrize("name", SURVIVORS)
def test_a_survivor_changes_what_it_says_and_is_part_of_what_is_noticed(name):
    survivor = SURVIVORS[name]
    with Patches() as alone:
        survivor.apply(alone)
        assert alone.diff
    assert mutant_report.first_catch(survivor.apply, range(FEW)) is None, "no survivor any more"
    if survivor.proof:
        with Patches() as both:
            MUTANTS[survivor.proof].apply(both)
            assert len(both.diff) > len(alone.diff)
            assert {*alone.diff} <= {*both.diff}


def test_the_page_names_the_mutants_and_what_notices_them():
    """The seeds are as they were measured when it was written."""
    assert mutant_report.PAGE.read_text("utf-8") == mutant_report.page(RECORDED)
    assert RECORDED.keys() == MUTANTS.keys()
    assert max(RECORDED.values()) < mutant_report.SEEDS


def test_a_mutant_is_expected_to_be_noticed_by_checks_that_exist():
    known = {check.__name__ for check in CHECKS}
    modules = map(importlib.import_module, WATCHING)
    told = "".join(map(inspect.getsource, modules))
    for name in {name for mutant in MUTANTS.values() for name in mutant.caught_by} - known:
        assert f'"{name}"' in told, name
