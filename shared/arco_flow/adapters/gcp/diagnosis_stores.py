"""Whether bucket, Firestore, its indexes and clock, and the secrets are what the plane needs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.secrets import read_secrets
from arco_flow.adapters.gcp.verdicts import CALL_SECONDS, Deployment, Problem, Verdict, counted
from arco_flow.domain.errors import ArcoError

SKEW_MS: Final = 5000
"""Clocks may be this far apart: tokens and timers bear more, but something is not well then."""
INDEXES: Final = Path(__file__).with_name("firestore.indexes.json")
_PACE: Final = Pace(attempts=2, timeout_s=CALL_SECONDS)
_FIRESTORE: Final = "FIRESTORE_EMULATOR_HOST"
_PRECONDITIONS: Final = "use Cloud Storage, or an emulator that answers 412 to ifGenerationMatch"

Index = tuple[str, tuple[tuple[str, str], ...]]
"""Collection, and its fields with what is done with each: ASCENDING, DESCENDING, CONTAINS."""


async def bucket_keeps_preconditions(deployment: Deployment) -> Verdict:
    """An object is created once, and not by who comes second; it is deleted again."""
    return await asyncio.to_thread(_bucket, deployment)


async def firestore_answers(deployment: Deployment) -> Verdict:
    """The database can be read."""
    await _server_ms(deployment)
    return Verdict(f"database '{deployment.settings.database}' answers")


async def clocks_agree(deployment: Deployment) -> Verdict:
    """This machine's clock is that of Firestore, within SKEW_MS."""
    server_ms = await _server_ms(deployment)
    skew_ms = deployment.now_ms() - server_ms
    if abs(skew_ms) <= SKEW_MS:
        return Verdict(f"{abs(skew_ms)} ms from that of Firestore")
    told = f"this machine's clock is {abs(skew_ms) / 1000:.1f} s"
    side = "ahead of" if skew_ms > 0 else "behind"
    mend = "let it follow a time server (chronyc makestep, timedatectl set-ntp true)"
    return Verdict("", [Problem(f"{told} {side} that of Firestore", mend)])


async def indexes_exist(deployment: Deployment) -> Verdict:
    """The indexes of firestore.indexes.json are there, and ready."""
    wanted = json.loads(INDEXES.read_bytes())
    if deployment.emulator(_FIRESTORE):
        return Verdict("", notes=["the emulator has no indexes: not checked here"])
    return await asyncio.to_thread(_indexes, deployment, wanted)


async def secrets_readable(deployment: Deployment) -> Verdict:
    """Both secrets can be read, and are long enough."""
    await asyncio.to_thread(read_secrets, deployment.environment)
    return Verdict("both readable, and long enough")


async def _server_ms(deployment: Deployment) -> int:
    settings = deployment.settings
    calls = FirestoreCalls(
        settings.project,
        settings.database,
        emulator=deployment.emulator(_FIRESTORE),
        pace=_PACE,
    )
    store = FirestoreStore(settings.project, settings.database, calls=calls)
    try:
        return await store.now_ms()
    finally:
        await store.close()


def _bucket(deployment: Deployment) -> Verdict:
    objects = CloudObjects(
        deployment.settings.bucket,
        emulator=deployment.emulator("STORAGE_EMULATOR_HOST"),
        pace=_PACE,
    )
    key = f"doctor/{secrets.token_hex(8)}"
    name = deployment.settings.bucket
    try:
        first = objects.put_if_absent(key, b"first")
        second = objects.put_if_absent(key, b"second")
        objects.delete(key)
    except ArcoError:
        with contextlib.suppress(ArcoError):
            objects.delete(key)
        raise
    finally:
        objects.close()
    if first is None or second is not None:
        told = f"the bucket '{name}' lets two writers create one object"
        return Verdict("", [Problem(told, _PRECONDITIONS)])
    return Verdict(f"'{name}' refuses to create what exists")


def _indexes(deployment: Deployment, wanted: Mapping[str, Any]) -> Verdict:
    from google.cloud.firestore_admin_v1 import FirestoreAdminClient

    settings = deployment.settings
    database = f"projects/{settings.project}/databases/{settings.database}"
    overrides = {(one["collectionGroup"], one["fieldPath"]) for one in wanted["fieldOverrides"]}
    groups = sorted(
        {one["collectionGroup"] for one in wanted["indexes"]} | {g for g, _ in overrides}
    )
    there: set[Index] = set()
    changed: set[tuple[str, str]] = set()
    with FirestoreAdminClient() as client:
        for group in groups:
            parent = f"{database}/collectionGroups/{group}"
            there |= ready_indexes(group, client.list_indexes(parent=parent, timeout=CALL_SECONDS))
            request = {"parent": parent, "filter": "indexConfig.usesAncestorConfig:false"}
            fields = client.list_fields(request=request, timeout=CALL_SECONDS)
            changed |= {(group, field.name.rpartition("/")[2].strip("`")) for field in fields}
    lacking = wanted_indexes(wanted) - there
    problems = [
        _lacking(f"the index of '{group}' on {_shown(on)}") for group, on in sorted(lacking)
    ]
    problems += [_lacking(f"the setting of '{g}.{f}'") for g, f in sorted(overrides - changed)]
    number = len(wanted_indexes(wanted))
    return Verdict(
        f"{number} indexes and {counted(len(overrides), 'field setting')} there", problems
    )


def wanted_indexes(document: Mapping[str, Any]) -> set[Index]:
    """The indexes that firestore.indexes.json lists."""
    return {
        (
            one["collectionGroup"],
            _fields((f["fieldPath"], f.get("order") or f["arrayConfig"]) for f in one["fields"]),
        )
        for one in document["indexes"]
    }


def ready_indexes(group: str, found: Iterable[Any]) -> set[Index]:
    """Those of a collection that the service can use now."""
    return {
        (
            group,
            _fields((f.field_path, (f.order or f.array_config).name) for f in index.fields),
        )
        for index in found
        if index.state.name == "READY"
    }


def _fields(fields: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Without the document's name, which every index ends with, told or not."""
    return tuple(pair for pair in fields if pair[0] != "__name__")


def _shown(fields: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{path} {how}" for path, how in fields)


def _lacking(what: str) -> Problem:
    return Problem(f"{what} is not there", f"apply adapters/gcp/{INDEXES.name}, and wait for it")
