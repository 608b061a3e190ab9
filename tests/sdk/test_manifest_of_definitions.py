"""The manifest that definitions give: complete, relative, equal in every process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arco_flow import load_definitions
from arco_flow.domain.manifest import manifest_bytes, parse_manifest
from arco_flow.domain.partition_mappings import PartitionMapping
from arco_flow.sdk.definitions import Definitions

SHARED = str(Path(__file__).parents[2] / "shared")

FLOW = '''\
from __future__ import annotations
from collections.abc import Sequence
from arco_flow import *
from helper import factor

days = DailyPartitions("2026-01-01", timezone="Europe/Berlin")


@asset(
    partitions=days,
    retry=RetryPolicy(3, "10s", backoff="exponential", on=(TimeoutError, ValueError)),
    owners=["team:sales", "ana@example.com"],
    tags={"tier": "gold", "a": ""},
    kinds={"python", "dbt", "sql"},
    metadata={"z": [1, {"b": True, "a": None}]},
    group="marts/sales",
    timeout="1h", start_timeout=60, heartbeat_timeout="2m",
    priority=5, pool="warehouse", cpu=0.5, memory="1.5GiB",
)
def orders() -> list[int]:
    """Every paid order.

        indented
    """
    return [factor]


@orders.check(blocking=True)
def is_not_empty(rows: list[int]) -> bool:
    """There is one."""
    return bool(rows)


@asset(partitions=days, checks=[is_not_empty.function])
def copy_of_orders(orders: list[int]) -> list[int]:
    return orders


@asset(partitions=days, deps=[copy_of_orders])
def rolling(last: Sequence[list[int]] = orders[-6:]) -> int:
    return len(last)


@asset(
    partitions=WeeklyPartitions("2026-01-01", timezone="Europe/Berlin"),
    mappings={"copy_of_orders": PartitionMapping.time_window(start_offset=-1)},
    deps=["rolling", copy_of_orders],
)
def weekly(orders: dict[str, list[int]]) -> int:
    return len(orders)


@asset(kind="activity", deps=[weekly])
def notify() -> None:
    return None


@asset
def everything(all_days: Sequence[list[int]] = orders[:]) -> int:
    return len(all_days)
'''


@pytest.fixture
def flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "flow.py").write_text(FLOW)
    (tmp_path / "helper.py").write_text("factor = 2\n")
    return tmp_path


def test_every_keyword_arrives_in_the_manifest(flow: Path) -> None:
    manifest = load_definitions("flow.py").manifest()
    assert [asset.key for asset in manifest.assets] == [
        "flow.copy_of_orders",
        "flow.everything",
        "flow.notify",
        "flow.orders",
        "flow.rolling",
        "flow.weekly",
    ]
    orders = manifest.by_key()["flow.orders"]
    assert orders.description == "Every paid order.\n\nindented"
    assert orders.owners == ["team:sales", "ana@example.com"]
    assert orders.kinds == ["dbt", "python", "sql"]
    assert orders.tags == {"a": "", "tier": "gold"}
    assert orders.metadata == {"z": [1, {"a": None, "b": True}]}
    assert orders.group == "marts/sales"
    timeouts, resources = orders.timeouts, orders.resources
    assert (timeouts.start_ms, timeouts.heartbeat_ms) == (60_000, 120_000)
    assert timeouts.execution_ms == 3_600_000
    assert (resources.cpu_millis, resources.memory_mib) == (500, 1536)
    assert (orders.priority, orders.pool) == (5, "warehouse")
    assert (orders.source.file, orders.source.line) == ("flow.py", 20)
    (check,) = orders.checks
    assert (check.name, check.blocking, check.severity) == ("is_not_empty", True, "error")
    assert check.description == "There is one."
    assert manifest.by_key()["flow.notify"].kind == "activity"


def test_edges_have_their_mappings_and_shapes(flow: Path) -> None:
    manifest = load_definitions("flow.py").manifest()
    (last, order_only) = manifest.by_key()["flow.rolling"].deps
    assert (last.asset, last.param, last.shape) == ("flow.orders", "last", "sequence")
    assert last.mapping == PartitionMapping.time_window(start_offset=-6).to_wire()
    assert (order_only.asset, order_only.param) == ("flow.copy_of_orders", "")
    weekly = manifest.by_key()["flow.weekly"].deps
    assert [(dep.asset, dep.param, dep.shape) for dep in weekly] == [
        ("flow.orders", "orders", "mapping"),
        ("flow.copy_of_orders", "", "value"),
        ("flow.rolling", "", "value"),
    ]
    assert weekly[0].mapping is None
    assert weekly[1].mapping == PartitionMapping.time_window(start_offset=-1).to_wire()
    (everything,) = manifest.by_key()["flow.everything"].deps
    assert everything.mapping == PartitionMapping.all().to_wire()


def test_it_passes_the_planes_own_validation(flow: Path) -> None:
    manifest = load_definitions("flow.py").manifest()
    assert parse_manifest(manifest_bytes(manifest)) == manifest


PRINT = """
import sys
from arco_flow import load_definitions
from arco_flow.domain.manifest import manifest_bytes
sys.stdout.buffer.write(manifest_bytes(load_definitions(sys.argv[1]).manifest()))
"""


def test_it_is_equal_in_every_process_and_folder(flow: Path) -> None:
    elsewhere = flow / "else where"
    elsewhere.mkdir()
    for name in ("flow.py", "helper.py"):
        shutil.copy(flow / name, elsewhere / name)
    made = set()
    for seed, folder in (("0", flow), ("1", flow), ("4242", elsewhere)):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": SHARED}
        command = [sys.executable, "-c", PRINT, str(folder / "flow.py")]
        done = subprocess.run(command, env=environment, capture_output=True, check=True, cwd="/")
        made.add(done.stdout)
    assert len(made) == 1
    raw = made.pop()
    assert str(flow).encode() not in raw
    assert raw == manifest_bytes(load_definitions("flow.py").manifest())


def versions(flow: Path) -> tuple[str, dict[str, str]]:
    manifest = load_definitions("flow.py").manifest()
    return manifest.code_version_id, {a.key: a.code_version for a in manifest.assets}


def change(flow: Path, old: str, new: str) -> None:
    text = (flow / "flow.py").read_text()
    assert old in text
    (flow / "flow.py").write_text(text.replace(old, new))


def test_the_code_version_of_an_asset_is_that_of_its_function(flow: Path) -> None:
    location, before = versions(flow)
    change(flow, "return len(last)", "return len(last) + 1  # why")
    changed_location, after = versions(flow)
    assert {key for key in before if before[key] != after[key]} == {"flow.rolling"}
    assert location != changed_location
    change(flow, "len(last) + 1  # why", "len(last) + 1  # because")
    assert versions(flow)[1]["flow.rolling"] != after["flow.rolling"]


def test_decorators_and_line_ends_make_no_new_code_version(flow: Path) -> None:
    location, before = versions(flow)
    change(flow, 'group="marts/sales"', 'group="marts"')
    assert versions(flow)[1] == before
    (flow / "flow.py").write_bytes(FLOW.replace("\n", "\r\n").encode())
    assert versions(flow) == (location, before)


def test_a_helper_module_counts_in_the_version_of_the_location(flow: Path) -> None:
    location, before = versions(flow)
    (flow / "helper.py").write_text("factor = 3\n")
    assert versions(flow)[0] != location
    after = versions(flow)[1]
    assert {key for key in before if before[key] != after[key]} == {"flow.orders"}, "it uses it"
    (flow / "unrelated.py").write_text("x = 1\n")
    (flow / "helper.py").write_text("factor = 2\n")
    assert versions(flow)[0] == location


def test_definitions_made_by_hand_have_a_manifest_too(flow: Path) -> None:
    loaded = load_definitions("flow.py")
    manifest = Definitions(loaded.assets).manifest()
    assert manifest.assets == loaded.manifest().assets
    assert Definitions().manifest().assets == []


def test_a_given_code_version_stands(flow: Path) -> None:
    change(flow, "@asset\ndef everything", "@asset(code_version='v7')\ndef everything")
    assert versions(flow)[1]["flow.everything"] == "v7"
