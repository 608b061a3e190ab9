"""Whether a parameter can certainly not take what an upstream asset returns.

Type checkers see typed edges; edges by name they can not see. The comparison here is meant to
find slips and not to prove anything: whenever one side is not plain, the pair passes. IOs convert
within a category (a dict loads as a dataclass, Parquet as any frame), so categories are compared.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence, Set

from arco_flow.io.annotations import (
    annotation_name,
    frame_kind,
    is_model,
    is_open,
    plain_annotation,
    union_members,
)

__all__ = ["annotation_name", "is_certain_mismatch"]

_SCALARS = {str: "text", bytes: "bytes", bool: "flag", int: "whole", float: "number"}
_WIDENING = {("flag", "whole"), ("flag", "number"), ("whole", "number")}


def is_certain_mismatch(produced: object, wanted: object) -> bool:
    """Whether no value of `produced` fits `wanted`, both evaluated annotations."""
    pairs = [(one, two) for one in union_members(produced) for two in union_members(wanted)]
    return all(_differ(one, two) for one, two in pairs)


def _differ(produced: object, wanted: object) -> bool:
    one, two = _category(produced), _category(wanted)
    if not one or not two:
        return False
    if one != two:
        return (one, two) not in _WIDENING
    if one in ("list", "dict"):
        return _parts_differ(produced, wanted)
    return False


def _parts_differ(produced: object, wanted: object) -> bool:
    one, two = (typing.get_args(plain_annotation(side)) for side in (produced, wanted))
    if not one or len(one) != len(two) or Ellipsis in (*one, *two):
        return False
    return any(is_certain_mismatch(left, right) for left, right in zip(one, two, strict=True))


def _category(annotation: object) -> str:
    """Of values that convert into each other; "" when it is not known."""
    annotation = plain_annotation(annotation)
    if annotation is None or annotation is types.NoneType:
        return "nothing"
    if is_open(annotation):
        return ""
    class_ = typing.get_origin(annotation) or annotation
    if not isinstance(class_, type):
        return ""
    if frame_kind(class_):
        return "frame"
    if typing.is_typeddict(class_):
        return "dict"
    return _SCALARS.get(class_) or _container(class_)


def _container(class_: type) -> str:
    if class_ in (list, tuple, set, frozenset, Sequence, Set):
        return "list"
    if class_ is dict or class_ is Mapping or _is_record(class_):
        return "dict"
    return ""


def _is_record(class_: type) -> bool:
    import msgspec

    if issubclass(class_, msgspec.Struct):
        # array_like Structs are lists in JSON
        return not class_.__struct_config__.array_like
    return dataclasses.is_dataclass(class_) or (is_model(class_) and hasattr(class_, "model_dump"))
