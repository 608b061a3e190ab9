"""The emulated plane while the platform misbehaves: duplicates, delays, early and lost calls."""

from __future__ import annotations

from pathlib import Path

from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.memory.tasks import MemoryTasks
from arco_flow.adapters.threaded import ThreadedObjects
from arco_flow.domain.decision import decode_segment
from arco_flow.domain.ids import Entity, Scope
from arco_flow.domain.run import decode_run
from arco_flow.engine.context import Engine, Settings
from arco_flow.engine.objects import load_plan
from arco_flow.simulation.checks import callbacks, ledgers, outputs, requests, runs
from arco_flow.simulation.history import History, replay_runs
from e2e.harness import PlaneUnderTest, write_module
from emulated.plane import RunningBundle, own_bundle

FAULTS = {
    "duplicate": 0.2,
    "delay_ms": (0, 100),
    "drop": 0.05,
    "lose_answer": 0.05,
    "early": 0.1,
    "unavailable": 0.05,
    "landed": 0.03,
    "seed": 7,
}

SHOP = """
    from arco_flow import PartitionKey, RetryPolicy, StaticPartitions, asset

    regions = StaticPartitions(["eu", "us", "asia"])
    tries = RetryPolicy(max_retries=3, delay="1s")

    @asset(namespace="t", partitions=regions, retry=tries)
    def orders(region: PartitionKey) -> list[str]:
        return [str(region)]

    @asset(namespace="t", partitions=regions, retry=tries)
    def clean(orders: list[str]) -> list[str]:
        return sorted(orders)

    @asset(namespace="t", retry=tries)
    def report(clean: dict[str, list[str]]) -> int:
        return len(clean)
"""
RUNS = 2


def test_the_same_ends_and_every_promise_while_the_platform_misbehaves(tmp_path: Path) -> None:
    module = write_module(tmp_path, "shop", SHOP)
    with own_bundle(faults=FAULTS, workers=3) as running:
        workspace = running.workspace()
        plane = PlaneUnderTest(tmp_path, workspace, workspace.objects)
        _insist(lambda: plane.deploy(module))
        asked = [
            _insist(lambda key=key: plane.request("*", all_partitions=True, run_key=key))
            for key in [f"run-{number}" for number in range(RUNS)]
        ]
        ended = [_insist(lambda run=run: plane.wait(run.run_id, 120)) for run in asked]
        assert {run.state for run in ended} == {"SUCCEEDED"}
        assert len({run.run_id for run in ended}) == RUNS
        history = _settled(running, workspace.scope)
        plane.client.close()
        workspace.objects.close()
    for check in CHECKS:
        check(history)


CHECKS = (
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
"""The simulator's checks that read nothing but ledger, final state and storage."""


def _insist(work):
    """A client with patience: what is not available is asked for again."""
    from arco_flow.cli.failures import PlaneUnreachable

    for _ in range(30):
        try:
            return work()
        except PlaneUnreachable:
            continue
    return work()


def _settled(running: RunningBundle, scope: Scope) -> History:
    """All that is stored, once nothing waits any more."""
    for _ in range(300):
        history = running.call(_read(running, scope))
        if not any(history.inboxes.values()) and not any(h.owed for h in history.heads.values()):
            return history
    raise AssertionError("something still waits")


async def _read(running: RunningBundle, scope: Scope) -> History:
    calls = FirestoreCalls("demo-arco", emulator=running.environment("FIRESTORE_EMULATOR_HOST"))
    store = FirestoreStore("demo-arco", calls=calls)
    bucket = CloudObjects("arco", emulator=running.environment("STORAGE_EMULATOR_HOST"))
    objects = ThreadedObjects(bucket)
    heads = {}
    for kind in ("run", "asset", "deployment", "dynamic"):
        prefix = f"{scope.tenant}:{scope.workspace}:{kind}:"
        for listed in await store.list_heads(prefix, limit=1000):
            head = await store.load(listed.entity)
            assert head is not None
            heads[head.entity] = head
    raw = {name: await store.segments(name, limit=10_000) for name in heads}
    keys = [meta.key for meta in await objects.list(scope.prefix, limit=10_000)]
    stored = {key: await objects.get(key) for key in keys}
    found = {key: one.data for key, one in stored.items() if one is not None}
    history = History(
        heads=heads,
        ledgers={name: [decode_segment(body) for body in bodies] for name, bodies in raw.items()},
        segment_bytes={name: [len(body) for body in bodies] for name, bodies in raw.items()},
        inboxes={name: [item.event_id for item in await store.inbox(name, 1000)] for name in heads},
        rows={name: await store.rows(name, limit=10_000) for name in heads},
        objects=found,
        plans=await _plans(store, objects, heads),
        answers=[],
        sent=[],
        settings=Settings(),
        commits={},
    )
    await store.close()
    bucket.close()
    return replay_runs(history)


async def _plans(store, objects, heads):
    engine = Engine(
        store=store,
        tasks=MemoryTasks(VirtualClock()),
        objects=objects,
        clock=VirtualClock(),
        tenant_secret=b"t" * 32,
        token_secret=b"s" * 32,
    )
    plans = {}
    for name, head in heads.items():
        entity = Entity.parse(name)
        if entity.kind == "run":
            plan_id = decode_run(head.state).plan_id
            plans[plan_id] = await load_plan(engine, entity.scope, plan_id)
    return plans
