"""The embedded plane: the engine over SQLite and files, its API, its queue and its workers.

The only place that builds the object graph of a laptop. What Cloud Run, Cloud Tasks and Cloud
Scheduler are in the cloud is here one process: the routes of the queue are the handlers, a
timer of the event loop calls the sweeper, and user code runs in processes of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from arco_flow.adapters.delivery import Delivery, Handler, QueueSettings
from arco_flow.adapters.inline import InlineObjects
from arco_flow.adapters.local.clock import SystemClock
from arco_flow.adapters.local.database import Database
from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.local.secrets import LocalSecrets, load_secrets
from arco_flow.adapters.local.store import SqliteStore
from arco_flow.adapters.local.tasks import LocalTasks
from arco_flow.domain.deployment import Deployment
from arco_flow.domain.effects import StopAttempt
from arco_flow.domain.envelope import parse_envelope
from arco_flow.domain.errors import ArcoError, InvalidInput, NotFound, Unavailable
from arco_flow.domain.ids import Scope
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.deployed import load_deployment
from arco_flow.engine.dispatch import dispatch_task
from arco_flow.engine.recover_runs import recover_runs
from arco_flow.engine.sweeper import sweep
from arco_flow.engine.timer_ingest import ingest_timer_task
from arco_flow.http.app import App, hosts_for
from arco_flow.http.auth import BearerTokens, Identity
from arco_flow.http.server import HttpServer
from arco_flow.ports.store import Store
from arco_flow.ports.tasks import Tasks
from arco_flow.worker.pool import WorkerPool, report_unstarted
from arco_flow.worker.process import WorkerSpec

GRACE_SECONDS = 5.0
"""How long attempts may go on when the plane ends; what is cut is requeued at its next start."""

SWEEP_SECONDS = 2.0
"""In the cloud the sweeper comes once a minute; a laptop's user is watching."""


LOCAL_ENGINE = Settings(
    wake_ms=10, skew_ms=0, quiet_ms=10, sweep_after_ms=5_000, heartbeat_interval_ms=1_000
)
"""A local commit costs a tenth of a millisecond, so buckets are a hundredth of the cloud's."""


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """How an embedded plane runs.

    folder: its state. workers: warm processes, 0 = one per processor and at least four, for a
    worker waits for the plane between attempts. report_deaths: see WorkerPool. deliver: off, the
    plane answers and delivers no task: for a look at runs that are not to be moved by it.
    """

    folder: Path
    tenant: str = "local"
    workspace: str = "default"
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 0
    report_deaths: bool = True
    deliver: bool = True
    engine: Settings = LOCAL_ENGINE

    @property
    def pool_size(self) -> int:
        """Number of worker processes."""
        return self.workers or max(os.cpu_count() or 1, 4)


class Queue(Tasks, Protocol):
    """`Tasks` that also delivers, to handlers of this process."""

    def register(self, route: str, handler: Handler) -> None:
        """Deliver tasks of this route to `handler(body, delivery)`."""
        ...

    async def start(self) -> None:
        """Begin to deliver."""
        ...

    async def stop(self, *, drain: bool = True) -> None:
        """Deliver no more."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a plane remembers with. close: gives it back."""

    store: Store
    tasks: Queue
    close: Callable[[], None]


def durable_parts(settings: LocalSettings) -> Parts:
    """Store and queue in one SQLite database. Raises Unavailable when another process has it."""
    database, clock = Database(settings.folder), SystemClock()
    tasks = LocalTasks(database, clock, queues=queues_for(settings.pool_size))
    return Parts(SqliteStore(database, clock), tasks, database.close)


def forgetful_parts(settings: LocalSettings) -> Parts:
    """Store and queue in memory: a plane for a test, or for a look."""
    from arco_flow.adapters.memory.live_tasks import LiveTasks
    from arco_flow.adapters.memory.store import MemoryStore

    settings.folder.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    tasks = LiveTasks(clock, queues=queues_for(settings.pool_size))
    return Parts(MemoryStore(clock), tasks, lambda: None)


class LocalPlane:
    """A running embedded plane. url, token: how clients reach its API."""

    def __init__(
        self,
        settings: LocalSettings,
        parts_of: Callable[[LocalSettings], Parts] = durable_parts,
    ) -> None:
        self.settings = settings
        self.scope = Scope(settings.tenant, settings.workspace)
        self._parts = parts_of(settings)
        secrets: LocalSecrets = load_secrets(settings.folder)
        self.token = secrets.api
        self.url = ""
        self._objects_root = settings.folder / "objects"
        clock = SystemClock()
        self.tasks = self._parts.tasks
        self.engine = Engine(
            store=self._parts.store,
            tasks=self.tasks,
            objects=InlineObjects(LocalObjects(self._objects_root)),
            clock=clock,
            tenant_secret=secrets.tenant_secret,
            token_secret=secrets.token_secret,
            settings=settings.engine,
        )
        self._server = HttpServer(self._app())
        self._pool: WorkerPool | None = None
        self._starting = asyncio.Lock()
        self._location: dict[str, str] = {}
        self._code_version_id = ""
        self._name = f"plane-{clock.new_id()}"
        self._sweeper: asyncio.Task[None] | None = None

    def _app(self) -> App:
        identity = Identity(self.scope, f"user:{_user()}")
        authenticator = BearerTokens({self.token: identity})
        return App(self.engine, authenticator, allowed_hosts=hosts_for(self.settings.host))

    @property
    def callback_url(self) -> str:
        """Where workers report."""
        return self.url

    async def start(self) -> None:
        """Recover what a dead plane left, then serve and deliver."""
        port = await self._server.start(self.settings.host, self.settings.port)
        self.url = f"http://{_authority(self.settings.host, port)}"
        for route, handler in (
            ("dispatch", self._on_wake),
            ("timer_ingest", self._on_timer),
            ("worker", self._on_dispatch),
            ("stop_attempt", self._on_stop),
        ):
            self.tasks.register(route, handler)
        if not self.settings.deliver:
            return
        await recover_runs(self.engine, self.scope, self._name)
        await self.tasks.start()
        self._sweeper = asyncio.create_task(self._sweep_forever())

    async def close(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Stop accepting, hand back what is in flight (it is durable), end the workers."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        await self.tasks.stop(drain=False)
        if self._pool is not None:
            await self._pool.close(grace_seconds, report=False)
        await self._server.close()
        self._parts.close()

    async def sweep(self) -> None:
        """Let the sweeper come now; what goes wrong is the next sweep's to mend."""
        with contextlib.suppress(ArcoError):
            await sweep(self.engine, self._name)

    def hurry(self) -> None:
        """From within the event loop: `close` shall wait for no attempt any more."""
        if self._pool is not None:
            self._pool.hurry()

    async def warm(self) -> None:
        """Start the workers now, so that the first task does not wait for their imports."""
        with contextlib.suppress(NotFound):
            deployment = await load_deployment(self.engine, self.scope)
            if not _problem_of(deployment.location):
                await self._pool_of(deployment)

    # -- routes of the queue ----------------------------------------------------------------

    async def _on_wake(self, body: bytes, delivery: Delivery) -> None:
        del delivery
        await dispatch_task(self.engine, body)

    async def _on_timer(self, body: bytes, delivery: Delivery) -> None:
        del delivery
        await ingest_timer_task(self.engine, body)

    async def _on_dispatch(self, body: bytes, delivery: Delivery) -> None:
        del delivery
        deployment = await load_deployment(self.engine, self.scope)
        # The port of a plane that was restarted is another one than when this was queued.
        envelope = msgspec.structs.replace(parse_envelope(body), callback_base_url=self.url)
        problem = _problem_of(deployment.location)
        if problem:
            await report_unstarted(envelope, self._name, problem)
            return
        pool = await self._pool_of(deployment)
        status = await pool.dispatch(msgspec.json.encode(envelope), envelope)
        if status == 400:
            raise InvalidInput(f"the worker refused the envelope of {envelope.task_key}")
        if status >= 500:
            raise Unavailable(f"the worker answered {status} to {envelope.task_key}")

    async def _on_stop(self, body: bytes, delivery: Delivery) -> None:
        del delivery
        stop = msgspec.json.decode(body, type=StopAttempt)
        if self._pool is not None:
            await self._pool.stop_attempt(stop.attempt_id, stop.reason)

    # -- workers and sweeper ----------------------------------------------------------------

    async def _pool_of(self, deployment: Deployment) -> WorkerPool:
        """The warm pool, on the code of the deployment."""
        async with self._starting:
            location = deployment.location
            if self._pool is None:
                pool = WorkerPool(
                    WorkerSpec(
                        target=location["target"],
                        root=location["root"],
                        objects=str(self._objects_root),
                        scope=f"{self.scope.tenant}/{self.scope.workspace}",
                        callback_base_url=self.url,
                    ),
                    size=self.settings.pool_size,
                    report_deaths=self.settings.report_deaths,
                    name=self._name,
                )
                await _started(pool)
                self._pool = pool
            elif (location, deployment.code_version_id) != (self._location, self._code_version_id):
                await self._pool.reload(location["target"], location["root"])
            self._location, self._code_version_id = location, deployment.code_version_id
            return self._pool

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            await self.sweep()


@contextlib.asynccontextmanager
async def open_plane(settings: LocalSettings) -> AsyncIterator[LocalPlane]:
    """A running plane over a state folder. Raises Unavailable when another one has it."""
    plane = LocalPlane(settings)
    try:
        await plane.start()
        yield plane
    finally:
        await plane.close()


def _problem_of(location: Mapping[str, str]) -> str:
    """Why no worker can run a deployment's code, "" when nothing speaks against it."""
    if not location.get("target") or not location.get("root"):
        return (
            "the deployment does not say where its code is\n"
            "  fix: deploy it with `arco-flow deploy`, which says it"
        )
    if not os.path.isdir(location["root"]):
        return (
            f"the folder of the code is gone: {location['root']}\n"
            "  fix: bring it back, or deploy the code from where it is now"
        )
    return ""


async def _started(pool: WorkerPool) -> None:
    """Start a pool; one that can not be started leaves no process behind."""
    try:
        await pool.start()
    except OSError as error:
        await pool.close(0, report=False)
        raise Unavailable(
            f"no worker process can be started: {error.strerror}", where=str(error.filename or "")
        ) from error


def queues_for(workers: int) -> dict[str, QueueSettings]:
    """The queues of a plane with so many workers."""
    return {
        # Twice the workers: the next envelope waits in the pool while the last one's end is
        # written down, and no worker waits for that.
        # No deadline: a delivery lasts as long as its attempt, which has timers of its own.
        "worker": QueueSettings(
            2 * workers, min_backoff_ms=100, max_backoff_ms=10_000, dispatch_deadline_ms=0
        ),
        # A wake reminds of an inbox item, which is durable; a restart and the sweeper find it.
        "wakes": QueueSettings(64, min_backoff_ms=50, max_backoff_ms=5_000, durable=False),
        "timers": QueueSettings(max_concurrent=64, min_backoff_ms=100, max_backoff_ms=10_000),
        "control": QueueSettings(max_concurrent=8, min_backoff_ms=100, max_backoff_ms=1_000),
    }


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
