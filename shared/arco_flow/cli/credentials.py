"""The token that a command shows to a plane: where a fresh one comes from, and what is wrong with
one that was refused."""

from __future__ import annotations

import base64
import time
from datetime import datetime
from typing import Any, Final

from arco_flow.cli.failures import PlaneRefused
from arco_flow.domain.errors import InvalidInput, Unauthenticated

TOKEN: Final = "ARCO_FLOW_TOKEN"  # noqa: S105 - the name of a variable
TOKEN_COMMAND: Final = "ARCO_FLOW_TOKEN_COMMAND"  # noqa: S105 - the same
COMMAND_SECONDS: Final = 60.0

_FRESH: Final = f"set {TOKEN} to a fresh one, or {TOKEN_COMMAND} to a command that prints one"


def token_of_command(text: str) -> str:
    """What a command prints, less the space around it. No shell reads the command.

    Raises InvalidInput for what can not be run, Unauthenticated when it gives no token.
    """
    import shlex
    import subprocess

    try:
        words = shlex.split(text)
        done = subprocess.run(
            words,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
        )
    except (OSError, ValueError, IndexError) as error:
        raise InvalidInput(
            f"the command that prints a token can not be run: {error}",
            where=TOKEN_COMMAND,
            fix="give a program and its arguments; no shell reads them",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise _no_token(f"has not ended after {COMMAND_SECONDS:g} s") from error
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        said = f": {lines[-1][:300]}" if lines else ""
        raise _no_token(f"ended with {done.returncode}{said}")
    try:
        token = done.stdout.decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable():
        raise _no_token("printed no token, or more than one line")
    return token


def _no_token(what: str) -> Unauthenticated:
    return Unauthenticated(
        f"the command that prints a token {what}",
        where=TOKEN_COMMAND,
        fix="run it by hand: it must print a token and nothing else",
    )


def refused_token(token: str, url: str, reason: str, message: str) -> PlaneRefused:
    """The error of a plane that refuses a token, with what is seen to be wrong with it.

    url: of the plane. reason, message: as the plane answered, which tells nobody more.
    """
    message, claims = message.partition("\n")[0], _claims(token)
    expiry, audience = claims.get("exp"), claims.get("aud")
    fix = f"set {TOKEN} to the plane's token"
    if isinstance(expiry, int | float) and expiry <= time.time():
        message = f"the token has expired, at {_clock(expiry)}; what runs goes on"
        fix = _FRESH
    elif isinstance(audience, str) and audience.rstrip("/") != url:
        message = f"{message}; the token was made for {audience}, not for {url}"
        fix = f"set {TOKEN} to an identity token with the audience {url}"
    elif claims:
        fix = f"see docs/how-to/cloud-plane.md, or: {_FRESH}"
    return PlaneRefused(401, reason, f"{message}\n  fix: {fix}")


def _claims(token: str) -> dict[str, Any]:
    """What an identity token says, unproved; nothing of another kind of token."""
    import msgspec

    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        raw = base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, msgspec.DecodeError, RecursionError):
        return {}


def _clock(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError, OSError):
        return "a time that is none"
