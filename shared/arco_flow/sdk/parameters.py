"""What fills each parameter of an asset's function, as far as type and default say.

Annotations are evaluated when they are first needed and not by the decorator, because they may
name what stands further down in the module.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any, Literal

from arco_flow.domain.errors import DefinitionError
from arco_flow.sdk.declare import defaults_of
from arco_flow.sdk.edges import Edge, OutEdge, WindowEdge

if TYPE_CHECKING:
    from arco_flow.sdk.asset import Asset

ParameterKind = Literal["context", "partition_key", "resource", "edge", "named", "defaulted"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    kind: "context", "partition_key" and "resource" are filled by type; "edge" by the asset of
    its default; "named" by the asset of its name; "defaulted" by the asset of its name if there
    is one, else by its own default. annotation: evaluated; text when that failed,
    `inspect.Parameter.empty` when absent.
    """

    name: str
    kind: ParameterKind
    annotation: object
    edge: Edge | None = None

    @property
    def resource_class(self) -> Any:
        """The class that a "resource" parameter asks for."""
        return _bare(self.annotation)


def read_parameters(asset: Asset[..., Any]) -> tuple[Parameter, ...]:
    """The parameters in order. Raises DefinitionError for two that ask for the same context."""
    function: FunctionType = asset._function
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    annotations, defaults = _annotations(asset), defaults_of(function)
    found = tuple(
        _parameter(name, annotations.get(name, inspect.Parameter.empty), defaults) for name in names
    )
    for kind in ("context", "partition_key"):
        same = [parameter.name for parameter in found if parameter.kind == kind]
        if len(same) > 1:
            raise _two_of_a_kind(asset, kind, same)
    return found


def _parameter(name: str, annotation: object, defaults: Mapping[str, Any]) -> Parameter:
    default = defaults.get(name)
    if isinstance(default, OutEdge | WindowEdge):
        return Parameter(name, "edge", annotation, default)
    kind = kind_by_type(annotation)
    if kind is None:
        kind = "defaulted" if name in defaults else "named"
    return Parameter(name, kind, annotation)


def kind_by_type(annotation: object) -> ParameterKind | None:
    """What fills a parameter of this evaluated annotation whatever its name, None when nothing."""
    from arco_flow.sdk.context import AssetContext
    from arco_flow.sdk.partition_key import PartitionKey
    from arco_flow.sdk.resource import Resource

    annotation = _bare(annotation)
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, AssetContext):
        return "context"
    if issubclass(annotation, PartitionKey):
        return "partition_key"
    return "resource" if issubclass(annotation, Resource) else None


def _bare(annotation: object) -> object:
    if typing.get_origin(annotation) is typing.Annotated:
        return typing.get_args(annotation)[0]
    return annotation


def _two_of_a_kind(asset: Asset[..., Any], kind: str, names: list[str]) -> DefinitionError:
    word = "AssetContext" if kind == "context" else "PartitionKey"
    return DefinitionError(
        f"asset '{asset.key}': parameters {' and '.join(map(repr, names))} both ask for the {word}",
        where=str(asset.place),
        fix=f"keep one of them; the annotation {word} is filled once",
        reason="BAD_PARAMETER",
    )


def return_annotation(asset: Asset[..., Any]) -> object:
    """The evaluated return annotation, `inspect.Parameter.empty` without one."""
    return _annotations(asset).get("return", inspect.Parameter.empty)


def _annotations(asset: Asset[..., Any]) -> dict[str, object]:
    return annotations_of(asset._function, asset._local_names)


def annotations_of(function: FunctionType, local_names: Mapping[str, object]) -> dict[str, object]:
    """The evaluated annotations; one that names what is not there at run time stays text."""
    names = dict(local_names)
    if function.__closure__:
        free = function.__code__.co_freevars
        names.update(_filled(free, function.__closure__))
    return {
        name: _evaluate(annotation, function.__globals__, names)
        for name, annotation in function.__annotations__.items()
    }


def _filled(names: tuple[str, ...], cells: tuple[Any, ...]) -> dict[str, object]:
    found = {}
    for name, cell in zip(names, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # the variable is assigned later
            continue
    return found


class _Holder:
    """Something with annotations, which is what typing evaluates."""

    def __init__(self, annotation: object) -> None:
        self.__annotations__ = {"it": annotation}


def _evaluate(annotation: object, names: dict[str, Any], local: dict[str, object]) -> object:
    """The annotation; as it is when it names what exists for type checkers only."""
    if isinstance(annotation, type):
        return annotation
    try:
        hints = typing.get_type_hints(_Holder(annotation), names, local, include_extras=True)
    except Exception:
        return annotation
    return hints["it"]


def require_edges(
    asset: Asset[..., Any], args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Refuse a direct call that leaves an edge's parameter to its stand-in default.

    Raises DefinitionError naming the parameter.
    """
    defaults = asset._function.__defaults__ or ()
    keyword = asset._function.__kwdefaults__ or {}
    if not any(isinstance(item, OutEdge | WindowEdge) for item in (*defaults, *keyword.values())):
        return
    code = asset._function.__code__
    filled = {*code.co_varnames[: len(args)], *kwargs}
    for name, default in defaults_of(asset._function).items():
        if isinstance(default, OutEdge | WindowEdge) and name not in filled:
            raise DefinitionError(
                f"asset '{asset.key}' was called without '{name}', whose default {default!r} "
                "stands for a value",
                where=str(asset.place),
                fix=f"pass it: {asset.name}({name}=…), or let "
                "arco_flow.testing.materialize_to_memory compute it",
                reason="MISSING_ARGUMENT",
            )
