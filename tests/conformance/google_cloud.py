"""The adapters of Google Cloud, on emulators over real sockets.

The time that the scenario moves is put in where the server's own would be: `GivenTime` writes it
into the same fields. That the server's own time is written and learned is tested beside the
adapter (tests/adapters/gcp).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

from arco_flow.adapters.gcp.cloud_storage import CloudObjects
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.gcp.firestore_wire import ms_of, set_ms
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.server_time import ServerTime
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.threaded import ThreadedObjects
from arco_flow.ports.objects import AsyncObjects, Objects
from arco_flow.ports.store import Store
from conformance.emulators import (
    firestore_address,
    new_bucket,
    storage_url,
    troubled_firestore_address,
)
from conformance.firestore_indexes import IndexCheck

NAMES = ("firestore", "troubled_firestore", "cloud_tasks", "pubsub", "cloud_storage")
"""Of these adapters in the tables of the suites."""


class GivenTime(ServerTime):
    """The time of a clock in place of the server's."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock
        self._latest_ms = 0

    def now_ms(self) -> int:
        self._latest_ms = max(self._latest_ms, self._clock.now_ms())
        return self._latest_ms

    def stamp(self, write, field):
        set_ms(write.update.fields[field].timestamp_value, self.now_ms())
        if write.HasField("update_mask"):
            write.update_mask.field_paths.append(field)

    def stamped_ms(self, write, result):
        return ms_of(write.update.fields["updated"].timestamp_value)


def a_project() -> str:
    """A project of its own in the emulator, so that nothing is there yet."""
    return f"test-{uuid4().hex[:20]}"


def firestore_calls(**options) -> FirestoreCalls:
    """A connection to the emulator on which every query is checked for its index."""
    interceptors = (IndexCheck(), *options.pop("interceptors", ()))
    project = options.pop("project", None) or a_project()
    return FirestoreCalls(
        project, emulator=firestore_address(), interceptors=interceptors, **options
    )


@asynccontextmanager
async def firestore_store(folder: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    calls = firestore_calls(time=GivenTime(clock))
    store = FirestoreStore("", calls=calls)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def troubled_firestore_store(folder: Path, clock: VirtualClock) -> AsyncIterator[Store]:
    """One whose calls fail one time in four, and which is patient enough never to show it."""
    patient = Pace(attempts=16, first_ms=0, timeout_s=20)
    calls = FirestoreCalls(
        a_project(), emulator=troubled_firestore_address(), time=GivenTime(clock), pace=patient
    )
    store = FirestoreStore("", calls=calls)
    try:
        yield store
    finally:
        await store.close()


@contextmanager
def cloud_objects(folder: Path) -> Iterator[tuple[Objects, AsyncObjects]]:
    bucket = new_bucket(a_project())
    objects = CloudObjects(bucket, emulator=storage_url(), pace=Pace(attempts=6, first_ms=1))
    threaded = ThreadedObjects(objects)
    try:
        yield objects, threaded
    finally:
        threaded.close()
        objects.close()
