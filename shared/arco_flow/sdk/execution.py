"""Running one asset: what the worker and the tests of users do alike."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arco_flow.domain.errors import InvalidInput
from arco_flow.sdk.asset import Asset, AsyncAsset
from arco_flow.sdk.checks import Check, CheckResult
from arco_flow.sdk.resource_set import ResourceSet

if TYPE_CHECKING:
    from arco_flow.sdk.context import AssetContext
    from arco_flow.sdk.parameters import Parameter
    from arco_flow.sdk.partition_key import PartitionKey

__all__ = [
    "CheckOutcome",
    "ResourceSet",
    "bind_arguments",
    "collect_input",
    "element_annotation",
    "input_annotation",
    "may_be_absent",
    "output_io",
    "refuse_second_output",
    "run_asset",
    "run_checks",
]


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What one check of an attempt came to.

    severity: "error" or "warn". error: `Type: message` when the check itself raised; passed is
    False then. blocks: whether the version must not be promoted.
    """

    name: str
    passed: bool
    severity: str = "error"
    blocking: bool = False
    description: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    error: str = ""

    @property
    def blocks(self) -> bool:
        """A failed blocking check of severity "error"; "warn" never blocks (Dagster)."""
        return self.blocking and not self.passed and self.severity == "error"


def bind_arguments(
    asset: Asset[..., Any],
    context: AssetContext,
    inputs: Mapping[str, object],
    resources: ResourceSet,
) -> dict[str, object]:
    """The value of every parameter, by its name; resources are opened.

    inputs: loaded values of upstream assets by parameter name. Raises InvalidInput when one is
    missing, DefinitionError for a resource that can not be made, and what its open() raises.
    """
    arguments: dict[str, object] = {}
    for parameter in asset.parameters:
        name = parameter.name
        if parameter.kind == "context":
            arguments[name] = context
        elif parameter.kind == "partition_key":
            arguments[name] = context.partition_key
        elif parameter.kind == "resource":
            arguments[name] = resources.get(parameter.resource_class)
        elif name in inputs:
            arguments[name] = inputs[name]
        elif parameter.kind != "defaulted":
            raise InvalidInput(
                f"asset '{asset.key}': no value for its input '{name}'",
                where=str(asset.place),
                fix="deploy again: the plan was made from another version of this code",
                reason="MISSING_INPUT",
            )
    return arguments


def run_asset(asset: Asset[..., Any], arguments: Mapping[str, object]) -> object:
    """Call the function with the arguments, await it when it is async. Raises what it raises.

    Async functions of one process share one event loop, so that they can use what an async
    `open()` of a resource has made.
    """
    result: object = asset.function(**arguments)
    if not isinstance(asset, AsyncAsset):
        return result
    from arco_flow.sdk.loop import run_coroutine

    return run_coroutine(typing.cast("Coroutine[Any, Any, object]", result))


def refuse_second_output(asset: Asset[..., Any], returned: object) -> None:
    """Raises InvalidInput for a value that is returned after context.output() has saved one."""
    if returned is not None:
        raise InvalidInput(
            f"asset '{asset.key}' called context.output() and returned a value as well",
            where=str(asset.place),
            fix="return nothing after context.output(), or only return the value",
            reason="DUPLICATE_OUTPUT",
        )


def run_checks(asset: Asset[..., Any], value: object, context: AssetContext) -> list[CheckOutcome]:
    """Run every check of the asset on its value, in the order of their declaration.

    A check that raises has failed, with its declared severity, and is told apart by `error`;
    the traceback goes to the attempt's log. Nothing is raised.
    """
    return [_outcome(check, value, context) for check in asset.checks]


def _outcome(check: Check[Any], value: object, context: AssetContext) -> CheckOutcome:
    try:
        result = check(value, *_beside_the_value(check, context))
        if not isinstance(result, CheckResult):
            result = _plain_result(check, result)
    except Exception as error:
        context.log.exception("check '%s' raised %s", check.name, type(error).__name__)
        return CheckOutcome(
            check.name,
            passed=False,
            severity=check.severity,
            blocking=check.blocking,
            description=check.description,
            error=f"{type(error).__name__}: {error}",
        )
    return CheckOutcome(
        check.name,
        passed=result.passed,
        severity=result.severity or check.severity,
        blocking=check.blocking,
        description=result.description or check.description,
        metadata=dict(result.metadata),
    )


def _beside_the_value(
    check: Check[Any], context: AssetContext
) -> tuple[AssetContext | PartitionKey, ...]:
    if check.second == "context":
        return (context,)
    return (context.partition_key,) if check.second == "partition_key" else ()


def _plain_result(check: Check[Any], result: object) -> CheckResult:
    # data-frame libraries answer with a bool of their own
    if isinstance(result, bool) or type(result).__name__ in ("bool_", "bool"):
        return CheckResult(bool(result))
    raise TypeError(
        f"check '{check.name}' returned {type(result).__name__}, not a bool or a CheckResult"
    )


def input_annotation(asset: Asset[..., Any], name: str, shape: str) -> object:
    """The type that one loaded version of an input should have.

    shape: of the dependency in the manifest; the element of `Sequence[T]` for "sequence", the
    value of `Mapping[str, T]` for "mapping", the annotation itself for "value".
    `inspect.Parameter.empty` when the annotation does not say.
    """
    for parameter in asset.parameters:
        if parameter.name == name:
            return element_annotation(parameter.annotation, shape)
    raise InvalidInput(
        f"asset '{asset.key}' has no parameter '{name}'",
        where=str(asset.place),
        fix="deploy again: the plan was made from another version of this code",
        reason="MISSING_INPUT",
    )


def collect_input(
    asset: Asset[..., Any], name: str, shape: str, values: Mapping[str, object], upstream: str
) -> dict[str, object]:
    """{name: what the parameter receives}; {} where there is nothing and its own default stands.

    shape: as in input_annotation. values: of the upstream's partitions by key, in their order.
    Raises InvalidInput when one value is needed and there is none, or are several.
    """
    if shape == "mapping":
        return {name: dict(values)}
    if shape == "sequence":
        return {name: list(values.values())}
    if len(values) == 1:
        return {name: next(iter(values.values()))}
    parameter = next(one for one in asset.parameters if one.name == name)
    if not values and may_be_absent(parameter):
        return {} if parameter.kind == "defaulted" else {name: None}
    raise InvalidInput(
        f"asset '{asset.key}' has {len(values) or 'no'} partitions of '{upstream}' to read for its "
        f"parameter '{name}', it needs exactly one",
        where=str(asset.place),
        fix=f"{name}: … | None takes None where there is none, {name}: Sequence[…] any number",
        reason="INPUT_NOT_MATERIALIZED",
    )


def may_be_absent(parameter: Parameter) -> bool:
    """Whether a parameter can do without a value: by a default of its own, or as None."""
    from arco_flow.io.annotations import admits_none

    return parameter.kind == "defaulted" or admits_none(parameter.annotation)


def element_annotation(annotation: object, shape: str) -> object:
    """`T` of `Sequence[T]` or `Mapping[str, T]`, by shape; see input_annotation."""
    if shape == "value":
        return annotation
    args = typing.get_args(annotation)
    wanted = 2 if shape == "mapping" else 1
    return args[-1] if len(args) == wanted else inspect.Parameter.empty


def output_io(asset: Asset[..., Any]) -> str:
    """The name of the asset's own IO, "" when its annotation picks; an IO object is registered.

    Raises Conflict when its name is taken by another IO.
    """
    io = asset.options.io
    if isinstance(io, str):
        return io
    from arco_flow.io.registry import register_io

    return register_io(io).name
