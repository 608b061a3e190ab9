"""Errors as the command line shows them: what, where, how to mend; on stderr, never a stack."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click

from arco_flow.cli.main import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE
from arco_flow.cli.options import emit
from arco_flow.domain.errors import ArcoError, Unavailable


class PlaneUnreachable(Unavailable):
    """No plane answers at the address, or it can not serve now."""

    reason = "PLANE_UNREACHABLE"


class PlaneRefused(ArcoError):
    """The plane answered with an error. status: of HTTP; message and details are the plane's."""

    reason = "PLANE_REFUSED"

    def __init__(
        self, status: int, reason: str, message: str, details: Mapping[str, object] | None = None
    ) -> None:
        self.status = status
        super().__init__(message, reason=reason, details=details)


def report(error: BaseException, *, as_json: bool = False) -> int:
    """Say what went wrong on stderr, in three lines at most; answers the exit code.

    as_json: also as a document on stdout, where programs look for the result.
    """
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help() if error.ctx else "", err=True)
        return EXIT_USAGE
    code, reason, lines = _told(error)
    if as_json:
        emit({"error": {"reason": reason, "message": "\n".join(lines)}})
    first, *rest = lines
    colour = False if os.environ.get("NO_COLOR") else None
    mark = click.style("error:", fg="red", bold=True)
    click.echo("\n".join([f"{mark} {first}", *rest]), err=True, color=colour)
    return code


def _three(lines: list[str]) -> list[str]:
    """What, where and how to mend; what is left out of a longer message repeats what was typed."""
    if len(lines) <= 3:
        return lines
    place = [line for line in lines[1:] if line.startswith("  at ")][:1]
    mend = [line for line in lines[1:] if line.startswith("  fix: ")][:1]
    return [lines[0], *place, *mend] if place or mend else lines[:3]


def _told(error: BaseException) -> tuple[int, str, list[str]]:
    """Exit code, reason for programs, lines for people."""
    if isinstance(error, ArcoError):
        code = EXIT_UNREACHABLE if isinstance(error, Unavailable) else EXIT_FAILED
        return code, error.reason, _three(str(error).splitlines())
    if isinstance(error, OSError) and error.filename is not None:
        what = f"{error.filename}: {(error.strerror or type(error).__name__).lower()}"
        return EXIT_FAILED, "FILE_ERROR", [what, "  fix: check the path, and who may write there"]
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else ""
        see = [f"  see: {path} --help"] if path else []
        return error.exit_code, "USAGE", [*error.format_message().splitlines()[:2], *see]
    text = next(iter(str(error).splitlines()), "no message")
    defect = "  this is a defect of arco-flow or of an extension"
    lines = [f"{type(error).__name__}: {text}", defect, "  see the stack: arco-flow --debug …"]
    return EXIT_FAILED, "DEFECT", lines
