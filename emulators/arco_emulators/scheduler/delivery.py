"""Make one attempt of a job: an HTTP request or a published message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import grpc.aio
from google.cloud import scheduler_v1
from google.pubsub_v1 import types as pubsub
from google.rpc import code_pb2

from arco_emulators import names
from arco_emulators.identity import Issuer
from arco_emulators.outgoing import authorized
from arco_emulators.protos import seconds_of
from arco_emulators.sender import Answer, HttpRequest, Sender

PUBLISH = "/google.pubsub.v1.Publisher/Publish"
PUBLISH_SECONDS = 60.0


class Delivery:
    """Sends what jobs say; holds the connections for it."""

    def __init__(self, sender: Sender, issuer: Issuer, pubsub_host: str) -> None:
        """`pubsub_host`: host:port of a Pub/Sub emulator, or "" when there is none."""
        self._sender = sender
        self._issuer = issuer
        self._pubsub_host = pubsub_host
        self._channel: Any = None

    async def deliver(self, job: Any, slot: float) -> Answer:
        """One attempt at the job's target. No errors: what went wrong is in the answer."""
        if job.WhichOneof("target") == "pubsub_target":
            return await self._publish(job.pubsub_target)
        return await self._sender.send(self._request(job, slot))

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()
        if self._channel:
            await self._channel.close()

    def _request(self, job: Any, slot: float) -> HttpRequest:
        target = job.http_target
        headers = {
            **target.headers,
            "X-CloudScheduler": "true",
            "X-CloudScheduler-JobName": names.last(job.name),
            "X-CloudScheduler-ScheduleTime": _rfc3339(slot),
        }
        return HttpRequest(
            method=scheduler_v1.HttpMethod(target.http_method).name,
            url=target.uri,
            headers=authorized(headers, target, target.uri, self._issuer),
            body=target.body,
            deadline_seconds=seconds_of(job.attempt_deadline),
        )

    async def _publish(self, target: Any) -> Answer:
        if not self._pubsub_host:
            problem = "no Pub/Sub emulator is known: set PUBSUB_EMULATOR_HOST"
            return Answer(code=code_pb2.FAILED_PRECONDITION, problem=problem)
        request = pubsub.PublishRequest.pb()(topic=target.topic_name)
        request.messages.add(data=target.data, attributes=dict(target.attributes))
        try:
            await self._publisher()(request, timeout=PUBLISH_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Answer(code=error.code().value[0], problem=error.details() or "")
        return Answer(status=200)

    def _publisher(self) -> Any:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._pubsub_host)
        return self._channel.unary_unary(
            PUBLISH,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=pubsub.PublishResponse.pb().FromString,
        )


def _rfc3339(time: float) -> str:
    return datetime.fromtimestamp(int(time), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
