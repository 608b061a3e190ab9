"""Errors of Cloud Storage's JSON API, with Google's words and bodies."""

from __future__ import annotations

import json


class StorageError(Exception):
    """An answer other than success.

    status: HTTP status code. reason: Google's word for it, as in `errors[0].reason`.
    message: what a person reads. location: the parameter or header at fault, or None.
    """

    def __init__(
        self, status: int, reason: str, message: str, *, location: tuple[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.location = location

    def body(self) -> bytes:
        """The JSON body; empty for 304, which has none."""
        if self.status == 304:
            return b""
        detail = {"message": self.message, "domain": "global", "reason": self.reason}
        if self.location is not None:
            detail["locationType"], detail["location"] = self.location
        error = {"code": self.status, "message": self.message, "errors": [detail]}
        return json.dumps({"error": error}).encode()


def invalid(message: str, *, parameter: str | None = None) -> StorageError:
    """400: the request itself is wrong."""
    location = None if parameter is None else ("parameter", parameter)
    return StorageError(400, "invalid", message, location=location)


def required(parameter: str) -> StorageError:
    """400: something is not given."""
    return StorageError(
        400, "required", f"Required parameter: {parameter}", location=("parameter", parameter)
    )


def no_bucket() -> StorageError:
    """404: there is no bucket of that name."""
    return StorageError(404, "notFound", "The specified bucket does not exist.")


def no_object(bucket: str, name: str) -> StorageError:
    """404: there is no live object of that name, or not in that generation."""
    return StorageError(404, "notFound", f"No such object: {bucket}/{name}")


def condition_not_met(*, reading: bool) -> StorageError:
    """412, or 304 when what a reader has is still current."""
    return StorageError(
        304 if reading else 412,
        "conditionNotMet",
        "At least one of the pre-conditions you specified did not hold.",
        location=("header", "If-Match"),
    )


def not_emulated(what: str) -> StorageError:
    """501: Cloud Storage can do it, this emulator can not. Better than to ignore it."""
    return StorageError(501, "notImplemented", f"This emulator does not emulate {what}.")
