"""Texts and ids stand for one thing each: equal for equal things, different for different ones."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import combinations
from typing import Any
from unicodedata import normalize

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from arco_flow.domain.effects import (
    DispatchAttempt,
    SendEvent,
    SetTimer,
    StopAttempt,
    SwapPointer,
    decode_owed,
    encode_owed,
)
from arco_flow.domain.events import Event, UnknownEvent, decode_event, encode_event, to_cloud_event
from arco_flow.domain.ids import (
    Entity,
    Scope,
    asset_entity,
    attempt_id_of,
    callback_task_id,
    dispatch_id_of,
    document_id,
    dynamic_entity,
    partition_segment,
    pointer_path,
    queue_task_name,
    run_entity,
    run_id_of,
    short_task,
    task_key_of,
    version_prefix,
)
from arco_flow.domain.partition_keys import decode_partition_key, encode_partition_key
from arco_flow.domain.wire import canonical_json, decode_json, fingerprint
from domain.test_events import EVENTS
from properties.budget import examples

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**25), 10**25) | TEXT
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


def shape(value: Any) -> Any:
    """A value that is equal for equal JSON only: true is not 1 there."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return (type(value).__name__, value)


def shuffled(value: Any, draw: Any) -> Any:
    """The same JSON with the keys of its objects in another order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key], draw) for key in draw(st.permutations(sorted(value)))}
    return [shuffled(item, draw) for item in value] if isinstance(value, list) else value


@examples(120)
@given(JSON, JSON, st.data())
def test_canonical_bytes_are_equal_exactly_for_equal_values(
    one: Any, two: Any, data: st.DataObject
) -> None:
    assert canonical_json(one) == canonical_json(shuffled(one, data.draw))
    assert (canonical_json(one) == canonical_json(two)) is (shape(one) == shape(two))
    assert (fingerprint(one) == fingerprint(two)) is (shape(one) == shape(two))
    assert canonical_json(decode_json(canonical_json(one))) == canonical_json(one)
    assert shape(json.loads(canonical_json(one))) == shape(one)


@examples(60)
@given(st.dictionaries(TEXT, st.none(), max_size=6))
def test_canonical_keys_are_sorted_by_their_bytes(value: dict[str, None]) -> None:
    found = list(json.loads(canonical_json(value)))
    assert found == sorted(value, key=str.encode)


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
DAYS = st.dates(date(2, 1, 1), date(9998, 12, 30))
MOMENTS = st.builds(datetime.combine, DAYS, st.times(), st.just(UTC))
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), TEXT, st.dates(), MOMENTS
)
KEYS = st.dictionaries(NAMES, VALUES, max_size=3)


def typed(dims: dict[str, Any]) -> dict[str, Any]:
    """The dimensions with their types, text in its normal form."""
    return {
        name: (type(value), normalize("NFC", value) if isinstance(value, str) else value)
        for name, value in dims.items()
    }


@st.composite
def near_keys(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two keys that differ in one dimension, or not at all; some are long."""
    long = TEXT.map(lambda text: "x" * 160 + text)
    one = draw(st.dictionaries(NAMES, VALUES | long, max_size=3))
    if not one:
        return one, draw(KEYS)
    return one, {**one, max(one): draw(VALUES | long)}


@examples(150)
@given(near_keys())
def test_partition_keys_have_one_text_each(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, two = pair
    texts = encode_partition_key(one), encode_partition_key(two)
    assert (texts[0] == texts[1]) is (typed(one) == typed(two))
    assert encode_partition_key(decode_partition_key(texts[0])) == texts[0]
    assert texts[0].isascii()
    assert (partition_segment(texts[0]) == partition_segment(texts[1])) is (texts[0] == texts[1])
    assert "/" not in partition_segment(texts[0])


@examples(60)
@given(st.one_of(st.lists(st.dates(), min_size=2), st.lists(MOMENTS, min_size=2)))
def test_texts_of_days_and_times_sort_as_they_do(values: list[date]) -> None:
    texts = [encode_partition_key({"at": value}) for value in sorted(values)]
    assert texts == sorted(texts)


@examples(40)
@given(MOMENTS, st.integers(-23 * 60, 23 * 60))
def test_the_zone_in_which_a_time_is_written_does_not_matter(at: datetime, minutes: int) -> None:
    elsewhere = at.astimezone(timezone(timedelta(minutes=minutes)))
    assert encode_partition_key({"at": elsewhere}) == encode_partition_key({"at": at})


SLUGS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,3}", fullmatch=True)
ASSETS = st.from_regex(r"[a-z][a-z0-9_]?\.[a-z][a-z0-9_]?", fullmatch=True)
RUNS = st.sampled_from(["run_a", "run_b"])
ANY_NAME = st.one_of(
    TEXT, st.text("ab:/.|_=[]h ", max_size=5), st.sampled_from(["", ".", "..", "_", "__a__", "h=a"])
)


def entities(names: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[Any, Entity]]:
    """What an entity is of, and the entity."""
    scopes = st.builds(Scope, SLUGS, SLUGS)
    return st.one_of(
        st.tuples(scopes, RUNS).map(lambda of: (("run", *of), run_entity(*of))),
        st.tuples(scopes, ASSETS).map(lambda of: (("asset", *of), asset_entity(*of))),
        st.tuples(scopes, names).map(lambda of: (("dynamic", *of), dynamic_entity(*of))),
    )


@examples(120)
@given(entities(ANY_NAME), entities(ANY_NAME))
def test_entities_are_one_text_each_which_is_one_range_of_keys(
    one: tuple[Any, Entity], two: tuple[Any, Entity]
) -> None:
    texts = str(one[1]), str(two[1])
    assert Entity.parse(texts[0]) == one[1]
    assert (texts[0] == texts[1]) is (one[0] == two[0])
    if one[0] != two[0]:
        assert not f"{texts[0]}:event".startswith(f"{texts[1]}:"), "no inbox holds another's"


@examples(100)
@given(ANY_NAME, ANY_NAME)
def test_documents_have_an_id_each_that_every_store_takes(one: str, two: str) -> None:
    ids = document_id(one), document_id(two)
    assert (ids[0] == ids[1]) is (one == two)
    assert 0 < len(ids[0].encode()) <= 200
    assert ids[0] not in (".", "..")
    assert "/" not in ids[0]
    assert not (ids[0].startswith("__") and ids[0].endswith("__"))


TASKS = st.tuples(ASSETS, ANY_NAME)


@examples(100)
@given(*[st.tuples(RUNS, TASKS, st.integers(1, 251))] * 2)
def test_attempts_and_what_is_named_after_them_are_never_taken_for_another(
    one: tuple[str, tuple[str, str], int], two: tuple[str, tuple[str, str], int]
) -> None:
    def names(run: str, task: tuple[str, str], attempt: int) -> list[str]:
        dispatch = dispatch_id_of(run, short_task(*task), attempt)
        return [dispatch, attempt_id_of(dispatch), queue_task_name("d", dispatch)]

    for of_one, of_two in zip(names(*one), names(*two), strict=True):
        assert (of_one == of_two) is (one == two)


@examples(80)
@given(*[st.tuples(RUNS, TASKS)] * 2)
def test_tasks_are_never_taken_for_another(
    one: tuple[str, tuple[str, str]], two: tuple[str, tuple[str, str]]
) -> None:
    assert (short_task(*one[1]) == short_task(*two[1])) is (one[1] == two[1])
    assert (task_key_of(*one[1]) == task_key_of(*two[1])) is (one[1] == two[1])
    assume("\0" not in one[1][1] + two[1][1])
    ids = [callback_task_id(run, short_task(*task)) for run, task in (one, two)]
    assert (ids[0] == ids[1]) is (one == two)


@examples(80)
@given(*[st.tuples(SLUGS, SLUGS, TEXT)] * 2)
def test_a_run_key_is_one_run_of_its_workspace(
    one: tuple[str, str, str], two: tuple[str, str, str]
) -> None:
    runs = [run_id_of(b"secret", Scope(tenant, space), key) for tenant, space, key in (one, two)]
    assert (runs[0] == runs[1]) is (one == two)


PLACES = st.tuples(st.builds(Scope, SLUGS, SLUGS), ASSETS, KEYS.map(encode_partition_key))


@examples(80)
@given(PLACES, PLACES)
def test_objects_of_two_partitions_are_in_two_places(one: Any, two: Any) -> None:
    assert (pointer_path(*one) == pointer_path(*two)) is (one == two)
    folders = [version_prefix(*place, "att_1") for place in (one, two)]
    assert (folders[0] == folders[1]) is (one == two)
    assert one == two or not any(a.startswith(b) for a, b in (folders, folders[::-1]))


ORIGINS = st.fixed_dictionaries(
    {
        "id": TEXT,
        "time_ms": st.integers(0, 4_000_000_000_000),
        "subject": TEXT,
        "data": st.one_of(
            EVENTS, st.builds(lambda data: UnknownEvent("Later", {**data, "type": "Later"}),
                              st.dictionaries(TEXT, SCALARS, max_size=3)),
        ),
        "actor": TEXT,
        "correlation": TEXT,
        "causation": TEXT,
    }
)  # fmt: skip


@examples(120)
@given(ORIGINS)
def test_an_event_comes_back_with_all_that_is_known_of_its_origin(origin: dict[str, Any]) -> None:
    event = Event(**origin)
    assert decode_event(encode_event(event)) == event
    assert encode_event(decode_event(encode_event(event))) == encode_event(event)
    shown = to_cloud_event(event, "arco-flow/acme/main")
    assert json.loads(msgspec.json.encode(shown))["id"] == event.id


EFFECTS = st.one_of(
    st.builds(DispatchAttempt, RUNS, st.integers(0, 9999), st.integers(1, 251), st.integers(0, 40)),
    st.builds(SetTimer, TEXT, st.integers(0, 10**6), st.integers(0, 10**15)),
    st.builds(StopAttempt, RUNS, TEXT, TEXT, TEXT),
    ORIGINS.map(lambda origin: SendEvent.of("acme:main:asset:t.a", Event(**origin))),
    st.builds(SwapPointer, TEXT, st.integers(1, 10**6), st.dictionaries(TEXT, SCALARS, max_size=2)),
)


@examples(100)
@given(st.lists(EFFECTS, max_size=5))
def test_debts_come_back_in_their_order(effects: list[Any]) -> None:
    found = decode_owed(encode_owed(tuple(effects)))
    assert found == tuple(effects)
    for one, two in combinations(found, 2):
        if isinstance(one, DispatchAttempt) and isinstance(two, DispatchAttempt):
            same = (one.task_index, one.attempt, one.generation)
            assert (one.id == two.id) is (same == (two.task_index, two.attempt, two.generation))
