"""Lanes: one task after the other, in the order of their places."""

from __future__ import annotations

import random

import pytest

from arco_flow.adapters.lanes import Lanes


def lane_of(body):
    lane, _, place = body.decode().partition(":")
    return lane, place


def lanes_of(*bodies):
    lanes = Lanes(lane_of)
    for body in bodies:
        lanes.add(body, body.encode())
    return lanes


def test_the_first_of_each_lane_may_go_and_what_has_no_lane_always():
    lanes = lanes_of("a:1", "a:2", "b:1", ":1", ":2")
    went = [name for name in ("a:1", "a:2", "b:1", ":1", ":2", "unknown") if lanes.may_go(name)]
    assert went == ["a:1", "b:1", ":1", ":2", "unknown"]


def test_a_parked_task_comes_back_when_the_one_before_it_is_over():
    lanes = lanes_of("a:1", "a:2", "a:3")
    assert not lanes.may_go("a:3")
    assert lanes.remove("a:1") is None, "the second was not parked: it is still in the queue"
    assert not lanes.may_go("a:3")
    assert lanes.remove("a:2") == "a:3"
    assert lanes.may_go("a:3")
    assert lanes.remove("a:3") is None
    assert lanes.remove("a:3") is None


def test_places_decide_not_the_order_of_arrival():
    lanes = lanes_of("a:2", "a:1")
    assert not lanes.may_go("a:2")
    assert lanes.may_go("a:1")


def test_a_parked_task_that_is_removed_does_not_come_back():
    lanes = lanes_of("a:1", "a:2", "a:3")
    assert not lanes.may_go("a:2")
    assert lanes.remove("a:2") is None
    assert not lanes.may_go("a:3")
    assert lanes.remove("a:1") == "a:3"


@pytest.mark.parametrize("seed", range(20))
def test_everything_goes_once_and_in_order_whatever_comes_up_first(seed):
    chance = random.Random(seed)
    bodies = [f"{lane}:{place:02}" for lane in "abc" for place in range(chance.randrange(1, 12))]
    lanes, queue, went = lanes_of(*bodies), list(bodies), []
    while queue:
        name = queue.pop(chance.randrange(len(queue)))
        if lanes.may_go(name):
            went.append(name)
            following = lanes.remove(name)
            queue += [following] if following else []
    assert sorted(went) == sorted(bodies)
    for lane in "abc":
        mine = [name for name in went if name[0] == lane]
        assert mine == sorted(mine)
