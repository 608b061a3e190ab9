"""load_asset_value: what a plane made, read from its state folder or its bucket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from arco_flow import ArcoError, load_asset_value, load_definitions
from arco_flow.domain.errors import InvalidInput, NotFound
from arco_flow.domain.name_partitions import MAX_KEY_BYTES
from arco_flow.sdk.definitions import Definitions
from e2e.harness import (
    EMBEDDED,
    STILL_SECONDS,
    Kind,
    PlaneUnderTest,
    running_plane,
    write_module,
)

EVERY_PLANE = True
LONGEST_KEY = "k" * MAX_KEY_BYTES

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


class Lake:
    """A plane on which runs are over, and its definitions. place: where its values are."""

    def __init__(
        self, plane: PlaneUnderTest, definitions: Definitions, place: dict[str, str]
    ) -> None:
        self.plane = plane
        self.asset = definitions.asset
        self.load = partial(load_asset_value, **place)


def place_of(plane: PlaneUnderTest, patch: pytest.MonkeyPatch) -> dict[str, str]:
    """Where a person reads what the plane stores."""
    if Kind.current in EMBEDDED:
        return {"project": str(plane.folder)}
    from arco_flow.adapters.gcp.emulated import BUCKET

    environment = plane.plane.plane.emulators.environment
    patch.setenv("STORAGE_EMULATOR_HOST", environment["STORAGE_EMULATOR_HOST"])
    tenant, workspace = plane.scope
    return {"project": f"gs://{BUCKET}", "tenant": tenant, "workspace": workspace}


@pytest.fixture(scope="module")
def lake(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("lake")
    module = write_module(folder, "lake", LAKE)
    with pytest.MonkeyPatch.context() as patch, running_plane(folder) as plane:
        patch.setattr(sys, "path", list(sys.path))
        lake = Lake(plane, load_definitions(module), place_of(plane, patch))
        plane.deploy(module)
        plane.cli("partitions", "add", "customers", "anna", "bob", LONGEST_KEY)
        asked = [
            plane.request(selection, partitions=partitions).run_id
            for selection, partitions in (
                ("lake.answer or lake.text", []),
                ("lake.table", ["2026-01-01", "2026-01-02"]),
                ("lake.cell", ["2026-01-01|us"]),
                ("lake.invoice", ["anna", LONGEST_KEY]),
            )
        ]
        assert {plane.wait(run_id).state for run_id in asked} == {"SUCCEEDED"}
        refused = plane.request("lake.table", partitions=["2026-01-03"])
        assert plane.wait(refused.run_id).state == "FAILED"
        plane.kept.settle()
        yield lake


def test_a_value_has_the_type_that_its_function_returns(lake: Lake) -> None:
    assert lake.load(lake.asset("answer")) == {"n": 42}
    table = lake.load(lake.asset("table"), "2026-01-02")
    assert isinstance(table, pl.DataFrame)
    assert table["day"].to_list() == ["2026-01-02"]
    assert lake.load(lake.asset("text")) == "hello"


def test_another_type_can_be_asked_for(lake: Lake) -> None:
    table = lake.asset("table")
    lazy = lake.load(table, "2026-01-02", type_=pl.LazyFrame)
    assert lazy.collect().height == 1
    assert lake.load(table, "2026-01-02", type_=pa.Table).num_rows == 1


def test_a_key_as_text_needs_no_code(lake: Lake) -> None:
    assert lake.load("lake.answer") == {"n": 42}
    assert lake.load("lake.answer", type_=dict[str, float]) == {"n": 42.0}
    assert lake.load("lake.cell", "2026-01-01|us", type_=str).endswith("us")
    table = lake.load("lake.table", "2026-01-01")
    assert isinstance(table, pl.DataFrame)


def test_partitions_of_several_dimensions_and_dynamic_ones(lake: Lake) -> None:
    cell = {"region": "us", "date": "2026-01-01"}
    assert lake.load(lake.asset("cell"), cell) == "2026-01-01|us"
    assert lake.load(lake.asset("invoice"), "anna") == "invoice of anna"


def test_the_longest_key_names_a_partition_like_any_other(lake: Lake) -> None:
    assert lake.load(lake.asset("invoice"), LONGEST_KEY) == f"invoice of {LONGEST_KEY}"
    longer = lake.plane.cli("partitions", "add", "customers", f"{LONGEST_KEY}k", check=False)
    assert longer.returncode == 1
    assert "has 3,001 bytes; at most 3,000" in longer.stderr


def test_the_current_version_is_read_and_never_a_refused_one(lake: Lake) -> None:
    plane = lake.plane
    before = plane.pointer("lake.answer")
    plane.wait(plane.request("lake.answer").run_id)
    plane.kept.settle()
    assert plane.pointer("lake.answer") != before
    assert lake.load(lake.asset("answer")) == {"n": 42}
    with pytest.raises(NotFound, match=r"'lake.table\[2026-01-03\]' is not materialized, 2 others"):
        lake.load(lake.asset("table"), "2026-01-03")


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
    lake: Lake, name: str, key: Any, kind: type[ArcoError], told: str
) -> None:
    with pytest.raises(kind, match=told) as caught:
        lake.load(lake.asset(name), key)
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
    lake: Lake, key: str, partition: Any, told: str
) -> None:
    with pytest.raises(ArcoError, match=told) as caught:
        lake.load(key, partition)
    assert caught.value.fix


def test_another_workspace_holds_other_values(lake: Lake) -> None:
    with pytest.raises(NotFound, match=r"nothing of asset 'lake\.answer'"):
        lake.load("lake.answer", workspace="other")


def test_reading_writes_nothing(lake: Lake) -> None:
    lake.plane.kept.settle(still_seconds=STILL_SECONDS[Kind.current])
    with lake.plane.kept.unchanged():
        lake.load("lake.answer")
        lake.load(lake.asset("table"), "2026-01-01")
        with pytest.raises(NotFound):
            lake.load("lake.nothing")
