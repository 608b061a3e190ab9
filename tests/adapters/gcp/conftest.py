"""Stores on Google's emulator, each in an empty project of its own."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest

from adapters.gcp.faults import Interleaved, LostAnswers
from arco_flow.adapters.gcp.firestore_store import FirestoreStore
from arco_flow.adapters.gcp.operation_counts import OperationCounts
from arco_flow.adapters.gcp.pacing import Pace
from conformance.google_cloud import a_project, firestore_calls

QUICK = Pace(attempts=4, first_ms=1, timeout_s=20)


class Stores:
    """Opens stores of one project; `run` gives a scenario the first one, whose answers get
    lost and whose reads are overtaken as the scenario says."""

    def __init__(self):
        self.project = a_project()
        self.answers = LostAnswers()
        self.reads = Interleaved()
        self.counts = OperationCounts()

    @asynccontextmanager
    async def open(self, **options):
        options = {"project": self.project, "pace": QUICK} | options
        store = FirestoreStore("", calls=firestore_calls(**options))
        try:
            yield store
        finally:
            await store.close()

    def run(self, scenario):
        async def main():
            faults = (self.answers, self.reads)
            async with self.open(interceptors=faults, counts=self.counts) as store:
                await scenario(store)

        asyncio.run(main())


@pytest.fixture
def stores():
    return Stores()
