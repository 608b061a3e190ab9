"""The relay pushes as Pub/Sub does what Google's emulator holds."""

from __future__ import annotations

import base64
import itertools
import json
from dataclasses import replace

import pytest
import requests
from google.cloud import pubsub_v1
from google.oauth2 import id_token

from arco_emulators.identity import Issuer
from arco_emulators.pubsub.relay import serving
from arco_emulators.pubsub.subscription import PushSubscription
from emulators.targets import SECONDS

PROJECT = "relay-tests"
PUSHER = "push@relay-tests.iam.gserviceaccount.com"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def host(emulators):
    return emulators.address("pubsub").address


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer.open(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def running(loop, host, issuer):
    return loop.enter(serving(host, issuer))


@pytest.fixture(scope="module")
def publisher(host):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", host)
        client = pubsub_v1.PublisherClient(
            publisher_options=pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
        )
        yield client
        client.stop()
        client.transport.close()


@pytest.fixture(scope="module")
def subscriber(host):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBSUB_EMULATOR_HOST", host)
        with pubsub_v1.SubscriberClient() as client:
            yield client


@pytest.fixture
def admin(running):
    """Calls the administration; faults and clock are as before after the test."""

    def admin(method, path, content=None):
        url = f"http://127.0.0.1:{running.admin_port}{path}"
        answer = requests.request(method, url, json=content, timeout=SECONDS * 2)
        assert answer.ok, answer.text
        return answer.json()

    yield admin
    admin("DELETE", "/admin/faults")


class Topic:
    """A topic with one subscription, which pushes to an inbox."""

    def __init__(self, loop, relay, publisher, subscription):
        self._loop, self._relay, self._publisher = loop, relay, publisher
        self.subscription = subscription

    def publish(self, data=b"", ordering_key="", **attributes):
        """Publish one message; its id."""
        return self._publisher.publish(
            self.subscription.topic, data, ordering_key=ordering_key, **attributes
        ).result(SECONDS)

    def idle(self):
        """Return once all that the relay holds is delivered."""
        self._loop.call(self._relay.idle(3600))


@pytest.fixture
def topic(loop, running, publisher, inbox):
    """Makes a topic whose subscription pushes to the inbox of the test."""

    def topic(**settings):
        number = next(_numbers)
        subscription = PushSubscription(
            name=f"projects/{PROJECT}/subscriptions/sub-{number}",
            topic=f"projects/{PROJECT}/topics/topic-{number}",
            endpoint=inbox.url,
            service_account=PUSHER,
            min_backoff_seconds=0.01,
        )
        subscription = replace(subscription, **settings)
        loop.call(running.relay.configure([subscription]))
        return Topic(loop, running.relay, publisher, subscription)

    return topic


def _body(received):
    return json.loads(received.body)


def _text(received):
    return base64.b64decode(_body(received)["message"].get("data", "")).decode()


def test_a_message_is_pushed_wrapped(topic, inbox):
    mine = topic()
    message_id = mine.publish(b"hello", kind="run.done")
    received = inbox.receive()
    body = _body(received)
    message = body["message"]
    assert (received.method, received.headers["Content-Type"]) == ("POST", "application/json")
    assert body == {"message": message, "subscription": mine.subscription.name}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert message["attributes"] == {"kind": "run.done"}
    assert base64.b64decode(message["data"]) == b"hello"
    assert "orderingKey" not in message


def test_a_message_without_data_or_attributes_has_neither(topic, inbox):
    mine = topic()
    mine.publish(kind="x")
    assert "data" not in _body(inbox.receive())["message"]
    mine.publish(b"x")
    assert "attributes" not in _body(inbox.receive())["message"]


@pytest.mark.parametrize("audience", ["", "https://api.example.test"])
def test_a_push_bears_a_token_of_its_account_for_its_audience(topic, inbox, issuer, audience):
    mine = topic(audience=audience)
    mine.publish(b"x")
    scheme, _, token = inbox.receive().headers["Authorization"].partition(" ")
    claims = id_token.verify_token(
        token, _Certificates(issuer), audience=audience or mine.subscription.endpoint
    )
    assert scheme == "Bearer"
    assert (claims["email"], claims["email_verified"]) == (PUSHER, True)
    assert claims["iss"] == "https://accounts.google.com"


class _Certificates:
    """The transport by which google-auth asks for certificates."""

    status = 200

    def __init__(self, issuer):
        self.data = json.dumps(issuer.certs()).encode()

    def __call__(self, *_, **__):
        return self


def test_no_account_means_no_token(topic, inbox):
    topic(service_account="").publish(b"x")
    assert "Authorization" not in inbox.receive().headers


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_success_acknowledges(topic, inbox, status):
    inbox.answers.append(status)
    mine = topic()
    mine.publish(b"once")
    inbox.receive()
    mine.idle()
    mine.publish(b"next")
    assert _text(inbox.receive()) == "next"


@pytest.mark.parametrize("status", [203, 206, 302, 400, 404, 409, 429, 500, 503])
def test_any_other_answer_brings_the_message_again(topic, inbox, status):
    inbox.answers.extend([status, status])
    mine = topic()
    message_id = mine.publish(b"again")
    for _ in range(3):
        assert _body(inbox.receive())["message"]["messageId"] == message_id
    mine.idle()
    assert inbox.received.empty()


def test_no_answer_by_the_deadline_brings_the_message_again(topic, inbox):
    gate = inbox.hold()
    mine = topic(ack_deadline_seconds=0.05)
    mine.publish(b"slow")
    inbox.receive()
    assert _text(inbox.receive()) == "slow"
    gate.set()


def test_the_wait_doubles_from_the_least_to_the_most(topic, inbox, admin):
    inbox.answers.extend([500] * 4)
    mine = topic(min_backoff_seconds=100, max_backoff_seconds=300)
    mine.publish(b"x")
    inbox.receive()
    for due in (100, 200, 300, 300):
        admin("GET", "/admin/idle")
        admin("POST", "/admin/clock", {"advance_seconds": due - 5})
        admin("GET", "/admin/idle")
        assert inbox.received.empty()
        admin("POST", "/admin/clock", {"advance_seconds": 5})
        inbox.receive()


def test_a_message_that_fails_does_not_hold_others_back(topic, inbox):
    inbox.answers.append(500)
    mine = topic(min_backoff_seconds=600)
    mine.publish(b"bad")
    assert _text(inbox.receive()) == "bad"
    mine.publish(b"good")
    assert _text(inbox.receive()) == "good"


def test_a_filter_keeps_messages_away(topic, inbox, admin):
    mine = topic(filter='attributes.kind = "done" AND NOT attributes:test')
    admin("DELETE", "/admin/stats")
    for number in range(3):
        mine.publish(b"%d" % number, kind="begun")
        mine.publish(b"%d" % number, kind="done", test="yes")
    mine.publish(b"last", kind="done")
    assert _text(inbox.receive()) == "last"
    mine.idle()
    assert inbox.received.empty()
    assert admin("GET", "/admin/stats")["messages"] == {"filtered": 6, "received": 7}


def test_after_the_last_attempt_a_message_becomes_a_dead_letter(topic, inbox, subscriber):
    letters = f"projects/{PROJECT}/topics/letters-{next(_numbers)}"
    inbox.answers.extend([500] * 5)
    mine = topic(dead_letter_topic=letters)
    reader = letters.replace("topics", "subscriptions")
    subscriber.create_subscription(name=reader, topic=letters)
    mine.publish(b"poison", kind="bad")
    assert [_body(inbox.receive())["deliveryAttempt"] for _ in range(5)] == [1, 2, 3, 4, 5]
    mine.idle()
    assert inbox.received.empty()
    (found,) = subscriber.pull(subscription=reader, max_messages=5, timeout=30).received_messages
    _, _, _, name = mine.subscription.name.split("/")
    prefix = "CloudPubSubDeadLetterSource"
    assert found.message.data == b"poison"
    published = found.message.attributes.pop(f"{prefix}TopicPublishTime")
    assert published.endswith("Z")
    assert dict(found.message.attributes) == {
        "kind": "bad",
        f"{prefix}DeliveryCount": "5",
        f"{prefix}Subscription": name,
        f"{prefix}SubscriptionProject": PROJECT,
    }


def test_messages_of_one_key_come_one_after_the_other_in_their_order(topic, inbox):
    mine = topic(ordered=True)
    gate = inbox.hold()
    inbox.answers.extend([500, 200, 503])
    for number in range(4):
        mine.publish(b"%d" % number, ordering_key="run-1")
    first = inbox.receive()
    assert _body(first)["message"]["orderingKey"] == "run-1"
    assert inbox.received.empty()
    gate.set()
    order = [_text(first), *(_text(inbox.receive()) for _ in range(5))]
    assert order == ["0", "0", "1", "1", "2", "3"]


def test_keys_do_not_wait_for_each_other(topic, inbox):
    mine = topic(ordered=True)
    gate = inbox.hold()
    for key in ("a", "b", "c"):
        mine.publish(key.encode(), ordering_key=key)
    assert {_text(inbox.receive()) for _ in range(3)} == {"a", "b", "c"}
    gate.set()


def test_no_more_requests_are_under_way_than_allowed(topic, inbox, running, loop):
    mine = topic(concurrency=3)
    gate = inbox.hold()
    for number in range(8):
        mine.publish(b"%d" % number)
    seen = {_text(inbox.receive()) for _ in range(3)}
    assert inbox.received.empty()
    assert running.relay.state()["subscriptions"][mine.subscription.name]["under_way"] == 3
    gate.set()
    seen |= {_text(inbox.receive()) for _ in range(5)}
    assert len(seen) == 8


def test_many_messages_are_under_way_at_once(topic, inbox):
    """Google's emulator pushes two at a time."""
    mine = topic()
    gate = inbox.hold()
    for number in range(20):
        mine.publish(b"%d" % number)
    assert len({_text(inbox.receive()) for _ in range(20)}) == 20
    gate.set()


def test_a_duplicate_is_the_same_request_again(topic, inbox, admin):
    mine = topic()
    admin("PATCH", "/admin/faults", {"duplicate": 1, "duplicate_ms": 0})
    mine.publish(b"twice")
    assert inbox.receive().body == inbox.receive().body
    mine.idle()
    assert inbox.received.empty()


def test_duplicates_do_not_disturb_the_order_of_a_key(topic, inbox, admin):
    mine = topic(ordered=True)
    admin("PATCH", "/admin/faults", {"duplicate": 1, "duplicate_ms": 5})
    for number in range(3):
        mine.publish(b"%d" % number, ordering_key="k")
    assert [_text(inbox.receive()) for _ in range(6)] == ["0", "0", "1", "1", "2", "2"]


def test_a_lost_answer_brings_a_message_again_that_was_handled(topic, inbox, admin):
    mine = topic()
    admin("PATCH", "/admin/faults", {"lose_answer": 1})
    message_id = mine.publish(b"x")
    inbox.receive()
    admin("DELETE", "/admin/faults")
    while (body := _body(inbox.receive())["message"])["messageId"] != message_id:
        pass
    assert body["messageId"] == message_id
    mine.idle()


def test_a_dropped_delivery_is_made_later_and_is_no_attempt(topic, inbox, admin):
    letters = f"projects/{PROJECT}/topics/letters-{next(_numbers)}"
    mine = topic(dead_letter_topic=letters)
    admin("PATCH", "/admin/faults", {"seed": 5, "drop": 0.7, "drop_ms": "1:3"})
    for number in range(10):
        mine.publish(b"%d" % number)
    received = [inbox.receive() for _ in range(10)]
    assert {_body(one)["deliveryAttempt"] for one in received} == {1}
    assert len({_text(one) for one in received}) == 10
    assert admin("GET", "/admin/stats")["faults"]["dropped"] > 0


def test_random_delays_change_the_order(topic, inbox, admin):
    mine = topic()
    admin("PATCH", "/admin/faults", {"seed": 9, "delay_ms": "0:100"})
    sent = [str(number) for number in range(20)]
    for text in sent:
        mine.publish(text.encode())
    came = [_text(inbox.receive()) for _ in sent]
    assert sorted(came) == sorted(sent)
    assert came != sent


def test_what_a_closed_relay_held_comes_again_from_the_next_one(
    topic, inbox, loop, running, host, issuer
):
    inbox.answers.append(500)
    mine = topic(min_backoff_seconds=600)
    message_id = mine.publish(b"kept")
    inbox.receive()
    loop.call(running.relay.configure([]))
    loop.call(running.relay.configure([mine.subscription]))
    assert _body(inbox.receive())["message"]["messageId"] == message_id


def test_a_subscription_that_google_would_push_is_taken_over(
    topic, inbox, subscriber, publisher, loop, running
):
    name = f"projects/{PROJECT}/subscriptions/pushed-{next(_numbers)}"
    source = name.replace("subscriptions", "topics")
    publisher.create_topic(name=source)
    subscriber.create_subscription(
        name=name, topic=source, push_config={"push_endpoint": inbox.url}
    )
    mine = topic(name=name, topic=source)
    mine.publish(b"x")
    assert "Authorization" in inbox.receive().headers
    mine.idle()
    assert inbox.received.empty()


def test_the_table_is_replaced_and_shown_by_the_administration(topic, inbox, admin):
    mine = topic()
    entry = {
        "name": f"projects/{PROJECT}/subscriptions/by-admin",
        "topic": mine.subscription.topic,
        "pushConfig": {
            "pushEndpoint": inbox.url,
            "oidcToken": {"serviceAccountEmail": PUSHER, "audience": "https://a.test"},
        },
        "ackDeadlineSeconds": 60,
        "filter": "attributes:wanted",
        "retryPolicy": {"minimumBackoff": "1.5s", "maximumBackoff": "30s"},
        "deadLetterPolicy": {
            "deadLetterTopic": f"projects/{PROJECT}/topics/dead",
            "maxDeliveryAttempts": 7,
        },
        "enableMessageOrdering": True,
    }
    (shown,) = admin("PUT", "/admin/subscriptions", [entry])
    assert admin("GET", "/admin/subscriptions") == [shown]
    assert (shown["audience"], shown["max_delivery_attempts"]) == ("https://a.test", 7)
    assert (shown["min_backoff_seconds"], shown["max_backoff_seconds"]) == (1.5, 30)
    mine.publish(b"no")
    mine.publish(b"yes", wanted="1")
    assert _text(inbox.receive()) == "yes"


def test_a_reset_forgets_what_is_held(topic, inbox, admin):
    inbox.answers.append(500)
    mine = topic(min_backoff_seconds=600)
    mine.publish(b"x")
    inbox.receive()
    admin("GET", "/admin/idle")
    held = admin("GET", "/admin/stats")["subscriptions"]
    assert held == {mine.subscription.name: {"held": 1, "under_way": 0}}
    admin("POST", "/admin/reset")
    held = admin("GET", "/admin/stats")["subscriptions"]
    assert held == {mine.subscription.name: {"held": 0, "under_way": 0}}
