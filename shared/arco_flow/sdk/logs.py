"""The logger of an attempt: one logger for all assets, each record bound to its attempt."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

from arco_flow.sdk.env import redact

ASSET_LOGGER: Final = "arco_flow.asset"
"""Handlers of the worker, and of users, go here; a record carries run_id, asset_key,
partition_key, attempt as attributes."""


class _Redaction(logging.Filter):
    """Blots secrets out of a record's message and traceback before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redact(record.exc_text)
        return True


_redaction = _Redaction()


class AttemptLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records say which attempt wrote them; own `extra` values are kept."""

    def process(
        self, msg: Any, kwargs: MutableMapping[str, Any]
    ) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the attempt to the record's attributes."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def attempt_logger(fields: Mapping[str, object]) -> AttemptLogger:
    """The logger of one attempt. fields: attributes that every record gets."""
    logger = logging.getLogger(ASSET_LOGGER)
    logger.addFilter(_redaction)  # adding the same filter again does nothing
    if logger.level == logging.NOTSET:
        # what assets log is kept with the run, not printed: the root's WARNING is not meant for it
        logger.setLevel(logging.DEBUG)
    return AttemptLogger(logger, dict(fields))
