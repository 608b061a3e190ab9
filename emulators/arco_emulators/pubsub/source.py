"""Topics and messages in Google's emulator, through the official clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.pubsub_v1.services.publisher import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber import SubscriberAsyncClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport
from google.pubsub_v1.types import (
    PushConfig,
    StreamingPullRequest,
    StreamingPullResponse,
    Subscription,
)

from arco_emulators.pubsub.subscription import PushSubscription

LEASE_SECONDS = 30
"""For how long Google's emulator leaves a message to the relay. A relay that dies gets, or its
successor gets, what it held after this time."""

RECONNECT_SECONDS = 0.2
CALL_SECONDS = 10
END_SECONDS = 5
"""How long the emulator may take to end a stream that it was asked to end."""

LARGEST_MESSAGE = 32 * 1024 * 1024


class Source:
    """One connection to Google's emulator."""

    def __init__(self, address: str) -> None:
        """`address` is host:port, as PUBSUB_EMULATOR_HOST has it."""
        self._channel = grpc.aio.insecure_channel(
            address, options=[("grpc.max_receive_message_length", LARGEST_MESSAGE)]
        )
        self._subscriber = SubscriberAsyncClient(
            transport=SubscriberGrpcAsyncIOTransport(channel=self._channel)
        )
        self._publisher = PublisherAsyncClient(
            transport=PublisherGrpcAsyncIOTransport(channel=self._channel)
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close(None)

    async def prepare(self, subscription: PushSubscription) -> None:
        """Create its topics and, as one that is pulled from, the subscription where absent.

        Errors: GoogleAPICallError, at once when nobody answers at the address.
        """
        for topic in filter(None, (subscription.topic, subscription.dead_letter_topic)):
            with contextlib.suppress(AlreadyExists):
                await self._publisher.create_topic(name=topic, retry=None, timeout=CALL_SECONDS)
        wanted = Subscription(
            name=subscription.name,
            topic=subscription.topic,
            ack_deadline_seconds=LEASE_SECONDS,
            enable_message_ordering=subscription.ordered,
        )
        try:
            await self._subscriber.create_subscription(wanted, retry=None, timeout=CALL_SECONDS)
        except AlreadyExists:
            # Who made it may have let Google's emulator push; then each would come twice.
            await self._subscriber.modify_push_config(
                subscription=subscription.name, push_config=PushConfig()
            )

    async def messages(self, name: str, stop: asyncio.Event) -> AsyncIterator[Any]:
        """What the subscription gets, as it comes, begun anew after each break, until `stop`.

        It is the emulator that ends the stream then: one that is cancelled goes on to get
        messages there, and each of them is lost for the time of its lease.
        """
        while not stop.is_set():
            with contextlib.suppress(GoogleAPICallError):
                stream = await self._subscriber.streaming_pull(_asking(name, stop))
                async for response in stream:
                    for received in StreamingPullResponse.pb(response).received_messages:
                        yield received
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), RECONNECT_SECONDS)

    async def acknowledge(self, name: str, ack_ids: list[str]) -> None:
        """These are done. What can not be told comes again."""
        with contextlib.suppress(GoogleAPICallError):
            await self._subscriber.acknowledge(subscription=name, ack_ids=ack_ids)

    async def lease(self, name: str, ack_ids: list[str], seconds: int) -> None:
        """Leave these to the relay for so long from now on; 0 gives them back."""
        with contextlib.suppress(GoogleAPICallError):
            await self._subscriber.modify_ack_deadline(
                subscription=name, ack_ids=ack_ids, ack_deadline_seconds=seconds
            )

    async def publish(self, topic: str, message: Any) -> None:
        """Publish one message. Errors: GoogleAPICallError."""
        await self._publisher.publish(topic=topic, messages=[message])


async def _asking(name: str, stop: asyncio.Event) -> AsyncIterator[StreamingPullRequest]:
    yield StreamingPullRequest(subscription=name, stream_ack_deadline_seconds=LEASE_SECONDS)
    await stop.wait()
