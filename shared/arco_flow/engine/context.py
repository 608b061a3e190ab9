"""What every use case is handed: the ports, the secrets and the few settings they need."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from arco_flow.domain.manifest import Manifest
from arco_flow.domain.plan import PlanIndex
from arco_flow.domain.run import Run
from arco_flow.domain.tokens import AttemptClaims
from arco_flow.engine.present import RunDetails
from arco_flow.ports.clock import Clock
from arco_flow.ports.objects import AsyncObjects
from arco_flow.ports.store import Store
from arco_flow.ports.tasks import Tasks

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Settings:
    """Figures that differ between a laptop and the cloud.

    wake_ms: width of the wake bucket: any number of senders make one fold per bucket.
    skew_ms: how far the clocks of processes and queue may differ without a wake being lost.
    quiet_ms: an entity that was not committed for so long is folded in the caller's request.
    callback_base_url: where workers report. token_ttl_ms: life of an attempt token.
    max_in_flight: attempts of one run that may be dispatched and not over at one time.
    cancel_grace_ms: how long a run that is cancelled waits for its attempts. heartbeat_interval_ms:
    how often workers report; 0 = by the timeout of the task.
    sweep_after_ms: age from which an inbox item or a debt is the sweeper's. sweep_again_ms: while
    anything is open, the sweeper is called again after so long; 0 = whoever calls it does.
    """

    callback_base_url: str = ""
    wake_ms: int = 1000
    skew_ms: int = 100
    quiet_ms: int = 1000
    token_ttl_ms: int = 24 * 3600 * 1000
    max_in_flight: int = 200
    sweep_after_ms: int = 10_000
    cancel_grace_ms: int = 30_000
    heartbeat_interval_ms: int = 0
    sweep_again_ms: int = 0


class Cache(Generic[V]):
    """A small least-recently-used cache of immutable values; losing it only costs time."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._values: dict[str, V] = {}

    def get(self, key: str) -> V | None:
        """The value, made the most recent."""
        value = self._values.pop(key, None)
        if value is not None:
            self._values[key] = value
        return value

    def put(self, key: str, value: V) -> V:
        """Keep a value, dropping the oldest over capacity."""
        self._values.pop(key, None)
        self._values[key] = value
        if len(self._values) > self._capacity:
            del self._values[next(iter(self._values))]
        return value

    def clear(self) -> None:
        """Forget everything, as a fresh instance would."""
        self._values.clear()


@dataclass(slots=True)
class Memory:
    """What one instance remembers between requests; correctness never rests on it.

    plans, manifests: by digest. runs: decoded states by entity, checked against the version.
    details: what a run's ledger says, as far as it was read.
    settled: per entity, ids of effects that this instance has submitted, to be struck off the
    debt by the next commit. submitting: effects being submitted right now. woken: wake buckets
    already asked for. claims: by attempt token that was verified. folding: entities that a
    request is folding now: another one posts its event instead of deciding the same batch only
    to lose the race.
    """

    plans: Cache[PlanIndex] = field(default_factory=lambda: Cache(64))
    manifests: Cache[Manifest] = field(default_factory=lambda: Cache(16))
    runs: Cache[Run] = field(default_factory=lambda: Cache(256))
    details: Cache[RunDetails] = field(default_factory=lambda: Cache(16))
    settled: dict[str, set[str]] = field(default_factory=dict)
    submitting: set[str] = field(default_factory=set)
    woken: Cache[int] = field(default_factory=lambda: Cache(1024))
    claims: Cache[AttemptClaims] = field(default_factory=lambda: Cache(1024))
    folding: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Engine:
    """The object graph of one plane, built only by an adapter's wiring."""

    store: Store
    tasks: Tasks
    objects: AsyncObjects
    clock: Clock
    tenant_secret: bytes = field(repr=False)
    token_secret: bytes = field(repr=False)
    settings: Settings = Settings()
    memory: Memory = field(default_factory=Memory)
