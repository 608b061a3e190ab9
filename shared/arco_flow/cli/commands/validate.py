"""`arco-flow validate`: what a deployment would refuse, without a plane."""

from __future__ import annotations

from pathlib import Path

import click

from arco_flow.cli.options import emit, json_option


@click.command("validate", epilog="Example: arco-flow validate --out manifest.json")
@click.argument("target", required=False)
@click.option("-C", "--project", "folder", default=".", metavar="FOLDER", help="Project folder.")
@click.option("--out", type=click.Path(dir_okay=False), help="Write the manifest to this file.")
@json_option
def command(target: str | None, folder: str, out: str | None, as_json: bool) -> None:
    """Import TARGET (a module, file or folder) and check all that it declares.

    Errors name the file and the line; the exit code is 1. Nothing is run and nothing is stored.
    """
    from arco_flow.cli.deploying import load_code
    from arco_flow.cli.project import find_project
    from arco_flow.domain.manifest import manifest_id_of, parse_manifest

    code = load_code(find_project(folder, target, None))
    manifest = parse_manifest(code.manifest)
    if out is not None:
        Path(out).write_bytes(code.manifest)
    keys = [asset.key for asset in manifest.assets]
    if as_json:
        emit(
            {
                "manifestId": manifest_id_of(manifest),
                "codeVersionId": manifest.code_version_id,
                "location": dict(code.location),
                "assets": keys,
            }
        )
        return
    click.echo(f"{len(keys)} asset{'s' if len(keys) != 1 else ''}, all well: {', '.join(keys)}")
