"""Kill -9 the plane again and again: every run ends, and every output is there exactly once."""

from __future__ import annotations

import collections
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.cli.client import PlaneClient
from arco_flow.cli.failures import PlaneUnreachable
from arco_flow.domain.decision import decode_segment
from arco_flow.domain.events import PromotionRequested, TaskFinished, event_type
from arco_flow.domain.ids import Scope, pointer_path
from arco_flow.domain.manifest import manifest_bytes
from arco_flow.engine.views import DeployOutcome, RunAccepted, RunPage, RunSpec
from arco_flow.sdk.discovery import load_definitions
from e2e.harness import write_module

RUNS, TASKS, KILLS = 20, 50, 10
SCOPE = Scope("local", "default")

CODE = """
    from arco_flow import AssetContext, StaticPartitions, asset

    @asset(namespace="t", partitions=StaticPartitions([f"k{i:02d}" for i in range(25)]))
    def first(context: AssetContext) -> dict[str, str]:
        return {"run": context.run_id, "key": context.partition_key}

    @asset(namespace="t", partitions=StaticPartitions([f"k{i:02d}" for i in range(25)]))
    def second(first: dict[str, str], context: AssetContext) -> dict[str, str]:
        assert first == {"run": context.run_id, "key": context.partition_key}
        return first
"""


class KillablePlane:
    """A plane process and a client of it; after a kill, the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "e2e.plane_process", str(self.folder), "2"],
            cwd=Path(__file__).parents[1],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        address = json.loads(self.process.stdout.readline())
        self.client = PlaneClient(address["url"], address["token"], "default")

    def kill(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def finished_tasks(self) -> tuple[int, int]:
        """(tasks that are over, runs that are over)."""
        page = self.client.get("/runs", RunPage, pageSize=1000)
        over = ("SUCCEEDED", "FAILED", "CANCELLED", "SKIPPED")
        tasks = sum(run.task_counts.get(state, 0) for run in page.runs for state in over)
        return tasks, sum(bool(run.end_time) for run in page.runs)


@pytest.mark.slow
def test_a_plane_killed_at_any_moment_goes_on_where_it_was(tmp_path: Path) -> None:
    module = write_module(tmp_path, "shop", CODE)
    state = tmp_path / ".arco-flow"
    plane = KillablePlane(state)
    definitions = load_definitions(str(module))
    location = {f"location.{name}": definitions.location[name] for name in ("target", "root")}
    raw = manifest_bytes(definitions.manifest())
    plane.client.post("/deployments", DeployOutcome, raw, **location)
    chance = random.Random(20261121)
    moments = sorted(chance.randrange(1, RUNS * TASKS - 20) for _ in range(KILLS))
    submitted, kills = 0, 0
    try:
        while True:
            if submitted < RUNS:
                submitted += _submit(plane, submitted)
            tasks, runs = plane.finished_tasks()
            if kills < KILLS and tasks >= moments[kills]:
                plane.kill()
                plane.start()
                kills += 1
            elif runs == RUNS and _owes_nothing(state):
                break
    finally:
        plane.kill()
    assert kills == KILLS
    _check_histories(state)


def _submit(plane: KillablePlane, number: int) -> int:
    spec = RunSpec(selection="*", all_partitions=True, run_key=f"crash-{number}")
    try:
        plane.client.post("/runs", RunAccepted, spec, repeat=True)
    except PlaneUnreachable:
        return 0
    return 1


def _owes_nothing(state: Path) -> bool:
    """Whether every debt of the dead planes was paid: nothing waits, nothing is owed."""
    database = sqlite3.connect(next(state.glob("*.db")))
    try:
        waiting = database.execute("SELECT count(*) FROM inbox").fetchone()[0]
        owed = database.execute("SELECT count(*) FROM heads WHERE owed_since_ms > 0").fetchone()[0]
        return not waiting and not owed
    finally:
        database.close()


def _check_histories(state: Path) -> None:
    """Read the ledgers and the objects themselves, with no plane running."""
    database = sqlite3.connect(next(state.glob("*.db")))
    accepted: collections.Counter[tuple[str, str]] = collections.Counter()
    requested: collections.Counter[str] = collections.Counter()
    ended: dict[str, str] = {}
    rows = database.execute("SELECT entity, body FROM segments ORDER BY entity, version")
    for entity, body in rows:
        for entry in decode_segment(body).entries:
            data = entry.event.data
            if isinstance(data, TaskFinished) and entry.disposition == "applied":
                assert data.outcome == "SUCCEEDED", data.error
                accepted[entity, data.task] += 1
            if isinstance(data, PromotionRequested):
                # Sent again after a crash it is a duplicate, or superseded by then.
                requested[data.attempt_id] += entry.disposition == "applied"
            if event_type(data) == "RunStateChanged":
                ended[entity] = data.after  # type: ignore[union-attr]
    assert len(ended) == RUNS
    assert set(ended.values()) == {"SUCCEEDED"}
    assert len(accepted) == RUNS * TASKS, "every task of every run has an accepted result"
    assert set(accepted.values()) == {1}, "and exactly one"
    assert len(requested) == RUNS * TASKS, "every accepted result reached the catalog"
    assert max(requested.values()) == 1, "and none was promoted twice"
    assert database.execute("SELECT count(*) FROM inbox").fetchone() == (0,)
    _check_pointers(database, LocalObjects(state / "objects"))
    database.close()


def _check_pointers(database: sqlite3.Connection, objects: LocalObjects) -> None:
    for asset in ("t.first", "t.second"):
        entity = f"local:default:asset:{asset}"
        found = database.execute("SELECT key, body FROM rows WHERE entity = ?", (entity,))
        current = {key: json.loads(body) for key, body in found}
        assert len(current) == TASKS // 2
        for partition, row in current.items():
            stored = objects.get(pointer_path(SCOPE, asset, partition))
            assert stored is not None
            pointer = json.loads(stored.data)
            assert pointer["attemptId"] == row["attemptId"]
            marker = objects.get(pointer["version"] + "_commit")
            assert marker is not None, "what is current is whole"
            assert json.loads(marker.data)["attemptId"] == row["attemptId"]
