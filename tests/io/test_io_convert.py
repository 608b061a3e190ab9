"""What a reader receives in memory is what it would load from a file."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from version_store import round_trip

from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.io.annotations import frame_kind
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, ValueRefused
from arco_flow.io.convert import convert_value
from arco_flow.io.registry import register_io

TABLE = pa.table({"n": [1, 2], "day": pa.array([0, 1], pa.date32()), "name": ["a", None]})
FRAMES = {
    pl.DataFrame: pl.from_arrow(TABLE),
    pl.LazyFrame: pl.from_arrow(TABLE).lazy(),  # type: ignore[union-attr]
    pd.DataFrame: TABLE.to_pandas().set_index("n"),
    pa.Table: TABLE,
    pa.RecordBatch: TABLE.to_batches()[0],
}


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclasses.dataclass
class Order:
    items: dict[int, str]


def stored_and_loaded(value: object, annotation: object) -> object:
    return round_trip(value, annotation, objects=MemoryObjects())


def plain(value: Any) -> object:
    """Something that can be compared."""
    if isinstance(value, pl.LazyFrame):
        value = value.collect()
    if isinstance(value, pl.DataFrame):
        return value.schema, value.rows()
    if isinstance(value, pd.DataFrame):
        return list(value.dtypes), value.reset_index().to_dict("list")
    return value


@pytest.mark.parametrize(
    ("had", "wanted"),
    list(itertools.product(FRAMES, FRAMES)),
    ids=lambda kind: str(frame_kind(kind)),
)
def test_a_frame_becomes_any_other_as_by_a_file(had: type, wanted: type) -> None:
    got = convert_value(FRAMES[had], wanted, asset="t.a")
    assert isinstance(got, wanted)
    assert plain(got) == plain(stored_and_loaded(FRAMES[had], wanted))


def test_a_frame_of_the_wanted_kind_is_handed_over_itself() -> None:
    for kind, frame in FRAMES.items():
        assert convert_value(frame, kind) is frame
    assert isinstance(convert_value(FRAMES[pd.DataFrame], Any), pl.DataFrame)


VALUES = [
    (Point(1), dict),
    ({"x": 1}, Point),
    ([{"x": 1}, {"x": 2}], list[Point]),
    (Order({1: "a"}), Order),
    (Order({1: "a"}), Any),
    ((1, 2), list[int]),
    ({3, 1}, set[int]),
    ({1: "a"}, dict[int, str]),
    ({1: "a"}, Any),
    (b"x", bytearray),
    (None, int | None),
    (2.5, float),
]


@pytest.mark.parametrize(("value", "wanted"), VALUES, ids=str)
def test_other_values_become_what_they_would_be_from_a_file(value: object, wanted: object) -> None:
    got = convert_value(value, wanted, asset="t.a")
    assert got == stored_and_loaded(value, wanted)
    assert type(got) is type(stored_and_loaded(value, wanted))


@pytest.mark.parametrize(
    ("value", "wanted", "io", "message"),
    [
        (FRAMES[pl.DataFrame], list, "", "'t.a' is a data frame .* asks for list"),
        ([1], pl.DataFrame, "", "'t.a' does not fit .* it is no data frame"),
        ({"x": "a"}, Point, "", r"'t.a' does not fit .* `\$\.x`"),
        (object(), Any, "", "'t.a' returned object, which the IO 'json' can not store"),
        (float("nan"), float, "", "nan at `\\$` has no JSON form"),
        (b"x", str, "", "'t.a' is bytes, the parameter asks for str"),
        (None, int, "", "'t.a' produced no value, the parameter asks for int"),
        (5, bytes, "bytes", "'t.a' returned int, the IO 'bytes' stores bytes"),
        ([1], pl.DataFrame, "parquet", "'t.a' returned list, which the IO 'parquet'"),
        (1, Any, "none", "'t.a' returned int, but is declared to produce no value"),
    ],
)
def test_what_a_file_would_refuse_is_refused(
    value: object, wanted: object, io: str, message: str
) -> None:
    with pytest.raises(ValueRefused, match=message):
        convert_value(value, wanted, asset="t.a", io=io)


def test_what_an_io_of_the_users_stores_is_handed_over_as_it_is() -> None:
    class Own:
        pass

    class OwnIO:
        name = "own-in-memory"

        def save(self, value: object, target: OutputTarget) -> OutputInfo:
            return OutputInfo()

        def load(self, source: InputSource, type_: object) -> object:
            return Own()

    register_io(OwnIO(), Own)
    value = Own()
    assert convert_value(value, dict) is value
    assert convert_value([1], str, io="own-in-memory") == [1]
