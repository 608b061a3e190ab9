"""A whole plane for a test: real store, queue, server and worker processes; no mocks.

Tests speak to it as users do, over HTTP and by the command line, so that the same suite runs
against every kind of plane.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.local.wiring import (
    LOCAL_ENGINE,
    LocalPlane,
    LocalSettings,
    durable_parts,
    forgetful_parts,
)
from arco_flow.cli.client import PlaneClient
from arco_flow.domain.ids import (
    Scope,
    attempt_id_of,
    callback_task_id,
    dispatch_id_of,
    pointer_path,
)
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token
from arco_flow.engine.views import (
    DeployOutcome,
    EventPage,
    PlanView,
    RunAccepted,
    RunSpec,
    RunView,
)
from arco_flow.ports.objects import Objects
from arco_flow.sdk.discovery import load_definitions
from e2e.kept import Kept


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a task as its worker knows it. number: 1 for the first."""

    task_id: str
    attempt_id: str
    number: int
    token: str


class PlaneUnderTest:
    """A running plane, with a client and shortcuts. folder: where the test's files are. kept:
    what it keeps."""

    def __init__(
        self,
        folder: Path,
        plane: Any,
        objects: Objects,
        kept: Kept,
    ) -> None:
        self.folder = folder
        self.plane = plane
        self.scope: Scope = plane.scope
        self.client = PlaneClient(plane.url, plane.token, plane.scope.workspace)
        self.objects = objects
        self.kept = kept
        self.timer_slack_seconds = TIMER_SLACK_SECONDS[Kind.current]

    def require_every_promise(self) -> None:
        """Once it is at rest, by the ledgers and the objects themselves."""
        self.kept.settle()
        self.kept.require_every_promise()

    def attempt(self, run_id: str, task: str, number: int = 1) -> Attempt:
        """An attempt, with a token for its reports that is signed with the plane's own secret."""
        task_id = callback_task_id(run_id, task)
        attempt_id = attempt_id_of(dispatch_id_of(run_id, task, number))
        now_ms = int(time.time() * 1000)
        claims = AttemptClaims(
            self.scope.tenant, self.scope.workspace, task_id, run_id, number, attempt_id,
            now_ms + TOKEN_TTL_MS,
        )  # fmt: skip
        token = sign_attempt_token(self.plane.engine.token_secret, claims, now_ms)
        return Attempt(task_id, attempt_id, number, token)

    def deploy(self, target: Path) -> DeployOutcome:
        definitions = load_definitions(str(target))
        query = {f"location.{name}": definitions.location[name] for name in ("target", "root")}
        raw = manifest_bytes(definitions.manifest())
        return self.client.post("/deployments", DeployOutcome, raw, repeat=True, **query)

    def request(self, selection: str, **spec: Any) -> RunAccepted:
        """Ask for a run as the command line does: under a key of its own, so that it may be
        asked for again."""
        spec.setdefault("run_key", f"test:{secrets.token_hex(8)}")
        asked = RunSpec(selection=selection, **spec)
        return self.client.post("/runs", RunAccepted, asked, repeat=True)

    def run(self, run_id: str) -> RunView:
        return self.client.get(f"/runs/{run_id}", RunView)

    def wait(self, run_id: str, seconds: float = 60) -> RunView:
        """Long-poll until the run is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.client.get(f"/runs/{run_id}", RunView, wait="10s")
            if run.end_time:
                return run
        told = f"{run.state} with {run.task_counts}"
        raise AssertionError(f"run {run_id} is not over after {seconds} s: {told}")

    def plan(self, run_id: str) -> PlanView:
        return self.client.get(f"/runs/{run_id}/plan", PlanView)

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Ledger lines as plain documents, all pages."""
        found: list[dict[str, Any]] = []
        token = ""
        while True:
            page = self.client.get(
                f"/runs/{run_id}/events", EventPage, pageSize=1000, pageToken=token
            )
            for line in page.events:
                found.append(
                    {
                        "type": line.event["type"],
                        "disposition": line.disposition,
                        "reason": line.reason,
                        **line.event,
                    }
                )
            token = page.next_page_token
            if not token:
                return found

    def pointer(self, asset: str, partition: str = "") -> dict[str, Any] | None:
        """The current version of a partition, read from storage itself."""
        found = self.objects.get(pointer_path(self.scope, asset, partition))
        return None if found is None else json.loads(found.data)

    def promoted(self, asset: str, partition: str = "", seconds: float = 20) -> dict[str, Any]:
        """The current version, once there is one: a pointer follows the end of its task soon."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.pointer(asset, partition)
            if found is not None:
                return found
        raise AssertionError(f"{asset} {partition!r} was not promoted within {seconds} s")

    def committed_versions(self, asset: str) -> list[str]:
        """Keys of all commit markers of an asset, read from storage itself."""
        prefix = f"{self.scope.prefix}assets/{asset}/"
        keys = [meta.key for meta in self.objects.list(prefix, limit=100_000)]
        return [key for key in keys if key.endswith("/_commit")]

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real command against this plane."""
        environment = {
            **os.environ,
            "ARCO_FLOW_URL": self.plane.url,
            "ARCO_FLOW_TOKEN": self.plane.token,
            "ARCO_FLOW_WORKSPACE": self.scope.workspace,
            "NO_COLOR": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "arco_flow.cli", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done


TIDY_SOON = replace(LOCAL_ENGINE, sweep_after_ms=50)
"""The sweeper strikes off what was submitted; whoever waits until a plane is at rest waits for
it."""
TOKEN_TTL_MS = 600_000
EMBEDDED = ("local", "memory")
KINDS = (*EMBEDDED, "emulated", "chaos")
"""chaos: the emulated plane while its emulators duplicate, delay, lose, refuse and come early."""

TIMER_SLACK_SECONDS = {"local": 1, "memory": 1, "emulated": 3, "chaos": 8}
"""How late a timer may be: through a queue and two processes it takes longer."""


ATTEMPTS = {"local": 1, "memory": 1, "emulated": 1, "chaos": 5}
"""How often a request is made until it is not answered 503: beside chaos a call of the plane's own
fails four times in a row once in 25,000, and whoever is told so asks again."""
STILL_SECONDS = {"local": 0, "memory": 0, "emulated": 0, "chaos": 3}
"""For how long nothing may change before a test says that something else changed nothing: what
was delivered twice, or again because its answer was lost, is written down."""


class Kind:
    """Which plane `running_plane` gives: set per module by tests/e2e/conftest.py."""

    current = "local"


@contextmanager
def running_plane(folder: Path, *, works: bool = True, **settings: Any) -> Iterator[PlaneUnderTest]:
    """A plane of the current kind for this folder; settings are of embedded planes alone.

    At the end all that was asked for is over, and then every promise was kept, by the ledgers and
    the objects themselves. works: off, no worker begins a task, and what the test does not report
    in its place stands still.
    """
    if Kind.current in ("emulated", "chaos"):
        from emulated.plane import emulated_plane

        opened = emulated_plane(folder, chaos=Kind.current == "chaos", works=works)
    else:
        parts_of = forgetful_parts if Kind.current == "memory" else durable_parts
        opened = _embedded_plane(folder, parts_of, settings, works=works)
    with opened as plane:
        yield plane
        if works:
            plane.require_every_promise()


@contextmanager
def _embedded_plane(
    folder: Path, parts_of: Any, settings: dict[str, Any], *, works: bool
) -> Iterator[PlaneUnderTest]:
    """A plane over `folder/.arco-flow`, in a thread of its own."""
    settings = {"workers": 2, "engine": TIDY_SOON, **settings}
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def call(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def keep_silent(_body: bytes, _delivery: object) -> None:
        """Take a task as a worker does that dies before its first report."""

    async def build() -> LocalPlane:
        plane = LocalPlane(LocalSettings(folder / ".arco-flow", **settings), parts_of)
        await plane.start()
        if not works:
            plane.tasks.register("worker", keep_silent)
        return plane

    plane = call(build())
    objects = LocalObjects(folder / ".arco-flow" / "objects")
    try:
        kept = Kept(
            plane.scope, plane.engine.store, objects, call,
            sweep=lambda: call(plane.sweep()), folder=plane.settings.folder,
        )  # fmt: skip
        under_test = PlaneUnderTest(folder, plane, objects, kept)
        with closing(under_test.client):
            yield under_test
    finally:
        call(plane.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def write_module(folder: Path, name: str, code: str) -> Path:
    """A module of assets in a folder of its own."""
    import textwrap

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.py"
    path.write_text(textwrap.dedent(code))
    return path
