"""Cloud Tasks and Pub/Sub for the suites: what is delivered comes back here by HTTP, or is pulled.

The emulator of Cloud Tasks follows the clock of the scenario; its requests, their deadlines and
Google's emulator of Pub/Sub do not, so the suites that walk through deadlines leave them out.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path

import grpc
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from arco_emulators import web
from arco_emulators.clock import Clock
from arco_emulators.identity import Issuer
from arco_emulators.running import Addresses, served
from arco_emulators.tasks.emulator import Emulator
from arco_emulators.tasks.settings import Limits, Settings
from arco_flow.adapters.delivery import DeadTask, Delivery, QueueSettings
from arco_flow.adapters.gcp.cloud_tasks import CloudTasks, Target
from arco_flow.adapters.gcp.pubsub_bus import PubSubBus
from arco_flow.adapters.memory.clock import VirtualClock
from arco_flow.adapters.subscriptions import MessageDelivery, check_bus_name
from arco_flow.domain.errors import Conflict, Rejected
from arco_flow.ports.bus import Message
from conformance.emulators import pubsub_address
from conformance.google_cloud import a_project

LOCATION = "europe-west1"
QUEUE_NAMES = ("wakes", "timers", "q", "other", "full", "free")
ROUTES = ("fold", "other", "tick", "bad", "good", "count", "later", "slow", "quick")
TOPICS = ("runs", "assets", "dead-runs")
ACCOUNT = "tasks@test.iam.gserviceaccount.com"


class FollowedClock(Clock):
    """The clock of a scenario as the emulator's."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def now(self):
        return self._clock.now_ms() / 1000

    def advance(self, seconds):
        self._clock.advance(round(seconds * 1000))
        super().advance(0)


class Handlers:
    """What stands at the URLs of the tasks: an ASGI application."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._handlers = {}
        self._dead = []

    def register(self, route, handler):
        self._handlers[route] = handler

    def dead(self, limit=100):
        return self._dead[: -limit - 1 : -1]

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status = await self._handle(scope["path"].strip("/"), headers, body)
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body"})

    async def _handle(self, route, headers, body):
        told = Delivery(
            headers["x-cloudtasks-queuename"],
            headers["x-cloudtasks-taskname"],
            int(headers["x-cloudtasks-taskretrycount"]) + 1,
            round(float(headers["x-cloudtasks-tasketa"]) * 1000),
        )
        handler = self._handlers.get(route)
        if handler is None:
            return 503
        try:
            await handler(body, told)
        except Rejected as error:
            reason = f"{error.reason}: {error.message}"
            dead = (told.queue, told.name, route, body, told.attempt, reason, self._clock.now_ms())
            self._dead.append(DeadTask(*dead))
        except Exception:
            return 500
        return 200


class DeliveredTasks(CloudTasks):
    """Cloud Tasks with what stands at its targets."""

    def __init__(self, handlers, *arguments, **options):
        super().__init__(*arguments, **options)
        self.register, self.dead = handlers.register, handlers.dead


@cache
def issuer() -> Issuer:
    """One key for all scenarios, because making it takes long."""
    return Issuer.open(Path(tempfile.mkdtemp(prefix="issuer")))


@asynccontextmanager
async def emulated_tasks(clock: Clock | None = None, **limits) -> AsyncIterator:
    """The emulator of Cloud Tasks in this event loop."""
    settings = Settings(limits=Limits(min_deadline_seconds=1, **limits))
    emulator = Emulator(settings, issuer(), clock=clock)
    async with served(emulator, issuer(), Addresses()) as running:
        yield running


async def make_queues(endpoint: str, project: str, names, settings: QueueSettings) -> None:
    """Queues that deliver as the settings say."""
    transport = CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(endpoint))
    client = tasks_v2.CloudTasksAsyncClient(transport=transport)
    parent = f"projects/{project}/locations/{LOCATION}"
    for name in names:
        queue = tasks_v2.Queue(
            name=f"{parent}/queues/{name}",
            rate_limits=tasks_v2.RateLimits(max_concurrent_dispatches=settings.max_concurrent),
            retry_config=tasks_v2.RetryConfig(
                max_attempts=-1,
                min_backoff=timedelta(milliseconds=settings.min_backoff_ms),
                max_backoff=timedelta(milliseconds=settings.max_backoff_ms),
            ),
        )
        await client.create_queue(parent=parent, queue=queue)
    await transport.close()


@asynccontextmanager
async def cloud_tasks(clock: VirtualClock, settings: QueueSettings) -> AsyncIterator:
    """Cloud Tasks, with functions to let time pass."""
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(emulated_tasks(FollowedClock(clock)))
        handlers = Handlers(clock)
        port = await stack.enter_async_context(web.serving(handlers))
        targets = {
            route: Target(f"http://127.0.0.1:{port}/{route}", "test", ACCOUNT, 5)
            for route in ROUTES
        }
        endpoint = f"127.0.0.1:{running.port}"
        tasks = DeliveredTasks(handlers, "test", LOCATION, targets, endpoint=endpoint)
        stack.push_async_callback(tasks.close)
        await make_queues(endpoint, "test", QUEUE_NAMES, settings)

        async def begin_time(ms: int) -> None:
            running.emulator.clock.advance(ms / 1000)

        async def pass_time(ms: int) -> None:
            await begin_time(ms)
            await running.emulator.idle(0)

        yield tasks, pass_time, begin_time


class PulledBus(PubSubBus):
    """Pub/Sub whose subscriptions are pulled by the scenario."""

    def __init__(self, project: str, address: str) -> None:
        super().__init__(project, emulator=address)
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=options)
        self._admin = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._pull = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self._of = f"projects/{project}"
        self._subscriptions = {}
        for topic in TOPICS:
            self._admin.create_topic(name=f"{self._of}/topics/{topic}")

    def subscribe(self, subscription, topic, handler, *, settings=None):
        check_bus_name("subscription", subscription)
        check_bus_name("topic", topic)
        if subscription in self._subscriptions:
            raise Conflict(f"there is a subscription '{subscription}'", fix="choose another name")
        self._pull.create_subscription(
            name=f"{self._of}/subscriptions/{subscription}", topic=f"{self._of}/topics/{topic}"
        )
        self._subscriptions[subscription] = (topic, handler)

    def dead(self, limit=100):
        return []

    async def deliver(self):
        """Until nothing is there any more."""
        while any([await self._delivered(name) for name in self._subscriptions]):
            pass

    async def _delivered(self, name):
        path, (topic, handler) = f"{self._of}/subscriptions/{name}", self._subscriptions[name]
        request = {"subscription": path, "max_messages": 1000, "return_immediately": True}
        with warnings.catch_warnings():
            # The client would have us wait for what may never come.
            warnings.simplefilter("ignore", DeprecationWarning)
            received = self._pull.pull(request).received_messages
        for item in received:
            message = item.message
            told = MessageDelivery(name, topic, message.message_id, 1, 0)
            await handler(
                Message(message.data, dict(message.attributes), message.ordering_key), told
            )
        if received:
            self._pull.acknowledge(subscription=path, ack_ids=[item.ack_id for item in received])
        return bool(received)

    async def close(self):
        await super().close()
        self._channel.close()


@asynccontextmanager
async def pubsub() -> AsyncIterator:
    """Pub/Sub on Google's emulator, with functions to let what was published arrive."""
    bus = PulledBus(a_project(), pubsub_address())

    async def pass_time(ms: int) -> None:
        await bus.deliver()

    try:
        yield bus, pass_time
    finally:
        await bus.close()
