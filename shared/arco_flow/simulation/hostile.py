"""What nobody should send: stolen, forged and foreign credentials, and bodies of garbage.

Each of these must be refused; a check of the history reads the answers.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

from arco_flow.domain.envelope import DispatchEnvelope
from arco_flow.domain.errors import ArcoError
from arco_flow.domain.ids import Scope
from arco_flow.engine.cancel_run import cancel_run
from arco_flow.engine.worker_callback import record_callback
from arco_flow.simulation.world import RIVAL, SCOPE, World

ATTACKER = "mallory"
"""How every actor of an attack is called, so that a check can look for what it left."""

Forgery = Callable[[DispatchEnvelope, DispatchEnvelope, random.Random], tuple[str, str, bytes]]
"""Of the victim's envelope and one of the attacker's own: task id of the path, token, body."""


def _success(envelope: DispatchEnvelope, **changes: Any) -> bytes:
    fields = {
        "attempt": envelope.attempt,
        "attemptId": envelope.attempt_id,
        "workerId": ATTACKER,
        "outcome": "SUCCEEDED",
        **changes,
    }
    return msgspec.json.encode(fields)


def _stolen(
    victim: DispatchEnvelope, own: DispatchEnvelope, _chance: random.Random
) -> tuple[str, str, bytes]:
    """The token of another attempt."""
    return victim.task_id, own.task_token, _success(victim)


def _altered(
    victim: DispatchEnvelope, _own: DispatchEnvelope, chance: random.Random
) -> tuple[str, str, bytes]:
    """A token in which one character differs."""
    token = victim.task_token
    place = chance.randrange(len(token))
    other = "A" if token[place] != "A" else "B"
    return victim.task_id, token[:place] + other + token[place + 1 :], _success(victim)


def _of_next_attempt(
    victim: DispatchEnvelope, _own: DispatchEnvelope, _chance: random.Random
) -> tuple[str, str, bytes]:
    """A good token, used for the attempt after its own."""
    return victim.task_id, victim.task_token, _success(victim, attempt=victim.attempt + 1)


def _garbage(
    victim: DispatchEnvelope, _own: DispatchEnvelope, chance: random.Random
) -> tuple[str, str, bytes]:
    """A good token with a body that is none."""
    return victim.task_id, victim.task_token, chance.randbytes(chance.randrange(60))


_FORGERIES: tuple[Forgery, ...] = (_stolen, _altered, _of_next_attempt, _garbage)


async def attack(world: World, scope: Scope, chance: random.Random) -> None:
    """One attack of each kind on what was dispatched so far, once: an attacker has no patience."""
    envelopes = world.envelopes
    for forge in _FORGERIES:
        if envelopes:
            victim, own = chance.choice(envelopes), chance.choice(envelopes)
            if forge is _stolen and own.task_id == victim.task_id:
                continue
            task_id, token, body = forge(victim, own, chance)
            await _try(world, scope, forge.__name__, task_id, token, body)
    stranger = RIVAL if scope == SCOPE else SCOPE
    for run_id in {e.run_id: None for e in envelopes if e.tenant_id == scope.tenant}:
        await _cancel_as(world, stranger, run_id)


async def _try(
    world: World, scope: Scope, kind: str, task_id: str, token: str, body: bytes
) -> None:
    try:
        await world.ask(
            "attack", scope, kind, lambda e: record_callback(e, task_id, "completed", token, body)
        )
    except ArcoError:
        return


async def _cancel_as(world: World, stranger: Scope, run_id: str) -> None:
    try:
        await world.ask(
            "attack",
            stranger,
            f"cancel of {run_id}",
            lambda e: cancel_run(e, stranger, run_id, reason="malice", actor=f"user:{ATTACKER}"),
        )
    except ArcoError:
        return
