"""`arco-flow doctor` finds nothing wrong with the emulated plane, and names what is broken."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from google.cloud import scheduler_v1, tasks_v2
from google.cloud.firestore_admin_v1.types import Index
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import (
    CloudSchedulerGrpcTransport,
)
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.pubsub_v1 import SubscriberClient
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from arco_flow.adapters.gcp import diagnosis_stores
from arco_flow.adapters.gcp.diagnosis import CHECKS, deployment_of, diagnose
from arco_flow.adapters.gcp.diagnosis_stores import INDEXES, ready_indexes, wanted_indexes
from arco_flow.adapters.gcp.verdicts import TOKENS_VARIABLE, Verdict
from arco_flow.cli.main import cli
from arco_flow.cli.project import DOCTOR_FILE, Project
from arco_flow.domain.errors import InvalidInput
from emulated.plane import ROOT, RunningBundle, emulated_plane, own_bundle

EMAIL = "user0@acme.test"
FUNCTIONS = ROOT / "functions"


def environment_of(plane, email=EMAIL):
    return plane.environment_for_doctor(email, 3600)


def findings_of(environment, **only):
    """Findings by check; with the deployment's fields that are given."""
    deployment = replace(deployment_of(environment, FUNCTIONS), **only)
    return {one.check: one for one in asyncio.run(diagnose(deployment))}


def problems_of(findings):
    return {
        check: [(p.what, p.mend) for p in one.verdict.problems]
        for check, one in findings.items()
        if one.verdict.problems
    }


def doctor(folder: Path, *options: str):
    return CliRunner().invoke(cli, ["doctor", "-C", str(folder), *options])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    with emulated_plane(tmp_path_factory.mktemp("doctor")) as plane:
        yield plane.plane.plane


def test_all_is_well_with_the_emulated_plane(shared, tmp_path):
    project = Project(tmp_path, ".", "w0")
    project.keep_doctor_environment(environment_of(shared))
    assert (tmp_path / ".arco-flow" / DOCTOR_FILE).stat().st_mode & 0o777 == 0o600
    done = doctor(tmp_path, "--json")
    told = json.loads(done.stdout)
    states = {one["check"]: one["state"] for one in told["checks"]}
    assert (done.exit_code, told["ok"]) == (0, True), done.stdout
    assert list(states) == list(CHECKS)
    unknown = {check for check, state in states.items() if state != "ok"}
    assert unknown == {"indexes", "subscriptions"}
    shown = doctor(tmp_path).stdout
    assert shown.endswith("all well\n")
    assert "– indexes        the emulator has no indexes: not checked here" in shown
    project.withdraw()
    assert project.doctor_environment() is None


def test_the_process_that_runs_user_code_knows_no_secret_and_no_way_to_the_state(shared):
    known = {
        name: Path(f"/proc/{function.process.pid}/environ").read_bytes()
        for name, function in shared.bundle.processes.items()
    }
    secrets = [environment_of(shared)[f"ARCO_FLOW_{kind}_SECRET"] for kind in ("TENANT", "TOKEN")]
    told = {name for name, environ in known.items() if any(s.encode() in environ for s in secrets)}
    assert set(known) - told == {"worker"}
    assert b"FIRESTORE" not in known["worker"]


def test_what_is_broken_is_named_with_its_mend(tmp_path):
    with own_bundle() as running:
        environment = environment_of(running.plane)
        _pause_queue(environment, "timers")
        _delete_job(environment, "sweeper")
        _delete_subscription(environment, "dead-letters-inspect")
        _end_function(running, "run_bridge")
        Project(tmp_path, ".", "w0").keep_doctor_environment(environment)
        done = doctor(tmp_path)
        found = problems_of(findings_of(environment))
        bridge = running.bundle.urls["run_bridge"]
    assert found == {
        "functions": [
            (
                f"the function 'run_bridge' does not answer at {bridge}",
                "start or deploy it again; its log tells why it does not serve",
            )
        ],
        "queues": [
            (
                "the queue 'timers' is PAUSED",
                "gcloud tasks queues resume timers --location=us-central1",
            )
        ],
        "subscriptions": [
            (
                "the subscription 'dead-letters-inspect' is not there",
                "apply Terraform again: it makes what functions.yaml says",
            )
        ],
        "jobs": [
            (
                "the job 'sweeper' is not there",
                "apply Terraform again: it makes what functions.yaml says",
            )
        ],
    }
    assert done.exit_code == 1
    assert done.stdout.endswith("4 to mend\n")
    for problems in found.values():
        for what, mend in problems:
            assert f"{what}\n" in done.stdout
            assert f"mend: {mend}\n" in done.stdout


def test_a_stranger_is_told_that_the_api_does_not_know_it(shared):
    found = problems_of(findings_of(environment_of(shared, "nobody@acme.test")))
    assert list(found) == ["api"]
    assert "nobody@acme.test" in found["api"][0][0]


def test_a_caller_is_not_sent_where_it_would_be_let_in(shared):
    caller = "arco-tasks@demo-arco.iam.gserviceaccount.com"
    strangers = findings_of(environment_of(shared, caller))["strangers"]
    assert strangers.state == "not checked"
    assert any(f"{caller} is a caller of 'dispatch'" in note for note in strangers.verdict.notes)


def test_tokens_for_another_audience_are_told_from_strangers(shared):
    environment = environment_of(shared)
    tokens = json.loads(environment[TOKENS_VARIABLE])
    environment[TOKENS_VARIABLE] = json.dumps({**tokens, "dispatch": tokens["worker"]})
    found = problems_of(findings_of(environment))
    assert list(found) == ["strangers"]
    assert "ARCO_FLOW_AUDIENCE" in found["strangers"][0][1]


@pytest.mark.parametrize(("ahead_ms", "side"), [(9000, "ahead of"), (-9000, "behind")])
def test_clocks_that_are_apart_are_a_problem(shared, ahead_ms, side):
    environment = environment_of(shared)
    real = deployment_of(environment, FUNCTIONS).now_ms
    found = problems_of(findings_of(environment, now_ms=lambda: real() + ahead_ms))
    assert list(found) == ["clock"]
    assert side in found["clock"][0][0]


def test_what_is_wired_wrongly_is_named(shared):
    environment = environment_of(shared)
    routes = json.loads(environment["ARCO_FLOW_ROUTES"])
    routes["dispatch"]["account"] = "arco-push@demo-arco.iam.gserviceaccount.com"
    environment |= {
        "ARCO_FLOW_ROUTES": json.dumps(routes),
        "ARCO_FLOW_BUCKET": "another",
        "ARCO_FLOW_TOKEN_SECRET": "c2hvcnQ=",
    }
    found = problems_of(findings_of(environment))
    assert list(found) == ["routes", "bucket", "secrets"]
    assert "no caller of 'dispatch'" in found["routes"][0][0]
    assert found["bucket"][0][1] == "create the bucket, or correct ARCO_FLOW_BUCKET"
    assert "ARCO_FLOW_TOKEN_SECRET" in found["secrets"][0][0]


def test_a_probe_leaves_nothing_in_the_bucket(shared):
    environment = environment_of(shared)
    deployment = deployment_of(environment, FUNCTIONS)
    assert asyncio.run(diagnosis_stores.bucket_keeps_preconditions(deployment)).problems == ()
    from arco_flow.adapters.gcp.cloud_storage import CloudObjects

    objects = CloudObjects(
        environment["ARCO_FLOW_BUCKET"], emulator=environment["STORAGE_EMULATOR_HOST"]
    )
    assert objects.list("doctor/") == []
    objects.close()


def test_a_check_that_hangs_hides_no_other(shared):
    async def hangs(_deployment):
        await asyncio.Event().wait()

    async def well(_deployment):
        return Verdict("well")

    deployment = deployment_of(environment_of(shared), FUNCTIONS)
    checks = {"slow": hangs, "other": well}
    slow, other = asyncio.run(diagnose(deployment, checks, limit_seconds=0.01))
    assert (slow.state, other.state) == ("problem", "ok")
    assert slow.verdict.problems[0].what == "no answer in 0.01 s"


def test_an_environment_that_tells_of_no_plane_is_refused_with_all_that_it_lacks():
    with pytest.raises(InvalidInput) as refused:
        deployment_of({}, FUNCTIONS)
    first, mend = str(refused.value).splitlines()
    assert "ARCO_FLOW_PROJECT is not set; ARCO_FLOW_LOCATION is not set" in first
    assert "arco-flow dev --emulated" in mend


def test_an_index_counts_once_it_is_ready():
    wanted = wanted_indexes(json.loads(INDEXES.read_bytes()))
    fields = [
        Index.IndexField(field_path="marks", array_config="CONTAINS"),
        Index.IndexField(field_path="created", order="DESCENDING"),
        Index.IndexField(field_path="__name__", order="DESCENDING"),
    ]
    ready = Index(fields=fields, state=Index.State.READY)
    made = Index(fields=fields, state=Index.State.CREATING)
    assert len(ready_indexes("heads", [ready]) & wanted) == 1
    assert ready_indexes("heads", [made]) == set()


def _pause_queue(environment, name):
    channel = grpc.insecure_channel(environment["ARCO_FLOW_TASKS_ENDPOINT"])
    client = tasks_v2.CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
    client.pause_queue(name=f"projects/demo-arco/locations/us-central1/queues/{name}")
    channel.close()


def _delete_job(environment, name):
    channel = grpc.insecure_channel(environment["ARCO_FLOW_SCHEDULER_ENDPOINT"])
    client = scheduler_v1.CloudSchedulerClient(
        transport=CloudSchedulerGrpcTransport(channel=channel)
    )
    client.delete_job(name=f"projects/demo-arco/locations/us-central1/jobs/{name}")
    channel.close()


def _delete_subscription(environment, name):
    channel = grpc.insecure_channel(environment["PUBSUB_EMULATOR_HOST"])
    client = SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))
    client.delete_subscription(subscription=f"projects/demo-arco/subscriptions/{name}")
    channel.close()


def _end_function(running: RunningBundle, name: str) -> None:
    """End it for good: nobody starts it again."""
    ended = threading.Event()

    def end() -> None:
        running.bundle._supervisor.cancel()
        running.bundle.kill(name)
        running.bundle.processes[name].process.wait()
        ended.set()

    running.loop.call_soon_threadsafe(end)
    assert ended.wait(30)
