"""Reading annotations without importing what they name."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterable, Mapping

import msgspec

FRAMES: Mapping[tuple[str, str], str] = types.MappingProxyType(
    {
        ("polars", "DataFrame"): "polars",
        ("polars", "LazyFrame"): "polars-lazy",
        ("pandas", "DataFrame"): "pandas",
        ("pyarrow", "Table"): "pyarrow",
        ("pyarrow", "RecordBatch"): "pyarrow-batch",
        ("pyarrow", "RecordBatchReader"): "pyarrow-reader",
    }
)
"""(library, class) of every frame that the Parquet IO knows -> its kind."""

_SCALARS = (str, int, float, bool)
_CONTAINERS = (dict, list, tuple, set, frozenset)


def frame_kind(class_: object) -> str | None:
    """Kind of a frame class or of a subclass of one, None for anything else."""
    if not isinstance(class_, type):
        return None
    for base in class_.__mro__:
        library = base.__module__.partition(".")[0]
        kind = FRAMES.get((library, base.__name__))
        if kind is not None:
            return kind
    return None


def plain_annotation(annotation: object) -> object:
    """The annotation without `Annotated`, `NewType`, `Final` and type aliases around it."""
    while True:
        origin = typing.get_origin(annotation)
        if origin in (typing.Annotated, typing.Final):
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = getattr(annotation, "__value__", None)
        else:
            return annotation


def union_members(annotation: object) -> tuple[object, ...]:
    """Members of a union (NoneType among them), or the annotation alone."""
    annotation = plain_annotation(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = (union_members(part) for part in typing.get_args(annotation))
        return tuple(member for part in parts for member in part)
    return (annotation,)


def is_open(annotation: object) -> bool:
    """Whether the annotation says nothing: absent, `Any`, `object`, text or a type variable."""
    return (
        annotation is inspect.Parameter.empty
        or annotation is typing.Any
        or annotation is object
        or isinstance(annotation, str | typing.ForwardRef | typing.TypeVar)
    )


def admits_none(annotation: object) -> bool:
    """Whether None is a value of the annotation, or the annotation says nothing."""
    members = union_members(annotation)
    return any(one is None or one is types.NoneType or is_open(one) for one in members)


def is_model(class_: object) -> bool:
    """Whether it is a pydantic model class; pydantic itself is never imported."""
    return isinstance(class_, type) and hasattr(class_, "model_validate")


def is_json_type(annotation: object) -> bool:
    """Whether values of this annotation are JSON documents."""
    if annotation is None or annotation is types.NoneType:
        return True
    class_ = typing.get_origin(annotation) or annotation
    if class_ is typing.Literal or typing.is_typeddict(class_):
        return True
    if not isinstance(class_, type):
        return False
    if issubclass(class_, _SCALARS + _CONTAINERS + (msgspec.Struct,)):
        return True
    if class_.__module__ == "collections.abc":
        return issubclass(class_, Iterable) and hasattr(class_, "__contains__")
    return dataclasses.is_dataclass(class_) or is_model(class_)


def annotation_name(annotation: object) -> str:
    """How people write it: `polars.DataFrame`, `dict[str, int]`."""
    if annotation is inspect.Parameter.empty:
        return "nothing"
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, type) and not typing.get_args(annotation):
        library = annotation.__module__.partition(".")[0]
        return annotation.__name__ if library == "builtins" else f"{library}.{annotation.__name__}"
    return str(annotation).replace("typing.", "")
