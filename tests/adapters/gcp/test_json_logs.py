"""Log lines as Cloud Logging reads them: one JSON document each, whatever is logged."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from arco_flow.adapters.gcp.json_logs import (
    MAX_MESSAGE_CHARS,
    JsonFormatter,
    install_json_logs,
    trace_of,
)
from arco_flow.adapters.gcp.secrets import PlaneSecrets, read_secrets
from arco_flow.domain.errors import InvalidInput
from arco_flow.ports.log_context import log_context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
LABELS = "logging.googleapis.com/labels"


def line_of(message: object, *args: object, level: int = logging.INFO, **more: Any) -> str:
    record = logging.LogRecord("arco_flow.http", level, __file__, 7, message, args, None)
    for name, value in more.items():
        setattr(record, name, value)
    line = JsonFormatter("dispatch", "shop").format(record)
    assert line.splitlines() == [line], "one line, by every reading of line"
    assert line.isascii()
    assert line.isprintable()
    return line


def read(message: object, *args: object, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line_of(message, *args, **more))
    return found


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    """The root logger, put back as it was."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


# -- the fields --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, "DEBUG"),
        (logging.INFO, "INFO"),
        (logging.WARNING, "WARNING"),
        (logging.ERROR, "ERROR"),
        (logging.CRITICAL, "CRITICAL"),
        (25, "DEFAULT"),
    ],
)
def test_a_level_is_the_severity_of_its_name(level: int, severity: str) -> None:
    assert read("x", level=level)["severity"] == severity


def test_a_line_tells_when_where_and_what() -> None:
    found = read("%s folded %d", "run_1", 3, created=1_767_225_600.25)
    assert found["message"] == "run_1 folded 3"
    assert found["logger"] == "arco_flow.http"
    assert datetime.fromisoformat(found["time"]).timestamp() == 1_767_225_600.25
    assert found["time"].endswith("+00:00")
    assert found[LABELS] == {"function": "dispatch"}
    assert not [name for name in found if "trace" in name or "span" in name]


def test_lines_of_a_request_carry_its_trace_and_its_labels() -> None:
    labels = {"tenant": "acme", "workspace": "prod", "run": "run_1", "task": "shop.a"}
    with log_context(TRACE, SPAN) as context:
        context.labels.update(labels)
        found = read("x")
        with log_context():
            assert read("x")[LABELS] == {"function": "dispatch"}
        assert read("x")[LABELS] == found[LABELS], "the outer one again"
    assert found[LABELS] == {"function": "dispatch", **labels}
    assert found["logging.googleapis.com/trace"] == f"projects/shop/traces/{TRACE}"
    assert found["logging.googleapis.com/spanId"] == SPAN
    assert read("x")[LABELS] == {"function": "dispatch"}


def test_without_a_project_a_trace_is_bare() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 1, "x", (), None)
    with log_context(TRACE):
        found = json.loads(JsonFormatter("dispatch").format(record))
    assert found["logging.googleapis.com/trace"] == TRACE
    assert "logging.googleapis.com/spanId" not in found


def test_a_request_does_not_lend_its_trace_to_another_thread() -> None:
    seen: list[dict[str, Any]] = []
    with log_context(TRACE, SPAN):
        thread = threading.Thread(target=lambda: seen.append(read("x")))
        thread.start()
        thread.join()
    assert "logging.googleapis.com/trace" not in seen[0]


# -- the trace of a request ----------------------------------------------------------------------

GOOD = f"00-{TRACE}-{SPAN}-01"
TRACES: Mapping[str, tuple[dict[str, str], tuple[str, str]]] = {
    "none": ({}, ("", "")),
    "of the W3C": ({"traceparent": GOOD}, (TRACE, SPAN)),
    "of Google": ({"x-cloud-trace-context": f"{TRACE}/66;o=1"}, (TRACE, f"{66:016x}")),
    "of Google without a span": ({"x-cloud-trace-context": TRACE}, (TRACE, "")),
    "of Google with a span of 0": ({"x-cloud-trace-context": f"{TRACE}/0"}, (TRACE, "")),
    "of Google with too long a span": (
        {"x-cloud-trace-context": f"{TRACE}/99999999999999999999"},
        (TRACE, ""),
    ),
    "both": ({"traceparent": GOOD, "x-cloud-trace-context": "f" * 32}, (TRACE, SPAN)),
    "a broken one of the W3C beside Google's": (
        {"traceparent": "00-x", "x-cloud-trace-context": f"{TRACE}/66"},
        (TRACE, f"{66:016x}"),
    ),
    "all zeros": ({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, ("", "")),
    "a span of zeros": ({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, ("", "")),
    "Google's of zeros": ({"x-cloud-trace-context": f"{'0' * 32}/1"}, ("", "")),
    "capitals": ({"traceparent": GOOD.upper()}, ("", "")),
    "a line break": ({"traceparent": f"{GOOD}\n"}, ("", "")),
    "more behind it": ({"traceparent": f'{GOOD}","severity":"EMERGENCY'}, ("", "")),
    "digits of another script": ({"x-cloud-trace-context": f"{TRACE}/٣"}, ("", "")),
    "twice": ({"traceparent": f"{GOOD}, {GOOD}"}, ("", "")),
}


@pytest.mark.parametrize("what", TRACES)
def test_a_trace_is_read_or_ignored(what: str) -> None:
    headers, expected = TRACES[what]
    assert trace_of(headers) == expected


# -- what must not break a line --------------------------------------------------------------------

HOSTILE = {
    "a line break and a line of its own": 'x\n{"severity":"EMERGENCY","message":"forged"}',
    "a carriage return": "x\r\rforged",
    "line breaks of Unicode": "x\u2028y\u2029z\x85\x0b\x0c\x1c\x1d\x1e",
    "colours of a terminal": "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "an escape in one character": "\x9b31m",
    "NUL": "a\x00b",
    "quotes and slashes": '","severity":"EMERGENCY","x":"\\',
    "right to left": "\u202egnp.exe\u2066\u200b",
    "half of a surrogate pair": "\ud800",
    "umlauts and faces": "grün \U0001f600",
    "percents": "100 %s %(x)s %n",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_whatever_is_logged_stays_within_its_line_and_comes_back(what: str) -> None:
    text = HOSTILE[what]
    found = read(text)
    assert (found["message"], found["severity"]) == (text, "INFO")
    assert read("refused: %s", text)["message"] == f"refused: {text}"
    with log_context(TRACE, SPAN) as context:
        context.labels["task"] = text
        assert read("x")[LABELS]["task"] == text


def test_an_exception_is_told_with_its_stack_in_one_line() -> None:
    try:
        raise ValueError("first\nsecond") from KeyError("cause")
    except ValueError:
        found = read("it failed", exc_info=sys.exc_info())
    first, *stack = found["message"].splitlines()
    assert first == "it failed"
    assert stack[0] == "KeyError: 'cause'"
    assert "Traceback (most recent call last):" in stack
    assert stack[-2:] == ["ValueError: first", "second"]


def test_exc_info_without_an_exception_adds_nothing() -> None:
    assert read("x", exc_info=(None, None, None))["message"] == "x"


def test_a_long_message_is_cut_in_the_middle_with_a_mark() -> None:
    whole = "a" * MAX_MESSAGE_CHARS
    assert read(whole)["message"] == whole
    found = read("a" * 1_000_000 + "the end")["message"]
    assert found.startswith("aaa")
    assert found.endswith("the end")
    assert f"({1_000_007 - MAX_MESSAGE_CHARS} characters left out)" in found
    assert len(found) < MAX_MESSAGE_CHARS + 50
    assert len(line_of("\U0001f600" * 1_000_000)) < 200_000, "below what an entry holds"


# -- what must not be in a line ------------------------------------------------------------------

SECRET = "5up3r-s3cret-" + "x" * 32


def logged(caplog: pytest.LogCaptureFixture) -> str:
    formatter = JsonFormatter("api")
    return "\n".join(formatter.format(record) for record in caplog.records)


def test_a_secret_that_is_refused_or_held_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_secrets({"ARCO_FLOW_TENANT_SECRET": SECRET, "ARCO_FLOW_TOKEN_SECRET": SECRET})
    with caplog.at_level(logging.DEBUG):
        logging.error("%s %r", caught.value, PlaneSecrets(SECRET.encode(), SECRET.encode()))
        logging.error("it failed", exc_info=caught.value)
    assert len(caplog.records) == 2
    assert SECRET not in logged(caplog)


# -- the process --------------------------------------------------------------------------------


def test_everything_that_is_logged_in_the_process_is_a_json_line(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    install_json_logs("dispatch", "shop")
    logging.getLogger("somebody.else").warning("a\nb")
    logging.getLogger("somebody.else").debug("too little to be told")
    install_json_logs("api", level=logging.DEBUG)
    logging.getLogger("x").debug("ü")
    out, err = capsys.readouterr()
    lines = [json.loads(line) for line in out.splitlines()]
    assert [(line[LABELS]["function"], line["message"]) for line in lines] == [
        ("dispatch", "a\nb"),
        ("api", "ü"),
    ]
    assert err == ""


def test_a_record_whose_arguments_do_not_fit_breaks_no_request(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    install_json_logs("dispatch")
    logging.getLogger("x").warning("%d runs", "three")
    logging.getLogger("x").warning("next")
    assert json.loads(capsys.readouterr().out)["message"] == "next"
