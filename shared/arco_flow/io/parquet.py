"""Data frames as one Parquet file: polars, pandas and pyarrow, in any order of writer and reader.

A library is imported only when a value or an annotation of it is met. Parquet is the format
because all three, and DuckDB, read each other's files.
"""

from __future__ import annotations

import importlib.util
import io
from typing import Any

from arco_flow.domain.errors import ArcoError
from arco_flow.io.annotations import annotation_name, frame_kind, is_open, union_members
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, ValueRefused
from arco_flow.io.frames import Schema, arrow_schema, polars_schema

DATA_NAME = "data.parquet"
_COMPRESSION = "zstd"
_PREFERRED = (("polars", "polars"), ("pyarrow", "pyarrow"), ("pandas", "pandas"))


class ParquetIO:
    """Frames as `data.parquet` (zstd).

    A polars LazyFrame is collected first. An index of a pandas frame other than a plain range
    becomes a column for the other libraries and the index again for pandas.
    """

    name = "parquet"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        """Write the frame. Raises ValueRefused when it is no frame or can not be Parquet."""
        kind = _kind_of(value, target.asset)
        with target.open_path(".parquet") as path:
            rows, schema = _write(kind, value, path, target.asset)
            file = target.put_path(DATA_NAME, path)
        return OutputInfo.of_files(file, row_count=rows, schema=schema)

    def load(self, source: InputSource, type_: object) -> object:
        """Read the frame as the annotation's library has it; without one, by what is installed.

        Raises ValueRefused when the annotation is no frame or its library is not installed.
        """
        kind = _wanted_kind(type_, source.asset)
        return _read(kind, source.open(source.file()))


def convert_frame(value: Any, type_: object, asset: str) -> object:
    """The frame as `ParquetIO.load` would give it after `save`, without a file."""
    had, wanted = _kind_of(value, asset), _wanted_kind(type_, asset)
    if had == wanted:
        return value
    if (had, wanted) == ("polars", "polars-lazy"):
        return value.lazy()
    if (had, wanted) == ("polars-lazy", "polars"):
        return value.collect()
    # By way of the format: each library turns types into others' a little differently.
    written = io.BytesIO()
    _write(had, value, written, asset)
    return _read(wanted, written.getvalue())


def _write(kind: str, value: Any, file: str | io.BytesIO, asset: str) -> tuple[int, Schema]:
    try:
        return _write_by_library(kind, value, file)
    except ArcoError:
        raise
    except Exception as error:
        raise _unwritable(value, asset, error) from error


def _write_by_library(kind: str, value: Any, file: str | io.BytesIO) -> tuple[int, Schema]:
    if kind.startswith("polars"):
        frame = value.collect() if kind == "polars-lazy" else value
        frame.write_parquet(file, compression=_COMPRESSION)
        return frame.height, polars_schema(frame)
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = _as_table(kind, value, pa)
    pq.write_table(table, file, compression=_COMPRESSION)
    return table.num_rows, arrow_schema(table.schema)


def _as_table(kind: str, value: Any, pa: Any) -> Any:
    if kind == "pandas":
        return pa.Table.from_pandas(value)
    if kind == "pyarrow-batch":
        return pa.Table.from_batches([value])
    return value.read_all() if kind == "pyarrow-reader" else value


def _read(kind: str, data: str | bytes) -> object:
    if kind.startswith("polars"):
        return _read_polars(kind, data)
    import pyarrow as pa
    import pyarrow.parquet as pq

    # ParquetFile, not read_table: the latter would take `date=…` folders for hive partitions
    # and add columns that nobody wrote.
    with pq.ParquetFile(data if isinstance(data, str) else pa.BufferReader(data)) as file:
        table = file.read()
    if kind == "pandas":
        return table.to_pandas()
    if kind == "pyarrow-batch":
        return _one_batch(table, pa)
    return table.to_reader() if kind == "pyarrow-reader" else table


def _one_batch(table: Any, pa: Any) -> object:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _read_polars(kind: str, data: str | bytes) -> object:
    import polars as pl

    # No globbing and no hive columns: the folder names of a version are keys, not patterns.
    if isinstance(data, str) and kind == "polars-lazy":
        return pl.scan_parquet(data, glob=False, hive_partitioning=False)
    file = data if isinstance(data, str) else io.BytesIO(data)
    frame = pl.read_parquet(file, glob=False, hive_partitioning=False)
    return frame.lazy() if kind == "polars-lazy" else frame


def _wanted_kind(type_: object, asset: str) -> str:
    members = union_members(type_)
    kinds = [kind for kind in map(frame_kind, members) if kind is not None]
    if not kinds and (type_ is None or any(map(is_open, members))):
        return _default_kind()
    if not kinds:
        raise ValueRefused(
            f"the version of '{asset}' is a data frame (IO 'parquet'), the parameter "
            f"asks for {annotation_name(type_)}",
            fix="annotate the parameter with polars.DataFrame, pandas.DataFrame or pyarrow.Table",
        )
    library = "pyarrow" if kinds[0].startswith("pyarrow") else kinds[0].removesuffix("-lazy")
    _require(library)
    return kinds[0]


def _default_kind() -> str:
    for library, kind in _PREFERRED:
        if importlib.util.find_spec(library) is not None:
            return kind
    raise ValueRefused(
        "no data frame library is installed, so a Parquet version can not be read",
        fix="pip install 'arco-flow[polars]' (or [pandas], [pyarrow])",
    )


def _require(library: str) -> None:
    needed = ("pandas", "pyarrow") if library == "pandas" else (library,)
    for name in needed:
        if importlib.util.find_spec(name) is None:
            raise ValueRefused(
                f"reading a frame with {library} needs {name}, which is not installed",
                fix=f"pip install 'arco-flow[{library}]'",
            )


def _kind_of(value: object, asset: str) -> str:
    kind = frame_kind(type(value))
    if kind is None:
        raise _no_frame(value, asset)
    return kind


def _no_frame(value: object, asset: str) -> ValueRefused:
    name = annotation_name(type(value))
    fix = "return a polars.DataFrame, polars.LazyFrame, pandas.DataFrame or pyarrow.Table"
    if type(value).__name__ == "Series":
        fix = "return `value.to_frame()`: a version is a table with named columns"
    elif value is None:
        fix += "; or annotate `-> None` if the asset produces no value"
    elif isinstance(value, dict | list):
        fix += "; or annotate the function with the dict or list type to store JSON"
    return ValueRefused(f"'{asset}' returned {name}, which the IO 'parquet' can not store", fix=fix)


def _unwritable(value: object, asset: str, error: Exception) -> ValueRefused:
    fix = "give every column one Parquet type (cast mixed or object columns) and unique names"
    if isinstance(error, ImportError):
        fix = "pip install 'arco-flow[pandas]' (pandas writes Parquet through pyarrow)"
    return ValueRefused(
        f"'{asset}' returned a {annotation_name(type(value))} that can not be written as "
        f"Parquet: {error}",
        fix=fix,
    )
