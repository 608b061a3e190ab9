"""Logical data versions equal Dagster's digests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arco_flow.domain.data_version import UNKNOWN, logical_data_version

VECTORS = [
    case
    for case in json.loads(
        (Path(__file__).parent.parent / "vectors" / "12_misc.json").read_text("utf-8")
    )["cases"]
    if case["kind"] == "data_version"
]


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["id"])
def test_digests_agree_with_dagster(case: dict[str, Any]) -> None:
    assert logical_data_version(case["code_version"], case["inputs"]) == case["data_version"]


def test_the_order_of_inputs_changes_nothing() -> None:
    inputs = {"raw.b": "2", "raw.a": "1"}
    backwards = dict(reversed(inputs.items()))
    assert logical_data_version("7", inputs) == logical_data_version("7", backwards)


def test_another_input_or_code_gives_another_version() -> None:
    first = logical_data_version("7", {"raw.a": "1"})
    assert first != logical_data_version("7", {"raw.a": "2"})
    assert first != logical_data_version("8", {"raw.a": "1"})


def test_nothing_is_said_of_unknown_code() -> None:
    assert logical_data_version(None, {}) == UNKNOWN
