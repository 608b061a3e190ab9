"""What a plane keeps of one workspace, read past its API: digests of it, and its whole history."""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.adapters.threaded import ThreadedObjects
from arco_flow.domain.ids import Scope
from arco_flow.engine.context import Engine
from arco_flow.ports.objects import Objects
from arco_flow.ports.store import Store
from arco_flow.simulation.checks import callbacks, ledgers, outputs, requests, runs
from arco_flow.simulation.history import History, read_stored, replay_runs

PROMISES = (
    requests.every_accepted_run_is_over,
    callbacks.every_event_is_applied_at_most_once,
    callbacks.only_the_holder_of_the_claim_reports,
    callbacks.attempts_are_counted_without_gap,
    runs.terminal_is_terminal,
    runs.upstream_comes_first,
    runs.a_cancelled_run_dispatches_nothing_more,
    runs.timers_act_once_and_in_time,
    outputs.promotions_are_numbered_and_each_was_accepted,
    outputs.every_success_reached_the_catalog,
    outputs.the_latest_accepted_result_is_current,
    ledgers.ledgers_have_no_gap,
    ledgers.runs_are_what_their_ledgers_say,
    ledgers.catalogs_are_what_their_ledgers_say,
    ledgers.workspaces_are_what_their_ledgers_say,
    ledgers.equal_requests_have_equal_plans,
    ledgers.documents_stay_small,
)
"""The simulator's checks that read nothing but ledgers, final states and objects."""
TABLES = ("heads", "inbox", "segments", "rows", "documents", "tasks", "dead_tasks")
"""All that a local plane remembers, but for its clock, its leases and names of tasks that are
done."""
PAUSE_SECONDS = 0.05
SWEEP_SECONDS = 0.3


class Kept:
    """All that a plane keeps of a workspace. call: runs a coroutine in the loop of the store.
    sweep: lets the plane's sweeper come now, where it would come much later. folder: of a local
    plane's state."""

    def __init__(
        self,
        scope: Scope,
        store: Store,
        objects: Objects,
        call: Callable[[Any], Any],
        sweep: Callable[[], None],
        folder: Path | None = None,
    ) -> None:
        self._scope = scope
        self._store = store
        self._objects = objects
        self._call = call
        self._sweep = sweep
        self._folder = folder

    def digests(self) -> dict[str, str]:
        """Digests of all documents and the generations of all objects, by where they stand."""
        found: dict[str, str] = self._call(self._documents())
        for meta in self._objects.list(self._scope.prefix, limit=1_000_000):
            found[f"object: {meta.key}"] = f"{meta.generation} {meta.size}"
        if self._folder and (self._folder / "arco.db").exists():
            found |= durable_state(self._folder)
        return found

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Inside, nothing of it may change."""
        before = self.digests()
        yield
        changed = differences(before, self.digests())
        assert not changed, changed

    def settle(self, seconds: float = 30, still_seconds: float = 0) -> None:
        """Wait until nothing is owed and nothing waits to be folded: the plane is at rest.
        still_seconds: and until nothing has changed for so long."""
        deadline = time.monotonic() + seconds
        self._rest(deadline)
        seen, still_since = self.digests(), time.monotonic()
        while time.monotonic() < still_since + still_seconds:
            threading.Event().wait(PAUSE_SECONDS)
            now = self.digests()
            if now != seen:
                self._rest(deadline)
                seen, still_since = now, time.monotonic()

    def _rest(self, deadline: float) -> None:
        sweep_at = 0.0
        while waiting := self._call(self._waiting()):
            now = time.monotonic()
            if now > deadline:
                raise AssertionError(f"the plane did not come to rest: {waiting}")
            if now > sweep_at:
                self._sweep()
                sweep_at = now + SWEEP_SECONDS
            threading.Event().wait(PAUSE_SECONDS)

    def history(self) -> History:
        """Everything of it, for the checks of the simulator."""
        clock = VirtualClock()
        reader = Engine(
            store=self._store,
            tasks=MemoryTasks(clock),
            objects=ThreadedObjects(self._objects),
            clock=clock,
            tenant_secret=b"t" * 32,
            token_secret=b"s" * 32,
        )
        while True:
            versions = self._call(self._versions())
            found = read_stored(reader, self._objects, (self._scope,), self._call)
            # It is read piece by piece: a commit in between, and the pieces do not fit.
            if versions == self._call(self._versions()):
                return replay_runs(found)

    def require_every_promise(self) -> None:
        """Every promise that can be read from what is kept. Raises ViolatedError."""
        history = self.history()
        for promise in PROMISES:
            promise(history)

    @property
    def _prefix(self) -> str:
        return f"{self._scope.tenant}:{self._scope.workspace}:"

    async def _versions(self) -> dict[str, int]:
        listed = await self._store.list_heads(self._prefix, limit=100_000)
        return {head.entity: head.version for head in listed}

    async def _documents(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for listed in await self._store.list_heads(self._prefix, limit=100_000):
            name = listed.entity
            parts = {
                "head": await self._store.load(name),
                "inbox": await self._store.inbox(name, 10_000),
                "segments": await self._store.segments(name, limit=100_000),
                "rows": sorted((await self._store.rows(name, limit=100_000)).items()),
            }
            for part, content in parts.items():
                found[f"{name} {part}"] = hashlib.sha256(repr(content).encode()).hexdigest()
        return found

    async def _waiting(self) -> list[str]:
        """Entities that owe something, or to which something was posted."""
        listed = await self._store.list_heads(self._prefix, limit=100_000)
        owing = {head.entity for head in listed if head.owed_since_ms}
        # What was posted first may have no head yet.
        due = await self._store.overdue(await self._store.now_ms() + 1, 100_000)
        names = {head.entity for head in listed} | {n for n in due if n.startswith(self._prefix)}
        return sorted(owing | {name for name in names if await self._store.inbox(name, 1)})


def durable_state(folder: Path) -> dict[str, str]:
    """Of a local plane, running or not: digests of all rows of its database, queue included, and
    the generations of all objects."""
    found: dict[str, str] = {}
    with closing(sqlite3.connect(f"file:{folder / 'arco.db'}?mode=ro", uri=True)) as connection:
        for table in TABLES:
            for row in connection.execute(f"SELECT * FROM {table}"):
                digest = hashlib.sha256(repr(row).encode()).hexdigest()
                found[f"{table}: {row[:2]}"] = digest
    for meta in LocalObjects(folder / "objects").list("", limit=1_000_000):
        found[f"object: {meta.key}"] = f"{meta.generation} {meta.size}"
    return found


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """What was added, removed or rewritten."""
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
