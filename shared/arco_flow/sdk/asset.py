"""The `@asset` decorator: a function that produces a piece of data, and stays a function."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from arco_flow.domain.durations import Duration
from arco_flow.domain.errors import DefinitionError
from arco_flow.sdk.checks import Check, Severity
from arco_flow.sdk.options import AssetOptions, Kind, OptionReader, read_options
from arco_flow.sdk.source import Place, place_of

if TYPE_CHECKING:
    from arco_flow.domain.partition_base import PartitionsDefinition
    from arco_flow.domain.partition_mappings import PartitionMapping
    from arco_flow.domain.retry import RetryPolicy
    from arco_flow.io.base import IO
    from arco_flow.sdk.checks import CheckFunction
    from arco_flow.sdk.parameters import Parameter

P = ParamSpec("P")
R = TypeVar("R")


class Asset(Generic[P, R]):
    """A declared asset; calling it runs the function, with its own types.

    key: `namespace.name`. function: what was decorated. options: what the decorator was given.
    Immutable, but for the checks that `@asset.check` adds. Made by `@asset` only.
    """

    key: str
    options: AssetOptions
    _function: Any
    _called: Any
    _checks: list[Check[Any]]
    _local_names: Mapping[str, object]

    def __init__(
        self,
        function: FunctionType,
        called: Callable[..., Any],
        key: str,
        options: AssetOptions,
        local_names: Mapping[str, object],
    ) -> None:
        own = self.__dict__
        own.update(key=key, options=options, _function=function, _called=called, _checks=[])
        own.update(_local_names=local_names, __wrapped__=function)
        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            own[name] = getattr(function, name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function with these arguments, with no plane, store or retry around it."""
        from arco_flow.sdk.parameters import require_edges

        require_edges(self, args, kwargs)
        return cast("R", self._called(*args, **kwargs))

    @property
    def function(self) -> Callable[..., Any]:
        """What was decorated, and is called; other decorators may have wrapped the function."""
        return cast("Callable[..., Any]", self._called)

    @property
    def out(self) -> R:
        """Typed edge: `def downstream(x: T = upstream.out)`; T must accept what upstream returns.

        It stands for the value and is none: use it as a parameter's default only.
        """
        from arco_flow.sdk.edges import OutEdge

        return cast("R", OutEdge(self))

    def __getitem__(self, window: slice) -> Sequence[R]:
        """Typed edge to several partitions, as offsets from the current one, both included.

        `upstream[-6:]` is the last seven partitions with the current one, `upstream[-7:-1]` the
        seven before it, `upstream[0:]` those within the current one (the days of a week),
        `upstream[:]` all. Raises DefinitionError for anything but such a slice.
        """
        from arco_flow.sdk.edges import window_edge

        return cast("Sequence[R]", window_edge(self, window))

    __iter__ = None
    """An asset is no collection, although it can be sliced."""

    @property
    def name(self) -> str:
        """The key's last segment."""
        return self.key.partition(".")[2]

    @property
    def namespace(self) -> str:
        """The key's first segment."""
        return self.key.partition(".")[0]

    @property
    def partitions(self) -> PartitionsDefinition | None:
        """How the asset is cut into partitions, None when it is not."""
        return self.options.partitions

    @property
    def checks(self) -> tuple[Check[Any], ...]:
        """The asset's checks in the order of their declaration."""
        return tuple(self._checks)

    @property
    def place(self) -> Place:
        """File and line of the function."""
        return place_of(self._function)

    @property
    def description(self) -> str:
        """As given, else the function's docstring without its indentation."""
        if self.options.description is not None:
            return self.options.description
        import inspect

        return inspect.cleandoc(self.function.__doc__ or "").strip()

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What fills each parameter, as far as type and default say. Raises DefinitionError."""
        from arco_flow.sdk.parameters import read_parameters

        found = self.__dict__.get("_parameters")
        if found is None:
            found = self.__dict__["_parameters"] = read_parameters(self)
        return cast("tuple[Parameter, ...]", found)

    @property
    def return_annotation(self) -> object:
        """What the function is annotated to return; `inspect.Parameter.empty` without one."""
        from arco_flow.sdk.parameters import return_annotation

        return return_annotation(self)

    @overload
    def check(self, function: CheckFunction[R], /) -> Check[R]: ...
    @overload
    def check(
        self,
        /,
        *,
        blocking: bool = False,
        severity: Severity = "error",
        name: str | None = None,
        description: str | None = None,
    ) -> Callable[[CheckFunction[R]], Check[R]]: ...
    def check(
        self,
        function: CheckFunction[R] | None = None,
        /,
        *,
        blocking: bool = False,
        severity: Severity = "error",
        name: str | None = None,
        description: str | None = None,
    ) -> Any:
        """Declare a check of this asset's value: `@orders.check(blocking=True)`.

        A second parameter is filled by its type: AssetContext, or PartitionKey.
        blocking: a failure of severity "error" keeps the version from being promoted.
        severity: "error" or "warn"; a CheckResult may say otherwise.
        Raises DefinitionError for a name that is taken, and for parameters that nothing fills.
        """

        def declare(declared: CheckFunction[R]) -> Check[R]:
            return self._add_check(
                Check(
                    declared,
                    name=name,
                    blocking=blocking,
                    severity=severity,
                    description=description,
                )
            )

        return declare if function is None else declare(function)

    def _add_check(self, check: Check[Any]) -> Check[Any]:
        if any(check.name == known.name for known in self._checks):
            raise DefinitionError(
                f"asset '{self.key}' has two checks called '{check.name}'",
                where=str(check.place),
                fix="rename the function, or give name='…'",
                reason="DUPLICATE_CHECK",
            )
        if check.second == "partition_key" and self.partitions is None:
            raise DefinitionError(
                f"check '{check.name}' asks for the partition key, but asset '{self.key}' is not "
                "partitioned",
                where=str(check.place),
                fix="drop its second parameter, or give the asset partitions=…",
                reason="BAD_CHECK",
            )
        self._checks.append(check)
        return check

    def __setattr__(self, name: str, value: object) -> None:
        raise DefinitionError(
            f"asset '{self.key}' can not be changed after its declaration: {name} = {value!r}",
            where=str(self.place),
            fix=f"give it to the decorator: @asset({name}=…)",
            reason="IMMUTABLE_ASSET",
        )

    def __repr__(self) -> str:
        return f"<asset {self.key}>"


class AsyncAsset(Asset[P, R]):
    """An asset whose function is `async def`; R is what awaiting it gives."""

    def __call__(  # type: ignore[override]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R]:
        """A coroutine of the function with these arguments."""
        return cast("Coroutine[Any, Any, R]", super().__call__(*args, **kwargs))


class AssetDecorator:
    """What `@asset(…)` returns: makes an Asset of a function."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncAsset[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Asset[P, R]: ...
    def __call__(self, function: Callable[..., Any], /) -> Asset[..., Any]:
        """Declare the asset. Raises DefinitionError with the function's file and line."""
        return _declare(function, self._given)


_DEFAULTS: Mapping[str, Any] = {
    "key": None,
    "namespace": None,
    "kind": "asset",
    "group": None,
    "description": None,
    "code_version": None,
    "tags": None,
    "metadata": None,
    "owners": (),
    "kinds": None,
    "deps": (),
    "partitions": None,
    "mappings": None,
    "retry": None,
    "timeout": None,
    "start_timeout": None,
    "heartbeat_timeout": None,
    "priority": 0,
    "pool": None,
    "cpu": None,
    "memory": None,
    "checks": (),
    "io": None,
}


@overload
def asset(function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncAsset[P, R]: ...
@overload
def asset(function: Callable[P, R], /) -> Asset[P, R]: ...
@overload
def asset(
    *,
    key: str | None = None,
    namespace: str | None = None,
    kind: Kind = "asset",
    group: str | None = None,
    description: str | None = None,
    code_version: str | None = None,
    tags: Mapping[str, str] | None = None,
    metadata: Mapping[str, Any] | None = None,
    owners: Sequence[str] = (),
    kinds: Iterable[str] | None = None,
    deps: Iterable[Asset[..., Any] | str] = (),
    partitions: PartitionsDefinition | None = None,
    mappings: Mapping[Any, PartitionMapping] | None = None,
    retry: RetryPolicy | None = None,
    timeout: Duration | None = None,
    start_timeout: Duration | None = None,
    heartbeat_timeout: Duration | None = None,
    priority: int = 0,
    pool: str | None = None,
    cpu: float | None = None,
    memory: str | None = None,
    checks: Sequence[CheckFunction[Any]] = (),
    io: str | IO | None = None,
) -> AssetDecorator: ...
def asset(function: Callable[..., Any] | None = None, /, **given: Any) -> Any:
    """Declare an asset: `@asset`, or `@asset(partitions=…, retry=…)`.

    A parameter is filled by its type (AssetContext, PartitionKey, a Resource), else by its
    default (`upstream.out`, `upstream[-6:]`), else by its name: the asset called so in the same
    namespace, or the only one anywhere whose key ends so.

    key: `namespace.name`; by default the module's last segment and the function's name.
    kind: "activity" for side effects only. deps: assets that come first, without a value.
    mappings: PartitionMapping by parameter, key or asset. timeout: of the execution;
    start_timeout: until a worker has begun; heartbeat_timeout: longest silence of a worker.
    code_version: by default a digest of the function's source, comments included, and of what it
    uses by name from its code location; not of installed packages, data files and other assets.
    metadata, tags: enter the manifest's fingerprint, so no floats.

    Raises DefinitionError with file and line for a wrong use; what concerns other assets is
    found when Definitions are validated.
    """
    if function is None:
        return AssetDecorator(given)
    return _declare(function, given)


def _declare(function: Callable[..., Any], given: Mapping[str, Any]) -> Asset[..., Any]:
    from arco_flow.sdk.declare import check_function, key_of, local_names

    plain = check_function(function)
    _check_keywords(plain, given)
    options = {**_DEFAULTS, **given}
    key = key_of(plain, options["key"], options["namespace"])
    reader = OptionReader(key, lambda: place_of(plain))
    kind = AsyncAsset if plain.__code__.co_flags & _CO_COROUTINE else Asset
    declared: Asset[..., Any] = kind(
        plain, function, key, read_options(reader, options), local_names(plain)
    )
    for check in options["checks"]:
        declared._add_check(check if isinstance(check, Check) else Check(check))
    return declared


_CO_COROUTINE = 0x80
"""inspect.CO_COROUTINE, without importing inspect."""


def _check_keywords(function: FunctionType, given: Mapping[str, Any]) -> None:
    from arco_flow.domain.errors import did_you_mean

    for name in given:
        if name not in _DEFAULTS:
            raise DefinitionError(
                f"@asset has no keyword '{name}'{did_you_mean(name, _DEFAULTS)}",
                where=str(place_of(function)),
                fix=f"one of {', '.join(_DEFAULTS)}",
                reason="UNKNOWN_KEYWORD",
            )
