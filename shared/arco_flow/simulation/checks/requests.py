"""What callers were told: one run per key, conflicts, cancels, deployments, attacks."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

from arco_flow.domain.decision import APPLIED
from arco_flow.domain.errors import Conflict
from arco_flow.domain.events import (
    ManifestDeployed,
    RunCancelRequested,
    RunKeyConflicted,
    RunRequested,
)
from arco_flow.domain.ids import Entity
from arco_flow.domain.run import RunState
from arco_flow.domain.task import TaskState
from arco_flow.engine.run_bridge import request_fingerprint
from arco_flow.simulation.history import History
from arco_flow.simulation.hostile import ATTACKER
from arco_flow.simulation.violation import ViolatedError


def one_run_per_run_key(history: History) -> None:
    """I1, I19. All that were accepted under a key were told of the same run and request."""
    runs: defaultdict[Any, set[str]] = defaultdict(set)
    for entity in history.of_kind("run"):
        runs[Entity.parse(entity).scope, history.run(entity).run_key].add(entity)
    for key, found in runs.items():
        if len(found) != 1:
            raise ViolatedError(f"two runs of {key}: {found}")
    created: Counter[str] = Counter()
    for answer in history.answers:
        if answer.verb != "request" or not answer.accepted:
            continue
        entity = str(Entity(answer.scope, "run", answer.result.run_id))
        if entity not in history.heads:
            raise ViolatedError(f"{answer} has no run")
        created[entity] += answer.result.created
        request = next(history.entries(entity))[1].event.data
        if not isinstance(request, RunRequested):
            raise ViolatedError(f"{entity} begins with {request}")
        if request.fingerprint != request_fingerprint(answer.about):
            raise ViolatedError(f"{answer} got the run of another request\n{history.show(entity)}")
    if max(created.values(), default=0) > 1:
        raise ViolatedError(f"created twice: {created}")


def conflicts_are_recorded(history: History) -> None:
    """I1. Whoever was refused for its key finds both fingerprints in the run's ledger."""
    for answer in history.answers:
        refusal = answer.result
        if not isinstance(refusal, Conflict) or refusal.reason != "RUN_KEY_CONFLICT":
            continue
        entity = str(Entity(answer.scope, "run", str(refusal.details["runId"])))
        recorded = {
            (e.event.data.accepted_fingerprint, e.event.data.refused_fingerprint)
            for _, e in history.entries(entity)
            if isinstance(e.event.data, RunKeyConflicted)
        }
        told = (refusal.details["acceptedFingerprint"], refusal.details["refusedFingerprint"])
        if told not in recorded:
            raise ViolatedError(f"{told} is not recorded\n{history.show(entity)}")
        if told[1] != request_fingerprint(answer.about):
            raise ViolatedError(f"{answer} names another request than its own")


def every_accepted_run_is_over(history: History) -> None:
    """I3, I14. Nothing that exists is left in the middle."""
    for entity in history.of_kind("run"):
        run = history.run(entity)
        open_tasks = [TaskState(s).name for s in run.states if not TaskState(s).is_terminal]
        over = RunState(run.state).is_terminal and not open_tasks and not run.live
        if not over:
            raise ViolatedError(f"{run.state} {open_tasks}\n{history.show(entity)}")
        if history.heads[entity].status != run.state:
            raise ViolatedError(f"listed as {history.heads[entity].status}: {run.state}")


def an_accepted_cancel_is_recorded(history: History) -> None:
    """I16, I4. Whoever was told that the run is being cancelled finds it in the ledger."""
    for answer in history.answers:
        if answer.verb == "cancel" and answer.accepted:
            entity = str(Entity(answer.scope, "run", answer.about))
            found = any(
                isinstance(e.event.data, RunCancelRequested) for _, e in history.entries(entity)
            )
            if not found:
                raise ViolatedError(f"{answer}\n{history.show(entity)}")


def what_was_accepted_by_the_workspace_took_effect(history: History) -> None:
    """I4. Deployments and changed partition keys that were answered with 200 are in the ledger."""
    for answer in history.answers:
        if not answer.accepted or answer.verb not in ("deploy", "dynamic"):
            continue
        if answer.verb == "deploy":
            rows = history.rows[
                f"{answer.scope.tenant}:{answer.scope.workspace}:deployment:current"
            ]
            made = [json.loads(row) for row in rows.values()]
            mine = [row["number"] for row in made if row["manifestId"] == answer.result.manifest_id]
            # Somebody else's may have become current since, with a later number.
            if not mine or min(mine) > answer.result.deployment:
                raise ViolatedError(f"{answer} not in {made}")
        else:
            definition, added = answer.about
            entity = str(Entity(answer.scope, "dynamic", definition))
            if set(added) > set(answer.result):
                raise ViolatedError(f"{answer} does not show its own change")
            if set(added) > history.rows[entity].keys():
                raise ViolatedError(f"{answer} was lost")


def a_deployment_is_over_when_its_client_goes_on(history: History) -> None:
    """I27. Of who names his requests and what they replace: once one is answered, nothing takes
    effect any more of those that were answered or given up before its client began."""
    named = [a for a in history.answers if a.verb == "deploy" and a.about.request_id]
    for entity in history.of_kind("deployment"):
        mine = [answer for answer in named if answer.scope == Entity.parse(entity).scope]
        applied = [e.event.data for _, e in history.entries(entity) if e.disposition == APPLIED]
        landed = {
            data.request_id: revision
            for revision, data in enumerate(applied, 1)
            if isinstance(data, ManifestDeployed)
        }
        for later in mine:
            for earlier in mine if later.accepted else ():
                is_over = earlier.time_ms < later.about.since_ms
                if is_over and landed.get(earlier.about.request_id, 0) > later.result.revision:
                    told = f"{earlier.about.request_id} after {later.about.request_id}"
                    raise ViolatedError(f"{told}\n{history.show(entity)}")


def nobody_gets_in(history: History) -> None:
    """I12, I22. What is stolen, forged, foreign or garbage was refused, and left no trace."""
    for answer in history.answers:
        if answer.verb == "attack" and answer.accepted:
            raise ViolatedError(f"let in: {answer}")
    for entity in history.heads:
        for _, entry in history.entries(entity):
            if entry.event.actor.endswith(ATTACKER):
                raise ViolatedError(f"left by an attack: {entry}\n{history.show(entity)}")
