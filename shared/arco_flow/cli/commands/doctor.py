"""`arco-flow doctor`: what is wrong with a deployment of the cloud plane, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from arco_flow.cli.options import emit, json_option, note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arco_flow.adapters.gcp.verdicts import Finding

_MARKS: Final = {"ok": ("✓", "green"), "problem": ("✗", "red"), "not checked": ("–", "yellow")}


@click.command("doctor", epilog="Example: arco-flow doctor --json")
@click.option("-C", "--project", "folder", default=".", metavar="FOLDER", help="Project folder.")
@click.option(
    "--functions",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where functions.yaml lies; the one of this version by default.",
)
@json_option
def command(folder: str, functions: Path | None, as_json: bool) -> None:
    """Check a deployment on Google Cloud, or on emulators, and say what to mend.

    In the folder of `arco-flow dev --emulated` it looks at that plane; elsewhere at the one that
    the environment tells of, which is that of the function `api`. The exit code is 1 when
    something is wrong. What is not checked is marked with a dash, and is no error.
    """
    import asyncio

    from arco_flow.adapters.gcp.diagnosis import diagnose
    from arco_flow.cli.deployments import deployment_around

    deployment = deployment_around(folder, functions)
    note(f"project {deployment.settings.project}, {deployment.settings.location}", quiet=as_json)
    findings = asyncio.run(diagnose(deployment))
    if as_json:
        emit(_document(findings))
    else:
        click.echo("\n".join(_lines(findings)))
    if any(finding.state == "problem" for finding in findings):
        raise SystemExit(1)


def _document(findings: Sequence[Finding]) -> dict[str, object]:
    checks = [
        {
            "check": finding.check,
            "state": finding.state,
            "told": finding.verdict.told,
            "problems": [{"what": p.what, "mend": p.mend} for p in finding.verdict.problems],
            "notes": list(finding.verdict.notes),
        }
        for finding in findings
    ]
    return {"ok": all(one["state"] != "problem" for one in checks), "checks": checks}


def _lines(findings: Sequence[Finding]) -> list[str]:
    lines = []
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        mark, colour = _MARKS[finding.state]
        problems, notes = finding.verdict.problems, finding.verdict.notes
        told = [p.what for p in problems] or [finding.verdict.told, *notes]
        first, *rest = [text for text in told if text]
        lines.append(f"{click.style(mark, fg=colour)} {finding.check:<{width}}  {first}")
        indent = " " * (width + 4)
        if not problems:
            lines += [f"{indent}{text}" for text in rest]
            continue
        lines.append(f"{indent}mend: {problems[0].mend}")
        for problem in problems[1:]:
            lines += [f"{indent}{problem.what}", f"{indent}mend: {problem.mend}"]
    wrong = sum(len(finding.verdict.problems) for finding in findings)
    lines.append(f"{wrong} to mend" if wrong else "all well")
    return lines
