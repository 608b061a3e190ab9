"""A storage emulator over a real socket, and the official client for it."""

from __future__ import annotations

import contextlib
import gc
import itertools
import warnings
from pathlib import Path

import pytest
import requests
from google.cloud import storage as gcs

from arco_emulators.storage.server import serve

HERE = Path(__file__).parent

_NAMES = (f"bucket-{number}" for number in itertools.count())


def pytest_collection_modifyitems(items):
    """The client leaves the connection of a download that failed to the garbage collector."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(scope="module", autouse=True)
def _collected():
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module")
def url(loop, folder):
    port = loop.enter(serve(port=0, folder=folder))
    return f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def new_client(url):
    """Gives official clients as a user has them: the variable is set, and nothing else."""

    @contextlib.contextmanager
    def new_client():
        client = gcs.Client(project="tests")
        try:
            yield client
        finally:
            client.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", url)
        yield new_client


@pytest.fixture(scope="module")
def client(new_client):
    with new_client() as client:
        yield client


@pytest.fixture
def bucket(client):
    return client.create_bucket(next(_NAMES))


@pytest.fixture
def http(url):
    """Requests without a client in between; paths are relative to the emulator."""
    with _Relative(url) as session:
        yield session


class _Relative(requests.Session):
    def __init__(self, url):
        super().__init__()
        self.url = url

    def request(self, method, path, **options):
        return super().request(method, self.url + path, timeout=30, **options)
