"""Log lines as Cloud Logging reads them: one JSON document each, with trace and labels."""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from arco_flow.domain.identifiers import parse_traceparent
from arco_flow.ports.log_context import current_log_context

MAX_MESSAGE_CHARS: Final = 8 * 1024
"""Of a longer message beginning and end are kept, with a mark between them: the end of a stack
says what happened. Cloud Logging takes entries of 256 KiB."""

_SEVERITIES: Final = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARNING",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "CRITICAL",
}
_TRACE_CONTEXT = re.compile(r"([0-9a-f]{32})(?:/([0-9]{1,20}))?(?:;o=[0-9])?")


def trace_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """Trace and span of a request: W3C `traceparent`, else Google's own header; empty without."""
    told = parse_traceparent(headers.get("traceparent", ""))
    if told is not None:
        return told
    found = _TRACE_CONTEXT.fullmatch(headers.get("x-cloud-trace-context", ""))
    if found is None or not found[1].strip("0"):
        return "", ""
    span = int(found[2] or 0)
    return found[1], f"{span:016x}" if 0 < span < 1 << 64 else ""


class JsonFormatter(logging.Formatter):
    """Formats a record as one line. project: names the trace's project, "" = a bare trace id."""

    def __init__(self, function: str, project: str = "") -> None:
        super().__init__()
        self._function = function
        self._project = project

    def format(self, record: logging.LogRecord) -> str:
        """One JSON document without a line break."""
        message = record.getMessage()
        if record.exc_info and record.exc_info[0] is not None:
            message += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip()
        line: dict[str, Any] = {
            "severity": _SEVERITIES.get(record.levelno, "DEFAULT"),
            "message": _shortened(message),
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "logger": record.name,
        }
        request = getattr(record, "http_request", None)
        if request is not None:
            line["httpRequest"] = request
        self._add_context(line)
        # ASCII alone: nothing that a terminal obeys, no line break of Unicode, and half of a
        # surrogate pair does not lose the line.
        return json.dumps(line, separators=(",", ":"))

    def _add_context(self, line: dict[str, Any]) -> None:
        context = current_log_context()
        labels = {"function": self._function, **context.labels}
        line["logging.googleapis.com/labels"] = labels
        if context.trace:
            prefix = f"projects/{self._project}/traces/" if self._project else ""
            line["logging.googleapis.com/trace"] = prefix + context.trace
        if context.span:
            line["logging.googleapis.com/spanId"] = context.span


def _shortened(message: str) -> str:
    left_out = len(message) - MAX_MESSAGE_CHARS
    if left_out <= 0:
        return message
    half = MAX_MESSAGE_CHARS // 2
    return f"{message[:half]}… ({left_out} characters left out) …{message[-half:]}"


def install_json_logs(function: str, project: str = "", level: int = logging.INFO) -> None:
    """Let everything that is logged in this process be JSON lines on stdout."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(function, project))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
