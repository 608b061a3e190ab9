"""The page on security tells of every function who calls it, as the functions' table has it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from arco_flow.adapters.gcp.functions_table import load_functions_table

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
TABLE = load_functions_table(ROOT / "functions" / "functions.yaml")
PROOFS = {"users": "identity token", "attempts": "attempt token", "": "identity token"}


@pytest.mark.parametrize("name", TABLE.functions)
def test_a_function_is_listed_with_its_callers(name):
    row = re.search(rf"^\| `{name}` \| ([^|]+) \| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert row, name
    function = TABLE.function(name)
    assert re.findall(r"`(\w+)`", row[1]) == function.callers
    assert row[2].startswith(PROOFS[function.access])


def test_every_attack_names_a_test_that_is_there():
    rows = re.findall(r"^\| .+ \| (`tests/.+`) \|$", PAGE, re.MULTILINE)
    assert len(rows) > 25
    for row in rows:
        assert all((ROOT / name).is_file() for name in re.findall(r"`([^`]+)`", row)), row
