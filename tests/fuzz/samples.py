"""Documents that the decoders read: small, and with every field that has a meaning."""

from __future__ import annotations

from pathlib import Path

import msgspec

from arco_flow.domain.asset import Materialization
from arco_flow.domain.decision import COMPRESS_BYTES, Entry, Segment, encode_segment
from arco_flow.domain.dynamic import DynamicKey
from arco_flow.domain.effects import SwapPointer, encode_owed
from arco_flow.domain.events import Event, UnknownEvent, encode_event
from arco_flow.domain.manifest import (
    AssetSpec,
    CheckSpec,
    DepSpec,
    Manifest,
    TimeoutsSpec,
    manifest_bytes,
)
from arco_flow.domain.partition_mappings import PartitionMapping
from arco_flow.domain.partitions import (
    CronPartitions,
    DailyPartitions,
    DynamicPartitions,
    HourlyPartitions,
    MonthlyPartitions,
    MultiPartitions,
    PartitionsDefinition,
    StaticPartitions,
    WeeklyPartitions,
)
from arco_flow.domain.plan import Edge, Pin, Plan, PlanTask, plan_bytes
from arco_flow.domain.retry import RetryPolicy
from arco_flow.domain.run import encode_run
from arco_flow.domain.tokens import AttemptClaims, sign_attempt_token
from domain.runs import Story, manifest_of, plan_of

PROTOCOL = Path(__file__).parents[1] / "vectors" / "worker_protocol"
NOW_MS = 1_750_000_000_000
SECRET = b"a secret of thirty-two bytes ...."


def _story() -> Story:
    plan = plan_of(manifest_of({"a": [], "b": ["a"], "c": []}, retry={"maxRetries": 1}))
    story = Story(plan, deadline_ms=2_000_000)
    story.fold(story.started("a"), story.heartbeat("a"))
    story.fold(story.finished("c", "FAILED"), story.finished("a", output={"rowCount": 3}))
    return story


STORY = _story()
RUN = encode_run(STORY.run)
LEDGER = tuple(entry for decision in STORY.decisions for entry in decision.ledger)
EVENTS = (
    *(encode_event(entry.event) for entry in LEDGER[:12]),
    encode_event(
        Event("id", NOW_MS, "s", UnknownEvent("Later", {"type": "Later", "n": [1.5]}), "a")
    ),
)
SEGMENT = encode_segment(Segment(3, NOW_MS, 1, LEDGER))
LONG_SEGMENT = encode_segment(
    Segment(4, NOW_MS, 1, (Entry(LEDGER[0].event, "x" * COMPRESS_BYTES),))
)
OWED = encode_owed(
    (*STORY.decisions[0].effects, *STORY.decision.effects, SwapPointer("a/b", 3, {"promotion": 3}))
)
ROW = msgspec.json.encode(
    Materialization(
        partition="date=d:2026-01-01",
        name="2026-01-01",
        attempt_id="att_1",
        run_id="run_1",
        promotion=7,
        accepted_ms=NOW_MS,
        promoted_ms=NOW_MS,
        code_version="cv",
        output={"rowCount": 3, "checks": [{"name": "a", "passed": True}]},
    )
)
DYNAMIC_KEY = msgspec.json.encode(DynamicKey("é", 3, NOW_MS))
PLAN = plan_bytes(
    Plan(
        tenant_id="acme",
        workspace_id="main",
        manifest_id="sha256:m",
        code_version_id="cv",
        catalog_snapshot_id="cat",
        assets=["a.b", "a.c"],
        tasks=[PlanTask(0), PlanTask(1, "key=s:YQ", "a", [Edge(0, [0], [0], "tp")])],
        pins=[Pin("a.d", "", "", "att_1")],
    )
)

DAYS = DailyPartitions("2026-01-01", timezone="Europe/Berlin", end="2026-03-01", hour_offset=6)
WORKDAYS = DailyPartitions("2025-12-20", exclusions=["0 0 * * SAT,SUN", "2026-01-01"])
REGIONS = StaticPartitions(["us", "eu", "apac", "é"])
GRID = MultiPartitions({"date": DAYS, "region": REGIONS, "who": DynamicPartitions("who")})
DEFINITIONS: tuple[PartitionsDefinition, ...] = (
    DAYS,
    WORKDAYS,
    REGIONS,
    GRID,
    HourlyPartitions("2026-01-01", minute_offset=15, end_offset=-1),
    WeeklyPartitions("2026-01-01", day_offset=1, fmt="%G-W%V-%u"),
    MonthlyPartitions("2026-01-01", day_offset=31),
    CronPartitions("*/30 6-8 * * 1-5", start="2026-01-01", timezone="America/Havana"),
    DynamicPartitions("customers"),
)
MAPPINGS = (
    PartitionMapping.identity(),
    PartitionMapping.time_window(start_offset=-1, allow_nonexistent_upstream=True),
    PartitionMapping.specific(["us", "eu"]),
    PartitionMapping.static({"us": ["a", "b"], "eu": "c"}),
    PartitionMapping.single_dimension("date"),
    PartitionMapping.dimensions(
        {"date": ("day", PartitionMapping.time_window()), "region": PartitionMapping.all()}
    ),
)
POLICIES = (
    RetryPolicy(),
    RetryPolicy(3, "10s", backoff="exponential", max_delay="5m", jitter="full", on="TIMEOUT"),
)
MANIFEST = manifest_bytes(
    Manifest(
        code_version_id="cv_1",
        module="shop",
        git={"commit": "abc"},
        metadata={"built": {"by": ["ci", 3, None, True]}},
        assets=[
            AssetSpec(
                key="a.b",
                tags={"team/tier": "gold"},
                kinds=["python"],
                owners=["ana@example.com", "team:growth"],
                partitions=GRID.to_wire(),
                retry=POLICIES[1].to_wire(),
                checks=[CheckSpec(name="positive", blocking=True)],
            ),
            AssetSpec(
                key="a.c",
                kind="activity",
                deps=[DepSpec(asset="a.b", param="b", mapping=MAPPINGS[2].to_wire())],
                timeouts=TimeoutsSpec(start_ms=1, heartbeat_ms=5_000, execution_ms=9),
                partitions=DAYS.to_wire(),
            ),
        ],
    )
)
ENVELOPES = tuple(path.read_bytes() for path in sorted(PROTOCOL.glob("worker_dispatch*.json")))
CLAIMS = AttemptClaims("acme", "main", "ct1_YQBi", "run_1", 2, "att_1", NOW_MS + 60_000)
TOKEN = sign_attempt_token(SECRET, CLAIMS, NOW_MS).encode()
