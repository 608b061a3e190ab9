"""What a dead letter says of itself, which have no way back, and what a person is told to mend."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest

from arco_flow.adapters.gcp.dead_letters import GIVEN_UP, DeadLetters, KeptLetter, Redelivery
from arco_flow.adapters.gcp.diagnosis import deployment_of
from arco_flow.domain.errors import InvalidInput, TooLarge, Unavailable

FUNCTIONS = Path(__file__).parents[3] / "functions"
URL = "https://worker.example"
TARGET = {"url": URL, "audience": URL, "account": "tasks@shop.example"}
LETTER = KeptLetter(
    "7",
    1_700_000_000_000,
    b'{"runKey": "k"}',
    {"function": "run_bridge", "reason": "CONFLICT", "message": "no", "source": "shop"},
)


def deployment(**more: str):
    return deployment_of(
        {
            "ARCO_FLOW_PROJECT": "shop",
            "ARCO_FLOW_LOCATION": "here",
            "ARCO_FLOW_BUCKET": "shop",
            "ARCO_FLOW_AUDIENCE": "https://api.example",
            "ARCO_FLOW_ROUTES": json.dumps({"dispatch": TARGET}),
            **more,
        },
        FUNCTIONS,
    )


@contextmanager
def refusing(code: grpc.StatusCode):
    """host:port of a service that answers every call with this."""

    class Refusal(grpc.GenericRpcHandler):
        def service(self, _details):
            return grpc.unary_unary_rpc_method_handler(
                lambda _request, context: context.abort(code, "no")
            )

    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, handlers=[Refusal()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(None).wait()


def test_a_letter_tells_its_reason_apart_from_what_it_was_published_with():
    assert (LETTER.function, LETTER.reason, LETTER.message) == ("run_bridge", "CONFLICT", "no")
    assert (LETTER.own_attributes, LETTER.size_bytes) == ({"source": "shop"}, 15)


def test_what_pubsub_gave_up_is_of_the_function_of_its_subscription():
    source = "CloudPubSubDeadLetterSource"
    letter = replace(
        LETTER,
        attributes={
            "function": "a word of the publisher's",
            f"{source}Subscription": "run_bridge",
            f"{source}DeliveryCount": "20",
        },
    )
    assert (letter.function, letter.reason) == ("run_bridge", GIVEN_UP)
    assert letter.message.startswith("delivered 20 times")


def test_what_is_kept_in_part_says_how_long_it_was():
    letter = replace(LETTER, attributes={**LETTER.attributes, "body_bytes": "8000000"})
    assert letter.size_bytes == 8_000_000
    assert replace(LETTER, attributes={"body_bytes": "many"}).size_bytes == len(LETTER.body)


@pytest.mark.parametrize(
    ("attributes", "kind", "why"),
    [
        ({}, InvalidInput, "does not say to which function"),
        ({"function": "run-bridge"}, InvalidInput, "'run-bridge' is none of this table"),
        ({"function": "sweeper"}, InvalidInput, "called by schedule"),
        ({"function": "api"}, InvalidInput, "called by http"),
        ({"function": "run_bridge", "body_bytes": "99"}, TooLarge, "only 15 of its 99 bytes"),
    ],
)
def test_a_letter_without_a_way_back_is_refused_before_anything_is_called(attributes, kind, why):
    with Redelivery(deployment()) as again, pytest.raises(kind, match=why):
        again.send(replace(LETTER, attributes=attributes))


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, "roles/pubsub.subscriber on the subscription"),
        (grpc.StatusCode.NOT_FOUND, "gcloud pubsub subscriptions create dead-letters-inspect"),
        (grpc.StatusCode.UNAVAILABLE, "arco-flow doctor"),
    ],
)
def test_a_look_that_is_refused_says_what_to_mend(code, mend):
    with (
        refusing(code) as address,
        pytest.raises(Unavailable, match=mend),
        DeadLetters(deployment(PUBSUB_EMULATOR_HOST=address)) as box,
    ):
        list(box.letters(1))


def test_a_look_without_credentials_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(Unavailable, match="gcloud auth application-default login"):
        DeadLetters(deployment())


@pytest.mark.parametrize(
    ("function", "mend"),
    [("dispatch", "roles/cloudtasks.enqueuer, and roles/iam"), ("run_bridge", "roles/pubsub.pub")],
)
def test_who_may_not_send_is_told_which_role_it_needs(function, mend):
    with refusing(grpc.StatusCode.PERMISSION_DENIED) as address:
        there = deployment(PUBSUB_EMULATOR_HOST=address, ARCO_FLOW_TASKS_ENDPOINT=address)
        letter = replace(LETTER, attributes={"function": function})
        with Redelivery(there) as again, pytest.raises(Unavailable, match=mend):
            again.send(letter)
