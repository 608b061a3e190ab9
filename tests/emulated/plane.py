"""The plane on emulators for tests: Google's Firestore and Pub/Sub, ours for the rest.

One is started per session of pytest and shared: every test has a workspace of its own in it. What
needs knobs or kills has its own, by `own_bundle`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import shutil
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from google.api_core.exceptions import ServiceUnavailable
from google.api_core.retry import if_exception_type
from google.api_core.retry_async import AsyncRetry
from google.cloud import scheduler_v1, tasks_v2
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcAsyncIOTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from arco_flow.adapters.gcp.bundle import Bundle
from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.emulated import (
    BUCKET,
    PROJECT,
    EmulatedPlane,
    EmulatedSettings,
    running_emulated_plane,
)
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.domain.ids import Scope
from conformance.emulators import require_google_emulators
from e2e.harness import PlaneUnderTest
from e2e.kept import Kept

ROOT = Path(__file__).parents[2]
WORKSPACES = 200
ERRORS_SHOWN = 5
PATIENT = AsyncRetry(if_exception_type(ServiceUnavailable), initial=0.01, timeout=30)
"""Beside chaos the calls of a test fail, too."""


@dataclass
class WorkspaceOfPlane:
    """One workspace, as the harness of the whole suite knows planes."""

    plane: EmulatedPlane
    scope: Scope
    email: str
    objects: CloudObjects

    @property
    def url(self) -> str:
        return self.plane.bundle.url

    @property
    def callback_url(self) -> str:
        return self.plane.bundle.urls["worker_callback"]

    @property
    def token(self) -> str:
        return self.plane.token(self.email)

    @property
    def engine(self) -> Any:
        """Only the secret that attempt tokens are signed with."""
        secret = self.plane.bundle.environment_of("api")["ARCO_FLOW_TOKEN_SECRET"]
        return SimpleNamespace(token_secret=base64.b64decode(secret))


@dataclass
class RunningBundle:
    """An emulated plane with a loop of its own, in a thread."""

    loop: asyncio.AbstractEventLoop
    plane: EmulatedPlane
    folder: Path
    stop: asyncio.Event
    thread: threading.Thread
    numbers: Iterator[int] = field(default_factory=itertools.count)

    @property
    def bundle(self) -> Bundle:
        return self.plane.bundle

    def environment(self, name: str) -> str:
        """A variable of the emulators."""
        return self.plane.emulators.environment[name]

    @cached_property
    def store(self) -> FirestoreStore:
        """The plane's store, for coroutines that `call` runs; read past the relay that
        misbehaves."""
        firestore = next(s for s in self.plane.emulators.google if s.name == "firestore")

        async def opened() -> FirestoreStore:
            calls = FirestoreCalls(PROJECT, emulator=f"127.0.0.1:{firestore.port}")
            return FirestoreStore(PROJECT, calls=calls)

        store: FirestoreStore = self.call(opened())
        return store

    @contextlib.contextmanager
    def under_test(self, folder: Path) -> Iterator[PlaneUnderTest]:
        """A workspace that nobody used, as the harness of the whole suite knows planes."""
        workspace = self.workspace()
        with contextlib.closing(workspace.objects) as objects:
            kept = Kept(workspace.scope, self.store, objects, self.call, self.sweep)
            plane = PlaneUnderTest(folder, workspace, objects, kept)
            with contextlib.closing(plane.client):
                yield plane

    def kill(self, function: str) -> None:
        """End its process with SIGKILL, and wait until the next one answers: in the cloud a
        request would wait for it."""
        process = self.bundle.processes[function]
        before = process.starts
        self.bundle.kill(function)
        while process.starts == before or not _is_live(process.url):
            threading.Event().wait(0.02)

    def sweep(self) -> None:
        """Let Cloud Scheduler call now, instead of at the next full minute."""
        self.call(_run_job(self, "sweeper"))

    def deliver_to_workers(self, *, resume: bool) -> None:
        """Let the queue of the workers go on, empty, or stand still."""
        self.call(_set_worker_queue(self, resume=resume))

    def workspace(self) -> WorkspaceOfPlane:
        """The next one that nobody used."""
        number = next(self.numbers)
        objects = CloudObjects(BUCKET, emulator=self.environment("STORAGE_EMULATOR_HOST"))
        scope = Scope("acme", f"w{number}")
        return WorkspaceOfPlane(self.plane, scope, f"user{number}@acme.test", objects)

    def call(self, work: Any) -> Any:
        """A coroutine's result, in the loop of the plane."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What fails inside tells what the functions logged as errors of their own."""
        try:
            yield
        except BaseException as error:
            for log in sorted((self.folder / "logs").glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                errors = [line for line in lines if '"ERROR"' in line or '"severity"' not in line]
                for line in errors[-ERRORS_SHOWN:]:
                    error.add_note(f"{log.name}: {line[:4000]}")
            raise

    def close(self) -> None:
        """End the functions and the emulators."""
        if self.thread.is_alive():
            if "store" in self.__dict__:
                self.call(self.store.close())
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(60)


CHAOS = {
    "duplicate": 0.2,
    "delay_ms": (0, 100),
    "drop": 0.05,
    "lose_answer": 0.05,
    "early": 0.1,
    "unavailable": 0.05,
    "landed": 0.03,
    "seed": 7,
}
"""How the emulators misbehave for the suites that run beside chaos."""
ENGINE = {
    "ARCO_FLOW_SWEEP_AFTER_MS": "300",
    "ARCO_FLOW_SWEEP_AGAIN_MS": "1000",
}
"""Debts are struck off soon, so that a test need not wait long until a plane is at rest."""

_shared: dict[bool, RunningBundle] = {}


@contextlib.contextmanager
def emulated_plane(
    folder: Path, *, chaos: bool = False, works: bool = True
) -> Iterator[PlaneUnderTest]:
    """A workspace of the session's plane. works: off, no worker is given a task, in no
    workspace."""
    if chaos not in _shared:
        faults = CHAOS if chaos else {}
        _shared[chaos] = start_bundle(engine=ENGINE, faults=faults)
    running = _shared[chaos]
    if not works:
        running.deliver_to_workers(resume=False)
    try:
        with running.under_test(folder) as plane, running.explained():
            yield plane
    finally:
        if not works:
            running.deliver_to_workers(resume=True)


def close_shared() -> None:
    """End what the session shared."""
    while _shared:
        _shared.popitem()[1].close()


def _is_live(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/live", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


async def _run_job(running: RunningBundle, name: str) -> None:
    channel = grpc.aio.insecure_channel(running.environment("ARCO_FLOW_SCHEDULER_ENDPOINT"))
    client = scheduler_v1.CloudSchedulerAsyncClient(
        transport=CloudSchedulerGrpcAsyncIOTransport(channel=channel)
    )
    job = f"{running.bundle.settings.place.parent}/jobs/{name}"
    await client.run_job(name=job, retry=PATIENT)
    await channel.close()


async def _set_worker_queue(running: RunningBundle, *, resume: bool) -> None:
    channel = grpc.aio.insecure_channel(running.environment("ARCO_FLOW_TASKS_ENDPOINT"))
    client = tasks_v2.CloudTasksAsyncClient(
        transport=CloudTasksGrpcAsyncIOTransport(channel=channel)
    )
    queue = f"{running.bundle.settings.place.parent}/queues/worker"
    if resume:
        await client.purge_queue(name=queue, retry=PATIENT)
        await client.resume_queue(name=queue, retry=PATIENT)
    else:
        await client.pause_queue(name=queue, retry=PATIENT)
    await channel.close()


@contextlib.contextmanager
def own_bundle(**more: Any) -> Iterator[RunningBundle]:
    """A plane for one test; keywords as of EmulatedSettings."""
    running = start_bundle(**more)
    try:
        with running.explained():
            yield running
    finally:
        running.close()


def start_bundle(**more: Any) -> RunningBundle:
    """Start one; skips the test where Google's emulators are absent, unless they are demanded."""
    require_google_emulators()
    ready: list[RunningBundle] = []
    failed: list[BaseException] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()
    folder = Path(tempfile.mkdtemp(prefix="arco-flow-emulated-"))
    settings = EmulatedSettings(
        folder=folder,
        functions=ROOT / "functions",
        principals={f"user{n}@acme.test": Principal("acme", f"w{n}") for n in range(WORKSPACES)},
        **more,
    )

    async def serve() -> None:
        stop = asyncio.Event()
        async with running_emulated_plane(settings) as plane:
            ready.append(RunningBundle(loop, plane, folder, stop, thread))
            up.set()
            await stop.wait()

    def run() -> None:
        try:
            loop.run_until_complete(serve())
        except BaseException as error:
            failed.append(error)
        finally:
            up.set()
            loop.close()
            shutil.rmtree(folder, ignore_errors=True)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    up.wait()
    if failed:
        raise failed[0]
    return ready[0]
