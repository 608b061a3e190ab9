"""`arco-flow completion`: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click

from arco_flow.cli.options import emit, json_option

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", epilog="Example: arco-flow completion bash >> ~/.bash_completion")
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def command(shell: str, as_json: bool) -> None:
    """Print the completion script for SHELL: bash, zsh or fish."""
    from click.shell_completion import get_completion_class

    from arco_flow.cli.main import cli

    complete = get_completion_class(shell)
    assert complete is not None
    script = complete(cli, {}, "arco-flow", "_ARCO_FLOW_COMPLETE").source()
    if as_json:
        emit({"shell": shell, "script": script})
    else:
        click.echo(script)
