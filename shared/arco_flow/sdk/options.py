"""What `@asset` carries besides the function: checked, normalised, frozen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from arco_flow.domain.durations import Duration, parse_duration_ms
from arco_flow.domain.errors import DefinitionError, InvalidInput, did_you_mean

if TYPE_CHECKING:
    from arco_flow.domain.partition_base import PartitionsDefinition
    from arco_flow.domain.retry import RetryPolicy
    from arco_flow.io.base import IO
    from arco_flow.sdk.source import Place

T = TypeVar("T")

Kind = Literal["asset", "activity"]

DEFAULT_HEARTBEAT_MS: Final = 300_000
_MEMORY: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Mi|Gi)B?")
_POOL: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_PRIORITY_LIMIT: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetOptions:
    """The keywords of `@asset` in the manifest's units (milliseconds, milli-CPUs, MiB).

    deps: keys or assets that come first without handing over a value. mappings: by parameter
    name, key or asset. description and code_version None: taken from the function.
    io: a name, an IO object, or "" for the one that the return annotation picks.
    """

    kind: Kind = "asset"
    group: str = "default"
    description: str | None = None
    code_version: str | None = None
    tags: Mapping[str, str]
    metadata: Mapping[str, Any]
    owners: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    deps: tuple[object, ...] = ()
    partitions: PartitionsDefinition | None = None
    mappings: Mapping[object, Any]
    retry: RetryPolicy | None = None
    execution_ms: int = 0
    start_ms: int = 0
    heartbeat_ms: int = DEFAULT_HEARTBEAT_MS
    priority: int = 0
    pool: str = ""
    cpu_millis: int = 1000
    memory_mib: int = 512
    io: str | IO = ""


class OptionReader:
    """Turns the decorator's keywords into AssetOptions; every refusal names asset and place."""

    def __init__(self, key: str, place: Callable[[], Place]) -> None:
        self._key = key
        self._place = place

    def refused(self, problem: str, fix: str | None = None) -> DefinitionError:
        """The error for a keyword of this asset."""
        return DefinitionError(
            f"asset '{self._key}': {problem}",
            where=str(self._place()),
            fix=fix,
            reason="BAD_OPTION",
            details={"asset": self._key},
        )

    def checked(self, check: Callable[[], T]) -> T:
        """The result of a domain check, its refusal told as one of this asset."""
        try:
            return check()
        except InvalidInput as error:
            at = f" (in {error.where})" if error.where else ""
            raise self.refused(f"{error.message}{at}", error.fix) from None

    def word(self, name: str, value: object, allowed: Iterable[str]) -> str:
        """A word of a fixed list."""
        words = tuple(allowed)
        if isinstance(value, str) and value in words:
            return value
        hint = did_you_mean(str(value), words)
        raise self.refused(f"{name}={value!r} is not known{hint}", f"one of {', '.join(words)}")

    def text(self, name: str, value: object) -> str | None:
        """Text or None."""
        if value is None or isinstance(value, str):
            return value
        raise self.refused(f"{name}={value!r} is {type(value).__name__}, not text")

    def milliseconds(self, name: str, value: Duration | None, default: int) -> int:
        """A span of time; None gives the default."""
        if value is None:
            return default
        span = self.checked(lambda: parse_duration_ms(value, name=name))
        if span == 0:
            raise self.refused(f"{name}={value!r} leaves no time", f"leave {name} out for no limit")
        return span

    def whole(self, name: str, value: object, limit: int) -> int:
        """A whole number within ± limit."""
        if type(value) is int and abs(value) <= limit:
            return value
        raise self.refused(
            f"{name}={value!r} is no whole number from {-limit} to {limit}", f"e.g. {name}=10"
        )

    def cpu_millis(self, cpu: object) -> int:
        """CPUs as thousandths; None gives one CPU."""
        if cpu is None:
            return 1000
        if isinstance(cpu, int | float) and not isinstance(cpu, bool) and 0.001 <= cpu <= 1024:
            return round(cpu * 1000)
        raise self.refused(f"cpu={cpu!r} is no number of CPUs from 0.001 to 1024", "e.g. cpu=0.5")

    def memory_mib(self, memory: object) -> int:
        """Memory as MiB; None gives 512 MiB."""
        if memory is None:
            return 512
        found = _MEMORY.fullmatch(memory) if isinstance(memory, str) else None
        if found is None:
            raise self.refused(
                f"memory={memory!r} is no amount of memory", 'e.g. memory="512MiB" or "1.5GiB"'
            )
        from decimal import Decimal

        amount = Decimal(found[1]) * (1024 if found[2] == "Gi" else 1)
        if not 1 <= amount <= 1024 * 1024:
            raise self.refused(f"memory={memory!r} is not between 1 MiB and 1 TiB")
        return int(amount)

    def pool(self, pool: object) -> str:
        """The name of a pool, "" for none."""
        if pool is None:
            return ""
        if isinstance(pool, str) and _POOL.fullmatch(pool):
            return pool
        raise self.refused(f"pool={pool!r} is no name of a pool", 'e.g. pool="warehouse"')

    def metadata(self, metadata: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """JSON values without floats: metadata is part of the manifest's fingerprint."""
        if not metadata:
            return {}
        from arco_flow.domain.wire import canonical_json, decode_json

        raw = self.checked(lambda: canonical_json({"metadata": dict(metadata)}))
        found: Mapping[str, Any] = decode_json(raw)["metadata"]
        return found

    def labels(self, check: Callable[..., T], value: object, default: T) -> T:
        """Groups, tags and kinds by the domain's rules; None gives the default."""
        return default if value is None else self.checked(lambda: check(value))

    def owners(self, owners: object) -> tuple[str, ...]:
        """E-mail addresses and teams."""
        from arco_flow.domain.identifiers import validate_owner

        if isinstance(owners, str) or not isinstance(owners, Iterable):
            raise self.refused(f"owners={owners!r} is no list", "owners=['team:sales']")
        return self.checked(lambda: tuple(dict.fromkeys(validate_owner(who) for who in owners)))

    def instance(self, name: str, value: object, kind: type | tuple[type, ...], fix: str) -> None:
        """Refuse a value of another type; None passes."""
        if value is not None and not isinstance(value, kind):
            raise self.refused(f"{name}={value!r} is {type(value).__name__}", fix)

    def io(self, io: object) -> Any:
        """A name, or an object with a name, save and load."""
        if io is None or isinstance(io, str):
            return io or ""
        complete = callable(getattr(io, "save", None)) and callable(getattr(io, "load", None))
        if complete and isinstance(getattr(io, "name", None), str):
            return io
        raise self.refused(
            f"io={io!r} has no name, save() or load()", 'io="json", "parquet", "bytes" or an IO'
        )


def read_options(reader: OptionReader, given: Mapping[str, Any]) -> AssetOptions:
    """AssetOptions of the decorator's keywords. Raises DefinitionError."""
    from arco_flow.domain.identifiers import validate_group, validate_kinds, validate_tags
    from arco_flow.domain.retry import RetryPolicy

    reader.instance("retry", given["retry"], RetryPolicy, "retry=RetryPolicy(3, delay='10s')")
    _check_partitions(reader, given["partitions"])
    return AssetOptions(
        kind=reader.word("kind", given["kind"], ("asset", "activity")),  # type: ignore[arg-type]
        group=reader.labels(validate_group, given["group"], "default"),
        description=reader.text("description", given["description"]),
        code_version=reader.text("code_version", given["code_version"]),
        tags=reader.labels(validate_tags, given["tags"], {}),
        metadata=reader.metadata(given["metadata"]),
        owners=reader.owners(given["owners"]),
        kinds=reader.labels(validate_kinds, given["kinds"], ()),
        deps=_deps(reader, given["deps"]),
        partitions=given["partitions"],
        mappings=dict(given["mappings"] or {}),
        retry=given["retry"],
        execution_ms=reader.milliseconds("timeout", given["timeout"], 0),
        start_ms=reader.milliseconds("start_timeout", given["start_timeout"], 0),
        heartbeat_ms=_heartbeat(reader, given["heartbeat_timeout"]),
        priority=reader.whole("priority", given["priority"], _PRIORITY_LIMIT),
        pool=reader.pool(given["pool"]),
        cpu_millis=reader.cpu_millis(given["cpu"]),
        memory_mib=reader.memory_mib(given["memory"]),
        io=reader.io(given["io"]),
    )


def _heartbeat(reader: OptionReader, value: Duration | None) -> int:
    span = reader.milliseconds("heartbeat_timeout", value, DEFAULT_HEARTBEAT_MS)
    if span < 1000:
        raise reader.refused(f"heartbeat_timeout={value!r} is shorter than 1s", 'e.g. "1m"')
    return span


def _deps(reader: OptionReader, deps: object) -> tuple[object, ...]:
    if isinstance(deps, str) or not isinstance(deps, Iterable):
        raise reader.refused(f"deps={deps!r} is no list", f"deps=[{deps!r}]")
    return tuple(deps)


def _check_partitions(reader: OptionReader, partitions: object) -> None:
    if partitions is None or callable(getattr(partitions, "to_wire", None)):
        return
    raise reader.refused(
        f"partitions={partitions!r} is {type(partitions).__name__}, no definition of partitions",
        'partitions=DailyPartitions("2026-01-01") or StaticPartitions(["eu", "us"])',
    )
