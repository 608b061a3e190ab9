"""The bus on Pub/Sub: publishing; what is published is pushed to functions."""

from __future__ import annotations

import os
from collections.abc import Sequence

import grpc
from google.pubsub_v1 import PublisherAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.types import PublishRequest, PubsubMessage

from arco_flow.adapters.gcp.failures import ApiError, Fate, failure, fate_of
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.subscriptions import check_messages
from arco_flow.ports.bus import Message


class PubSubBus:
    """`Bus` on Pub/Sub. Made and used in one event loop.

    emulator: host:port of Google's emulator; None: what PUBSUB_EMULATOR_HOST says.
    """

    def __init__(
        self,
        project: str,
        *,
        emulator: str | None = None,
        counts: OperationCounts | None = None,
        pace: Pace | None = None,
    ) -> None:
        if emulator is None:
            emulator = os.environ.get("PUBSUB_EMULATOR_HOST", "")
        self._project = project
        self._counts = counts or OperationCounts()
        self._pace = pace or Pace()
        self._client = _client(emulator)

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.transport.close()

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See Bus. A repeated publication may be a second message: subscribers expect that."""
        check_messages(topic, messages)
        request = PublishRequest(
            topic=f"projects/{self._project}/topics/{topic}",
            messages=[
                PubsubMessage(
                    data=message.body,
                    attributes=dict(message.attributes),
                    ordering_key=message.ordering_key,
                )
                for message in messages
            ],
        )
        maybe = False
        for attempt in range(self._pace.attempts):
            self._counts.add("publishes", len(messages))
            try:
                await self._client.publish(request, timeout=self._pace.timeout_s, retry=None)
                return
            except ApiError as error:
                fate = fate_of(error)
                maybe = maybe or fate is Fate.UNKNOWN
                final = fate in (Fate.REFUSED, Fate.PRECONDITION)
                if final or attempt == self._pace.attempts - 1:
                    what = f"Pub/Sub Publish to '{topic}'"
                    raise failure(error, what, maybe_applied=maybe) from error
            await self._pace.pause(attempt)


def _client(emulator: str) -> PublisherAsyncClient:
    if not emulator:
        return PublisherAsyncClient()
    channel = grpc.aio.insecure_channel(emulator)
    return PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
