"""The dead letters of a deployment: looked at and left where they are, sent again, or dropped.

Pub/Sub has no way to look at messages without taking them. So they are pulled, held for the time of
the look, and given back at its end by a deadline of none; what is acknowledged is gone. It hands
out what it wants to, in any order: of many letters a look may see some, and another look others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final

import grpc
from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from arco_flow.adapters.gcp.cloud_tasks import CloudTasks, Target
from arco_flow.adapters.gcp.failures import failure, status_of
from arco_flow.adapters.gcp.functions_table import Function
from arco_flow.adapters.gcp.pubsub_bus import PubSubBus
from arco_flow.adapters.gcp.verdicts import CALL_SECONDS, Deployment
from arco_flow.domain.errors import InvalidInput, TooLarge, Unavailable
from arco_flow.ports.bus import Message

SUBSCRIPTION: Final = "dead-letters-inspect"
HOLD_SECONDS: Final = 60
"""After a look that was killed its letters are hidden for this long."""
GIVEN_UP: Final = "DELIVERIES_EXHAUSTED"
"""Reason of what Pub/Sub put aside itself."""

_SOURCE: Final = "CloudPubSubDeadLetterSource"
_OURS: Final = ("function", "reason", "message", "body_bytes")
_LOOK: Final = "see that the plane is up (`arco-flow doctor`), then run this again"
_FIXES: Final = {
    "NOT_FOUND": "apply Terraform again, or: gcloud pubsub subscriptions create {name}"
    " --topic=dead-letters --ack-deadline=60 --project={project}",
    "PERMISSION_DENIED": "give this account roles/pubsub.subscriber on the subscription {name}",
    "UNAVAILABLE": _LOOK,
    "DEADLINE_EXCEEDED": _LOOK,
    "": "give this machine credentials: gcloud auth application-default login",
}


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A dead letter as it is kept. id: of the message. body: perhaps cut, see size_bytes."""

    id: str
    published_ms: int
    body: bytes
    attributes: Mapping[str, str]

    @property
    def is_given_up(self) -> bool:
        """Whether Pub/Sub put it aside, because it was never answered as done."""
        return f"{_SOURCE}Subscription" in self.attributes

    @property
    def function(self) -> str:
        """Who could not make use of it; "" when nobody says so."""
        # A push subscription has the name of its function.
        return self.attributes.get(f"{_SOURCE}Subscription" if self.is_given_up else "function", "")

    @property
    def reason(self) -> str:
        """Stable word for programs."""
        return GIVEN_UP if self.is_given_up else self.attributes.get("reason", "")

    @property
    def message(self) -> str:
        """What a person reads."""
        if self.is_given_up:
            times = self.attributes.get(f"{_SOURCE}DeliveryCount", "many")
            return (
                f"delivered {times} times and never answered as done; the function's log says why"
            )
        return self.attributes.get("message", "")

    @property
    def size_bytes(self) -> int:
        """Of the body as it was delivered; what is kept of it may be less."""
        told = self.attributes.get("body_bytes", "")
        return int(told) if told.isascii() and told.isdigit() else len(self.body)

    @property
    def own_attributes(self) -> dict[str, str]:
        """Those that the message was published with."""
        return {
            name: value
            for name, value in self.attributes.items()
            if name not in _OURS and not name.startswith(_SOURCE)
        }


class DeadLetters(AbstractContextManager["DeadLetters"]):
    """A look at the dead letters of a deployment; at its end those that are left are given back.

    wait_seconds: how long Pub/Sub may take to hand out the next ones before there are none.
    """

    def __init__(self, deployment: Deployment, *, wait_seconds: float = CALL_SECONDS) -> None:
        self._project = deployment.settings.project
        self._name = f"projects/{self._project}/subscriptions/{SUBSCRIPTION}"
        self._wait_seconds = wait_seconds
        self._held: dict[str, str] = {}
        with self._told("Pub/Sub"):
            self._client = _client(deployment.emulator("PUBSUB_EMULATOR_HOST"))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._lease(list(self._held.values()), 0)
        finally:
            self._client.transport.close()

    def letters(self, limit: int) -> Iterator[KeptLetter]:
        """Those that Pub/Sub hands out, each once, until none comes or there are `limit`, which is
        1000 at most: so many can be given back in one call.

        Raises Unavailable with what is to be mended.
        """
        count = 0
        while count < limit:
            pulled = self._pulled(limit - count)
            self._lease([one.ack_id for one in pulled], HOLD_SECONDS)
            fresh = [one for one in pulled if one.message.message_id not in self._held]
            self._held |= {one.message.message_id: one.ack_id for one in pulled}
            if not fresh:
                return
            count += len(fresh)
            yield from map(_letter, fresh)

    def drop(self, letter_ids: Sequence[str]) -> None:
        """Letters that were handed out are gone for good. Raises Unavailable."""
        ack_ids = [self._held.pop(letter_id) for letter_id in letter_ids]
        if ack_ids:
            with self._told("Pub/Sub Acknowledge"):
                self._client.acknowledge(
                    subscription=self._name, ack_ids=ack_ids, retry=None, timeout=CALL_SECONDS
                )

    def _pulled(self, most: int) -> list[Any]:
        with self._told("Pub/Sub Pull"):
            try:
                answer = self._client.pull(
                    subscription=self._name,
                    max_messages=most,
                    retry=None,
                    timeout=self._wait_seconds,
                )
            except DeadlineExceeded:
                return []
        return list(answer.received_messages)

    def _lease(self, ack_ids: list[str], seconds: int) -> None:
        if ack_ids:
            with self._told("Pub/Sub ModifyAckDeadline"):
                self._client.modify_ack_deadline(
                    subscription=self._name,
                    ack_ids=ack_ids,
                    ack_deadline_seconds=seconds,
                    retry=None,
                    timeout=CALL_SECONDS,
                )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (GoogleAPICallError, GoogleAuthError) as error:
            told = failure(error, what)
            fix = _FIXES.get(status_of(error), told.fix or "")
            named = fix.format(name=SUBSCRIPTION, project=self._project)
            raise Unavailable(told.message, fix=named or None, details=told.details) from error


class Redelivery(AbstractContextManager["Redelivery"]):
    """Sends dead letters to their functions once more. Not for use inside of an event loop."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._runner = asyncio.Runner()
        self._tasks: CloudTasks | None = None
        self._bus: PubSubBus | None = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._runner:
            for opened in (self._tasks, self._bus):
                if opened is not None:
                    self._runner.run(opened.close())

    def send(self, letter: KeptLetter) -> str:
        """Where it was sent to: the queue or the topic that it came from.

        A letter that is sent twice makes one task, as long as the queue knows its name. Raises
        InvalidInput or TooLarge for what has no way back, Unavailable.
        """
        row = _receiver(self._deployment, letter)
        try:
            return self._runner.run(self._sent(letter, row))
        except Unavailable as error:
            if error.details.get("status") != "PERMISSION_DENIED":
                raise
            role = "cloudtasks.enqueuer" if row.queue else "pubsub.publisher"
            fix = f"give this account roles/{role}"
            if row.queue:
                fix += ", and roles/iam.serviceAccountUser on the account that the tasks carry"
            raise Unavailable(error.message, fix=fix, details=error.details) from error

    async def _sent(self, letter: KeptLetter, row: Function) -> str:
        if row.topic:
            if self._bus is None:
                emulator = self._deployment.emulator("PUBSUB_EMULATOR_HOST")
                self._bus = PubSubBus(self._deployment.settings.project, emulator=emulator)
            await self._bus.publish(row.topic, [Message(letter.body, letter.own_attributes)])
            return f"topic {row.topic}"
        if self._tasks is None:
            self._tasks = _queues(self._deployment)
        await self._tasks.enqueue(row.queue, f"again-{letter.id}", row.route, letter.body)
        return f"queue {row.queue}"


def _receiver(deployment: Deployment, letter: KeptLetter) -> Function:
    """The function that a letter came to. Raises InvalidInput or TooLarge when it has no way back.

    A stop of an attempt, which comes to the function `worker` by another way than attempts, is
    taken for an attempt and put aside again: what it would have stopped is long over.
    """
    row = deployment.table.functions.get(letter.function)
    if row is None:
        raise InvalidInput(
            f"it does not say to which function it came: '{letter.function}' is none of this table",
            fix="look at it with `show`, and send what it asks for anew",
        )
    if not row.topic and not row.queue:
        raise InvalidInput(
            f"neither queue nor topic leads to '{letter.function}': it is called by {row.trigger}",
            fix="drop it: what a scheduler calls is called again",
        )
    if letter.size_bytes > len(letter.body):
        raise TooLarge(
            f"only {len(letter.body):,} of its {letter.size_bytes:,} bytes are kept",
            fix="send what it asks for anew, in less",
        )
    return row


def _queues(deployment: Deployment) -> CloudTasks:
    settings = deployment.settings
    targets = {
        route: Target(to.url, to.audience, to.account, to.deadline_seconds)
        for route, to in settings.routes.items()
    }
    return CloudTasks(
        settings.project, settings.location, targets, endpoint=settings.tasks_endpoint
    )


def _client(emulator: str) -> SubscriberClient:
    if not emulator:
        return SubscriberClient()
    # A letter may be longer than what a channel takes unless it is told.
    channel = grpc.insecure_channel(emulator, options=[("grpc.max_receive_message_length", -1)])
    return SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


def _letter(received: Any) -> KeptLetter:
    message = received.message
    return KeptLetter(
        id=message.message_id,
        published_ms=int(message.publish_time.timestamp() * 1000),
        body=message.data,
        attributes=dict(message.attributes),
    )
