"""The plane on emulators for tests: Google's Firestore, ours for the rest, real processes.

One is started per session of pytest and shared: every test has a workspace of its own in it. What
needs knobs or kills has its own, by `own_bundle`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from arco_emulators import identity, web
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.storage import server as storage
from arco_emulators.tasks.emulator import Running, serving
from arco_emulators.tasks.settings import Settings as TasksSettings
from arco_flow.adapters.gcp.bundle import Bundle, BundleSettings, free_ports
from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.functions_table import load_functions_table
from arco_flow.adapters.gcp.provision import Place, make_bucket, make_queues
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.domain.ids import Scope

ROOT = Path(__file__).parents[2]
FIRESTORE = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
SDK_PLACES = ("/usr/lib/google-cloud-sdk", "/opt/google-cloud-sdk", "~/google-cloud-sdk")
WORKSPACES = 200
READY_SECONDS = 60


@dataclass
class Emulators:
    """The emulators of one bundle, in this process but for Google's."""

    firestore: str
    tasks: Running
    storage: str
    certs_url: str
    issuer: Issuer
    storage_chaos: Chaos

    @property
    def environment(self) -> dict[str, str]:
        return {
            "FIRESTORE_EMULATOR_HOST": self.firestore,
            "STORAGE_EMULATOR_HOST": self.storage,
            "ARCO_FLOW_TASKS_ENDPOINT": f"127.0.0.1:{self.tasks.port}",
            "PYTHONPATH": os.pathsep.join([str(ROOT / "shared")]),
        }


@dataclass
class EmulatedPlane:
    """One workspace of a bundle, as the harness of the whole suite knows planes."""

    bundle: Bundle
    emulators: Emulators
    scope: Scope
    email: str
    objects: CloudObjects

    @property
    def url(self) -> str:
        return self.bundle.url

    @property
    def callback_url(self) -> str:
        return self.bundle.urls["worker_callback"]

    @property
    def token(self) -> str:
        return self.emulators.issuer.mint(self.email, self.url)

    @property
    def engine(self) -> Any:
        """Only the secret that attempt tokens are signed with."""
        import base64
        from types import SimpleNamespace

        secret = self.bundle.environment_of("api")["ARCO_FLOW_TOKEN_SECRET"]
        return SimpleNamespace(token_secret=base64.b64decode(secret))


@dataclass
class Running1:
    """A bundle with a loop of its own, in a thread."""

    loop: asyncio.AbstractEventLoop
    bundle: Bundle
    emulators: Emulators
    stop: asyncio.Event
    thread: threading.Thread
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def plane(self) -> EmulatedPlane:
        """The next workspace that nobody used."""
        number = next(self.numbers)
        scope = Scope("acme", f"w{number}")
        objects = CloudObjects("arco", emulator=self.emulators.storage)
        return EmulatedPlane(self.bundle, self.emulators, scope, f"user{number}@acme.test", objects)

    def call(self, work: Any) -> Any:
        """A coroutine's result, in the loop of the bundle."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def close(self) -> None:
        """End the functions and the emulators."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(60)


_shared: list[Running1] = []


@contextlib.contextmanager
def emulated_plane() -> Iterator[EmulatedPlane]:
    """A workspace of the session's bundle."""
    if not _shared:
        _shared.append(start_bundle())
    plane = _shared[0].plane()
    try:
        yield plane
    finally:
        plane.objects.close()


def close_shared() -> None:
    """End what the session shared."""
    while _shared:
        _shared.pop().close()


@contextlib.contextmanager
def own_bundle(**more: Any) -> Iterator[Running1]:
    """A bundle for one test. engine, copies, workers: see BundleSettings; chaos: knobs of all
    emulators of ours."""
    running = start_bundle(**more)
    try:
        yield running
    finally:
        running.close()


def start_bundle(**more: Any) -> Running1:
    """Start one; skips the test where Google's emulator is absent, unless it is demanded."""
    jar = firestore_jar()
    ready: list[Running1] = []
    failed: list[BaseException] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            async with _serving(jar, **more) as (bundle, emulators):
                ready.append(Running1(loop, bundle, emulators, stop, thread))
                up.set()
                await stop.wait()
        except BaseException as error:
            failed.append(error)
            raise
        finally:
            up.set()

    def run() -> None:
        with contextlib.suppress(BaseException):
            loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    up.wait()
    if failed:
        raise failed[0]
    return ready[0]


@contextlib.asynccontextmanager
async def _serving(
    jar: Path,
    *,
    chaos: Mapping[str, Any] | None = None,
    workers: int = 2,
    engine: Mapping[str, str] | None = None,
    copies: Mapping[str, int] | None = None,
) -> AsyncIterator[tuple[Bundle, Emulators]]:
    folder = Path(tempfile.mkdtemp(prefix="arco-flow-emulated-"))
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        emulators = await _emulators(stack, jar, folder, chaos or {})
        place = Place(
            "demo-arco",
            "us-central1",
            "arco",
            {"tasks": f"127.0.0.1:{emulators.tasks.port}", "storage": emulators.storage},
        )
        table = load_functions_table(ROOT / "functions" / "functions.yaml")
        await asyncio.to_thread(make_queues, place, table)
        await asyncio.to_thread(make_bucket, place)
        settings = BundleSettings(
            folder=folder,
            functions=ROOT / "functions",
            place=place,
            certs_url=emulators.certs_url,
            environment=emulators.environment,
            principals={
                f"user{n}@acme.test": Principal("acme", f"w{n}") for n in range(WORKSPACES)
            },
            workers=workers,
            engine=engine or {},
            copies=copies or {},
        )
        bundle = Bundle(settings, table)
        await bundle.start()
        stack.push_async_callback(bundle.stop)
        yield bundle, emulators


async def _emulators(
    stack: contextlib.AsyncExitStack, jar: Path, folder: Path, chaos: Mapping[str, Any]
) -> Emulators:
    issuer = Issuer.open(folder)
    firestore = await asyncio.to_thread(_firestore, stack, jar, folder)
    tasks = await stack.enter_async_context(serving(TasksSettings(), issuer, Chaos(chaos)))
    trouble = Chaos(chaos)
    port = await stack.enter_async_context(storage.serve(port=0, chaos=trouble))
    certs = await stack.enter_async_context(
        web.serving(identity.application(issuer), host="127.0.0.1", port=0)
    )
    return Emulators(
        firestore,
        tasks,
        f"http://127.0.0.1:{port}",
        f"http://127.0.0.1:{certs}/certs",
        issuer,
        trouble,
    )


def firestore_jar() -> Path:
    """Google's emulator. Skips the test where it is absent, or fails it where it is demanded."""
    for place in SDK_PLACES:
        jar = Path(place).expanduser() / FIRESTORE
        if jar.exists() and shutil.which("java"):
            return jar
    text = "no Firestore emulator: gcloud components install cloud-firestore-emulator (and Java)"
    if os.environ.get("ARCO_REQUIRE_EMULATORS") == "1":
        pytest.fail(text)
    pytest.skip(text)


def _firestore(stack: contextlib.AsyncExitStack, jar: Path, folder: Path) -> str:
    (port,) = free_ports(1)
    main = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
    log = stack.enter_context((folder / "firestore.log").open("wb"))
    process = subprocess.Popen(
        ["java", "-Duser.language=en", "-cp", str(jar), main, "start", f"--port={port}",
         "--host=127.0.0.1"],
        stdout=log,
        stderr=log,
    )  # fmt: skip
    stack.callback(_end, process)
    address = f"127.0.0.1:{port}"
    for _ in range(READY_SECONDS * 10):
        try:
            with urllib.request.urlopen(f"http://{address}/", timeout=5):
                return address
        except urllib.error.HTTPError:
            return address
        except OSError:
            if process.poll() is not None:
                break
            threading.Event().wait(0.1)
    raise AssertionError(f"the Firestore emulator does not answer: {folder / 'firestore.log'}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
