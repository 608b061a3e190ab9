"""DECODERS: everything in the domain that reads bytes or text of others, one row each.

A new decoder is one more row here (or in borders.py, when it is no part of the domain); a test
finds those of the domain that have none.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from arco_flow.domain.asset import Counters, decode_counters, decode_materialization
from arco_flow.domain.cron import parse_cron
from arco_flow.domain.cron_fields import parse_fields
from arco_flow.domain.decision import decode_segment, encode_segment
from arco_flow.domain.deployment import Deployment, decode_deployment, decode_row
from arco_flow.domain.durations import format_duration, parse_duration_ms
from arco_flow.domain.dynamic import (
    DynamicCounters,
    decode_dynamic_counters,
    decode_dynamic_key,
)
from arco_flow.domain.effects import decode_owed, encode_owed
from arco_flow.domain.envelope import parse_envelope
from arco_flow.domain.events import decode_event, encode_event
from arco_flow.domain.identifiers import (
    parse_traceparent,
    validate_asset_key,
    validate_group,
    validate_kinds,
    validate_labels,
    validate_owner,
    validate_run_key,
    validate_tags,
    validate_tenant,
)
from arco_flow.domain.ids import Entity, callback_task_id, parse_callback_task_id
from arco_flow.domain.leadership import Leadership, decode_leadership
from arco_flow.domain.lenient_moments import read_moment_leniently
from arco_flow.domain.manifest import manifest_bytes, parse_manifest
from arco_flow.domain.name_partitions import check_name
from arco_flow.domain.partition_keys import decode_partition_key, encode_partition_key
from arco_flow.domain.partition_mappings import mapping_from_wire
from arco_flow.domain.partition_sets import PartitionSet
from arco_flow.domain.partitions import PartitionContext, partitions_from_wire
from arco_flow.domain.plan import decode_plan, plan_bytes
from arco_flow.domain.retry import retry_from_wire
from arco_flow.domain.run import decode_run, encode_run
from arco_flow.domain.selection import parse, to_text
from arco_flow.domain.time_windows import DATE_FORMAT, parse_moment, write_moment
from arco_flow.domain.tokens import verify_attempt_token
from arco_flow.domain.wire import decode_json
from fuzz import samples
from fuzz.borders import BORDERS
from fuzz.table import BAD_OR_LARGE, DAMAGED, UNKNOWN, Decoder, bytes_of, of_json, of_text

ZONE = "Europe/Berlin"
CTX = PartitionContext(1_775_000_000, {"who": ["zoe", "adam"], "customers": ["a|b", "c"]})


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _of(kind: type, check: Any) -> Any:
    """A check of what the types of a document have made sure is a list or an object."""
    return lambda value: check(value) if isinstance(value, kind) else None


STORED = (
    Decoder(
        "event",
        decode_event,
        samples.EVENTS,
        write=encode_event,
        covers=("events.decode_event", "effects.SendEvent.decoded"),
        json=True,
    ),
    Decoder(
        "segment",
        decode_segment,
        (samples.SEGMENT, samples.LONG_SEGMENT),
        DAMAGED,
        encode_segment,
        ("decision.decode_segment",),
        json=True,
    ),
    Decoder("run", decode_run, (samples.RUN,), DAMAGED, encode_run, ("run.decode_run",)),
    Decoder(
        "materialization",
        decode_materialization,
        (samples.ROW,),
        DAMAGED,
        bytes_of,
        ("asset.decode_materialization",),
        json=True,
    ),
    Decoder(
        "dynamic_key",
        decode_dynamic_key,
        (samples.DYNAMIC_KEY,),
        DAMAGED,
        bytes_of,
        ("dynamic.decode_dynamic_key",),
        json=True,
    ),
    Decoder(
        "deployment_row",
        decode_row,
        (bytes_of(Deployment(1, "m", "cv", 2, {"target": "shop"}, 5, "user:me", 1)),),
        DAMAGED,
        bytes_of,
        ("deployment.decode_row",),
        json=True,
    ),
    *(
        Decoder(
            name, read, (msgspec.msgpack.encode(value),), DAMAGED, msgspec.msgpack.encode, (at,)
        )
        for name, read, value, at in (
            ("counters", decode_counters, Counters(3, 2, 5), "asset.decode_counters"),
            (
                "dynamic_counters",
                decode_dynamic_counters,
                DynamicCounters(2, 7, 5),
                "dynamic.decode_dynamic_counters",
            ),
            (
                "deployment",
                decode_deployment,
                Deployment(1, "m", "cv", 2, {"target": "shop"}, 5, "user:me", 1),
                "deployment.decode_deployment",
            ),
            (
                "leadership",
                decode_leadership,
                Leadership("a", 3, 5),
                "leadership.decode_leadership",
            ),
        )
    ),
    Decoder(
        "owed",
        decode_owed,
        (samples.OWED, b""),
        DAMAGED,
        encode_owed,
        ("effects.decode_owed",),
        json=True,
    ),
    Decoder(
        "plan",
        decode_plan,
        (samples.PLAN,),
        write=plan_bytes,
        covers=("plan.decode_plan",),
        json=True,
    ),
    Decoder("json", decode_json, (b'{"a":[1,"x",null]}',), covers=("wire.decode_json",), json=True),
)

SENT = (
    Decoder(
        "manifest",
        parse_manifest,
        (samples.MANIFEST,),
        BAD_OR_LARGE,
        manifest_bytes,
        ("manifest.parse_manifest",),
        json=True,
    ),
    Decoder(
        "envelope",
        parse_envelope,
        samples.ENVELOPES,
        write=bytes_of,
        covers=("envelope.parse_envelope",),
        json=True,
    ),
    Decoder(
        "attempt_token",
        of_text(lambda text: verify_attempt_token(samples.SECRET, text, samples.NOW_MS)),
        (samples.TOKEN,),
        UNKNOWN,
    ),
    Decoder(
        "callback_task_id",
        of_text(parse_callback_task_id),
        (_encoded(callback_task_id("run_1", "a.b[é]")),),
        write=lambda found: _encoded(callback_task_id(*found)),
        covers=("ids.parse_callback_task_id",),
    ),
    Decoder(
        "entity",
        of_text(Entity.parse),
        (b"acme:main:run:run_1",),
        write=lambda entity: _encoded(str(entity)),
        covers=("ids.Entity.parse",),
    ),
)

PARTITIONS = (
    Decoder(
        "partition_key",
        of_text(decode_partition_key),
        (
            b"",
            b"date=d:2026-01-31,region=s:ZXU",
            b"a=i:-7,b=b:true,c=n:null,d=t:2026-01-31T00:00:00.000000Z",
        ),
        write=lambda dims: _encoded(encode_partition_key(dims)),
        covers=("partition_keys.decode_partition_key",),
    ),
    *(
        Decoder(
            f"canonical_{number}",
            of_text(definition.from_canonical),
            tuple(_encoded(definition.canonical(key)) for key in definition.keys(CTX)[:2]),
            write=lambda key, definition=definition: _encoded(definition.canonical(key)),
            covers=(
                "time_partitions.TimePartitions.from_canonical",
                "name_partitions._Names.from_canonical",
                "multi_partitions.MultiPartitions.from_canonical",
            ),
        )
        for number, definition in enumerate(samples.DEFINITIONS[:8])
    ),
    *(
        Decoder(
            f"typed_key_{number}",
            of_text(lambda text, made=definition: (made.has(text, CTX), made.nearest(text, CTX))),
            tuple(map(_encoded, definition.keys(CTX)[:3])),
            (),
        )
        for number, definition in enumerate(samples.DEFINITIONS)
    ),
    Decoder(
        "partitions",
        of_json(partitions_from_wire),
        tuple(bytes_of(definition.to_wire()) for definition in samples.DEFINITIONS),
        write=lambda definition: bytes_of(definition.to_wire()),
        covers=(
            "partitions.partitions_from_wire",
            "time_partitions.TimePartitions.from_wire",
            "name_partitions.StaticPartitions.from_wire",
            "name_partitions.DynamicPartitions.from_wire",
        ),
        json=True,
    ),
    *(
        Decoder(
            f"partition_set_{number}",
            of_json(lambda wire, made=definition: PartitionSet.from_wire(made, wire)),
            (bytes_of(PartitionSet.all(definition, CTX).to_wire()), b'{"set":[]}'),
            write=lambda found: bytes_of(found.to_wire()),
            covers=("partition_set_wire.tree_from_wire", "partition_sets.PartitionSet.from_wire"),
            json=True,
        )
        for number, definition in enumerate(samples.DEFINITIONS[:3])
    ),
    Decoder(
        "mapping",
        of_json(mapping_from_wire),
        tuple(bytes_of(mapping.to_wire()) for mapping in samples.MAPPINGS),
        write=lambda mapping: bytes_of(mapping.to_wire()),
        covers=("mapping_definitions.mapping_from_wire",),
        json=True,
    ),
)

WRITTEN = (
    Decoder(
        "retry",
        of_json(_of(dict, retry_from_wire)),
        tuple(bytes_of(policy.to_wire()) for policy in samples.POLICIES),
        write=lambda policy: b"0" if policy is None else bytes_of(policy.to_wire()),
        covers=("retry.retry_from_wire",),
        json=True,
    ),
    Decoder(
        "selection",
        of_text(parse),
        (b'+group:"a" and not (tag:a=b or key:"x*"+2)', b"roots(*) or 2+raw.events+3", b"*"),
        write=lambda tree: _encoded(to_text(tree)),
        covers=("selection_parser.parse",),
    ),
    Decoder(
        "cron",
        of_text(parse_cron),
        (b"*/5 22-2 L * MON-FRI", b"0 0 1,15 */3 ?", b"0 9 ? * 5#2,L1", b"@daily"),
        covers=("cron.parse_cron", "cron_fields.parse_fields"),
    ),
    Decoder("cron_fields", of_text(parse_fields), (b"0 6 * jan-mar SAT-SUN",)),
    Decoder(
        "duration",
        of_json(parse_duration_ms),
        (b'"1h30m"', b'"1.5s"', b"0.25", b"10"),
        write=lambda milliseconds: bytes_of(format_duration(milliseconds)),
        covers=("durations.parse_duration_ms",),
        json=True,
    ),
    Decoder(
        "moment",
        of_text(lambda text: parse_moment(text, ZONE, DATE_FORMAT)),
        (b"2026-03-29", b"2026-10-25T02:30", b"2026-01-31T06:00:00+05:30"),
        write=lambda instant: _encoded(write_moment(instant, ZONE)),
        covers=("time_windows.parse_moment",),
    ),
    Decoder(
        "lenient_moment",
        of_text(read_moment_leniently),
        (b"2026/2/4 7:30", b"20260204", b"4.2.2026", b"2026-W05-3"),
        (),
        lambda found: b"" if found is None else _encoded(datetime.isoformat(found)),
        ("lenient_moments.read_moment_leniently",),
    ),
)

NAMES = (
    *(
        Decoder(name, of_text(check), (sample,), write=_encoded)
        for name, check, sample in (
            ("asset_key", validate_asset_key, b"raw.events"),
            ("group", validate_group, b"marketing/reports"),
            ("owner", validate_owner, b"team:growth"),
            ("run_key", validate_run_key, "täglich:2026-01-01".encode()),
            ("tenant", validate_tenant, b"acme-1"),
            ("partition_name", check_name, "Zürich".encode()),
        )
    ),
    Decoder(
        "traceparent",
        of_text(parse_traceparent),
        (b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",),
        (),
        covers=("identifiers.parse_traceparent",),
    ),
    Decoder("tags", of_json(_of(dict, validate_tags)), (b'{"a/b":"c","d":""}',), json=True),
    Decoder("labels", of_json(_of(dict, validate_labels)), (b'{"a b":"c"}',), json=True),
    Decoder("kinds", of_json(_of(list, validate_kinds)), (b'["dbt","python"]',), json=True),
)

DECODERS = (*STORED, *SENT, *PARTITIONS, *WRITTEN, *NAMES, *BORDERS)
BY_NAME = {decoder.name: decoder for decoder in DECODERS}
