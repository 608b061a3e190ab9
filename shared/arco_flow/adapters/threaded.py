"""The engine's face of a blocking object store."""

from __future__ import annotations

import asyncio

from arco_flow.ports.objects import ObjectMeta, Objects, StoredObject


class ThreadedObjects:
    """AsyncObjects over Objects: every call on a thread, so that a slow disk stalls nobody."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        return await asyncio.to_thread(self._objects.get, key)

    async def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        return await asyncio.to_thread(self._objects.put_if_absent, key, data)

    async def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        return await asyncio.to_thread(self._objects.put_if_generation, key, data, generation)

    async def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects."""
        return await asyncio.to_thread(self._objects.put_file_if_absent, key, path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        return await asyncio.to_thread(self._objects.list, prefix, after=after, limit=limit)

    async def delete(self, key: str) -> bool:
        """See Objects."""
        return await asyncio.to_thread(self._objects.delete, key)

    async def local_path(self, key: str) -> str | None:
        """See Objects."""
        return await asyncio.to_thread(self._objects.local_path, key)
