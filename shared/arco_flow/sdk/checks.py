"""Data checks: what must hold of an asset's value before, or after, others may use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeAlias, TypeVar

from arco_flow.domain.errors import DefinitionError, did_you_mean
from arco_flow.sdk.source import Place, place_of

if TYPE_CHECKING:
    from arco_flow.sdk.context import AssetContext
    from arco_flow.sdk.partition_key import PartitionKey

Severity = Literal["error", "warn"]
SEVERITIES: Final = ("error", "warn")

V_contra = TypeVar("V_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a check found.

    description: one sentence for people. metadata: JSON values shown beside it.
    severity: outweighs the one that the check was declared with; None leaves that one.
    Raises DefinitionError for an unknown severity.
    """

    passed: bool
    description: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)
    severity: Severity | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "passed", bool(self.passed))
        if self.severity is not None:
            check_severity(self.severity)


if TYPE_CHECKING:
    CheckFunction: TypeAlias = (
        Callable[[V_contra], bool | CheckResult]
        | Callable[[V_contra, AssetContext], bool | CheckResult]
        | Callable[[V_contra, PartitionKey], bool | CheckResult]
    )


def check_severity(severity: object, where: str | None = None) -> None:
    """Raises DefinitionError unless it is "error" or "warn"."""
    if severity not in SEVERITIES:
        raise DefinitionError(
            f"severity {severity!r} is not known{did_you_mean(str(severity).lower(), SEVERITIES)}",
            where=where,
            fix="severity='error' (may block) or severity='warn' (never blocks)",
            reason="BAD_CHECK",
        )


class Check(Generic[V_contra]):
    """A check of one asset; it stays the function that it was made from.

    The function takes the value and, if it likes, a second parameter by its type: AssetContext or
    PartitionKey. second: which of them, "context" or "partition_key"; "" for neither.
    blocking: a failed result of severity "error" keeps the version from being promoted and the
    downstream of the same run from starting. "warn" never blocks (Dagster's rule).
    """

    def __init__(
        self,
        function: CheckFunction[V_contra],
        *,
        name: str | None = None,
        blocking: bool = False,
        severity: Severity = "error",
        description: str | None = None,
    ) -> None:
        self.function = _plain_function(function)
        self.second = _second_parameter(self.function)
        self.name = name or self.function.__name__
        self.blocking = blocking
        self.severity = severity
        doc = self.function.__doc__ or ""
        self.description = doc.strip() if description is None else description
        check_severity(severity, str(self.place))
        self._check_blocking()
        self._check_name()

    def __call__(
        self, value: V_contra, /, *second: AssetContext | PartitionKey
    ) -> bool | CheckResult:
        """Run the check's function, with what its second parameter asks for if it has one."""
        result: bool | CheckResult = self.function(value, *second)
        return result

    def __repr__(self) -> str:
        return f"<check {self.name}>"

    @property
    def place(self) -> Place:
        """File and line of the function."""
        return place_of(self.function)

    def _check_blocking(self) -> None:
        if not isinstance(self.blocking, bool):
            raise DefinitionError(
                f"check '{self.name}': blocking is {self.blocking!r}, neither True nor False",
                where=str(self.place),
                fix="blocking=True keeps a failed value from being promoted",
                reason="BAD_CHECK",
            )

    def _check_name(self) -> None:
        import re

        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise DefinitionError(
                f"check name '{self.name}' is not made of letters, digits and '_'",
                where=str(self.place),
                fix="write it as a named function, or give name='…'",
                reason="BAD_CHECK",
            )


def _plain_function(function: object) -> Any:
    import inspect

    if not isinstance(function, FunctionType):
        raise DefinitionError(
            f"{function!r} can not be a check: it is no function",
            fix="checks take the asset's value, and an AssetContext or PartitionKey if they like, "
            "and return a bool or a CheckResult",
            reason="BAD_CHECK",
        )
    where = str(place_of(function))
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise DefinitionError(
            f"check '{function.__name__}' is a coroutine or generator function",
            where=where,
            fix="write it with plain `def`, and return a bool or a CheckResult",
            reason="BAD_CHECK",
        )
    if function.__code__.co_argcount == 0 or _needed(function) > 2:
        raise _bad_parameters(function, "does not take the asset's value and at most one more")
    if _has_required_keyword(function):
        raise _bad_parameters(function, "has a keyword-only parameter, which nothing fills")
    return function


def _needed(function: FunctionType) -> int:
    return function.__code__.co_argcount - len(function.__defaults__ or ())


def _second_parameter(function: FunctionType) -> str:
    """What is to be given beside the value. Raises DefinitionError for a type that nothing has."""
    if _needed(function) < 2:
        return ""
    from arco_flow.sdk.declare import local_names
    from arco_flow.sdk.parameters import annotations_of, kind_by_type

    name = function.__code__.co_varnames[1]
    annotation = annotations_of(function, local_names(function)).get(name)
    kind = kind_by_type(annotation)
    if kind in ("context", "partition_key"):
        return str(kind)
    what = "has no annotation"
    if annotation is not None:
        from arco_flow.io.annotations import annotation_name

        what = f"is {annotation_name(annotation)}"
    raise _bad_parameters(
        function, f"has a second parameter '{name}' that {what}, neither context nor partition key"
    )


def _bad_parameters(function: FunctionType, problem: str) -> DefinitionError:
    name = function.__name__
    return DefinitionError(
        f"check '{name}' {problem}",
        where=str(place_of(function)),
        fix=f"def {name}(value: …) -> bool, or def {name}(value: …, context: AssetContext) -> "
        "bool, or with day: PartitionKey",
        reason="BAD_CHECK",
    )


def _has_required_keyword(function: FunctionType) -> bool:
    code = function.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return any(name not in (function.__kwdefaults__ or {}) for name in names)
