"""Patches change code, tables and attributes for a while, and refuse what is not there."""

from __future__ import annotations

import pytest

from arco_flow.adapters.memory.faults import Faults, async_site
from simulation.patches import Patches

LIMIT = 5
TABLE = {"kept": 1}


def double(number: int) -> int:
    return number * 2


HANDLERS = {"double": double}


class Shop:
    faults = Faults()

    @async_site("shop.sell")
    async def sell(self, number: int) -> int:
        return number + LIMIT


def test_a_function_that_was_edited_is_changed_for_all_who_refer_to_it():
    with Patches() as patches:
        patches.edit(double, "number * 2", "number * 3")
        assert HANDLERS["double"](2) == 6
        assert patches.diff == ["- number * 2", "+ number * 3"]
    assert HANDLERS["double"](2) == 4


def test_two_edits_of_one_function_are_both_there():
    with Patches() as patches:
        patches.edit(double, "number * 2", "number * LIMIT")
        patches.edit(double, "return number", "return 1 + number")
        assert double(2) == 11
    assert double(2) == 4


def test_a_decorated_method_is_edited_below_its_decorator():
    with Patches() as patches:
        patches.edit(Shop.sell, "+ LIMIT", "- LIMIT")
        assert _ended(Shop().sell(7)) == 2
    assert _ended(Shop().sell(7)) == 12


def test_attributes_and_entries_are_put_back():
    with Patches() as patches:
        patches.set(Shop, "faults", None)
        patches.put(TABLE, "kept", 2)
        patches.put(TABLE, "new", 3)
        assert (Shop.faults, TABLE) == (None, {"kept": 2, "new": 3})
    assert isinstance(Shop.faults, Faults)
    assert TABLE == {"kept": 1}


def test_what_fails_within_is_put_back_too():
    with pytest.raises(ZeroDivisionError), Patches() as patches:
        patches.put(TABLE, "kept", 1 / 0)
    assert TABLE == {"kept": 1}


@pytest.mark.parametrize("before", ["number * 4", "number"])
def test_an_edit_of_what_is_not_there_once_is_refused(before):
    with Patches() as patches, pytest.raises(LookupError):
        patches.edit(double, before, "0")


def test_an_attribute_that_is_not_there_is_refused():
    with Patches() as patches, pytest.raises(KeyError):
        patches.set(Shop, "price", 1)


def _ended(work):
    with pytest.raises(StopIteration) as stop:
        work.send(None)
    return stop.value.value
