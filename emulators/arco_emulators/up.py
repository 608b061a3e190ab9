"""All emulators together: Google's Firestore and Pub/Sub, the relays in front of them, Cloud Tasks,
Cloud Scheduler, Cloud Storage, and the issuer of identity tokens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from arco_emulators import identity, jars, web
from arco_emulators.faults import Chaos
from arco_emulators.firestore import relay as firestore_relay
from arco_emulators.firestore.trouble import KNOBS, Trouble
from arco_emulators.identity import Issuer
from arco_emulators.jars import Served
from arco_emulators.pubsub import relay
from arco_emulators.pubsub.subscription import PushSubscription
from arco_emulators.running import Running
from arco_emulators.scheduler import emulator as scheduler
from arco_emulators.scheduler.settings import Settings as SchedulerSettings
from arco_emulators.storage import server as storage
from arco_emulators.tasks import emulator as tasks
from arco_emulators.tasks.settings import Settings as TasksSettings

T = TypeVar("T")

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Ports:
    """Where each answers; 0 takes a free port."""

    identity: int = 0
    firestore: int = 0
    pubsub: int = 0
    tasks: int = 0
    tasks_admin: int = 0
    scheduler: int = 0
    scheduler_admin: int = 0
    storage: int = 0
    relay_admin: int = 0
    firestore_admin: int = 0

    @classmethod
    def from_base(cls, base: int) -> Ports:
        """Ports one after the other, in the order of the fields; a base of 0 takes free ones."""
        return cls(*range(base, base + 10)) if base else cls()


@dataclass(frozen=True, slots=True)
class Address:
    """One emulator, for people.

    address: host:port for gRPC, a URL for HTTP. admin: URL of its administration, or "".
    log: file that it writes to, or "" for what runs in this process.
    """

    name: str
    address: str
    admin: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True)
class Emulators:
    """All of them, running."""

    addresses: tuple[Address, ...]
    environment: dict[str, str]
    """What a process has to have in its environment to use them."""
    issuer: Issuer
    relay: relay.Relay
    tasks: tasks.Emulator
    scheduler: scheduler.Emulator
    google: tuple[Served, ...]
    """Google's, each a process of its own."""

    def as_json(self) -> dict[str, Any]:
        """Addresses and environment."""
        return {
            "emulators": [asdict(address) for address in self.addresses],
            "environment": self.environment,
            "pids": [served.pid for served in self.google],
        }

    def address(self, name: str) -> Address:
        """One of them by its name. Errors: KeyError."""
        return {address.name: address for address in self.addresses}[name]

    async def broken(self) -> str:
        """Return when one of Google's has ended by itself; says which."""
        await asyncio.wait(
            [served.exited for served in self.google], return_when=asyncio.FIRST_COMPLETED
        )
        ended = next(served for served in self.google if served.exited.done())
        return f"the {ended.name} emulator ended with {ended.exited.result()}"


@contextlib.asynccontextmanager
async def running_emulators(
    folder: Path,
    *,
    ports: Ports | None = None,
    subscriptions: Iterable[PushSubscription] = (),
    faults: Mapping[str, Any] | None = None,
) -> AsyncIterator[Emulators]:
    """Run all emulators while the block runs.

    folder: where logs, the signing key and large objects lie. ports: free ones by default.
    faults: what goes wrong on purpose in each of ours (`faults.Faults`). Firestore has a relay in
    front of it when one of its knobs is named, and no administration otherwise.
    Errors: JarsMissing when Google's are not installed; OSError when a port is taken or one does
    not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    issuer = Issuer.open(folder)
    async with AsyncExitStack() as stack:
        started = _Started(stack, folder, ports or Ports(), issuer, faults or {})
        yield await started.all(tuple(subscriptions))


@dataclass(frozen=True, slots=True)
class _Started:
    stack: AsyncExitStack
    folder: Path
    ports: Ports
    issuer: Issuer
    faults: Mapping[str, Any]

    async def all(self, subscriptions: tuple[PushSubscription, ...]) -> Emulators:
        certs = await self._enter(
            web.serving(identity.application(self.issuer), host=HOST, port=self.ports.identity)
        )
        firestore, pubsub = await self._google()
        documents = await self._documents(firestore)
        pubsub_host = f"{HOST}:{pubsub.port}"
        queue = await self._tasks()
        jobs = await self._scheduler(pubsub_host)
        objects = await self._enter(
            storage.serve(
                HOST, self.ports.storage, folder=self.folder / "objects", chaos=self._chaos()
            )
        )
        pushes = await self._relay(pubsub_host, subscriptions)
        addresses = (
            Address("identity", _url(certs)),
            documents,
            Address("pubsub", pubsub_host, _url(pushes.admin_port), str(pubsub.log)),
            Address("tasks", f"{HOST}:{queue.port}", _url(queue.admin_port)),
            Address("scheduler", f"{HOST}:{jobs.port}", _url(jobs.admin_port)),
            Address("storage", _url(objects), _url(objects)),
        )
        return Emulators(
            addresses,
            environment_of(addresses),
            self.issuer,
            pushes.relay,
            queue.emulator,
            jobs.emulator,
            (firestore, pubsub),
        )

    async def _documents(self, google: Served) -> Address:
        """Firestore as clients find it: Google's own, unless it is to misbehave."""
        log = str(google.log)
        if not self._is_relayed:
            return Address("firestore", f"{HOST}:{google.port}", log=log)
        running = await self._enter(
            firestore_relay.serving(
                f"{HOST}:{google.port}",
                trouble=Trouble(self.faults),
                host=HOST,
                port=self.ports.firestore,
                admin_port=self.ports.firestore_admin,
            )
        )
        return Address("firestore", f"{HOST}:{running.port}", _url(running.admin_port), log)

    @property
    def _is_relayed(self) -> bool:
        """A relay costs each call nearly a millisecond of processor time."""
        return not KNOBS.isdisjoint(self.faults)

    async def _tasks(self) -> Running[tasks.Emulator]:
        settings = TasksSettings(HOST, self.ports.tasks, self.ports.tasks_admin)
        return await self._enter(tasks.serving(settings, self.issuer, self._chaos()))

    async def _scheduler(self, pubsub_host: str) -> Running[scheduler.Emulator]:
        settings = SchedulerSettings(
            HOST, self.ports.scheduler, self.ports.scheduler_admin, pubsub_host=pubsub_host
        )
        return await self._enter(scheduler.serving(settings, self.issuer, self._chaos()))

    async def _relay(
        self, pubsub_host: str, subscriptions: tuple[PushSubscription, ...]
    ) -> relay.Running:
        return await self._enter(
            relay.serving(
                pubsub_host,
                self.issuer,
                subscriptions=subscriptions,
                chaos=self._chaos(),
                host=HOST,
                port=self.ports.relay_admin,
            )
        )

    def _chaos(self) -> Chaos:
        """Dice of its own for each, so that one does not change what another draws."""
        return Chaos(self.faults)

    async def _google(self) -> tuple[Served, Served]:
        """Both at once, because each takes seconds to start."""
        port = 0 if self._is_relayed else self.ports.firestore
        try:
            async with asyncio.TaskGroup() as group:
                firestore = group.create_task(self._jar(jars.FIRESTORE, port))
                pubsub = group.create_task(self._jar(jars.PUBSUB, self.ports.pubsub))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return firestore.result(), pubsub.result()

    async def _jar(self, jar: jars.Jar, port: int) -> Served:
        log = self.folder / f"{jar.name}.log"
        return await self._enter(jars.serving(jar, log=log, host=HOST, port=port))

    async def _enter(self, server: AbstractAsyncContextManager[T]) -> T:
        return await self.stack.enter_async_context(server)


def environment_of(addresses: Iterable[Address]) -> dict[str, str]:
    """The variables by which Google's clients and Arco Flow find the emulators."""
    at = {address.name: address.address for address in addresses}
    return {
        "FIRESTORE_EMULATOR_HOST": at["firestore"],
        "PUBSUB_EMULATOR_HOST": at["pubsub"],
        "STORAGE_EMULATOR_HOST": at["storage"],
        "ARCO_FLOW_TASKS_ENDPOINT": at["tasks"],
        "ARCO_FLOW_SCHEDULER_ENDPOINT": at["scheduler"],
        "ARCO_FLOW_OIDC_CERTS_URL": f"{at['identity']}/certs",
    }


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"
