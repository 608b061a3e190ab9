import collections
import dataclasses
import datetime as dt
import enum
from typing import Any, Literal, TypedDict

import msgspec
import numpy as np
import polars as pl
import pytest
from version_store import PREFIX, commit, round_trip

from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.io.base import ValueRefused
from arco_flow.io.registry import io_for_annotation, load_value


class Point(msgspec.Struct):
    x: int
    label: str = "p"


@dataclasses.dataclass
class Report:
    day: dt.date
    points: list[Point]


class Colour(enum.Enum):
    RED = "red"


class Row(TypedDict):
    n: int


class Model:
    """What this library knows of a pydantic model: these two methods."""

    def __init__(self, n: int) -> None:
        self.n = n

    @classmethod
    def model_validate(cls, value: Any) -> "Model":
        if not isinstance(value, dict) or not isinstance(value.get("n"), int):
            raise ValueError("n must be a whole number")
        return cls(value["n"])

    def model_dump(self, mode: str) -> dict[str, int]:
        assert mode == "json"
        return {"n": self.n}


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        ({"b": 1, "a": [1.5, None, "ü"]}, dict),
        ([1, 2], list[int]),
        ((1, "a"), tuple[int, str]),
        ({"x", "y"}, set[str]),
        (5, int),
        ("text", str),
        (True, bool),
        (Point(1), Point),
        (Report(dt.date(2026, 1, 1), [Point(2, "q")]), Report),
        ({1: "a", 2: "b"}, dict[int, str]),
        (Colour.RED, Colour),
        ([{"n": 1}], list[Row]),
        ("a", Literal["a", "b"]),
        ({"at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, dict[str, dt.datetime]),
        ([b"raw"], list[bytes]),
    ],
)
def test_values_come_back_as_annotated(value, annotation):
    assert round_trip(value, annotation, objects=MemoryObjects()) == value


def test_without_annotation_json_comes_back_in_its_own_types():
    assert round_trip((1, {"k": Point(3)}), Any, objects=MemoryObjects()) == [
        1,
        {"k": {"x": 3, "label": "p"}},
    ]


def test_a_dictionary_keeps_its_order():
    objects = MemoryObjects()
    assert list(round_trip({"z": 1, "a": 2}, dict, objects=objects)) == ["z", "a"]


def test_models_are_dumped_and_validated():
    objects = MemoryObjects()
    loaded = round_trip([Model(7)], list[Model], objects=objects)
    assert loaded[0].n == 7
    assert load_value(objects, PREFIX, list[dict[str, int]]) == [{"n": 7}]


def test_a_model_that_does_not_validate_names_the_path():
    objects = MemoryObjects()
    commit(objects, [{"n": "seven"}])
    with pytest.raises(ValueRefused, match=r"n must be a whole number - at `\$\[0\]`"):
        load_value(objects, PREFIX, list[Model], asset="a.b")


def test_numpy_and_dict_subclasses_become_plain():
    value = {"n": np.int64(3), "f": np.float64(0.5), "v": np.array([1, 2]), "c": [np.bool_(True)]}
    assert round_trip(value, dict, objects=MemoryObjects()) == {
        "n": 3,
        "f": 0.5,
        "v": [1, 2],
        "c": [True],
    }
    counts = collections.Counter("aab")
    assert round_trip(counts, dict[str, int], objects=MemoryObjects()) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1.0, float("nan")]}, r"nan at `\$\.a\[1\]`"),
        ({"a": float("inf")}, r"inf at `\$\.a`"),
        ({"a": {"b": object()}}, r"object is no JSON value at `\$\.a\.b`"),
        ({1: "a", "1": "b"}, r"keys of types int, str mixed at `\$`"),
        ({float("nan"): 1}, "not finite"),
        ({(1, 2): 3}, "keys"),
        (Point("\ud800"), "json"),  # type: ignore[arg-type]
        ({"f": np.float64("nan")}, r"nan at `\$\.f`"),
    ],
)
def test_what_json_can_not_hold_is_refused_naming_the_place(value, path):
    with pytest.raises(ValueRefused, match=path):
        commit(MemoryObjects(), value, io="json")


def test_deep_nesting_is_refused():
    value: list[Any] = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueRefused, match="nested deeper"):
        commit(MemoryObjects(), value)


def test_a_document_that_does_not_fit_names_asset_annotation_and_path():
    objects = MemoryObjects()
    commit(objects, [{"x": 1}, {"x": "no"}])
    with pytest.raises(ValueRefused) as caught:
        load_value(objects, PREFIX, list[Point], asset="sales.points")
    text = str(caught.value)
    assert "'sales.points'" in text
    assert "$[1].x" in text
    assert "Point" in text


def test_a_document_is_no_frame():
    objects = MemoryObjects()
    commit(objects, [{"x": 1}])
    with pytest.raises(ValueRefused, match="no data frame"):
        load_value(objects, PREFIX, pl.DataFrame)


def test_equal_values_have_equal_hashes_also_with_sets():
    names = {f"n{index}" for index in range(50)}
    first = commit(MemoryObjects(), {"s": names})
    second = commit(MemoryObjects(), {"s": {f"n{index}" for index in reversed(range(50))}})
    assert first.content_hash == second.content_hash
    assert first.schema_hash == ""


def test_rows_of_a_list_are_counted():
    assert commit(MemoryObjects(), [1, 2, 3]).row_count == 3
    assert commit(MemoryObjects(), {"a": 1}).row_count is None


@pytest.mark.parametrize("type_", [bytes, bytearray])
def test_bytes_come_back_as_asked(type_):
    loaded = round_trip(b"\x00\xff", type_, annotation=bytes, objects=MemoryObjects())
    assert type(loaded) is type_
    assert loaded == b"\x00\xff"


def test_memoryviews_are_stored_as_bytes():
    assert round_trip(memoryview(b"ab"), None, objects=MemoryObjects()) == b"ab"


def test_bytes_asked_as_text_are_refused():
    objects = MemoryObjects()
    commit(objects, b"x")
    with pytest.raises(ValueRefused, match="asks for str"):
        load_value(objects, PREFIX, str)


def test_no_value_writes_only_the_marker():
    objects = MemoryObjects()
    marker = commit(objects, None, annotation=None)
    assert marker.io == "none"
    assert [meta.key for meta in objects.list(PREFIX)] == [PREFIX + "_commit"]
    assert load_value(objects, PREFIX, Any) is None
    assert load_value(objects, PREFIX, dict | None) is None
    with pytest.raises(ValueRefused, match="produced no value"):
        load_value(objects, PREFIX, pl.DataFrame)


def test_a_value_of_an_asset_without_one_is_refused():
    with pytest.raises(ValueRefused, match="would be lost"):
        commit(MemoryObjects(), 1, annotation=None)


def test_annotations_choose_between_json_bytes_and_none():
    class Plain:
        pass

    assert io_for_annotation(dict[str, int]) == "json"
    assert io_for_annotation(Report) == "json"
    assert io_for_annotation(Model) == "json"
    assert io_for_annotation(collections.abc.Sequence[int]) == "json"
    assert io_for_annotation(bytes) == "bytes"
    assert io_for_annotation(None) == "none"
    assert io_for_annotation(int | str) == "json"
    assert io_for_annotation(Plain) == "auto"


def test_text_of_a_class_of_its_own_is_text() -> None:
    """A partition key is a str subclass: as a value and as a key it is stored as text."""
    from arco_flow import PartitionKey
    from arco_flow.io.json_io import _plain

    key = PartitionKey("2026-01-31")
    stored = _plain({key: [key], "other": key}, "$", 0)
    assert stored == {"2026-01-31": ["2026-01-31"], "other": "2026-01-31"}
    assert {type(name) for name in stored} == {str}
