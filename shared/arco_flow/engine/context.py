"""What every use case is handed: the ports, the secrets and the few settings they need."""

from __future__ import annotations

from dataclasses import dataclass, field

from arco_flow.ports.clock import Clock
from arco_flow.ports.objects import AsyncObjects
from arco_flow.ports.store import Store
from arco_flow.ports.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Settings:
    """Figures that differ between a laptop and the cloud.

    wake_ms: width of the wake bucket: any number of senders make one fold per bucket.
    quiet_ms: an entity that was not committed for so long is folded in the caller's request.
    callback_base_url: where workers report. token_ttl_ms: life of an attempt token.
    max_in_flight: attempts of one run that may be dispatched and not over at one time.
    sweep_after_ms: age from which an inbox item or a debt is the sweeper's.
    """

    callback_base_url: str = ""
    wake_ms: int = 1000
    quiet_ms: int = 1000
    token_ttl_ms: int = 24 * 3600 * 1000
    max_in_flight: int = 200
    sweep_after_ms: int = 10_000
    cancel_grace_ms: int = 30_000
    heartbeat_interval_ms: int = 0


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
