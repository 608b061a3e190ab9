"""Pull from Google's Pub/Sub emulator and push as the service does.

Google's emulator keeps topics and messages, but it pushes without identity token, delivery attempt
and ordering key, two at a time, and it ignores filters. So its subscriptions are pulled from, and
this relay pushes what they get to their endpoints.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from arco_emulators import admin, web
from arco_emulators.clock import Clock
from arco_emulators.counters import Counters
from arco_emulators.faults import Chaos
from arco_emulators.identity import Issuer
from arco_emulators.pubsub.envelope import dead_letter
from arco_emulators.pubsub.lane import Held, Lane, Surroundings
from arco_emulators.pubsub.source import END_SECONDS, LEASE_SECONDS, Source
from arco_emulators.pubsub.subscription import PushSubscription
from arco_emulators.sender import Sender


class Feed:
    """One subscription: pulls its messages, and tells Google's emulator what is done."""

    def __init__(
        self, subscription: PushSubscription, source: Source, around: Surroundings
    ) -> None:
        self.lane = Lane(subscription, around, self._acknowledge, self._bury)
        self.subscription = subscription
        self._source = source
        self._counters = around.counters
        self._acknowledged: asyncio.Queue[str] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._pulling = asyncio.create_task(self._pull())
        self._tasks = [asyncio.create_task(work()) for work in (self._tell, self._keep)]

    async def close(self) -> None:
        """Stop, and give back what is not done."""
        self._stop.set()
        await asyncio.wait((self._pulling,), timeout=END_SECONDS)
        await self.lane.close()
        for task in (self._pulling, *self._tasks):
            task.cancel()
        await asyncio.gather(self._pulling, *self._tasks, return_exceptions=True)
        done = [self._acknowledged.get_nowait() for _ in range(self._acknowledged.qsize())]
        if done:
            await self._source.acknowledge(self.subscription.name, done)
        await self._lease(0)

    def _acknowledge(self, held: Held) -> None:
        self._acknowledged.put_nowait(held.ack_id)

    async def _bury(self, held: Held) -> bool:
        letter = dead_letter(self.subscription, held.message, held.attempts)
        try:
            await self._source.publish(self.subscription.dead_letter_topic, letter)
        except GoogleAPICallError:
            return False
        return True

    async def _pull(self) -> None:
        async for received in self._source.messages(self.subscription.name, self._stop):
            self.lane.take(received.message, received.ack_id)

    async def _tell(self) -> None:
        while True:
            done = [await self._acknowledged.get()]
            done += [self._acknowledged.get_nowait() for _ in range(self._acknowledged.qsize())]
            await self._source.acknowledge(self.subscription.name, done)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self._lease(LEASE_SECONDS)

    async def _lease(self, seconds: int) -> None:
        held = [held.ack_id for held in self.lane.held.values()]
        if held:
            await self._source.lease(self.subscription.name, held, seconds)


class Relay:
    """Serves a table of push subscriptions; belongs to the event loop in which it was made."""

    def __init__(self, address: str, issuer: Issuer, chaos: Chaos | None = None) -> None:
        """`address` is host:port of Google's emulator."""
        self.clock = Clock()
        self.chaos = chaos or Chaos()
        self.counters = Counters()
        self._source = Source(address)
        self._sender = Sender()
        self._feeds: dict[str, Feed] = {}
        self._changed = asyncio.Event()
        self._around = Surroundings(
            self.clock, self.chaos, self.counters, self._sender, issuer, self._changed.set
        )

    async def configure(self, subscriptions: Iterable[PushSubscription]) -> None:
        """Serve these and no others from now on; what did not change goes on undisturbed.

        Errors: GoogleAPICallError when Google's emulator refuses one or does not answer.
        """
        wanted = {subscription.name: subscription for subscription in subscriptions}
        for name, feed in list(self._feeds.items()):
            if wanted.get(name) != feed.subscription:
                await self._feeds.pop(name).close()
        for name, subscription in wanted.items():
            if name not in self._feeds:
                await self._source.prepare(subscription)
                self._feeds[name] = Feed(subscription, self._source, self._around)

    def table(self) -> list[dict[str, Any]]:
        """The subscriptions that are served."""
        return [asdict(feed.subscription) for feed in self._feeds.values()]

    def state(self) -> dict[str, Any]:
        """Per subscription: messages held, and requests under way."""
        return {
            "subscriptions": {
                name: {"held": len(feed.lane.held), "under_way": feed.lane.busy}
                for name, feed in self._feeds.items()
            }
        }

    def reset(self) -> None:
        """Forget all messages that are held."""
        for feed in self._feeds.values():
            feed.lane.forget()

    async def idle(self, ahead_seconds: float) -> None:
        """Return once nothing is under way or due within these seconds."""
        while not all(feed.lane.quiet(ahead_seconds) for feed in self._feeds.values()):
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Stop; what is not done comes again to the next relay."""
        await self.configure(())
        await self._sender.close()
        await self._source.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A served relay and the port of its administration."""

    relay: Relay
    admin_port: int


@contextlib.asynccontextmanager
async def serving(
    address: str,
    issuer: Issuer,
    *,
    subscriptions: Iterable[PushSubscription] = (),
    chaos: Chaos | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[Running]:
    """Relay the subscriptions of Google's emulator at the address while the block runs.

    Beside what every emulator's administration has, GET /admin/subscriptions shows the table, and
    PUT replaces it by a JSON array of subscriptions as the REST API shows them.
    Errors: OSError when the port is taken; GoogleAPICallError when the emulator does not answer.
    """
    async with contextlib.AsyncExitStack() as stack:
        relay = Relay(address, issuer, chaos)
        stack.push_async_callback(relay.close)
        await relay.configure(subscriptions)
        app = admin.application(relay)
        app.router.routes.append(_table(relay))
        admin_port = await stack.enter_async_context(web.serving(app, host=host, port=port))
        yield Running(relay, admin_port)


def _table(relay: Relay) -> Route:
    async def table(request: Request) -> Response:
        try:
            if request.method == "PUT":
                given = await request.json()
                await relay.configure([PushSubscription.from_json(entry) for entry in given])
        except (AttributeError, TypeError, ValueError) as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        except GoogleAPICallError as error:
            return JSONResponse({"error": str(error)}, status_code=503)
        return JSONResponse(relay.table())

    return Route("/admin/subscriptions", table, methods=["GET", "PUT"])
