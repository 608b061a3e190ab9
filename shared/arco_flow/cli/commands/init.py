"""`arco-flow init`: a project to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from arco_flow.cli.options import emit, json_option


@click.command(
    "init", epilog="Example: arco-flow init shop && cd shop && arco-flow run '*' -p 2026-01-01"
)
@click.argument("name")
@json_option
def command(name: str, as_json: bool) -> None:
    """Write a small project into the folder NAME: assets, a check, tests, settings.

    Nothing that exists is overwritten.
    """
    from arco_flow.cli.starter import starter_files
    from arco_flow.domain.errors import Conflict, InvalidInput

    folder = Path(name)
    project = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")
    if not project:
        raise InvalidInput(f"'{name}' is no name for a project", fix="for example: shop")
    files = {folder / path: text for path, text in starter_files(project).items()}
    taken = [str(path) for path in files if path.exists()]
    if taken:
        raise Conflict(f"there already: {', '.join(taken)}", fix="choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    if as_json:
        emit({"folder": str(folder), "files": [str(path) for path in files]})
        return
    click.echo("\n".join(f"  wrote {path}" for path in files))
    click.echo(f"next: cd {shlex.quote(name)} && arco-flow run '*' -p 2026-01-01")
