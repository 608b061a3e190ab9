import signal

import pytest

from arco_flow.domain.envelope import DispatchEnvelope, TaskPayload
from arco_flow.worker.heartbeat import heartbeat_seconds
from arco_flow.worker.interrupt import (
    STOP_SIGNAL,
    CancelInterrupt,
    Interrupter,
    TimeoutInterrupt,
)
from arco_flow.worker.redaction import Redactor
from arco_flow.worker.report import bounded_metadata, plain_metadata


@pytest.fixture
def interrupter():
    before = signal.getsignal(STOP_SIGNAL)
    made = Interrupter()
    made.install()
    yield made
    signal.signal(STOP_SIGNAL, before)


def test_an_interrupt_is_raised_in_exposed_code_once(interrupter):
    caught = []
    with interrupter.exposed():
        try:
            interrupter.interrupt(CancelInterrupt("first"))
        except CancelInterrupt as error:
            caught.append(str(error))
        interrupter.interrupt(TimeoutInterrupt("second"))
    assert caught == ["first"]
    assert str(interrupter.wanted) == "first"


def test_an_interrupt_outside_of_exposed_code_waits_for_it(interrupter):
    interrupter.interrupt(CancelInterrupt("early"))
    with pytest.raises(CancelInterrupt, match="early"), interrupter.exposed():
        pytest.fail("must not be entered")
    interrupter.reset()
    with interrupter.exposed():
        assert interrupter.wanted is None


def test_shielded_code_is_finished_first(interrupter):
    done = []

    def user_code():
        with interrupter.shielded():
            interrupter.interrupt(CancelInterrupt("now"))
            done.append("shielded")
        done.append("not reached")

    with pytest.raises(CancelInterrupt), interrupter.exposed():
        user_code()
    assert done == ["shielded"]


def test_an_interrupt_is_no_exception():
    assert not issubclass(CancelInterrupt, Exception)


@pytest.mark.parametrize(
    ("interval_ms", "timeout_sec", "seconds"),
    [(0, 300, 60), (0, 100, 20), (0, 3600, 60), (0, 5, 5), (1500, 300, 1.5)],
)
def test_heartbeats_come_five_times_within_the_time_out(interval_ms, timeout_sec, seconds):
    envelope = DispatchEnvelope(
        tenant_id="t",
        workspace_id="w",
        task_key="a.b",
        run_id="r",
        attempt=1,
        attempt_id="att",
        dispatch_id="d",
        callback_base_url="http://x",
        task_token="t",
        token_expires_at="",
        heartbeat_timeout_sec=timeout_sec,
    )
    payload = TaskPayload(asset_key="a.b", heartbeat_interval_ms=interval_ms)
    assert heartbeat_seconds(envelope, payload) == seconds


def test_metadata_becomes_json_without_secrets():
    redactor = Redactor({"hunter2"})
    value = {
        "n": float("nan"),
        "big": 2**70,
        "t": (1, {"k": "a hunter2"}),
        "o": Redactor,
        "b": True,
    }
    found = plain_metadata(value, redactor)
    assert found["n"] == "nan"
    assert found["big"] == str(2**70)
    assert found["t"] == [1, {"k": "a ***"}]
    assert "Redactor" in found["o"]
    assert found["b"] is True


def test_metadata_over_the_limit_is_replaced_by_a_note():
    assert bounded_metadata({"a": 1}) == {"a": 1}
    note = bounded_metadata({"a": "x" * 100_000})
    assert "100" in note["arco_flow/omitted"]
