"""What a call carries: routed as the official clients route it, over TLS, with a token."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.cloud.tasks_v2 import CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcTransport
from google.pubsub_v1 import PublisherClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

from arco_flow.adapters.gcp.access_tokens import AccessTokens
from arco_flow.adapters.gcp.cloud_tasks import CloudTasks, Target
from arco_flow.adapters.gcp.failures import patiently
from arco_flow.adapters.gcp.firestore_calls import FirestoreCalls
from arco_flow.adapters.gcp.firestore_queries import in_range
from arco_flow.adapters.gcp.grpc_calls import GrpcCalls, Method, NoCredentials
from arco_flow.adapters.gcp.messages import message_class
from arco_flow.adapters.gcp.pacing import Pace
from arco_flow.adapters.gcp.pubsub_bus import PubSubBus
from arco_flow.domain.errors import Unavailable
from arco_flow.ports.bus import Message
from handler_server import QuietHandler, serving_handler

PROJECT = "shop"
DATABASE = f"projects/{PROJECT}/databases/(default)"
QUEUE = f"projects/{PROJECT}/locations/here/queues/wakes"
ROUTE = "x-goog-request-params"
ONCE = {"retry": None, "timeout": 20}
EMPTY = "google.protobuf.Empty"
ANY = Method("/any.Service/Thing", EMPTY, EMPTY)


class Recorder(grpc.GenericRpcHandler):
    """Answers every method with nothing, and keeps what calls were made with, by their names."""

    STREAMS = ("BatchGetDocuments", "RunQuery", "RunAggregationQuery")

    def __init__(self):
        self.calls = {}
        self.seconds_left = {}

    def service(self, handler_call_details):
        name = handler_call_details.method.rpartition("/")[2]
        self.calls[name] = dict(handler_call_details.invocation_metadata)

        def unary(_request, context):
            self.seconds_left[name] = context.time_remaining()
            return b""

        if name in self.STREAMS:
            return grpc.unary_stream_rpc_method_handler(lambda _request, _context: iter(()))
        return grpc.unary_unary_rpc_method_handler(unary)


class Server:
    """A server that records, on a port of its own."""

    def __init__(self, credentials=None):
        self.recorder = Recorder()
        self._server = self._made()
        if credentials is None:
            self.port = self._server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self._server.add_secure_port("localhost:0", credentials)
        self._server.start()

    def _made(self):
        sizes = [("grpc.max_receive_message_length", -1)]
        return grpc.server(ThreadPoolExecutor(2), handlers=[self.recorder], options=sizes)

    def restart(self):
        self.close()
        self._server = self._made()
        assert self._server.add_insecure_port(f"127.0.0.1:{self.port}") == self.port
        self._server.start()

    def close(self):
        self._server.stop(None).wait()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.close()


async def ours(address):
    """Every call that the adapters make."""
    calls = FirestoreCalls(PROJECT, emulator=address)
    await calls.get(["heads/a"])
    await calls.query(in_range(calls.root, "heads", "a", "b"))
    with pytest.raises(Unavailable, match="counted nothing"):
        await calls.count(in_range(calls.root, "heads", "a", "b"))
    await calls.commit([])
    tasks = CloudTasks(
        PROJECT, "here", {"dispatch": Target("http://x", "http://x", "a@b")}, endpoint=address
    )
    await tasks.enqueue("wakes", "name", "dispatch", b"")
    await tasks.delete("wakes", "name")
    bus = PubSubBus(PROJECT, emulator=address)
    await bus.publish("asked", [Message(b"x", {})])
    for one in (calls, tasks, bus):
        await one.close()


def theirs(address):
    """The same by the official clients."""
    with grpc.insecure_channel(address) as channel:
        firestore = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
        root = f"{DATABASE}/documents"
        list(firestore.batch_get_documents({"database": DATABASE}, **ONCE))
        list(firestore.run_query({"parent": root}, **ONCE))
        list(firestore.run_aggregation_query({"parent": root}, **ONCE))
        firestore.commit({"database": DATABASE}, **ONCE)
        tasks = CloudTasksClient(transport=CloudTasksGrpcTransport(channel=channel))
        tasks.create_task({"parent": QUEUE}, **ONCE)
        tasks.delete_task({"name": f"{QUEUE}/tasks/name"}, **ONCE)
        publisher = PublisherClient(transport=PublisherGrpcTransport(channel=channel))
        publisher.publish({"topic": f"projects/{PROJECT}/topics/asked"}, **ONCE)


def test_every_call_is_routed_as_the_official_client_routes_it(server):
    address = f"127.0.0.1:{server.port}"
    asyncio.run(ours(address))
    found = {name: metadata[ROUTE] for name, metadata in server.recorder.calls.items()}
    sent, seconds_left = dict(server.recorder.calls), server.recorder.seconds_left["Commit"]
    server.recorder.calls.clear()
    theirs(address)
    assert found == {name: metadata[ROUTE] for name, metadata in server.recorder.calls.items()}
    assert len(found) == 7
    for name, metadata in sent.items():
        assert metadata["user-agent"].startswith("arco-flow ")
        assert metadata["x-goog-api-client"].startswith("gl-python/")
        in_firestore = name in {*Recorder.STREAMS, "Commit"}
        assert (metadata.get("google-cloud-resource-prefix") == DATABASE) == in_firestore
    assert 0 < seconds_left < Pace().timeout_s + 1


# -- the way to Google's own servers ----------------------------------------------------------

CHILD = """
import asyncio, sys
from arco_flow.adapters.gcp.grpc_calls import GrpcCalls, Method
from arco_flow.adapters.gcp.messages import message_class
kind = "google.protobuf.Empty"
async def main():
    calls = GrpcCalls(sys.argv[1])
    for name in ("First", "Second"):
        method = Method(f"/any.Service/{name}", kind, kind)
        await calls.unary(method, message_class(kind)(), {"name": "a b"}, 20)
    await calls.close()
asyncio.run(main())
"""


@pytest.fixture
def metadata_server():
    """A metadata server of Cloud Run, and the list of what it was asked."""
    asked = []

    class Handler(QuietHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps({"access_token": "ours", "expires_in": 3600}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with serving_handler(Handler) as url:
        yield url.removeprefix("http://"), asked


def certificate():
    """(key, certificate) of localhost in PEM, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private, made.public_bytes(serialization.Encoding.PEM)


def called(port, metadata_address, roots):
    return subprocess.run(
        [sys.executable, "-c", CHILD, f"localhost:{port}"],
        env={
            **os.environ,
            "K_SERVICE": "dispatch",
            "GCE_METADATA_HOST": metadata_address,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots),
            "no_proxy": "localhost",
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_call_to_google_goes_by_tls_with_the_token_of_the_account(metadata_server, tmp_path):
    address, asked = metadata_server
    key, known = certificate()
    (tmp_path / "roots.pem").write_bytes(known)
    _, stranger = certificate()
    (tmp_path / "others.pem").write_bytes(stranger)
    server = Server(grpc.ssl_server_credentials([(key, known)]))
    try:
        done = called(server.port, address, tmp_path / "roots.pem")
        assert done.returncode == 0, done.stderr
        made = dict(server.recorder.calls)
        server.recorder.calls.clear()
        refused = called(server.port, address, tmp_path / "others.pem")
        assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
        assert not server.recorder.calls, "no token goes to who can not prove his name"
    finally:
        server.close()
    assert {name: m["authorization"] for name, m in made.items()} == {
        "First": "Bearer ours",
        "Second": "Bearer ours",
    }
    assert made["First"][ROUTE] == "name=a+b"
    assert len(asked) == 2, "once per process"


def test_without_a_token_no_call_is_made_and_it_is_told_so(monkeypatch):
    monkeypatch.setenv("K_SERVICE", "dispatch")
    monkeypatch.setenv("GCE_METADATA_HOST", "127.0.0.1:1")
    kind = "google.protobuf.Empty"

    async def main():
        calls = GrpcCalls("localhost:1")
        with pytest.raises(NoCredentials, match="the metadata server does not answer"):
            await calls.unary(Method("/any/Thing", kind, kind), message_class(kind)(), {}, 20)
        await calls.close()
        bus = PubSubBus(PROJECT, emulator="", pace=Pace(attempts=2, first_ms=0))
        with pytest.raises(Unavailable, match="Pub/Sub Publish to 'asked' failed: NoCredentials"):
            await bus.publish("asked", [Message(b"x", {})])
        await bus.close()

    asyncio.run(main())


def test_calls_that_wait_for_one_token_share_the_failure_to_get_it(monkeypatch):
    """A metadata server that hangs is asked once, and not by one call after the other."""
    asked = threading.Semaphore(0)
    answer = threading.Event()

    def get(_tokens):
        asked.release()
        assert answer.wait(20)
        raise Unavailable("the metadata server hangs")

    monkeypatch.setattr(AccessTokens, "get", get)

    async def main():
        calls = GrpcCalls("localhost:1")
        request = (ANY, message_class(EMPTY)(), {}, 20)
        waiting = [asyncio.ensure_future(calls.unary(*request)) for _ in range(5)]
        await asyncio.to_thread(asked.acquire)
        waiting.pop().cancel()
        answer.set()
        for failed in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(failed, NoCredentials)
        assert not asked.acquire(blocking=False), "once for all"
        with pytest.raises(NoCredentials):
            await calls.unary(*request)
        assert asked.acquire(blocking=False), "and again by who comes later"
        await calls.close()

    asyncio.run(main())


def test_a_connection_that_could_not_be_made_is_tried_again_while_a_call_is_repeated():
    """gRPC's own pause of a second would outlast the patience of every caller."""
    tries = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up():
            for _ in range(3):
                listener.accept()[0].close()
                tries.append(time.monotonic())

        thread = threading.Thread(target=hang_up)
        thread.start()

        async def main():
            calls = GrpcCalls("", emulator=f"127.0.0.1:{listener.getsockname()[1]}")
            while thread.is_alive():
                with pytest.raises(grpc.aio.AioRpcError):
                    await calls.unary(ANY, message_class(EMPTY)(), {}, 20)
            await calls.close()

        asyncio.run(main())
        thread.join()
    pauses = [later - sooner for sooner, later in pairwise(tries)]
    assert max(pauses) < 0.75, "at least 0.8 s by default"


def test_a_server_that_went_away_is_found_again(server):
    async def main():
        calls = GrpcCalls("", emulator=f"127.0.0.1:{server.port}")
        await calls.unary(ANY, message_class(EMPTY)(), {}, 20)
        server.restart()
        pace = Pace(attempts=9)

        async def call(_maybe):
            return await calls.unary(ANY, message_class(EMPTY)(), {}, 20)

        await patiently(pace, "a call", call)
        await calls.close()

    asyncio.run(main())


def test_a_connection_that_died_unheard_is_given_up_within_an_attempt(server):
    """Else every attempt of a call waits on it: no try has longer than the system may take."""

    def patience_of(number):
        """Of the connection to the server, in milliseconds; None for another file."""
        if not stat.S_ISSOCK(os.fstat(number).st_mode):
            return None
        with socket.socket(fileno=os.dup(number)) as opened, contextlib.suppress(OSError):
            on_the_net = opened.family in (socket.AF_INET, socket.AF_INET6)
            if on_the_net and opened.getpeername()[1] == server.port:
                return opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        return None

    def patience_of_all():
        for name in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                yield patience_of(int(name))

    async def main():
        calls = GrpcCalls("", emulator=f"127.0.0.1:{server.port}")
        await calls.unary(ANY, message_class(EMPTY)(), {}, 20)
        found = [ms for ms in patience_of_all() if ms is not None]
        await calls.close()
        return found

    [patience_ms] = asyncio.run(main())
    assert 0 < 2 * patience_ms < 1000 * Pace().timeout_s


def test_a_message_of_ten_mebibytes_is_sent(server):
    async def main():
        calls = GrpcCalls("", emulator=f"127.0.0.1:{server.port}")
        kind = "google.pubsub.v1.PublishRequest"
        request = message_class(kind)()
        request.messages.add().data = bytes(10 * 1024 * 1024)
        await calls.unary(Method("/any/Large", kind, EMPTY), request, {}, 20)
        await calls.close()

    asyncio.run(main())
    assert "Large" in server.recorder.calls
