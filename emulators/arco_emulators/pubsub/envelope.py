"""Messages as push requests and as dead letters."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.pubsub_v1.types import PubsubMessage

from arco_emulators.identity import Issuer
from arco_emulators.pubsub.subscription import PushSubscription
from arco_emulators.sender import HttpRequest

USER_AGENT = "APIs-Google; (+https://developers.google.com/webmasters/APIs-Google.html)"


def push_request(
    subscription: PushSubscription, message: Any, attempt: int, issuer: Issuer
) -> HttpRequest:
    """The request by which a message is pushed, wrapped. The body tells which attempt it is only
    where dead letters are kept, as in the service."""
    body: dict[str, Any] = {"message": _wrapped(message), "subscription": subscription.name}
    if subscription.dead_letter_topic:
        body["deliveryAttempt"] = attempt
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "From": "noreply@google.com",
        "User-Agent": USER_AGENT,
    }
    if subscription.service_account:
        audience = subscription.audience or subscription.endpoint
        token = issuer.token(subscription.service_account, audience)
        headers["Authorization"] = f"Bearer {token}"
    return HttpRequest(
        "POST",
        subscription.endpoint,
        headers,
        json.dumps(body).encode(),
        subscription.ack_deadline_seconds,
    )


def dead_letter(subscription: PushSubscription, message: Any, attempts: int) -> Any:
    """The message as it is published to the topic of dead letters."""
    _, project, _, name = subscription.name.split("/")
    letter = PubsubMessage.pb(PubsubMessage())
    letter.data = message.data
    letter.ordering_key = message.ordering_key
    letter.attributes.update(message.attributes)
    letter.attributes.update(
        {
            "CloudPubSubDeadLetterSourceDeliveryCount": str(attempts),
            "CloudPubSubDeadLetterSourceSubscription": name,
            "CloudPubSubDeadLetterSourceSubscriptionProject": project,
            "CloudPubSubDeadLetterSourceTopicPublishTime": _published(message),
        }
    )
    return letter


def _wrapped(message: Any) -> dict[str, Any]:
    published = _published(message)
    wrapped: dict[str, Any] = {
        "messageId": message.message_id,
        "message_id": message.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if message.data:
        wrapped["data"] = base64.b64encode(message.data).decode()
    if message.attributes:
        wrapped["attributes"] = dict(message.attributes)
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    return wrapped


def _published(message: Any) -> str:
    return str(message.publish_time.ToJsonString())
