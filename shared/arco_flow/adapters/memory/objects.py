"""The object store in a dictionary."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import takewhile
from pathlib import Path
from threading import RLock
from typing import Protocol

from arco_flow.adapters.memory.faults import Faults, sync_site
from arco_flow.adapters.object_keys import object_key, object_prefix
from arco_flow.domain.errors import Conflict, InvalidInput
from arco_flow.ports.objects import ObjectMeta, StoredObject


class ObjectsObserver(Protocol):
    """Told of every effect on the objects, before anyone else can see it."""

    def written(self, key: str, data: bytes, generation: int) -> None:
        """An object was created or overwritten."""
        ...

    def deleted(self, key: str) -> None:
        """An object was removed."""
        ...


class MemoryObjects:
    """`Objects` that forgets with its object. As strict as the files are: no key goes on below
    another object's key (Conflict). Safe to share between threads.

    observers: called synchronously after each effect, in order, whatever becomes of the answer.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self.observers: list[ObjectsObserver] = []
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] = []
        # How many objects are below a folder, so that creating one need not look at all keys.
        self._folders: dict[str, int] = {}
        self._generation = 0
        self._lock = RLock()

    @sync_site("objects.get")
    def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        return self._objects.get(object_key(key))

    @sync_site("objects.put_if_absent")
    def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        with self._lock:
            return self._create(object_key(key), data)

    @sync_site("objects.put_if_generation")
    def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        key = object_key(key)
        with self._lock:
            known = self._objects.get(key)
            if known is None or known.generation != generation:
                return None
            return self._write(key, data)

    @sync_site("objects.put_file_if_absent")
    def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects. The file is gone when it became the object, else left alone.

        Raises InvalidInput when there is no such file.
        """
        key, file = object_key(key), Path(path)
        if not file.is_file():
            raise InvalidInput(f"there is no file '{path}' to store as '{key}'")
        with self._lock:
            generation = self._create(key, file.read_bytes())
        if generation is not None:
            file.unlink()
        return generation

    @sync_site("objects.list")
    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        prefix = object_prefix(prefix)
        with self._lock:
            start = max(bisect_left(self._keys, prefix), bisect_right(self._keys, after))
            page = self._keys[start : start + limit]
            return [self._meta(key) for key in takewhile(lambda k: k.startswith(prefix), page)]

    @sync_site("objects.delete")
    def delete(self, key: str) -> bool:
        """See Objects."""
        key = object_key(key)
        with self._lock:
            if self._objects.pop(key, None) is None:
                return False
            del self._keys[bisect_left(self._keys, key)]
            for folder in _folders_of(key):
                self._folders[folder] -= 1
            for observer in self.observers:
                observer.deleted(key)
            return True

    @sync_site("objects.local_path")
    def local_path(self, key: str) -> str | None:
        """None: there are no files here."""
        object_key(key)
        return None

    def _create(self, key: str, data: bytes) -> int | None:
        if key in self._objects:
            return None
        folders = _folders_of(key)
        if self._folders.get(key) or any(folder in self._objects for folder in folders):
            raise Conflict(
                f"'{key}' and another object's key go on below each other",
                fix="a key can not be the folder of another one; choose another name",
                details={"key": key},
            )
        for folder in folders:
            self._folders[folder] = self._folders.get(folder, 0) + 1
        insort(self._keys, key)
        return self._write(key, data)

    def _write(self, key: str, data: bytes) -> int:
        self._generation += 1
        stored = self._objects[key] = StoredObject(bytes(data), self._generation)
        for observer in self.observers:
            observer.written(key, stored.data, stored.generation)
        return self._generation

    def _meta(self, key: str) -> ObjectMeta:
        stored = self._objects[key]
        return ObjectMeta(key, stored.generation, len(stored.data))


class AsyncMemoryObjects:
    """AsyncObjects over MemoryObjects, without threads: the simulator decides who runs when."""

    def __init__(self, objects: MemoryObjects) -> None:
        self._objects = objects

    async def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        await self._objects.faults.pause("objects.get")
        return self._objects.get(key)

    async def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        await self._objects.faults.pause("objects.put_if_absent")
        return self._objects.put_if_absent(key, data)

    async def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        await self._objects.faults.pause("objects.put_if_generation")
        return self._objects.put_if_generation(key, data, generation)

    async def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects."""
        await self._objects.faults.pause("objects.put_file_if_absent")
        return self._objects.put_file_if_absent(key, path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        await self._objects.faults.pause("objects.list")
        return self._objects.list(prefix, after=after, limit=limit)

    async def delete(self, key: str) -> bool:
        """See Objects."""
        await self._objects.faults.pause("objects.delete")
        return self._objects.delete(key)

    async def local_path(self, key: str) -> str | None:
        """See Objects."""
        await self._objects.faults.pause("objects.local_path")
        return self._objects.local_path(key)


def _folders_of(key: str) -> list[str]:
    segments = key.split("/")
    return ["/".join(segments[:end]) for end in range(1, len(segments))]
