"""Options that every command has, and the marks of what a person or a program reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def json_option(function: F) -> F:
    """`--json`: one JSON document on stdout and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON for programs.")(
        function
    )


def project_options(function: F) -> F:
    """`--json`, `-C` and `--workspace`."""
    folder = click.option(
        "-C", "--project", "folder", default=".", metavar="FOLDER", help="The project's folder."
    )
    workspace = click.option(
        "--workspace", envvar="ARCO_FLOW_WORKSPACE", metavar="NAME", help="The workspace."
    )
    return json_option(folder(workspace(function)))


def emit(message: object) -> None:
    """Write one JSON document to stdout."""
    click.echo(msgspec.json.format(msgspec.json.encode(message), indent=2))


def emit_line(message: object) -> None:
    """Write one JSON document on one line: streams are read line by line."""
    click.echo(msgspec.json.encode(message))


def note(text: str, *, quiet: bool = False) -> None:
    """Tell a person what happens; on stderr, so that stdout holds results alone."""
    if not quiet:
        click.echo(text, err=True)
