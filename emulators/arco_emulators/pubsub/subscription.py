"""The table of push subscriptions that the relay serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arco_emulators.pubsub import filters

_NAME = re.compile(r"projects/[^/]+/(topics|subscriptions)/[A-Za-z][A-Za-z0-9._~+%-]{2,254}")


@dataclass(frozen=True, slots=True)
class PushSubscription:
    """One push subscription."""

    name: str
    """`projects/P/subscriptions/S`."""
    topic: str
    """`projects/P/topics/T`."""
    endpoint: str
    service_account: str = ""
    """Whom the identity token names; empty sends none."""
    audience: str = ""
    """Empty for the endpoint."""
    filter: str = ""
    ack_deadline_seconds: float = 10.0
    """How long the endpoint may take to answer."""
    min_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 60.0
    """What the service does without a retry policy; with one, it says both."""
    dead_letter_topic: str = ""
    max_delivery_attempts: int = 5
    ordered: bool = False
    """One message per ordering key at a time, in the order of publication."""
    concurrency: int = 1000
    """Requests to the endpoint at one time."""

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> PushSubscription:
        """Read a subscription as the REST API shows it, within the service's bounds.

        Errors: ValueError that names the field.
        """
        push = _section(given, "pushConfig")
        token = _section(push, "oidcToken")
        retry = _section(given, "retryPolicy")
        letters = _section(given, "deadLetterPolicy")
        found = cls(
            name=_name(given.get("name"), "subscriptions"),
            topic=_name(given.get("topic"), "topics"),
            endpoint=str(push.get("pushEndpoint", "")),
            service_account=str(token.get("serviceAccountEmail", "")),
            audience=str(token.get("audience", "")),
            filter=str(given.get("filter", "")),
            ack_deadline_seconds=_within(given, "ackDeadlineSeconds", 10, 10, 600),
            min_backoff_seconds=_seconds(retry, "minimumBackoff", 10.0 if retry else 0.1),
            max_backoff_seconds=_seconds(retry, "maximumBackoff", 600.0 if retry else 60.0),
            dead_letter_topic=(_name(letters.get("deadLetterTopic"), "topics") if letters else ""),
            max_delivery_attempts=_within(letters, "maxDeliveryAttempts", 5, 5, 100),
            ordered=bool(given.get("enableMessageOrdering", False)),
        )
        if not found.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"{found.name}: pushConfig.pushEndpoint must be a URL")
        filters.parsed(found.filter)
        return found

    def backoff_seconds(self, failures: int) -> float:
        """How long to wait after so many failures: twice as long each time, up to the maximum."""
        doublings = min(failures - 1, 64)
        return float(min(self.max_backoff_seconds, self.min_backoff_seconds * 2.0**doublings))


def _section(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = given.get(name) or {}
    if not isinstance(section, Mapping):
        raise ValueError(f"{name} must be an object, not {section!r}")
    return section


def _name(name: object, collection: str) -> str:
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None or found[1] != collection:
        raise ValueError(f"projects/PROJECT/{collection}/NAME is expected, not {name!r}")
    return found[0]


def _within(given: Mapping[str, Any], field: str, usual: int, least: int, most: int) -> int:
    value = given.get(field, usual)
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError(f"{field} must be from {least} to {most}, not {value!r}")
    return value


def _seconds(given: Mapping[str, Any], field: str, usual: float) -> float:
    value = given.get(field)
    if value is None:
        return usual
    found = re.fullmatch(r"(\d+(?:\.\d+)?)s", str(value))
    if found is None or float(found[1]) > 600:
        raise ValueError(f'{field} must be from "0s" to "600s", not {value!r}')
    return float(found[1])
