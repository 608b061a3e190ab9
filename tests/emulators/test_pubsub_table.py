"""Filters and subscriptions are read as the service reads them, or refused."""

from __future__ import annotations

import pytest

from arco_emulators.pubsub.filters import parsed
from arco_emulators.pubsub.subscription import PushSubscription

MESSAGE = {"kind": "run.done", "lang-1": "en", "iana.org/tag": "x", "empty": ""}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", True),
        ("  ", True),
        ("attributes:kind", True),
        ("attributes:missing", False),
        ('attributes.kind = "run.done"', True),
        ('attributes.kind="run.done"', True),
        ('attributes.kind = "run"', False),
        ('attributes.Kind = "run.done"', False),
        ('attributes.kind != "run"', True),
        ('attributes.missing != "run"', True),
        ('attributes.empty = ""', True),
        ('attributes.missing = ""', False),
        ('attributes.lang-1 = "en"', True),
        ('attributes."iana.org/tag" = "x"', True),
        ('attributes:"iana.org/tag"', True),
        ('hasPrefix(attributes.kind, "run.")', True),
        ('hasPrefix(attributes.missing, "")', False),
        ('NOT attributes.kind = "run.done"', False),
        ("-attributes:missing", True),
        ("NOT NOT attributes:kind", True),
        ('attributes:kind AND attributes.lang-1 = "en"', True),
        ("attributes:kind AND attributes:missing", False),
        ("attributes:missing OR attributes:kind", True),
        ("attributes:missing OR (attributes:kind AND NOT attributes:other)", True),
        ("NOT (attributes:kind OR attributes:missing)", False),
        (r'attributes.kind != "a\"b\\"', True),
    ],
)
def test_a_filter_wants_what_it_says(text, wanted):
    assert parsed(text)(MESSAGE) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "attributes",
        "attributes.kind",
        "attributes.kind = done",
        'attributes.kind == "done"',
        'attributes.kind > "a"',
        'data = "x"',
        'attributes.kind = "open',
        "attributes:kind AND",
        "attributes:kind attributes:kind",
        "attributes:a AND attributes:b OR attributes:c",
        "(attributes:a",
        'hasPrefix(attributes.a "b")',
        'hasSuffix(attributes.a, "b")',
        "attributes:a and attributes:b",
        r'attributes.kind = "\x"',
        'attributes.kind = "' + "x" * 256 + '"',
        "attributes:",
        "attributes.() = 1",
    ],
)
def test_a_filter_that_can_not_be_read_is_refused(text):
    with pytest.raises(ValueError, match="filter"):
        parsed(text)


ENTRY = {
    "name": "projects/p/subscriptions/sub",
    "topic": "projects/p/topics/top",
    "pushConfig": {"pushEndpoint": "https://a.test/push"},
}


def test_what_is_not_said_is_as_the_service_has_it():
    found = PushSubscription.from_json(ENTRY)
    assert (found.ack_deadline_seconds, found.max_delivery_attempts) == (10, 5)
    assert (found.service_account, found.audience, found.filter) == ("", "", "")
    assert (found.dead_letter_topic, found.ordered) == ("", False)
    retried = PushSubscription.from_json({**ENTRY, "retryPolicy": {"minimumBackoff": "20s"}})
    assert (retried.min_backoff_seconds, retried.max_backoff_seconds) == (20, 600)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": "sub"}, "projects/PROJECT/subscriptions/NAME"),
        ({"name": "projects/p/topics/top"}, "projects/PROJECT/subscriptions/NAME"),
        ({"topic": None}, "projects/PROJECT/topics/NAME"),
        ({"pushConfig": {}}, "pushEndpoint"),
        ({"pushConfig": {"pushEndpoint": "ftp://x"}}, "pushEndpoint"),
        ({"pushConfig": "x"}, "pushConfig"),
        ({"ackDeadlineSeconds": 9}, "from 10 to 600"),
        ({"ackDeadlineSeconds": 601}, "from 10 to 600"),
        ({"retryPolicy": {"minimumBackoff": "601s"}}, "minimumBackoff"),
        ({"retryPolicy": {"maximumBackoff": 5}}, "maximumBackoff"),
        ({"deadLetterPolicy": {"maxDeliveryAttempts": 5}}, "topics/NAME"),
        (
            {"deadLetterPolicy": {"deadLetterTopic": ENTRY["topic"], "maxDeliveryAttempts": 4}},
            "from 5 to 100",
        ),
        ({"filter": "nonsense"}, "filter"),
    ],
)
def test_what_the_service_would_refuse_is_refused(change, named):
    with pytest.raises(ValueError, match=named):
        PushSubscription.from_json({**ENTRY, **change})
