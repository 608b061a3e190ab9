"""load_asset_value: what a plane made, read from its state folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from arco_flow import ArcoError, load_asset_value, load_definitions
from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.sdk.definitions import Definitions
from e2e.harness import PlaneUnderTest, running_plane, write_module

LAKE = """
    import polars as pl

    from arco_flow import (
        CheckResult, DailyPartitions, DynamicPartitions, InputSource, MultiPartitions, OutputInfo,
        OutputTarget, PartitionKey, StaticPartitions, asset,
    )

    days = DailyPartitions("2026-01-01")
    grid = MultiPartitions({"date": days, "region": StaticPartitions(["eu", "us"])})

    class TextIO:
        name = "text-of-the-lake"

        def save(self, value: object, target: OutputTarget) -> OutputInfo:
            return OutputInfo.of_files(target.put("text.txt", str(value).encode()))

        def load(self, source: InputSource, type_: object) -> object:
            return source.read(source.file()).decode()

    @asset
    def answer() -> dict[str, int]:
        return {"n": 42}

    @asset(io=TextIO())
    def text() -> str:
        return "hello"

    @asset(partitions=days)
    def table(day: PartitionKey) -> pl.DataFrame:
        return pl.DataFrame({"day": [str(day)]})

    @table.check(blocking=True)
    def is_not_the_third(table: pl.DataFrame, day: PartitionKey) -> bool:
        return day != "2026-01-03"

    @asset(partitions=grid)
    def cell(key: PartitionKey) -> str:
        return str(key)

    @asset(partitions=DynamicPartitions("customers"))
    def invoice(customer: PartitionKey) -> str:
        return f"invoice of {customer}"

    @asset
    def never() -> int:
        return 1
"""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PlaneUnderTest, Definitions]]:
    folder = tmp_path_factory.mktemp("lake")
    module = write_module(folder, "lake", LAKE)
    path = list(sys.path)
    with running_plane(folder) as plane:
        plane.deploy(module)
        definitions = load_definitions(module)
        plane.cli("partitions", "add", "customers", "anna", "bob")
        for selection, partitions in (
            ("lake.answer or lake.text", []),
            ("lake.table", ["2026-01-01", "2026-01-02"]),
            ("lake.cell", ["2026-01-01|us"]),
            ("lake.invoice", ["anna"]),
        ):
            run = plane.request(selection, partitions=partitions)
            assert plane.wait(run.run_id).state == "SUCCEEDED"
        plane.wait(plane.request("lake.table", partitions=["2026-01-03"]).run_id)
        yield plane, definitions
    sys.path[:] = path


@pytest.fixture
def folder(lake: tuple[PlaneUnderTest, Definitions]) -> Path:
    return lake[0].folder


def asset_of(lake: Any, name: str) -> Any:
    return lake[1].asset(name)


def test_a_value_has_the_type_that_its_function_returns(lake: Any, folder: Path) -> None:
    assert load_asset_value(asset_of(lake, "answer"), project=folder) == {"n": 42}
    table = load_asset_value(asset_of(lake, "table"), "2026-01-02", project=folder)
    assert isinstance(table, pl.DataFrame)
    assert table["day"].to_list() == ["2026-01-02"]
    assert load_asset_value(asset_of(lake, "text"), project=folder) == "hello"


def test_another_type_can_be_asked_for(lake: Any, folder: Path) -> None:
    table = asset_of(lake, "table")
    lazy = load_asset_value(table, "2026-01-02", type_=pl.LazyFrame, project=folder)
    assert lazy.collect().height == 1
    assert load_asset_value(table, "2026-01-02", type_=pa.Table, project=folder).num_rows == 1


def test_a_key_as_text_needs_no_code(folder: Path) -> None:
    assert load_asset_value("lake.answer", project=str(folder)) == {"n": 42}
    assert load_asset_value("lake.answer", type_=dict[str, float], project=folder) == {"n": 42.0}
    assert load_asset_value("lake.cell", "2026-01-01|us", type_=str, project=folder).endswith("us")
    table = load_asset_value("lake.table", "2026-01-01", project=folder)
    assert isinstance(table, pl.DataFrame)


def test_partitions_of_several_dimensions_and_dynamic_ones(lake: Any, folder: Path) -> None:
    cell = {"region": "us", "date": "2026-01-01"}
    assert load_asset_value(asset_of(lake, "cell"), cell, project=folder) == "2026-01-01|us"
    assert load_asset_value(asset_of(lake, "invoice"), "anna", project=folder) == "invoice of anna"


def test_the_current_version_is_read_and_never_a_refused_one(lake: Any, folder: Path) -> None:
    plane = lake[0]
    before = plane.pointer("lake.answer")
    plane.wait(plane.request("lake.answer").run_id)
    assert plane.pointer("lake.answer") != before
    assert load_asset_value(asset_of(lake, "answer"), project=folder) == {"n": 42}
    with pytest.raises(NotFound, match=r"'lake.table\[2026-01-03\]' is not materialized, 2 others"):
        load_asset_value(asset_of(lake, "table"), "2026-01-03", project=folder)


@pytest.mark.parametrize(
    ("name", "key", "kind", "told"),
    [
        ("table", "2026-1-2", InvalidInput, "has no partition '2026-1-2' .*mean '2026-01-02'"),
        ("table", "2025-12-31", InvalidInput, "has no partition '2025-12-31' .*'2026-01-01' to"),
        ("table", "2026-01-04", NotFound, r"'lake.table\[2026-01-04\]' is not materialized"),
        ("table", None, NotFound, "'lake.table' is partitioned, and no partition_key is given"),
        ("cell", "2026-01-01|uk", InvalidInput, r"has no partition .*mean '2026-01-01\|us'"),
        ("cell", "2026-01-01", InvalidInput, "has no partition '2026-01-01'"),
        ("invoice", "ana", NotFound, r"'lake.invoice\[ana\]' is not .*did you mean 'anna'"),
        ("answer", "x", InvalidInput, "partition_key='x', but asset 'lake.answer' is not part"),
        ("table", {"date": "x"}, InvalidInput, "has dimensions, asset 'lake.table' has none"),
        ("never", None, NotFound, "nothing of asset 'lake.never' is materialized"),
    ],
)
def test_what_is_not_there_is_named(
    lake: Any, folder: Path, name: str, key: Any, kind: type[ArcoError], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        load_asset_value(asset_of(lake, name), key, project=folder)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("key", "partition", "told"),
    [
        ("lake.answr", None, "nothing of asset 'lake.answr' .*did you mean 'lake.answer'"),
        ("lake.table", "2026-01-05", r"\[2026-01-05\]' is not materialized, .*mean '2026-01-0"),
        ("lake.table", None, "is partitioned, and no partition_key"),
        ("lake.answer", "2026-01-01", r"'lake.answer\[2026-01-01\]' is not materialized"),
        ("lake.cell", {"region": "us"}, "which a key alone does not know"),
        ("../lake.table", None, "asset key"),
    ],
)
def test_what_a_key_as_text_does_not_find_is_named(
    folder: Path, key: str, partition: Any, told: str
) -> None:
    with pytest.raises(ArcoError, match=told) as caught:
        load_asset_value(key, partition, project=folder)
    assert caught.value.fix


def test_a_folder_without_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no state folder '.*\.arco-flow'"):
        load_asset_value("lake.answer", project=tmp_path)
    with pytest.raises(NotFound, match="no state folder"):
        load_asset_value("lake.answer", project=tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_another_workspace_holds_other_values(folder: Path) -> None:
    with pytest.raises(NotFound, match=r"nothing of asset 'lake\.answer'"):
        load_asset_value("lake.answer", project=folder, workspace="other")


def test_reading_opens_nothing_for_good_and_writes_nothing(folder: Path) -> None:
    def files() -> list[str]:
        return sorted(str(path) for path in (folder / ".arco-flow" / "objects").rglob("*"))

    load_asset_value("lake.answer", project=folder)
    before, opened = files(), len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        load_asset_value("lake.answer", project=folder)
    assert files() == before
    assert len(os.listdir("/proc/self/fd")) <= opened


def test_values_are_there_when_no_plane_is(tmp_path: Path) -> None:
    code = "from arco_flow import asset\n\n@asset\ndef one() -> int:\n    return 1\n"
    module = write_module(tmp_path, "solo", code)
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        plane.wait(plane.request("*").run_id)
    assert load_asset_value("solo.one", type_=int, project=tmp_path) == 1
