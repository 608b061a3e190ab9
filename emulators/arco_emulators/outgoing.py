"""What Cloud Tasks and Cloud Scheduler have in common in what they send and take."""

from __future__ import annotations

from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode

from arco_emulators.identity import Issuer
from arco_emulators.rpc import Refused

MAX_URL = 2083
MAX_HEADER_BYTES = 80 * 1024
WITH_BODY = ("POST", "PUT", "PATCH")
_REPLACED = ("host", "content-length", "user-agent")
_RESERVED = ("x-google-", "x-appengine-", "x-cloudtasks-", "x-cloudscheduler")


def kept_headers(headers: dict[str, str]) -> dict[str, str]:
    """The user's headers without those that the service sets itself; their case is kept."""
    return {
        key: value
        for key, value in headers.items()
        if key.lower() not in _REPLACED and not key.lower().startswith(_RESERVED)
    }


def authorized(headers: dict[str, str], message: Any, url: str, issuer: Issuer) -> dict[str, str]:
    """The headers with the token that the message asks for, if it does.

    The audience is the URL unless the message has another.
    """
    kind = message.WhichOneof("authorization_header")
    if kind is None:
        return headers
    email = getattr(message, kind).service_account_email
    if kind == "oidc_token":
        token = issuer.token(email, message.oidc_token.audience or url)
    else:
        token = issuer.access_token(email)
    others = {key: value for key, value in headers.items() if key.lower() != "authorization"}
    return {**others, "Authorization": f"Bearer {token}"}


def check_request(message: Any, *, url: str, method: str, field: str) -> None:
    """Errors: Refused for a URL, a body, headers or a token that the services do not take."""
    if not url.startswith(("http://", "https://")):
        raise invalid(f"{field} must start with 'http://' or 'https://'.")
    if len(url) > MAX_URL:
        raise invalid(f"{field} must not be longer than {MAX_URL} characters.")
    if message.body and method not in WITH_BODY:
        raise invalid(f"A body is not allowed with HTTP method {method}.")
    if sum(len(key) + len(value) for key, value in message.headers.items()) >= MAX_HEADER_BYTES:
        raise invalid("The headers must be smaller than 80KB.")
    kind = message.WhichOneof("authorization_header")
    if kind and not getattr(message, kind).service_account_email:
        raise invalid(f"The {kind} needs a service_account_email.")


def masked(old: Any, new: Any, mask: Any, *, output_only: tuple[str, ...]) -> Any:
    """A copy of the old message with the masked fields of the new one; with no mask, all of them.

    Fields that only the service sets stay as they are. Errors: Refused for an unknown field.
    """
    paths = list(mask.paths) or [field.name for field in old.DESCRIPTOR.fields]
    wanted = FieldMask(paths=[path for path in paths if path not in output_only])
    if not wanted.IsValidForDescriptor(old.DESCRIPTOR):
        raise invalid(f"Invalid update_mask: {', '.join(paths)}.")
    message = type(old)()
    message.CopyFrom(old)
    wanted.MergeMessage(new, message, replace_message_field=True, replace_repeated_field=True)
    return message


def invalid(text: str) -> Refused:
    """A refusal with INVALID_ARGUMENT."""
    return Refused(StatusCode.INVALID_ARGUMENT, text)
