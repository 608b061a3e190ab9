"""What becomes visible: whole, once, and the latest."""

from __future__ import annotations

import json
from collections import Counter, defaultdict

from arco_flow.domain import asset as catalog
from arco_flow.domain.decision import APPLIED, DERIVED
from arco_flow.domain.events import (
    PromotionRequested,
    TaskFinished,
    TaskStateChanged,
)
from arco_flow.domain.ids import Entity, pointer_path
from arco_flow.simulation.history import History
from arco_flow.simulation.violation import ViolatedError


def promotions_are_numbered_and_each_was_accepted(history: History) -> None:
    """I11. Numbers grow by one; each promoted attempt is the accepted success of its task."""
    promoted: Counter[str] = Counter()
    accepted = _accepted_results(history)
    for entity in history.of_kind("asset"):
        number = 0
        for _, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, PromotionRequested) and entry.disposition == APPLIED:
                number += 1
                promoted[data.attempt_id] += 1
                if data.attempt_id not in accepted:
                    raise ViolatedError(f"{data}\n{history.show(entity)}")
                if accepted[data.attempt_id] != (data.run_id, data.accepted_ms):
                    raise ViolatedError(
                        "accepted[data.attempt_id] == (data.run_id, data.accepted_ms)"
                    )
        numbers = [
            entry.event.data.promotion  # type: ignore[union-attr]
            for _, entry in history.entries(entity)
            if entry.disposition == DERIVED
        ]
        if numbers != list(range(1, number + 1)):
            raise ViolatedError(f"numbered {numbers}\n{history.show(entity)}")
    if max(promoted.values(), default=0) > 1:
        raise ViolatedError(f"promoted twice: {promoted.most_common(3)}")


def _accepted_results(history: History) -> dict[str, tuple[str, int]]:
    """Attempt id -> (run id, when), of all successes that count."""
    found = {}
    for entity in history.of_kind("run"):
        wins: dict[str, str] = {}
        for segment, entry in history.entries(entity):
            data = entry.event.data
            if isinstance(data, TaskFinished) and entry.disposition == APPLIED:
                wins[data.task] = data.attempt_id
            if isinstance(data, TaskStateChanged) and data.after == "SUCCEEDED":
                run_id = Entity.parse(entity).name
                found[wins[data.task]] = (run_id, segment.now_ms)
    return found


def every_success_reached_the_catalog(history: History) -> None:
    """I8, I11. Promoted, or superseded by a later one, but never forgotten."""
    told = {
        entry.event.data.attempt_id
        for entity in history.of_kind("asset")
        for _, entry in history.entries(entity)
        if isinstance(entry.event.data, PromotionRequested)
    }
    missing = _accepted_results(history).keys() - told
    if missing:
        raise ViolatedError(f"accepted, but never promoted: {missing}")


def the_latest_accepted_result_is_current(history: History) -> None:
    """I11. In the row and in the pointer, and the version it names is whole."""
    for entity in history.of_kind("asset"):
        scope, _, key = Entity.parse(entity)
        requested: defaultdict[str, list[PromotionRequested]] = defaultdict(list)
        for _, entry in history.entries(entity):
            if isinstance(entry.event.data, PromotionRequested):
                requested[entry.event.data.partition].append(entry.event.data)
        for partition, all_of_them in requested.items():
            latest = max(all_of_them, key=lambda d: (d.accepted_ms, d.run_id, d.attempt_id))
            row = catalog.decode_materialization(history.rows[entity][catalog.row_key(partition)])
            if row.attempt_id != latest.attempt_id:
                raise ViolatedError(f"{row}\n{history.show(entity)}")
            raw = history.objects.get(pointer_path(scope, key, partition))
            if raw is None:
                raise ViolatedError(f"no pointer for {partition!r}\n{history.show(entity)}")
            pointer = json.loads(raw)
            told = (pointer["attemptId"], pointer["promotion"])
            if told != (row.attempt_id, row.promotion):
                raise ViolatedError(f"{pointer} but {row}")
            marker = history.objects.get(pointer["version"] + "_commit")
            if marker is None:
                raise ViolatedError(f"{pointer} is not whole")
            # A result without a value has no content, and its report no hash of it.
            expected = (row.attempt_id, row.output.get("contentHash", ""))
            stored = json.loads(marker)
            if (stored["attemptId"], stored["contentHash"]) != expected:
                raise ViolatedError(f"{pointer} leads to {stored}, accepted was {expected}")
