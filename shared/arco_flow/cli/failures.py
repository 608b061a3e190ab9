"""Errors as the command line shows them: what, where, how to mend; on stderr, never a stack."""

from __future__ import annotations

import click

from arco_flow.cli.main import EXIT_FAILED, EXIT_UNREACHABLE, EXIT_USAGE
from arco_flow.domain.errors import ArcoError, Unavailable


class PlaneUnreachable(Unavailable):
    """No plane answers at the address, or it can not serve now."""

    reason = "PLANE_UNREACHABLE"


class PlaneRefused(ArcoError):
    """The plane answered with an error. status: of HTTP; the message is the plane's."""

    reason = "PLANE_REFUSED"

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        super().__init__(message, reason=reason)


def report(error: BaseException) -> int:
    """Say what went wrong, in three lines at most; answers the exit code."""
    if isinstance(error, click.UsageError):
        hint = f"  see: {error.ctx.command_path} --help" if error.ctx else ""
        _say([error.format_message(), hint])
        return EXIT_USAGE
    if isinstance(error, click.ClickException):
        _say([error.format_message()])
        return error.exit_code
    if isinstance(error, ArcoError):
        _say(str(error).splitlines()[:3])
        return EXIT_UNREACHABLE if isinstance(error, Unavailable) else EXIT_FAILED
    _say(
        [
            f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            "  this is a defect of arco-flow or of an extension",
            "  see the stack: arco-flow --debug …",
        ]
    )
    return EXIT_FAILED


def _say(lines: list[str]) -> None:
    first, *rest = [line for line in lines if line]
    click.echo(f"{click.style('error:', fg='red', bold=True)} {first}", err=True)
    for line in rest:
        click.echo(line, err=True)
