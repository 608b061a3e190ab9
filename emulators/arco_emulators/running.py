"""Serve an emulator of a gRPC service beside its administrative endpoint."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from arco_emulators import admin, rpc, web
from arco_emulators.identity import Issuer


class Served(admin.Administered, Protocol):
    """An emulator that can be served."""

    def start(self) -> None:
        """Take up what it held before, and go to work."""
        ...

    async def close(self) -> None:
        """Stop."""
        ...

    def services(self) -> rpc.Services:
        """What answers at its port."""
        ...


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where an emulator answers gRPC, and where its administrative endpoint is; port 0 takes a free
    one."""

    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int = 0


E = TypeVar("E", bound=Served)


@dataclass(frozen=True, slots=True)
class Running(Generic[E]):
    """A served emulator and its ports."""

    emulator: E
    port: int
    admin_port: int


@contextlib.asynccontextmanager
async def served(emulator: E, issuer: Issuer, at: Addresses) -> AsyncIterator[Running[E]]:
    """Serve while the block runs, then close the emulator.

    Errors: OSError when a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(emulator.close)
        emulator.start()
        handlers = rpc.Gate(emulator.chaos, emulator.counters).handlers(emulator.services())
        bound = await stack.enter_async_context(rpc.serving(handlers, host=at.host, port=at.port))
        admin_bound = await stack.enter_async_context(
            web.serving(admin.application(emulator, issuer), host=at.host, port=at.admin_port)
        )
        yield Running(emulator, bound, admin_bound)
