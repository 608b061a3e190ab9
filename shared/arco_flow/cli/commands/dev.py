"""`arco-flow dev`: a plane of one's own that follows the code."""

from __future__ import annotations

import click

from arco_flow.cli.options import project_options


@click.command("dev", epilog="Example: arco-flow dev --port 3000")
@click.argument("target", required=False)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=3000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 takes a free one.",
)
@click.option(
    "--workers",
    default=0,
    type=click.IntRange(0),
    help="Worker processes; 0 = by the number of processors, 2 with --emulated.",
)
@click.option("--emulated", is_flag=True, help="As in the cloud: functions on emulators.")
@project_options
@click.pass_context
def command(
    ctx: click.Context,
    target: str | None,
    host: str,
    port: int,
    workers: int,
    emulated: bool,
    folder: str,
    workspace: str | None,
    as_json: bool,
) -> None:
    """Serve a plane for TARGET, deploy its code and deploy it anew whenever it changes.

    --emulated: one process per function over emulators of Google's services, wired as Terraform
    wires them, on free ports; it forgets everything when it ends.

    Other commands in this folder find it by themselves. Code that can not be deployed is shown,
    and what was deployed before stays. Ctrl-C ends it; runs go on when it is started again.
    """
    import asyncio

    from arco_flow.adapters.local.wiring import LocalSettings
    from arco_flow.cli.dev_server import Teller, serve
    from arco_flow.cli.project import find_project

    project = find_project(folder, target, workspace)
    if emulated:
        from arco_flow.cli.emulated_server import EmulatedTeller, serve_emulated

        _refuse_address(ctx)
        asyncio.run(serve_emulated(project, workers, EmulatedTeller(project.root, as_json=as_json)))
        return
    settings = LocalSettings(
        folder=project.state, workspace=project.workspace, host=host, port=port, workers=workers
    )
    try:
        asyncio.run(serve(project, settings, Teller(project.root, as_json=as_json)))
    except OSError as error:
        if error.filename is not None:  # of a file, not of the address
            raise
        raise _not_listened_on(host, port, error) from error


def _refuse_address(ctx: click.Context) -> None:
    """Raises UsageError when an address is given that would not be listened on."""
    for name in ("host", "port"):
        if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is not for --emulated, which takes free ports", ctx)


def _not_listened_on(host: str, port: int, error: OSError) -> Exception:
    import errno
    import os

    from arco_flow.domain.errors import InvalidInput

    why, fix = error.strerror, "choose an address of this machine, such as --host 127.0.0.1"
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        why = os.strerror(error.errno).lower()
        fix = "choose another --port, or --port 0 for a free one"
    return InvalidInput(f"{host}:{port} can not be listened on ({why})", fix=fix)
