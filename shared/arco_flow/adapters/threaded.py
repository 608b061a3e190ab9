"""The engine's face of a blocking object store."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from arco_flow.ports.objects import ObjectMeta, Objects, StoredObject

T = TypeVar("T")

THREADS: Final = 32
"""Calls at one time. They wait for the network and need no processor meanwhile: with 30 ms each, so
many make 1,000 calls a second, more than an instance has work for. It is also the number of
connections that the client of Cloud Storage keeps. Threads are started as they are needed."""


class ThreadedObjects:
    """AsyncObjects over Objects: every call on a thread, so that a slow store stalls nobody.

    The threads are its own: the loop's are few, five on one processor, and renew tokens and fetch
    certificates, which must not wait behind objects.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="objects")

    def close(self) -> None:
        """End the threads: calls that wait for one are cancelled, those that run go on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def get(self, key: str) -> StoredObject | None:
        """See Objects."""
        return await self._on_a_thread(self._objects.get, key)

    async def put_if_absent(self, key: str, data: bytes) -> int | None:
        """See Objects."""
        return await self._on_a_thread(self._objects.put_if_absent, key, data)

    async def put_if_generation(self, key: str, data: bytes, generation: int) -> int | None:
        """See Objects."""
        return await self._on_a_thread(self._objects.put_if_generation, key, data, generation)

    async def put_file_if_absent(self, key: str, path: str) -> int | None:
        """See Objects."""
        return await self._on_a_thread(self._objects.put_file_if_absent, key, path)

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[ObjectMeta]:
        """See Objects."""
        return await self._on_a_thread(self._objects.list, prefix, after=after, limit=limit)

    async def delete(self, key: str) -> bool:
        """See Objects."""
        return await self._on_a_thread(self._objects.delete, key)

    async def local_path(self, key: str) -> str | None:
        """See Objects."""
        return await self._on_a_thread(self._objects.local_path, key)

    async def _on_a_thread(self, call: Callable[..., T], *arguments: Any, **named: Any) -> T:
        # As asyncio.to_thread does: what is logged there belongs to the request, too.
        work = partial(contextvars.copy_context().run, call, *arguments, **named)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
