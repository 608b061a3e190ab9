"""Identifiers: derived, stable, and never confused with one another."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.ids import (
    Entity,
    Scope,
    attempt_id_of,
    callback_task_id,
    dispatch_id_of,
    document_id,
    dynamic_entity,
    parse_callback_task_id,
    partition_segment,
    pointer_path,
    queue_task_name,
    run_id_of,
    short_task,
    task_key_of,
    version_prefix,
)

SCOPE = Scope("acme", "main")
SECRET = b"s" * 32


def test_a_run_key_gives_one_run_id_for_ever() -> None:
    first = run_id_of(SECRET, SCOPE, "daily:2026-01-01")
    assert first == run_id_of(SECRET, SCOPE, "daily:2026-01-01")
    assert first.startswith("run_")
    assert len(first) == 30
    others = {
        run_id_of(SECRET, SCOPE, "daily:2026-01-02"),
        run_id_of(SECRET, Scope("other", "main"), "daily:2026-01-01"),
        run_id_of(SECRET, Scope("acme", "other"), "daily:2026-01-01"),
        run_id_of(b"t" * 32, SCOPE, "daily:2026-01-01"),
    }
    assert len({first, *others}) == 5


def test_an_empty_secret_is_refused() -> None:
    with pytest.raises(InvalidInput):
        run_id_of(b"", SCOPE, "k")


def test_an_attempt_id_follows_from_its_dispatch() -> None:
    dispatch = dispatch_id_of("run_1", "shop.orders[2026-01-01]", 2)
    expected = hashlib.sha256(f"attempt:{dispatch}".encode()).digest()[:12].hex()
    assert attempt_id_of(dispatch) == f"att_{expected}"
    assert attempt_id_of(dispatch) != attempt_id_of(dispatch_id_of("run_1", "shop.orders", 2))


def test_queue_names_are_hashed_and_short() -> None:
    name = queue_task_name("d", "dispatch:run_1:shop.orders:1")
    assert name.startswith("d_")
    assert len(name) == 28
    assert name == name.lower()


def test_a_task_key_is_canonical_json() -> None:
    key = task_key_of("ns.asset", "date=d:2024-01-01")
    assert key == '{"asset":"ns.asset","operation":"materialize","partition":"date=d:2024-01-01"}'
    assert json.loads(key)["asset"] == "ns.asset"
    assert short_task("ns.asset", "2024-01-01") == "ns.asset[2024-01-01]"
    assert short_task("ns.asset", "") == "ns.asset"


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@given(TEXT, TEXT)
def test_a_callback_task_id_is_one_url_segment_and_comes_back(run_id: str, task: str) -> None:
    text = callback_task_id(run_id, task)
    assert parse_callback_task_id(text) == (run_id, task)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def test_the_callback_task_id_of_the_worker_protocol() -> None:
    """The value of the protocol's sample envelope."""
    sample = "ct1_cnVuLTEyMwBhbmFseXRpY3MuZGFpbHlfc2FsZXM"
    assert callback_task_id("run-123", "analytics.daily_sales") == sample


@given(st.text() | st.binary().map(lambda raw: "ct1_" + raw.hex()))
def test_any_other_text_is_refused_and_nothing_else(text: str) -> None:
    try:
        found = parse_callback_task_id(text)
    except InvalidInput:
        return
    assert callback_task_id(*found) == text


def test_entities_come_back_from_their_text() -> None:
    entity = Entity(SCOPE, "run", "run_1")
    assert Entity.parse(str(entity)) == entity
    for bad in ("", "a:b:c", "a:b:c:d:e", "a::c:d"):
        with pytest.raises(InvalidInput):
            Entity.parse(bad)


def test_objects_lie_below_their_workspace() -> None:
    prefix = version_prefix(SCOPE, "shop.orders", "date=d:2026-01-01", "att_1")
    assert prefix == (
        "tenants/acme/workspaces/main/assets/shop.orders/date=d:2026-01-01/versions/att_1/"
    )
    assert pointer_path(SCOPE, "shop.orders", "").endswith("assets/shop.orders/_/_current.json")


def test_a_long_partition_becomes_a_digest_that_a_file_system_takes() -> None:
    long = "key=s:" + "a" * 500
    assert len(partition_segment(long)) < 80
    assert partition_segment(long) != partition_segment(long + "b")


@pytest.mark.parametrize("text", ["", ".", "..", "__x__", "a/b", "k" * 201, "é" * 101, "h=a", "\0"])
def test_what_a_document_can_not_be_called_becomes_a_digest(text: str) -> None:
    assert document_id(text).startswith("h=")
    assert len(document_id(text)) == 66
    assert document_id(text) != document_id(text + "b")


@pytest.mark.parametrize("text", ["north", "a b", "a:b", "k" * 200, "日本", "...x", "_x_"])
def test_any_other_name_is_the_id_of_its_document(text: str) -> None:
    assert document_id(text) == text


@pytest.mark.parametrize("name", ["shops", "eu:shops", "eu/shops", "s" * 1000])
def test_a_definition_of_any_name_is_an_entity(name: str) -> None:
    entity = dynamic_entity(SCOPE, name)
    assert Entity.parse(str(entity)) == entity
    assert entity != dynamic_entity(SCOPE, name + "2")
