"""The bus on Pub/Sub: publishing; what is published is pushed to functions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from arco_flow.adapters.gcp.failures import patiently
from arco_flow.adapters.gcp.grpc_calls import GrpcCalls, Method
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.subscriptions import check_messages
from arco_flow.ports.bus import Message

_PACKAGE = "google.pubsub.v1"
_PUBLISH = Method(
    f"/{_PACKAGE}.Publisher/Publish", f"{_PACKAGE}.PublishRequest", f"{_PACKAGE}.PublishResponse"
)
_PublishRequest: Any = message_class(f"{_PACKAGE}.PublishRequest")


class PubSubBus:
    """`Bus` on Pub/Sub. Made and used in one event loop.

    emulator: host:port of Google's emulator; None: what PUBSUB_EMULATOR_HOST says. interceptors:
    of the connection to it, so that tests can make it fail.
    """

    def __init__(
        self,
        project: str,
        *,
        emulator: str | None = None,
        counts: OperationCounts | None = None,
        pace: Pace | None = None,
        interceptors: Sequence[Any] = (),
    ) -> None:
        if emulator is None:
            emulator = os.environ.get("PUBSUB_EMULATOR_HOST", "")
        self._project = project
        self._counts = counts or OperationCounts()
        self._pace = pace or Pace()
        self._api = GrpcCalls(
            "pubsub.googleapis.com:443", emulator=emulator, interceptors=interceptors
        )

    async def close(self) -> None:
        """Give the connection back."""
        await self._api.close()

    async def publish(self, topic: str, messages: Sequence[Message]) -> None:
        """See Bus. One call without batching in the background: an instance has no processor
        after its answer. What is published again may be there twice: subscribers expect that."""
        check_messages(topic, messages)
        if not messages:
            return
        request = _PublishRequest(topic=f"projects/{self._project}/topics/{topic}")
        for message in messages:
            made = request.messages.add()
            made.data, made.ordering_key = message.body, message.ordering_key
            made.attributes.update(message.attributes)

        async def call(_maybe: bool) -> None:
            self._counts.add("publishes", len(messages))
            route = {"topic": request.topic}
            await self._api.unary(_PUBLISH, request, route, self._pace.timeout_s)

        await patiently(self._pace, f"Pub/Sub Publish to '{topic}'", call, changes=True)
