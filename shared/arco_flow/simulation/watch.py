"""Safety, judged at each commit: a violation stops the history at its cause, not at its end."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Final

from arco_flow.domain.decision import APPLIED, DERIVED, Entry, Segment, decode_segment
from arco_flow.domain.events import (
    RunStateChanged,
    TaskFinished,
    TaskHeartbeat,
    TaskStarted,
    TaskStateChanged,
    WorkersLost,
)
from arco_flow.domain.ids import Entity
from arco_flow.domain.run import RunState
from arco_flow.ports.store import Commit, Head, InboxItem, Lease
from arco_flow.simulation.violation import Violation

REPLACED: Final = TaskHeartbeat | WorkersLost
"""News that replace each other under one id: of life per attempt, of death per plane."""
_POINTER, _MARKER = "/_current.json", "/_commit"


class Watch:
    """Observer of a store and of an object store. on_violation, on_commit: told of each, at once.

    sometimes: what was seen of what should be seen sometimes, counted. commits: (entity, version)
    -> store time at which the commit landed; what it decided is as of an earlier time.
    """

    def __init__(
        self,
        on_violation: Callable[[Violation], None],
        on_commit: Callable[[str, Segment], None] | None = None,
    ) -> None:
        self.sometimes: Counter[str] = Counter()
        self.commits: dict[tuple[str, int], int] = {}
        self._on_violation = on_violation
        self._on_commit = on_commit
        self._versions: dict[str, int] = {}
        self._times: dict[str, int] = {}
        self._applied: defaultdict[str, set[str]] = defaultdict(set)
        self._over: set[str] = set()
        self._attempts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._reported: set[tuple[str, str, str]] = set()
        self._promotions: Counter[str] = Counter()
        self._markers: set[str] = set()
        self._objects: dict[str, bytes] = {}
        self._leases: dict[str, Lease] = {}
        self._calm_from_ms = self._soon_ms = 0

    def expect_wakes(self, from_ms: int, soon_ms: int) -> None:
        """From a time on, whatever is posted must be folded within a span."""
        self._calm_from_ms, self._soon_ms = from_ms, soon_ms

    def committed(self, commit: Commit, head: Head) -> None:
        """A commit was applied."""
        self.commits[head.entity, head.version] = head.updated_ms
        name, segment = head.entity, decode_segment(commit.segment)
        if self._on_commit is not None:
            self._on_commit(name, segment)
        self._judge_order(name, commit, segment)
        self._judge_fence(commit)
        self._judge_wakes(commit, head)
        for entry in segment.entries:
            self._count(entry)
            self._judge_once(name, entry)
            if Entity.parse(name).kind == "run":
                self._judge_run(name, entry)

    def posted(self, item: InboxItem) -> None:
        """An event was put into an inbox."""
        self.sometimes["an event waited in an inbox"] += 1
        if item.revision < 1:
            self._violated("inbox_items_have_revisions", str(item))

    def leased(self, lease: Lease) -> None:
        """A lease was granted or renewed."""
        known = self._leases.get(lease.name)
        self._leases[lease.name] = lease
        if known is None:
            return
        if known.holder != lease.holder:
            self.sometimes["a lease changed hands"] += 1
        renewed = lease.token == known.token and lease.holder == known.holder
        if not renewed and lease.token <= known.token:
            self._violated("fencing_tokens_grow", f"{known} then {lease}")

    def written(self, key: str, data: bytes, generation: int) -> None:
        """An object was created or overwritten."""
        del generation
        if key.endswith(_MARKER):
            self._markers.add(key)
        if key.endswith(_POINTER):
            self._judge_pointer(key, data)
        elif key in self._objects and self._objects[key] != data:
            self._violated("objects_are_immutable", f"{key} was overwritten with other bytes")
        self._objects[key] = data

    def deleted(self, key: str) -> None:
        """An object was removed: nobody collects garbage yet."""
        self._violated("nothing_live_is_deleted", key)

    def _judge_order(self, name: str, commit: Commit, segment: Segment) -> None:
        """I9. Versions without a gap, at times that do not go back."""
        before, version = self._versions.get(name, 0), commit.head.version
        if version != before + 1 or segment.version != version:
            self._violated("versions_have_no_gap", f"{name}: {before} then {version}")
        if segment.now_ms < self._times.get(name, 0):
            self._violated("times_do_not_go_back", f"{name}: {self._times[name]} then {segment}")
        self._versions[name], self._times[name] = version, segment.now_ms

    def _judge_fence(self, commit: Commit) -> None:
        """I13. What is written under a lease is written by its present holder."""
        if commit.fence is None:
            return
        self.sometimes["a commit was fenced"] += 1
        lease = self._leases.get(commit.fence[0])
        if lease is None or lease.token != commit.fence[1]:
            self._violated("stale_holders_write_nothing", f"{commit.fence} while {lease}")

    def _judge_wakes(self, commit: Commit, head: Head) -> None:
        """I14. In calm weather a wake comes, and nothing waits for the sweeper. A sign of life
        wakes nobody."""
        for item in commit.consumed if self._soon_ms else ():
            waited_ms = head.updated_ms - item.posted_ms
            if item.posted_ms < self._calm_from_ms or item.event_id.endswith(":heartbeat"):
                continue
            self.sometimes["a wake came in calm weather"] += 1
            if waited_ms > self._soon_ms:
                text = f"{item.event_id} waited {waited_ms} ms in {head.entity}"
                self._violated("what_is_posted_in_calm_weather_is_folded_soon", text)

    def _count(self, entry: Entry) -> None:
        if entry.reason:
            self.sometimes[f"ledger: {_kind_of(entry.reason)}"] += 1
        elif entry.disposition != DERIVED:
            self.sometimes[f"{entry.disposition} {type(entry.event.data).__name__}"] += 1

    def _judge_once(self, name: str, entry: Entry) -> None:
        """I4. An event takes effect once, but for news that replace each other."""
        if entry.disposition != APPLIED or isinstance(
            entry.event.data, TaskHeartbeat | WorkersLost
        ):
            return
        if entry.event.id in self._applied[name]:
            self._violated("an_event_is_applied_once", f"{entry.event.id} again in {name}")
        self._applied[name].add(entry.event.id)

    def _judge_run(self, name: str, entry: Entry) -> None:
        """I5, I6. The end is the end; attempts count up, and only the current one reports."""
        data = entry.event.data
        if name in self._over and entry.disposition in (APPLIED, DERIVED):
            self._violated("terminal_is_terminal", f"{entry} in {name} after its end")
        if isinstance(data, RunStateChanged):
            self.sometimes[f"a run became {data.after}"] += 1
            if RunState(data.after).is_terminal:
                self._over.add(name)
        elif isinstance(data, TaskStateChanged):
            self._judge_attempt(name, data)
        elif isinstance(data, TaskStarted | TaskFinished) and entry.disposition == APPLIED:
            if data.attempt != self._attempts[name][data.task]:
                self._violated("only_the_current_attempt_counts", f"{data} in {name}")
            report = (name, data.attempt_id, type(data).__name__)
            if report in self._reported:
                self._violated("a_report_counts_once", f"{data} again in {name}")
            self._reported.add(report)

    def _judge_attempt(self, name: str, data: TaskStateChanged) -> None:
        if data.after == "DISPATCHED":
            self._attempts[name][data.task] += 1
            if data.attempt > 1:
                self.sometimes["a task was retried"] += 1
            if data.attempt != self._attempts[name][data.task]:
                self._violated("attempts_are_counted_without_gap", f"{data} in {name}")
        if data.reason:
            self.sometimes[f"task: {_kind_of(data.reason)}"] += 1

    def _judge_pointer(self, key: str, data: bytes) -> None:
        """I11. A pointer goes forwards, to a version that is whole."""
        pointer = json.loads(data)
        if pointer["promotion"] <= self._promotions[key]:
            text = f"{key}: {self._promotions[key]} then {pointer}"
            self._violated("a_pointer_never_goes_backwards", text)
        if pointer["version"] + "_commit" not in self._markers:
            self._violated("a_marker_stands_before_its_pointer", f"{key}: {pointer}")
        self._promotions[key] = pointer["promotion"]

    def _violated(self, invariant: str, message: str) -> None:
        self._on_violation(Violation(invariant, message))


def _kind_of(reason: str) -> str:
    """A reason without what it names."""
    head = reason.partition(":")[0].partition(" (")[0]
    return "claimed by worker" if head.startswith("claimed by worker") else head
