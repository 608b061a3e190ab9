"""A relay in front of Google's Firestore emulator, because that one never fails.

It hands on what it gets and knows nothing of documents. What it adds is what the service does on a
bad day: calls that are refused, slow, or done and never answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc

from arco_emulators import admin, rpc, web
from arco_emulators.clock import Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.firestore.passing import Passing
from arco_emulators.firestore.trouble import Trouble

_NO_LIMITS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
"""Which messages are too large is for the emulator to say."""


class Relay:
    """Hands calls on; belongs to the event loop in which it was made."""

    def __init__(self, emulator: str, trouble: Trouble | None = None) -> None:
        """`emulator` is host:port of Google's."""
        self.clock = Clock()
        trouble = trouble or Trouble()
        self.chaos: Chaos = trouble
        self.counters = Counters()
        self._emulator = emulator
        self._channel = grpc.aio.insecure_channel(emulator, options=_NO_LIMITS)
        self.passing = Passing(self._channel, trouble, self.counters)

    def state(self) -> dict[str, Any]:
        """Where Google's emulator is, and how many calls are not answered yet."""
        return {"emulator": self._emulator, "under_way": self.passing.under_way}

    def reset(self) -> None:
        """Nothing: the documents are Google's emulator's."""

    async def idle(self, _ahead_seconds: float) -> None:
        """Return once no call is under way; those that stay open, as `Listen`, do not count."""
        await self.passing.quiet.wait()

    async def close(self) -> None:
        """Give the connection back; what has not landed yet never will."""
        await self.passing.close()
        await self._channel.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A served relay and its ports."""

    relay: Relay
    port: int
    admin_port: int


@contextlib.asynccontextmanager
async def serving(
    emulator: str,
    *,
    trouble: Trouble | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    admin_port: int = 0,
) -> AsyncIterator[Running]:
    """Relay to Google's emulator at host:port while the block runs; port 0 takes a free one.

    Errors: OSError when a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        relay = Relay(emulator, trouble)
        stack.push_async_callback(relay.close)
        bound = await stack.enter_async_context(
            rpc.serving([relay.passing], host=host, port=port, options=_NO_LIMITS)
        )
        app = admin.application(relay)
        admin_bound = await stack.enter_async_context(web.serving(app, host=host, port=admin_port))
        yield Running(relay, bound, admin_bound)
