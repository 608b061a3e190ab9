"""Column types named alike for polars, pandas and pyarrow.

A schema hash must say whether the data changed its shape, not whether the author changed the
library, so both libraries' spellings are brought to one before they are hashed.
"""

from __future__ import annotations

from typing import Any

Schema = tuple[tuple[str, str], ...]

_POLARS_NAMES = {
    "String": "string",
    "Utf8": "string",
    "Boolean": "bool",
    "Date": "date",
    "Time": "time",
    "Binary": "binary",
    "Null": "null",
    "Categorical": "category",
    "Enum": "category",
    "Object": "object",
}
_ARROW_NAMES = {
    "large_string": "string",
    "string_view": "string",
    "large_binary": "binary",
    "binary_view": "binary",
    "date32[day]": "date",
    "date64[ms]": "date",
    "time64[ns]": "time",
    "time64[us]": "time",
    "time32[ms]": "time",
    "time32[s]": "time",
    "float": "float32",
    "double": "float64",
    "halffloat": "float16",
}


def polars_schema(frame: Any) -> Schema:
    """(name, type) of a polars DataFrame's columns."""
    return tuple((name, _polars_type(dtype)) for name, dtype in frame.schema.items())


def arrow_schema(schema: Any) -> Schema:
    """(name, type) of a pyarrow schema's fields."""
    return tuple((field.name, _arrow_type(field.type)) for field in schema)


def _polars_type(dtype: Any) -> str:
    kind = type(dtype).__name__ if not isinstance(dtype, type) else dtype.__name__
    if kind == "List":
        return f"list<{_polars_type(dtype.inner)}>"
    if kind == "Array":
        return f"array<{_polars_type(dtype.inner)}, {dtype.size}>"
    if kind == "Struct":
        inner = (f"{field.name}: {_polars_type(field.dtype)}" for field in dtype.fields)
        return f"struct<{', '.join(inner)}>"
    if kind == "Datetime":
        return _timestamp(dtype.time_unit, dtype.time_zone)
    if kind == "Duration":
        return f"duration[{dtype.time_unit}]"
    if kind == "Decimal":
        return f"decimal({dtype.precision}, {dtype.scale})"
    return _POLARS_NAMES.get(kind, kind.lower())


def _arrow_type(type_: Any) -> str:
    import pyarrow as pa

    is_a = pa.types
    if is_a.is_dictionary(type_):
        return "category"
    if is_a.is_fixed_size_list(type_):
        return f"array<{_arrow_type(type_.value_type)}, {type_.list_size}>"
    if is_a.is_list(type_) or is_a.is_large_list(type_):
        return f"list<{_arrow_type(type_.value_type)}>"
    if is_a.is_struct(type_):
        fields = (type_.field(index) for index in range(type_.num_fields))
        inner = (f"{field.name}: {_arrow_type(field.type)}" for field in fields)
        return f"struct<{', '.join(inner)}>"
    if is_a.is_timestamp(type_):
        return _timestamp(type_.unit, type_.tz)
    if is_a.is_decimal(type_):
        return f"decimal({type_.precision}, {type_.scale})"
    return _ARROW_NAMES.get(str(type_), str(type_))


def _timestamp(unit: str, zone: str | None) -> str:
    return f"timestamp[{unit}, {zone}]" if zone else f"timestamp[{unit}]"
