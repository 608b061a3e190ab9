import datetime as dt
import decimal
from typing import Annotated, Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from version_store import PREFIX, commit, round_trip

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.domain.errors import Conflict
from arco_flow.io.base import OutputTarget, ValueRefused
from arco_flow.io.parquet import ParquetIO
from arco_flow.io.registry import io_for_annotation, load_value

RICH = pl.DataFrame(
    {
        "größe_数": [1, None, 3],
        "name": ["a", None, "ü"],
        "on": [dt.date(2026, 1, 1), None, dt.date(2024, 2, 29)],
        "at": pl.Series(
            [dt.datetime(2026, 1, 1, 2, 3, tzinfo=dt.UTC), None, None],
            dtype=pl.Datetime("us", "UTC"),
        ),
        "price": [decimal.Decimal("1.50"), None, decimal.Decimal("2.25")],
        "flags": [True, False, None],
        "items": [[1, 2], [], None],
        "nested": [{"x": 1, "y": "p"}, {"x": None, "y": None}, {"x": 3, "y": "q"}],
        "ratio": [float("nan"), None, 0.5],
    }
)


@pytest.fixture(params=["bytes", "local files"])
def objects(request, tmp_path):
    return LocalObjects(tmp_path) if request.param == "local files" else MemoryObjects()


def test_a_polars_frame_comes_back_equal(objects):
    loaded = round_trip(RICH, pl.DataFrame, objects=objects)
    assert loaded.equals(RICH, null_equal=True)
    assert loaded.schema == RICH.schema


def test_a_lazy_frame_is_collected_and_loads_lazily(objects):
    loaded = round_trip(RICH.lazy().filter(pl.col("flags")), pl.LazyFrame, objects=objects)
    assert isinstance(loaded, pl.LazyFrame)
    assert loaded.collect().height == 1


def test_the_folder_of_a_partition_adds_no_column(objects):
    """The prefix holds `date=d:2026-01-01`, which hive readers would take for a column."""
    commit(objects, pl.DataFrame({"x": [1]}))
    for annotation in (pl.DataFrame, pl.LazyFrame, pd.DataFrame, pa.Table):
        frame = load_value(objects, PREFIX, annotation)
        names = frame.collect_schema().names() if isinstance(frame, pl.LazyFrame) else None
        assert list(names or getattr(frame, "column_names", None) or frame.columns) == ["x"]


def test_polars_to_pandas_and_back(objects):
    frame = round_trip(RICH, pd.DataFrame, objects=objects)
    assert list(frame.columns) == RICH.columns
    assert frame["name"].isna().tolist() == [False, True, False]
    assert frame["on"][0] == dt.date(2026, 1, 1)
    back = round_trip(frame, pl.DataFrame, objects=MemoryObjects())
    assert back["name"].to_list() == ["a", None, "ü"]
    assert back["items"].to_list() == [[1, 2], [], None]


def test_a_pandas_frame_keeps_its_index(objects):
    frame = pd.DataFrame({"v": [1.5, 2.5]}, index=pd.Index(["k1", "k2"], name="key"))
    pd.testing.assert_frame_equal(round_trip(frame, pd.DataFrame, objects=objects), frame)
    assert load_value(objects, PREFIX, pl.DataFrame).columns == ["v", "key"]


def test_pyarrow_tables_batches_and_readers(objects):
    table = RICH.to_arrow()
    assert round_trip(table, pa.Table, objects=objects).num_rows == 3
    assert load_value(objects, PREFIX, pl.DataFrame).equals(RICH, null_equal=True)
    assert load_value(objects, PREFIX, pa.RecordBatch).num_rows == 3
    assert load_value(objects, PREFIX, pa.RecordBatchReader).read_all().num_rows == 3
    batch = table.to_batches()[0]
    assert commit(MemoryObjects(), batch).row_count == 3
    assert commit(MemoryObjects(), table.to_reader()).row_count == 3


@pytest.mark.parametrize("annotation", [pl.DataFrame, pd.DataFrame, pa.Table, pa.RecordBatch])
def test_an_empty_frame_keeps_its_columns(objects, annotation):
    empty = RICH.clear()
    marker = commit(objects, empty)
    loaded = load_value(objects, PREFIX, annotation)
    assert marker.row_count == 0
    names = loaded.schema.names if isinstance(loaded, pa.RecordBatch | pa.Table) else loaded.columns
    assert list(names) == RICH.columns


def test_an_annotation_that_is_open_loads_polars_first(objects):
    commit(objects, pd.DataFrame({"x": [1]}))
    for annotation in (None, Any, "pd.DataFrame"):
        assert isinstance(load_value(objects, PREFIX, annotation), pl.DataFrame)


def test_optional_and_annotated_frames_are_understood(objects):
    commit(objects, pl.DataFrame({"x": [1]}))
    assert isinstance(load_value(objects, PREFIX, pd.DataFrame | None), pd.DataFrame)
    assert isinstance(load_value(objects, PREFIX, Annotated[pa.Table, "doc"]), pa.Table)


def test_equal_frames_have_equal_hashes():
    first = commit(MemoryObjects(), RICH)
    second = commit(MemoryObjects(), RICH.clone())
    other = commit(MemoryObjects(), RICH.with_columns(pl.lit(1).alias("more")))
    assert first.content_hash == second.content_hash != other.content_hash
    assert first.schema_hash == second.schema_hash != other.schema_hash
    assert first.content_hash == "sha256:" + first.files[0].sha256


def test_a_schema_is_named_alike_whoever_wrote_it():
    by_polars = commit(MemoryObjects(), RICH)
    by_arrow = commit(MemoryObjects(), RICH.to_arrow())
    assert by_polars.schema == by_arrow.schema
    assert by_polars.schema_hash == by_arrow.schema_hash
    assert dict(by_polars.schema)["at"] == "timestamp[us, UTC]"
    assert dict(by_polars.schema)["nested"] == "struct<x: int64, y: string>"


def test_schema_names_of_rarer_types_agree():
    frame = pl.DataFrame(
        {
            "t": [dt.time(1, 2)],
            "d": [dt.timedelta(seconds=1)],
            "b": [b"x"],
            "f": pl.Series([1.0], dtype=pl.Float32),
            "u": pl.Series([1], dtype=pl.UInt8),
            "c": pl.Series(["p"], dtype=pl.Categorical),
            "a": pl.Series([[1, 2]], dtype=pl.Array(pl.Int64, 2)),
            "n": pl.Series([0], dtype=pl.Int64).cast(pl.Datetime("ms")),
            "z": [None],
        }
    )
    assert commit(MemoryObjects(), frame).schema == commit(MemoryObjects(), frame.to_arrow()).schema


def test_the_wrong_value_is_refused_with_a_mend():
    with pytest.raises(ValueRefused) as caught:
        commit(MemoryObjects(), {"x": 1}, annotation=pl.DataFrame)
    text = str(caught.value)
    assert "'a.b' returned dict" in text
    assert "chosen by the return annotation polars.DataFrame" in text
    assert "fix:" in text


def test_none_for_a_frame_says_what_to_annotate():
    with pytest.raises(ValueRefused, match="-> None"):
        commit(MemoryObjects(), None, annotation=pl.DataFrame)


def test_a_series_is_told_to_become_a_frame():
    with pytest.raises(ValueRefused, match="to_frame"):
        ParquetIO().save(pl.Series([1]), OutputTarget(MemoryObjects(), PREFIX, "a.b"))


def test_a_frame_that_parquet_can_not_hold_is_refused():
    mixed = pd.DataFrame({"x": [1, "a", object()]})
    with pytest.raises(ValueRefused, match="can not be written as Parquet"):
        commit(MemoryObjects(), mixed)


def test_a_frame_asked_as_a_list_is_refused(objects):
    commit(objects, pl.DataFrame({"x": [1]}))
    with pytest.raises(ValueRefused, match=r"asks for list\[dict\]"):
        load_value(objects, PREFIX, list[dict], asset="a.b")


def test_annotations_choose_the_io():
    assert io_for_annotation(pl.LazyFrame) == "parquet"
    assert io_for_annotation(pl.DataFrame | pd.DataFrame) == "parquet"
    assert io_for_annotation(pl.DataFrame | None) == "auto"
    assert io_for_annotation("pl.DataFrame") == "auto"
    assert io_for_annotation(Any) == "auto"


def test_writing_one_attempt_twice_is_a_success_when_equal(objects):
    assert commit(objects, RICH) == commit(objects, RICH)


def test_writing_other_content_under_one_attempt_is_a_conflict(objects):
    commit(objects, RICH)
    with pytest.raises(Conflict, match="another content"):
        commit(objects, RICH.head(1))
