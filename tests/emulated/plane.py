"""The plane on emulators for tests: Google's Firestore and Pub/Sub, ours for the rest.

One is started per session of pytest and shared: every test has a workspace of its own in it. What
needs knobs or kills has its own, by `own_bundle`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from arco_emulators import jars
from arco_flow.adapters.gcp.bundle import Bundle
from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.emulated import (
    BUCKET,
    EmulatedPlane,
    EmulatedSettings,
    running_emulated_plane,
)
from arco_flow.adapters.gcp.settings import Principal
from arco_flow.domain.ids import Scope

ROOT = Path(__file__).parents[2]
WORKSPACES = 200


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

    def workspace(self) -> WorkspaceOfPlane:
        """The next one that nobody used."""
        number = next(self.numbers)
        objects = CloudObjects(BUCKET, emulator=self.environment("STORAGE_EMULATOR_HOST"))
        scope = Scope("acme", f"w{number}")
        return WorkspaceOfPlane(self.plane, scope, f"user{number}@acme.test", objects)

    def call(self, work: Any) -> Any:
        """A coroutine's result, in the loop of the plane."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(120)

    def close(self) -> None:
        """End the functions and the emulators."""
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stop.set)
            self.thread.join(60)


_shared: list[RunningBundle] = []


@contextlib.contextmanager
def emulated_plane() -> Iterator[WorkspaceOfPlane]:
    """A workspace of the session's plane."""
    if not _shared:
        _shared.append(start_bundle(engine={"ARCO_FLOW_MAX_IN_FLIGHT": "1000"}))
    workspace = _shared[0].workspace()
    try:
        yield workspace
    finally:
        workspace.objects.close()


def close_shared() -> None:
    """End what the session shared."""
    while _shared:
        _shared.pop().close()


@contextlib.contextmanager
def own_bundle(**more: Any) -> Iterator[RunningBundle]:
    """A plane for one test; keywords as of EmulatedSettings."""
    running = start_bundle(**more)
    try:
        yield running
    finally:
        running.close()


def start_bundle(**more: Any) -> RunningBundle:
    """Start one; skips the test where Google's emulators are absent, unless they are demanded."""
    require_emulators()
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


def require_emulators() -> None:
    """Skips the test where Google's emulators are absent, or fails it where they are demanded."""
    try:
        for jar in (jars.FIRESTORE, jars.PUBSUB):
            jars.find(jar)
        jars.find_java()
    except jars.JarsMissing as error:
        if os.environ.get("ARCO_REQUIRE_EMULATORS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error).partition("\n")[0])
