"""The object store: immutable objects, and a few mutable ones under generation preconditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ObjectMeta:
    """Name, generation (grows with every overwrite) and size in bytes."""

    key: str
    generation: int
    size: int


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Content and generation of an object."""

    data: bytes
    generation: int


class Objects(Protocol):
    """Keys are slash-separated paths without `.`/`..` segments; InvalidInput refuses others.

    Synchronous: user code, io and worker threads use it directly; the engine uses its twin
    `AsyncObjects`. Raises Unavailable (not applied), OutcomeUnknown.
    """

    def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        ...

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        """Create; the new generation, or None when one was there (it is left alone)."""
        ...

    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """Overwrite the generation that was read; the new one, or None when it has moved on."""
        ...

    def put_file_if_absent(self, key: str, path: str) -> int | None:
        """Create from a local file (which may be moved); None when one was there."""
        ...

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """Objects whose key starts with the prefix, in key order, after a key."""
        ...

    def delete(self, key: str) -> bool:
        """Remove; False when there was none."""
        ...

    def local_path(self, key: str) -> str | None:
        """A path that can be opened for reading without a copy, where there is one."""
        ...


class AsyncObjects(Protocol):
    """`Objects` for the engine: the same keys, results and errors, awaited."""

    async def get(self, key: str) -> StoredObject | None:
        """The object, or None."""
        ...

    async def put_if_absent(self, key: str, data: bytes) -> int | None:
        """Create; the new generation, or None when one was there (it is left alone)."""
        ...

    async def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """Overwrite the generation that was read; the new one, or None when it has moved on."""
        ...

    async def put_file_if_absent(self, key: str, path: str) -> int | None:
        """Create from a local file (which may be moved); None when one was there."""
        ...

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """Objects whose key starts with the prefix, in key order, after a key."""
        ...

    async def delete(self, key: str) -> bool:
        """Remove; False when there was none."""
        ...

    async def local_path(self, key: str) -> str | None:
        """A path that can be opened for reading without a copy, where there is one."""
        ...
