"""Wrong reports of a worker, against a whole plane: refused in the words of the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.bad_input import SHOW, ask, callback, refused
from e2e.harness import STILL_SECONDS, Attempt, Kind, PlaneUnderTest, running_plane, write_module

EVERY_PLANE = True

SHOP = """
    from arco_flow import asset

    @asset(namespace="t")
    def a() -> int:
        return 1

    @asset(namespace="t")
    def c() -> int:
        return 1
"""
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def held(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    """A plane on which no worker begins: the test is the worker."""
    folder = tmp_path_factory.mktemp("held")
    write_module(folder, "shop", SHOP)
    with running_plane(folder, works=False) as plane:
        plane.deploy(folder / "shop.py")
        yield plane


@pytest.fixture(scope="module")
def mine(held: PlaneUnderTest) -> Attempt:
    """An attempt that was dispatched and is not begun."""
    return _dispatched(held, "t.a")


def _dispatched(plane: PlaneUnderTest, asset: str) -> Attempt:
    run_id = plane.request(asset).run_id
    plane.kept.settle(still_seconds=STILL_SECONDS[Kind.current])
    assert plane.run(run_id).task_counts == {"DISPATCHED": 1}
    return plane.attempt(run_id, asset)


CALLBACKS: dict[str, tuple[str, Mapping[str, Any] | bytes, int, str, str]] = {
    "another attempt": (
        "heartbeat",
        {"attempt": 2},
        409,
        "attempt_mismatch",
        "the token is of another attempt",
    ),
    "attempt 0": (
        "started",
        {"attempt": 0},
        400,
        "invalid_argument",
        "attempt must be 1 or more; attemptId and workerId must not be empty",
    ),
    "no worker": (
        "started",
        {"workerId": ""},
        400,
        "invalid_argument",
        "attempt must be 1 or more; attemptId and workerId must not be empty",
    ),
    "another attempt id": (
        "completed",
        {"attemptId": "att_x", "outcome": "SUCCEEDED"},
        409,
        "attempt_mismatch",
        "the token is of another attempt",
    ),
    "too much progress": (
        "heartbeat",
        {"progressPct": 101},
        400,
        "invalid_argument",
        "progressPct is 101; it must be between 0 and 100",
    ),
    "an unknown outcome": (
        "completed",
        {"outcome": "GREAT"},
        400,
        "invalid_argument",
        "outcome 'GREAT' is none of SUCCEEDED, FAILED, CANCELLED",
    ),
    "a failure without an error": (
        "completed",
        {"outcome": "FAILED"},
        400,
        "invalid_argument",
        "a FAILED outcome needs an error",
    ),
    "garbage": (
        "completed",
        b"\xff\xfe{",
        400,
        "invalid_argument",
        "malformed completed callback: JSON is malformed: invalid character (byte 0)",
    ),
    "a list": (
        "heartbeat",
        b"[1, 2]",
        400,
        "invalid_argument",
        "malformed heartbeat callback: Expected `object`, got `array`",
    ),
}


@pytest.mark.parametrize("what", CALLBACKS)
def test_a_wrong_callback_is_refused_in_the_words_of_the_protocol(
    held: PlaneUnderTest, mine: Attempt, what: str
) -> None:
    verb, body, status, error, message = CALLBACKS[what]
    with held.kept.unchanged():
        answer = callback(held, mine, verb, body)
    assert (answer.status, answer.reason, answer.message) == (status, error, message)


def test_a_callback_needs_the_token_of_its_own_task(held: PlaneUnderTest, mine: Attempt) -> None:
    other = _dispatched(held, "t.c")
    with held.kept.unchanged():
        answer = callback(held, mine, "started", token=other.token)
        assert (answer.status, answer.reason) == (403, "wrong_task")
        assert answer.message == "the token is of another task"
        cut = mine.token[:-4] + ("AAAA" if mine.token[-4:] != "AAAA" else "BBBB")
        for token in ("nonsense", held.plane.token, cut):
            answer = callback(held, mine, "started", token=token)
            assert answer.status == 401
            assert answer.message == "a valid credential is needed"
        assert ask(held, "GET", "/runs", token=mine.token).status == 401, "nor the other way"


def test_a_callback_of_an_unknown_verb(held: PlaneUnderTest, mine: Attempt) -> None:
    with held.kept.unchanged():
        answer = callback(held, mine, "exploded")
    refused(answer, 404, "NOT_FOUND", f"there is nothing at this path\n{SHOW}")


def test_a_callback_of_two_mebibytes(held: PlaneUnderTest, mine: Attempt) -> None:
    with held.kept.unchanged():
        big = b" " * (2 * MIB)
        answer = callback(held, mine, "completed", big)
    assert (answer.status, answer.reason) == (413, "body_too_large")
