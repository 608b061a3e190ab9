"""Buckets and their objects. Every change is one step: nothing is awaited between its
preconditions and its effect, so that of many racers exactly one meets its condition."""

from __future__ import annotations

import base64
import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from arco_emulators.storage.conditions import Conditions
from arco_emulators.storage.content import Content, joined
from arco_emulators.storage.errors import (
    StorageError,
    invalid,
    no_bucket,
    no_object,
    not_emulated,
    required,
)

MAX_COMPOSED = 32
"""Sources of one compose request."""

OBJECT_FIELDS = frozenset(
    {
        "cacheControl",
        "contentDisposition",
        "contentEncoding",
        "contentLanguage",
        "contentType",
        "customTime",
        "metadata",
        "storageClass",
    }
)
"""What a caller may set of an object."""

BUCKET_FIELDS = frozenset(
    {"iamConfiguration", "labels", "lifecycle", "location", "softDeletePolicy", "storageClass"}
)
"""What a caller may set of a bucket; kept and shown, without effect."""

Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One generation of an object. A change of metadata makes a new value of this class."""

    bucket: str
    name: str
    generation: int
    content: Content
    fields: Fields
    created: str
    updated: str
    metageneration: int = 1
    components: int | None = None
    """How many uploads it is composed of; None unless it was composed."""

    @property
    def etag(self) -> str:
        """Entity tag; changes with content and with metadata."""
        raw = self.generation.to_bytes(8, "big") + self.metageneration.to_bytes(4, "big")
        return base64.b64encode(raw).decode()


@dataclass(slots=True)
class Bucket:
    """A bucket with its live objects."""

    name: str
    project: str
    created: str
    updated: str
    fields: Fields
    metageneration: int = 1
    objects: dict[str, StoredObject] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    """Names of the objects, ascending by code point, which is the order of their UTF-8 bytes."""

    @property
    def generation(self) -> int:
        """Buckets have no generations of their own."""
        return 1

    @property
    def etag(self) -> str:
        """Entity tag of the bucket's metadata."""
        return base64.b64encode(self.metageneration.to_bytes(4, "big")).decode()


@dataclass(slots=True)
class Storage:
    """All buckets.

    folder: where large objects lie; None keeps them in memory.
    clock: nanoseconds since 1970.
    """

    folder: Path | None = None
    clock: Callable[[], int] = time.time_ns
    buckets: dict[str, Bucket] = field(default_factory=dict)
    _last_generation: int = 0

    def create_bucket(self, project: str, given: Fields) -> Bucket:
        """A new, empty bucket.

        Errors: StorageError 400 without a name, 409 when it exists.
        """
        name = given.get("name")
        if not isinstance(name, str) or not name:
            raise required("name")
        if given.get("versioning", {}).get("enabled"):
            raise not_emulated("object versioning: overwritten objects are gone")
        if name in self.buckets:
            raise StorageError(
                409,
                "conflict",
                "Your previous request to create the named bucket succeeded and you already own "
                "it.",
            )
        now = self._now()
        bucket = Bucket(name, project, now, now, _settable(given, BUCKET_FIELDS))
        self.buckets[name] = bucket
        return bucket

    def bucket(self, name: str) -> Bucket:
        """The bucket of a name. Errors: StorageError 404."""
        bucket = self.buckets.get(name)
        if bucket is None:
            raise no_bucket()
        return bucket

    def patch_bucket(self, name: str, given: Fields, conditions: Conditions) -> Bucket:
        """Change a bucket's metadata. Errors: StorageError 404, 412."""
        bucket = self.bucket(name)
        conditions.check(bucket)
        bucket.fields = _merged(bucket.fields, _settable(given, BUCKET_FIELDS))
        bucket.metageneration += 1
        bucket.updated = self._now()
        return bucket

    def delete_bucket(self, name: str, conditions: Conditions) -> None:
        """Delete an empty bucket. Errors: StorageError 404, 409 when it is not empty, 412."""
        bucket = self.bucket(name)
        conditions.check(bucket)
        if bucket.objects:
            raise StorageError(409, "conflict", "The bucket you tried to delete is not empty.")
        del self.buckets[name]

    def live(self, bucket: str, name: str, generation: int | None = None) -> StoredObject:
        """The live object, which must be of that generation when one is given.

        Errors: StorageError 404.
        """
        found = self.bucket(bucket).objects.get(name)
        if found is None or generation not in (None, found.generation):
            raise no_object(bucket, name)
        return found

    def put(
        self,
        bucket: str,
        name: str,
        content: Content,
        given: Fields,
        conditions: Conditions,
        *,
        components: int | None = None,
    ) -> StoredObject:
        """Make the content the live object of the name. Errors: StorageError 400, 404, 412."""
        home = self.bucket(bucket)
        _check_name(name)
        conditions.check(home.objects.get(name))
        now = self._now()
        stored = StoredObject(
            bucket=bucket,
            name=name,
            generation=self._next_generation(),
            content=content,
            fields={"storageClass": "STANDARD", **_settable(given, OBJECT_FIELDS)},
            created=now,
            updated=now,
            components=components,
        )
        if name not in home.objects:
            insort(home.names, name)
        home.objects[name] = stored
        return stored

    def patch(
        self,
        bucket: str,
        name: str,
        given: Fields,
        conditions: Conditions,
        *,
        generation: int | None = None,
        whole: bool = False,
    ) -> StoredObject:
        """Change an object's metadata; `whole` replaces what is not given by nothing.

        Errors: StorageError 404, 412.
        """
        live = self.live(bucket, name, generation)
        conditions.check(live)
        changes = _settable(given, OBJECT_FIELDS)
        kept = {"storageClass": "STANDARD"} if whole else live.fields
        changed = replace(
            live,
            fields=_merged(kept, changes),
            metageneration=live.metageneration + 1,
            updated=self._now(),
        )
        self.bucket(bucket).objects[name] = changed
        return changed

    def delete(
        self, bucket: str, name: str, conditions: Conditions, *, generation: int | None = None
    ) -> None:
        """Delete the live object. Errors: StorageError 404, 412."""
        conditions.check(self.live(bucket, name, generation))
        home = self.bucket(bucket)
        del home.objects[name]
        del home.names[bisect_left(home.names, name)]

    def compose(
        self,
        bucket: str,
        name: str,
        sources: Sequence[Source],
        given: Fields,
        conditions: Conditions,
    ) -> StoredObject:
        """Make the sources, one after the other, the live object of the name.

        Errors: StorageError 400 for none or too many sources, 404, 412.
        """
        if not 0 < len(sources) <= MAX_COMPOSED:
            raise invalid(
                f"The number of source components provided ({len(sources)}) must be from 1 "
                f"to {MAX_COMPOSED}"
            )
        found = [self.live(bucket, source.name, source.generation) for source in sources]
        for source, live in zip(sources, found, strict=True):
            source.conditions.check(live)
        conditions.check(self.bucket(bucket).objects.get(name))
        return self.put(
            bucket,
            name,
            joined([live.content for live in found], self.folder),
            given,
            conditions,
            components=sum(live.components or 1 for live in found),
        )

    def _next_generation(self) -> int:
        self._last_generation = max(self._last_generation + 1, self.clock() // 1000)
        return self._last_generation

    def _now(self) -> str:
        moment = datetime.fromtimestamp(self.clock() / 1e9, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


@dataclass(frozen=True, slots=True)
class Source:
    """One source of a composed object."""

    name: str
    generation: int | None
    conditions: Conditions


def _check_name(name: str) -> None:
    if not name or len(name.encode()) > 1024 or "\r" in name or "\n" in name or name in (".", ".."):
        raise invalid(f"Invalid object name: '{name[:80]}'")


def _settable(given: Fields, allowed: frozenset[str]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key in allowed}


def _merged(kept: Fields, changes: Fields) -> dict[str, Any]:
    """The JSON merge patch of RFC 7396: null takes away, objects are merged key by key."""
    merged = dict(kept)
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merged(merged[key], value)
        elif isinstance(value, Mapping):
            merged[key] = _merged({}, value)
        else:
            merged[key] = value
    return merged
