"""The methods of the service."""

from __future__ import annotations

import secrets
from typing import Any

from google.cloud import scheduler_v1
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from arco_emulators import names
from arco_emulators.clock import Clock
from arco_emulators.journal import Journal
from arco_emulators.outgoing import masked
from arco_emulators.paging import page
from arco_emulators.protos import stamp
from arco_emulators.rpc import Method, Refused
from arco_emulators.scheduler.entry import Entry
from arco_emulators.scheduler.job_config import (
    ENABLED,
    OUTPUT_ONLY,
    PAUSED,
    check_name,
    completed,
)
from arco_emulators.scheduler.runner import Runner

JOB = "job"
MAX_PAGE = 500


class Jobs:
    """All jobs, and the answers to calls about them."""

    def __init__(
        self, clock: Clock, journal: Journal, entries: dict[str, Entry], min_deadline: float
    ) -> None:
        """`entries` are the jobs by name, which the runner's owner shares."""
        self._clock = clock
        self._journal = journal
        self._entries = entries
        self._min_deadline = min_deadline
        self._runner: Runner | None = None

    def open(self, runner: Runner) -> None:
        """Take up what the journal holds, and execute jobs from now on."""
        self._runner = runner
        for record in self._journal.records(JOB):
            self._hold(scheduler_v1.Job.pb().FromString(record.message))

    def save(self, entry: Entry) -> None:
        """Keep the job as it is."""
        if entry.job.name in self._entries:
            self._journal.put(entry.job.name, JOB, entry.job.SerializeToString())

    def reset(self) -> None:
        """Forget all jobs."""
        for entry in self._entries.values():
            self._running().disarm(entry)
        self._entries.clear()
        self._journal.clear()

    def methods(self) -> dict[str, Method]:
        """What is served, by the names of the service."""
        return {
            "CreateJob": Method(scheduler_v1.CreateJobRequest.pb(), self.create),
            "GetJob": Method(scheduler_v1.GetJobRequest.pb(), self.get),
            "ListJobs": Method(scheduler_v1.ListJobsRequest.pb(), self.list_jobs),
            "UpdateJob": Method(scheduler_v1.UpdateJobRequest.pb(), self.update),
            "DeleteJob": Method(scheduler_v1.DeleteJobRequest.pb(), self.delete),
            "PauseJob": Method(scheduler_v1.PauseJobRequest.pb(), self.pause),
            "ResumeJob": Method(scheduler_v1.ResumeJobRequest.pb(), self.resume),
            "RunJob": Method(scheduler_v1.RunJobRequest.pb(), self.run),
        }

    def create(self, request: Any) -> Any:
        """CreateJob."""
        if not names.is_location(request.parent):
            raise Refused(StatusCode.INVALID_ARGUMENT, "The parent is not projects/P/locations/L.")
        job = request.job
        job.name = job.name or f"{request.parent}/jobs/{secrets.token_hex(10)}"
        check_name(request.parent, job.name)
        if job.name in self._entries:
            raise Refused(StatusCode.ALREADY_EXISTS, f"Job [{job.name}] already exists.")
        for field in OUTPUT_ONLY[1:]:
            job.ClearField(field)
        job.state = ENABLED
        job.user_update_time.CopyFrom(stamp(self._clock.now()))
        completed(job, self._min_deadline)
        return self._hold(job).job

    def get(self, request: Any) -> Any:
        """GetJob."""
        return self._existing(request.name).job

    def list_jobs(self, request: Any) -> Any:
        """ListJobs."""
        prefix = f"{request.parent}/jobs/"
        shown, token = page(
            sorted(name for name in self._entries if name.startswith(prefix)),
            size=request.page_size,
            token=request.page_token,
            maximum=MAX_PAGE,
        )
        return scheduler_v1.ListJobsResponse.pb()(
            jobs=[self._entries[name].job for name in shown], next_page_token=token
        )

    def update(self, request: Any) -> Any:
        """UpdateJob. The job waits for its next slot anew."""
        entry = self._existing(request.job.name)
        job = masked(entry.job, request.job, request.update_mask, output_only=OUTPUT_ONLY)
        entry.schedule = completed(job, self._min_deadline)
        job.user_update_time.CopyFrom(stamp(self._clock.now()))
        entry.job = job
        return self._arm(entry)

    def delete(self, request: Any) -> Any:
        """DeleteJob. An attempt that is under way goes on."""
        entry = self._existing(request.name)
        del self._entries[request.name]
        self._running().disarm(entry)
        self._journal.drop([request.name])
        return Empty()

    def pause(self, request: Any) -> Any:
        """PauseJob."""
        return self._set_state(request.name, ENABLED, PAUSED)

    def resume(self, request: Any) -> Any:
        """ResumeJob."""
        return self._set_state(request.name, PAUSED, ENABLED)

    def run(self, request: Any) -> Any:
        """RunJob: one attempt now, even when the job is paused or under way."""
        entry = self._existing(request.name)
        self._running().force(entry)
        return entry.job

    def _set_state(self, name: str, before: int, after: int) -> Any:
        entry = self._existing(name)
        if entry.job.state != before:
            state = scheduler_v1.Job.State(before).name
            raise Refused(StatusCode.FAILED_PRECONDITION, f"Job must be in state {state}.")
        entry.job.state = after
        return self._arm(entry)

    def _hold(self, job: Any) -> Entry:
        schedule = completed(job, self._min_deadline)
        entry = self._entries[job.name] = self._running().entry(job, schedule)
        self._arm(entry)
        return entry

    def _arm(self, entry: Entry) -> Any:
        self._running().arm(entry)
        self.save(entry)
        return entry.job

    def _existing(self, name: str) -> Entry:
        if name not in self._entries:
            raise Refused(StatusCode.NOT_FOUND, "Job not found.")
        return self._entries[name]

    def _running(self) -> Runner:
        assert self._runner, "opened before it is served"
        return self._runner
