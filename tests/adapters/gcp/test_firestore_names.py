"""Ids of documents: taken by Firestore, apart where owners are apart, in the order of names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.adapters.gcp.firestore_names import owned_id, owned_range
from arco_flow.adapters.limits import ID_LIMIT_BYTES, check_id

PLAIN = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
NAMES = PLAIN.filter(lambda name: len(name.encode()) <= ID_LIMIT_BYTES)
PARTS = st.text("abc_-é", min_size=1, max_size=8)
ENTITIES = st.tuples(PARTS, PARTS, PARTS, PARTS).map(":".join)
OWNERS = ENTITIES | NAMES | st.sampled_from(["a", "a:b", "__a:b:c:d", "x" * 1500, "a:b:c:d:e"])


def test_an_entitys_documents_are_called_as_people_would():
    assert owned_id("acme:prod:run:r1", "timer:3") == "acme:prod:run:r1:timer:3"
    assert owned_id("runs", "acme:key", colons=0) == "runs:acme:key"


@given(OWNERS, NAMES)
def test_every_id_is_one_that_firestore_takes_within_the_range_of_its_owner(owner, name):
    made = check_id("document", owned_id(owner, name))
    first, end = owned_range(owner)
    assert first <= made < end


@given(OWNERS, NAMES, OWNERS, NAMES)
def test_no_two_names_share_an_id(owner, name, other, another):
    is_same = (owner, name) == (other, another)
    assert (owned_id(owner, name) == owned_id(other, another)) is is_same


@given(ENTITIES, ENTITIES, NAMES)
def test_no_owners_range_holds_what_is_another_ones(owner, other, name):
    first, end = owned_range(owner)
    assert (first <= owned_id(other, name) < end) is (owner == other)


@given(ENTITIES, NAMES, NAMES)
def test_names_of_an_owner_keep_their_order(owner, one, other):
    low, high = sorted((one, other))
    if len(high.encode()) < 700 > len(low.encode()):
        assert owned_id(owner, low) <= owned_id(owner, high)


@pytest.mark.parametrize("tail", ["a", "b", "é" * 40])
def test_names_over_the_limit_stay_apart_by_a_digest(tail):
    long = "x" * (ID_LIMIT_BYTES - 100)
    made = owned_id("acme:prod:run:r1", long + tail)
    assert len(made.encode()) <= ID_LIMIT_BYTES
    assert made != owned_id("acme:prod:run:r1", long + "c")
