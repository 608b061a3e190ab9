"""Events: every type travels, unknown ones are kept, garbage is refused."""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arco_flow.domain.decision import DERIVED, Entry, Segment, decode_segment, encode_segment
from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.events import (
    KNOWN_TYPES,
    AnyEvent,
    Event,
    TaskStarted,
    UnknownEvent,
    decode_event,
    encode_event,
    event_type,
    to_cloud_event,
)
from arco_flow.domain.stamps import EARLIEST_MS, LATEST_MS

PLAIN = st.dictionaries(st.text(max_size=8), st.integers(-5, 5) | st.text(max_size=8), max_size=3)
BY_TYPE: dict[object, st.SearchStrategy] = {
    str: st.text(max_size=20),
    int: st.integers(-(2**53), 2**53),
    int | None: st.none() | st.integers(0, 100),
    str | None: st.none() | st.text(max_size=9),
    list[str]: st.lists(st.text(max_size=9), max_size=3),
    dict[str, str]: st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3),
    dict[str, Any]: PLAIN,
    dict[str, Any] | None: st.none() | PLAIN,
    list[dict[str, Any]] | None: st.none() | st.lists(PLAIN, max_size=2),
}


def events_of(kind: type) -> st.SearchStrategy:
    hints = get_type_hints(kind)
    return st.builds(kind, **{name: BY_TYPE[hints[name]] for name in kind.__struct_fields__})


EVENTS = st.one_of([events_of(kind) for kind in AnyEvent.__args__])


@given(EVENTS)
def test_every_event_comes_back_from_its_bytes(data: AnyEvent) -> None:
    event = Event("id", 1_700_000_000_000, "t:w:run:r", data, "user:me", "r", "cause", "00-t")
    assert decode_event(encode_event(event)) == event


def test_the_union_is_closed_and_tagged_by_its_class_names() -> None:
    names = {kind.__name__ for kind in AnyEvent.__args__}
    assert names == KNOWN_TYPES


def test_a_type_of_the_future_is_kept_as_it_is() -> None:
    raw = (
        b'{"id":"e1","timeMs":5,"subject":"s","actor":"a","somethingNew":true,'
        b'"data":{"type":"FromTheFuture","x":[1,2]}}'
    )
    event = decode_event(raw)
    assert event.data == UnknownEvent("FromTheFuture", {"type": "FromTheFuture", "x": [1, 2]})
    assert event_type(event.data) == "FromTheFuture"
    assert decode_event(encode_event(event)) == event


def test_a_field_of_the_future_is_tolerated() -> None:
    event = Event("e", 1, "s", TaskStarted("t", 1, "att", "w"), "a")
    raw = encode_event(event).replace(b'"task":', b'"nice":{"to":"have"},"task":')
    assert decode_event(raw) == event


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else_escapes(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_event(raw)


@given(st.dictionaries(st.text(max_size=10), st.integers() | st.text(max_size=10) | st.none()))
def test_json_that_is_no_event_is_refused(document: dict) -> None:
    with pytest.raises(InvalidInput):
        decode_event(msgspec.json.encode(document))


def test_the_cloud_event_has_what_the_specification_requires() -> None:
    event = Event("e", 1_700_000_000_123, "s", TaskStarted("t", 1, "att", "w"), "worker:w", "r")
    shown = to_cloud_event(event, "arco-flow/acme/main")
    assert {"id", "source", "specversion", "type"} <= shown.keys()
    assert shown["time"] == "2023-11-14T22:13:20.123Z"
    assert shown["data"] == {"task": "t", "attempt": 1, "attemptId": "att", "workerId": "w"}


@pytest.mark.parametrize(
    ("time_ms", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (LATEST_MS, "9999-12-31T23:59:59.999Z"),
        (LATEST_MS + 1, "9999-12-31T23:59:59.999Z"),
        (10**30, "9999-12-31T23:59:59.999Z"),
        (EARLIEST_MS, "0001-01-01T00:00:00.000Z"),
        (-(10**30), "0001-01-01T00:00:00.000Z"),
    ],
)
def test_an_event_of_a_year_that_no_text_can_say_is_shown_in_the_nearest(time_ms, shown) -> None:
    event = Event("e", time_ms, "s", TaskStarted("t", 1, "att", "w"), "a")
    assert to_cloud_event(event, "arco-flow/acme/main")["time"] == shown


def test_a_segment_comes_back_with_order_and_dispositions() -> None:
    event = Event("e", 1, "s", TaskStarted("t", 1, "att", "w"), "a")
    entries = (Entry(event, "applied"), Entry(event, "ignored", "why"), Entry(event, DERIVED))
    segment = Segment(7, 123, 1, entries)
    assert decode_segment(encode_segment(segment)) == segment
