"""`arco-flow emulators`: Google's services on this machine, for the plane and for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from arco_flow.cli.options import json_option

F = TypeVar("F", bound=Callable[..., Any])


def _folder_option(function: F) -> F:
    return click.option(
        "--folder",
        default=".arco-flow/emulators",
        show_default=True,
        metavar="FOLDER",
        help="Where logs, keys and what is needed to end them lie.",
    )(function)


@click.group("emulators", epilog="Example: arco-flow emulators up --detach")
def command() -> None:
    """Run emulators of Firestore, Pub/Sub, Cloud Tasks, Cloud Scheduler and Cloud Storage."""


@command.command("up", epilog="Example: arco-flow emulators up --detach --port-base 0")
@click.option(
    "--port-base",
    default=8120,
    show_default=True,
    type=click.IntRange(0, 65526),
    metavar="N",
    help="First of the ten ports that are used; 0 takes free ones.",
)
@click.option("--detach", is_flag=True, help="Return once all are ready.")
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME=VALUE",
    help="Something that goes wrong on purpose, such as duplicate=0.2.",
)
@_folder_option
@json_option
def up(port_base: int, detach: bool, faults: tuple[str, ...], folder: str, as_json: bool) -> None:
    """Start all emulators and show where they are; Ctrl-C ends them.

    Firestore and Pub/Sub are Google's own, found in its SDK; the others are ours.
    """
    arguments = ["--port-base", str(port_base), *(["--detach"] if detach else [])]
    for fault in faults:
        arguments += ["--fault", fault]
    _run("up", folder, as_json, *arguments)


@command.command("env", epilog="Example: arco-flow emulators env > emulators.env")
@_folder_option
@json_option
def env(folder: str, as_json: bool) -> None:
    """Print the variables by which processes find the emulators, for a shell to evaluate."""
    _run("env", folder, as_json)


@command.command("down", epilog="Example: arco-flow emulators down")
@_folder_option
@json_option
def down(folder: str, as_json: bool) -> None:
    """End the emulators that were started in the folder."""
    _run("down", folder, as_json)


def _run(name: str, folder: str, as_json: bool, *arguments: str) -> None:
    """Hand the command on to the distribution of the emulators, and exit with its code.

    Raises InvalidInput when that is not installed.
    """
    try:
        from arco_emulators.__main__ import main
    except ModuleNotFoundError as error:
        from arco_flow.domain.errors import InvalidInput

        raise InvalidInput(
            f"the emulators are a distribution of their own, which is not installed ({error.name})",
            fix="pip install arco-flow-emulators",
        ) from error
    code = main([name, "--folder", folder, *(["--json"] if as_json else []), *arguments])
    if code:
        raise SystemExit(code)
