"""What is refused on the way from code to a run says how to mend it."""

from __future__ import annotations

import pytest

from arco_flow.domain.errors import InvalidInput
from arco_flow.domain.identifiers import validate_labels
from arco_flow.domain.multi_partitions import MultiPartitions
from arco_flow.domain.name_partitions import MAX_KEY_BYTES, check_name
from arco_flow.domain.partition_keys import MAX_DIMENSIONS
from arco_flow.domain.targets import check_count
from arco_flow.domain.time_partitions import DailyPartitions
from arco_flow.domain.wire import canonical_json

DAYS = DailyPartitions("2026-01-01")
DEEP: list = []
for _ in range(100):
    DEEP = [DEEP]

REFUSED = {
    "an object that is no JSON": lambda: canonical_json({"a": object()}),
    "a key that is no text": lambda: canonical_json({1: "a"}),
    "nesting without end": lambda: canonical_json(DEEP),
    "a format that is no text": lambda: DailyPartitions("2026-01-01", fmt=5),
    "a format of two lines": lambda: DailyPartitions("2026-01-01", fmt="%Y\n%m-%d"),
    "no window left": lambda: DailyPartitions("2026-01-01", exclusions=["* * * * *"]),
    "a format of what joins keys": lambda: MultiPartitions(
        {"date": DailyPartitions("2026-01-01", fmt="%Y|%m|%d")}
    ),
    "too many dimensions": lambda: MultiPartitions(
        {f"d{number}": DAYS for number in range(MAX_DIMENSIONS + 1)}
    ),
    "too many labels": lambda: validate_labels({str(number): "" for number in range(129)}),
    "a selection of nothing": lambda: check_count({}),
    "a name that is too long": lambda: check_name("é" * (MAX_KEY_BYTES // 2 + 1)),
    "names that are too long together": lambda: check_count({"t.a": ["k" * MAX_KEY_BYTES + "|k"]}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_names_its_mend(what) -> None:
    with pytest.raises(InvalidInput) as raised:
        REFUSED[what]()
    assert raised.value.fix
