"""Resolving an asset's edges against all assets: keys, mappings, shapes, types."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean
from arco_flow.domain.partition_mappings import PartitionMapping, infer_mapping, validate_mapping
from arco_flow.sdk.compat import annotation_name, is_certain_mismatch
from arco_flow.sdk.edges import WindowEdge
from arco_flow.sdk.execution import element_annotation, may_be_absent
from arco_flow.sdk.self_edges import earlier_mapping, reads_earlier_only
from arco_flow.sdk.shapes import Shape, reads_one, shape_of_many, shape_of_one

if TYPE_CHECKING:
    from arco_flow.sdk.asset import Asset
    from arco_flow.sdk.catalog import Catalog
    from arco_flow.sdk.parameters import Parameter


UNFILLED: Final = "UNFILLED_PARAMETER"
"""Reason of the error for a parameter that nothing fills."""


@dataclass(frozen=True, slots=True)
class Dependency:
    """One resolved edge, seen from the downstream asset.

    upstream: key. parameter: that takes the value, "" for order only. mapping: what applies;
    is_inferred: nobody wrote it. shape: "value", "sequence" or "mapping".
    """

    upstream: str
    parameter: str
    mapping: PartitionMapping
    is_inferred: bool
    shape: Shape = "value"


def resolve_dependencies(asset: Asset[..., Any], catalog: Catalog) -> tuple[Dependency, ...]:
    """The edges of one asset: inputs in the order of parameters, then order-only by key.

    Raises DefinitionError for the first one that is wrong.
    """
    return _Resolver(asset, catalog).resolve()


class _Resolver:
    def __init__(self, asset: Asset[..., Any], catalog: Catalog) -> None:
        self.asset = asset
        self.catalog = catalog

    def resolve(self) -> tuple[Dependency, ...]:
        asset = self.asset
        inputs: list[tuple[Parameter, str]] = []
        for parameter in asset.parameters:
            key = self._upstream_of(parameter)
            if key is not None:
                inputs.append((parameter, key))
        taken = {key for _, key in inputs}
        wanted = (self.catalog.require(dep, asset, "deps") for dep in asset.options.deps)
        ordered = sorted(set(wanted) - taken)
        mappings = self._mappings({p.name: key for p, key in inputs}, {*taken, *ordered})
        found = [self._input(parameter, key, mappings) for parameter, key in inputs]
        found += [self._dependency(key, "", mappings.get(key)) for key in ordered]
        return tuple(found)

    def _upstream_of(self, parameter: Parameter) -> str | None:
        asset = self.asset
        if parameter.edge is not None:
            return self.catalog.require(parameter.edge.asset, asset, f"{parameter.name}=")
        if parameter.kind == "partition_key" and asset.partitions is None:
            raise self._refused(
                f"parameter '{parameter.name}' asks for the partition key, but the asset is not "
                "partitioned",
                '@asset(partitions=DailyPartitions("2026-01-01")), or drop the parameter',
            )
        if parameter.kind not in ("named", "defaulted"):
            return None
        key = self.catalog.find_named(parameter.name, asset)
        if key is None and parameter.kind == "named":
            raise self._unfilled(parameter)
        return key

    def _unfilled(self, parameter: Parameter) -> DefinitionError:
        hint = self.catalog.hint(parameter.name)
        fix = "name the parameter after an asset, or annotate it with a Resource or AssetContext"
        if isinstance(parameter.annotation, str):
            fix = f"the annotation '{parameter.annotation}' has no value at run time; {fix}"
        return self._refused(
            f"parameter '{parameter.name}' names no asset, and its type is no resource{hint}",
            fix,
            reason=UNFILLED,
        )

    def _mappings(
        self, parameters: Mapping[str, str], keys: set[str]
    ) -> dict[str, PartitionMapping]:
        """Written mappings by parameter name or by key."""
        found: dict[str, PartitionMapping] = {}
        for name, mapping in self.asset.options.mappings.items():
            if not isinstance(mapping, PartitionMapping):
                raise self._refused(
                    f"mappings[{name!r}] is {mapping!r}, no PartitionMapping",
                    "PartitionMapping.time_window(start_offset=-1), .all(), .last(), …",
                )
            if isinstance(name, str) and name in parameters:
                found[name] = mapping
                continue
            key = name if isinstance(name, str) else getattr(name, "key", None)
            if isinstance(key, str) and "." not in key:
                key = self.catalog.find_named(key, self.asset) or key
            if key not in keys:
                shown = key if isinstance(key, str) else repr(name)
                hint = did_you_mean(shown, [*parameters, *sorted(keys)])
                raise self._refused(
                    f"mappings names '{shown}', which is no dependency of it{hint}",
                    f"its dependencies: {', '.join([*parameters, *sorted(keys)]) or 'none'}",
                )
            found[key] = mapping
        return found

    def _input(
        self, parameter: Parameter, key: str, mappings: Mapping[str, PartitionMapping]
    ) -> Dependency:
        written = mappings.get(parameter.name) or mappings.get(key)
        is_window = isinstance(parameter.edge, WindowEdge)
        if is_window:
            if written is not None:
                raise self._refused(
                    f"'{parameter.name}' has both the window {parameter.edge!r} and a mapping",
                    "keep one of them",
                )
            written = _window_mapping(parameter.edge)  # type: ignore[arg-type]
        found = self._dependency(key, parameter.name, written)
        upstream = self.catalog.by_key[key]
        self._check_has_value(parameter, upstream)
        if is_window and upstream.partitions is None:
            raise self._refused(
                f"'{parameter.name}' is the window {parameter.edge!r}, but '{key}' is not "
                "partitioned",
                f"{parameter.name}: … = {upstream.name}.out",
            )
        shape = self._shape(parameter, upstream, found, is_window=is_window)
        self._check_types(parameter, upstream, shape)
        if upstream is self.asset and shape == "value" and not may_be_absent(parameter):
            raise self._no_beginning(parameter)
        return Dependency(key, parameter.name, found.mapping, found.is_inferred, shape)

    def _dependency(self, key: str, name: str, written: PartitionMapping | None) -> Dependency:
        upstream, own = self.catalog.by_key[key].partitions, self.asset.partitions
        mapping = infer_mapping(upstream, own) if written is None else written
        try:
            validate_mapping(mapping, upstream, own)
        except InvalidInput as error:
            raise self._refused(f"its partitions and those of '{key}': {error.message}",
                                error.fix) from None  # fmt: skip
        if key == self.asset.key and not reads_earlier_only(mapping, own):
            raise self._refused(
                "depends on itself, and not on earlier partitions alone",
                earlier_mapping(name or key, own),
                reason="CYCLE",
            )
        return Dependency(key, name, mapping, written is None)

    def _check_has_value(self, parameter: Parameter, upstream: Asset[..., Any]) -> None:
        if upstream.options.kind == "activity":
            raise self._refused(
                f"parameter '{parameter.name}' asks for the value of the activity "
                f"'{upstream.key}', which has none",
                f"@asset(deps=[{upstream.name}]) and no parameter",
            )

    def _shape(
        self,
        parameter: Parameter,
        upstream: Asset[..., Any],
        edge: Dependency,
        *,
        is_window: bool,
    ) -> Shape:
        if not is_window and reads_one(edge.mapping, upstream.partitions, self.asset.partitions):
            # A window of one holds none before the first partition: a sequence can say so.
            may_hold_none = not edge.is_inferred and edge.mapping.kind in (
                "time_window",
                "dimensions",
            )
            if not may_hold_none:
                return "value"
            return shape_of_one(parameter.annotation, upstream.return_annotation)
        shape = shape_of_many(parameter.annotation, "sequence" if is_window else "mapping")
        if shape is None:
            raise self._refused(
                f"parameter '{parameter.name}' gets several partitions of '{upstream.key}', but "
                f"is annotated {annotation_name(parameter.annotation)}",
                f"{parameter.name}: Sequence[T] (in partition order) or dict[str, T] (by key)",
                reason="TYPE_MISMATCH",
            )
        return shape

    def _check_types(self, parameter: Parameter, upstream: Asset[..., Any], shape: Shape) -> None:
        produced = upstream.return_annotation
        wanted = element_annotation(parameter.annotation, shape)
        if inspect.Parameter.empty in (produced, wanted) or not is_certain_mismatch(
            produced, wanted
        ):
            return
        several = "" if shape == "value" else " for each partition"
        raise self._refused(
            f"parameter '{parameter.name}' is {annotation_name(wanted)}{several}, but "
            f"'{upstream.key}' returns {annotation_name(produced)} (at {upstream.place})",
            f"deps=[{upstream.name}] for the order alone"
            if produced is type(None)
            else f"{parameter.name}: {_mended(produced, shape)}",
            reason="TYPE_MISMATCH",
        )

    def _no_beginning(self, parameter: Parameter) -> DefinitionError:
        name = parameter.name
        shown = annotation_name(parameter.annotation)
        return self._refused(
            f"parameter '{name}' is {shown}, but the first partition has no earlier one to read",
            f"{name}: {shown} | None, or a default ({name}: {shown} = …), or "
            f"{name}: Sequence[{shown}], which is empty then",
            reason="TYPE_MISMATCH",
        )

    def _refused(
        self, problem: str, fix: str | None, reason: str = "BAD_DEPENDENCY"
    ) -> DefinitionError:
        return DefinitionError(
            f"asset '{self.asset.key}': {problem}",
            where=str(self.asset.place),
            fix=fix,
            reason=reason,
            details={"asset": self.asset.key},
        )


def _window_mapping(edge: WindowEdge) -> PartitionMapping:
    if edge.start is None:
        return PartitionMapping.all()
    return PartitionMapping.time_window(start_offset=edge.start, end_offset=edge.end)


def _mended(produced: object, shape: Shape) -> str:
    name = annotation_name(produced)
    return {"value": name, "sequence": f"Sequence[{name}]", "mapping": f"dict[str, {name}]"}[shape]
