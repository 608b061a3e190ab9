"""An asset that reads its own earlier partition, on the whole stack."""

from __future__ import annotations

from pathlib import Path

import pytest

from arco_flow import load_definitions
from arco_flow.domain.errors import ArcoError
from e2e.harness import PlaneUnderTest, running_plane, write_module

EVERY_PLANE = True

BANK = """
    from collections.abc import Sequence

    from arco_flow import DailyPartitions, PartitionKey, PartitionMapping, asset

    days = DailyPartitions("2026-01-01")
    yesterday = PartitionMapping.time_window(start_offset=-1, end_offset=-1)

    @asset(namespace="t", partitions=days)
    def paid(day: PartitionKey) -> int:
        return day.window.start.day

    @asset(namespace="t", partitions=days, mappings={"balance": yesterday})
    def balance(paid: int, balance: Sequence[int]) -> int:
        return sum(balance) + paid

    @asset(namespace="t", partitions=days, mappings={"highest": yesterday})
    def highest(paid: int, highest: int | None) -> int:
        return max(paid, highest or 0)

    @asset(namespace="t", partitions=days, mappings={"payments": yesterday})
    def payments(paid: int, payments: int = 0) -> int:
        return payments + 1
"""
FIRST, LAST = "2026-01-01", "2026-01-03"


def value(plane: PlaneUnderTest, asset: str, day: str) -> bytes:
    pointer = plane.promoted(asset, f"date=d:{day}")
    stored = plane.objects.get(pointer["version"] + "data.json")
    assert stored is not None
    return stored.data


def test_three_days_are_made_one_after_the_other_and_a_fourth_reads_the_third(
    tmp_path: Path,
) -> None:
    module = write_module(tmp_path, "bank", BANK)
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        run = plane.request("*", partition_range={"start": FIRST, "end": LAST})
        assert plane.wait(run.run_id).state == "SUCCEEDED"
        days = [f"2026-01-0{day}" for day in (1, 2, 3)]
        assert [value(plane, "t.balance", day) for day in days] == [b"1", b"3", b"6"]
        assert [value(plane, "t.highest", day) for day in days] == [b"1", b"2", b"3"]
        assert [value(plane, "t.payments", day) for day in days] == [b"1", b"2", b"3"]

        # Alone, the next day reads what is stored, and the one after it is refused.
        fourth = plane.request("+t.balance", partitions=["2026-01-04"])
        assert plane.wait(fourth.run_id).state == "SUCCEEDED"
        assert value(plane, "t.balance", "2026-01-04") == b"10"
        with pytest.raises(ArcoError, match=r"reads 't.balance\[2026-01-05\]', which was never"):
            plane.request("+t.balance", partitions=["2026-01-06"])


def test_a_failed_day_skips_the_days_after_it(tmp_path: Path) -> None:
    code = BANK.replace("return sum(balance) + paid", "return sum(balance) + paid // (paid - 2)")
    module = write_module(tmp_path, "bank", code)
    assert load_definitions(module).problems() == []
    with running_plane(tmp_path) as plane:
        plane.deploy(module)
        run = plane.request("t.paid or t.balance", partition_range={"start": FIRST, "end": LAST})
        done = plane.wait(run.run_id)
        states = {task.task: task.state for task in done.tasks}
        assert states["t.balance[2026-01-01]"] == "SUCCEEDED"
        assert states["t.balance[2026-01-02]"] == "FAILED"
        assert states["t.balance[2026-01-03]"] == "SKIPPED"
