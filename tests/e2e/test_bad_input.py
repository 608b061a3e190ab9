"""Bad input by HTTP, against a whole plane: refused in words, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from e2e.bad_input import ask, callback, netloc, refused, send_raw
from e2e.harness import STILL_SECONDS, Kind, PlaneUnderTest, running_plane, write_module
from e2e.kept import differences

EVERY_PLANE = True

SHOP = """
    from arco_flow import AssetContext, DailyPartitions, RetryPolicy, StaticPartitions, asset

    @asset(namespace="t")
    def a() -> int:
        return 1

    @asset(namespace="t")
    def b(c: int) -> int:
        return c

    @asset(namespace="t")
    def c() -> int:
        return 1

    @asset(namespace="t", partitions=DailyPartitions("2026-01-01", end="2026-02-01"))
    def days() -> int:
        return 1

    @asset(namespace="t", partitions=StaticPartitions([f"k{i:05d}" for i in range(12_000)]))
    def many() -> int:
        return 1

    @asset(namespace="t", retry=RetryPolicy(max_retries=1, delay=0))
    def second_time(context: AssetContext) -> int:
        if context.attempt == 1:
            raise ValueError("not yet")
        return 1
"""
ENDED = {"t.a": "first", "t.second_time": "second"}
"""Asset -> key of a run of it that is over."""
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def empty(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    """A plane on which nothing was ever deployed."""
    with running_plane(tmp_path_factory.mktemp("empty"), workers=1) as plane:
        yield plane


@pytest.fixture(scope="module")
def plane(plane_kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneUnderTest]:
    """A plane with a deployment, and two runs that are over."""
    folder = tmp_path_factory.mktemp("shop")
    write_module(folder, "shop", SHOP)
    with running_plane(folder, workers=1) as running:
        running.deploy(folder / "shop.py")
        for selection, key in ENDED.items():
            accepted = running.request(selection, run_key=key)
            assert running.wait(accepted.run_id).state == "SUCCEEDED"
        running.kept.settle(still_seconds=STILL_SECONDS[Kind.current])
        yield running


# -- manifests --------------------------------------------------------------------------------


def manifest(*assets: Mapping[str, Any], **rest: Any) -> bytes:
    return json.dumps({"codeVersionId": "v", "module": "m", "assets": assets, **rest}).encode()


def key(text: str) -> bytes:
    return manifest({"key": "t.a"}, {"key": text})


WRITE_IT = "  fix: let `arco-flow deploy` write it, or send what `arco-flow validate --out` wrote"
LEGAL = "lower-case letters, digits and '_' are allowed"
NESTED = manifest({"key": "t.a", "metadata": {"x": "HERE"}})
MANIFESTS: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (
        b"{nope",
        "MALFORMED_MANIFEST",
        "malformed manifest: JSON is malformed: object keys must be strings (byte 1)\n" + WRITE_IT,
    ),
    "nothing": (
        b"",
        "MALFORMED_MANIFEST",
        "malformed manifest: Input data was truncated\n" + WRITE_IT,
    ),
    "a wrong type": (
        manifest({"key": 1}),
        "MALFORMED_MANIFEST",
        "malformed manifest: Expected `str`, got `int`\n  at $.assets[0].key\n" + WRITE_IT,
    ),
    "a field left out": (
        b"{}",
        "MALFORMED_MANIFEST",
        "malformed manifest: Object missing required field `codeVersionId`\n" + WRITE_IT,
    ),
    "an unknown upstream": (
        manifest({"key": "t.orders"}, {"key": "t.b", "deps": [{"asset": "t.ordres"}]}),
        "UNKNOWN_UPSTREAM",
        "asset 't.b' depends on 't.ordres', which is not defined; did you mean 't.orders'?\n"
        "  fix: define 't.ordres' (an external asset, if nothing here makes it) or drop it",
    ),
    "a key twice": (
        manifest({"key": "t.a"}, {"key": "t.b"}, {"key": "t.a"}),
        "DUPLICATE_ASSET",
        "asset 't.a' appears twice: it is $.assets[0], too\n  at $.assets[2]\n"
        "  fix: give one of them another key, or leave it out",
    ),
    "a name twice in one object": (
        b'{"codeVersionId":"v","codeVersionId":"w","module":"m","assets":[]}',
        "MALFORMED_BODY",
        "'codeVersionId' occurs twice in one object\n  fix: leave one of them out",
    ),
    "a cycle": (
        manifest(
            {"key": "t.a", "deps": [{"asset": "t.c"}]},
            {"key": "t.b", "deps": [{"asset": "t.a"}]},
            {"key": "t.c", "deps": [{"asset": "t.b"}]},
        ),
        "CYCLE",
        "assets depend on each other in a circle: t.a → t.b → t.c → t.a\n"
        "  fix: each arrow points to the asset that reads the one before it; remove one of them",
    ),
    "a float": (
        manifest({"key": "t.a", "metadata": {"limits": [1, 0.5]}}),
        "FLOAT_IN_FINGERPRINT",
        "float 0.5 is not allowed in what enters a fingerprint\n"
        "  at $.assets[0].metadata.limits[1]\n"
        "  fix: write it as a string, or scale it to an integer",
    ),
    "another version": (
        manifest(manifestVersion=9),
        "MANIFEST_VERSION_UNKNOWN",
        "manifest version 9 is not known (this plane reads 1)\n  at $.manifestVersion\n"
        "  fix: upgrade the older of SDK and plane",
    ),
    "a key that climbs": (
        key("../x"),
        "INVALID_ARGUMENT",
        "asset key '../x' has a '/'; namespace and name are divided by a dot\n"
        "  at $.assets[1]\n  fix: for example 'raw.events'",
    ),
    "a key with NUL": (
        key("t.a\0b"),
        "INVALID_ARGUMENT",
        "asset key 't.a\\x00b' has U+0000 at character 4\n  at $.assets[1]\n"
        "  fix: for example 'raw.events'",
    ),
    "a key that is not NFC": (
        key("t.cafe\u0301"),
        "INVALID_ARGUMENT",
        f"asset key 't.caf\u00e9' has '\u00e9' at character 6; {LEGAL}\n  at $.assets[1]\n"
        "  fix: for example 't.caf'",
    ),
    "capital letters": (
        key("T.Orders"),
        "INVALID_ARGUMENT",
        f"asset key 'T.Orders' has 'T' at character 1; {LEGAL}\n  at $.assets[1]\n"
        "  fix: for example 't.orders'",
    ),
    "a group that climbs": (
        manifest({"key": "t.a", "group": "../x"}),
        "INVALID_ARGUMENT",
        "group '../x' has '.' at character 1; letters, digits, '_' and '/' are allowed\n"
        "  at $.assets[0]\n  fix: for example 'marketing/reports'",
    ),
    "a kind of partitions": (
        manifest({"key": "t.a", "partitions": {"kind": "dayly"}}),
        "BAD_PARTITIONS",
        "unknown kind of partitions 'dayly'; did you mean 'daily'?\n  at $.assets[0]\n"
        "  fix: one of hourly, daily, weekly, monthly, cron, static, dynamic, multi",
    ),
    "half a surrogate pair": (
        manifest(metadata={"x": "\ud800"}),
        "MALFORMED_MANIFEST",
        "malformed manifest: Input data was truncated\n" + WRITE_IT,
    ),
    "nesting that a parser dies of": (
        NESTED.replace(b'"HERE"', b"[" * 100_000 + b"]" * 100_000),
        "MALFORMED_MANIFEST",
        "malformed manifest: maximum recursion depth exceeded while deserializing an object\n"
        + WRITE_IT,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_malformed_manifest_is_refused_with_its_place(plane: PlaneUnderTest, what: str) -> None:
    raw, reason, message = MANIFESTS[what]
    with plane.kept.unchanged():
        refused(ask(plane, "POST", "/deployments", raw), 400, reason, message)


def test_a_manifest_of_eleven_mebibytes_is_refused_before_it_is_read(plane: PlaneUnderTest) -> None:
    with plane.kept.unchanged():
        answer = ask(plane, "POST", "/deployments", b" " * (11 * MIB))
    assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")
    assert answer.message.startswith("the body is longer than 10485760 bytes\n  fix: ")


def test_nesting_beyond_64_levels_is_refused_at_its_place(plane: PlaneUnderTest) -> None:
    with plane.kept.unchanged():
        raw = NESTED.replace(b'"HERE"', b"[" * 100 + b"]" * 100)
        answer = ask(plane, "POST", "/deployments", raw)
    assert answer.status == 400
    assert answer.message.startswith(
        "nesting deeper than 64 levels\n  at $.assets[0].metadata.x[0]"
    )


def test_one_bad_asset_keeps_the_good_ones_out_too(plane: PlaneUnderTest) -> None:
    with plane.kept.unchanged():
        answer = ask(plane, "POST", "/deployments", manifest({"key": "t.new"}, {"key": "t.New"}))
        assert answer.status == 400
        assert ask(plane, "GET", "/assets/t.new").status == 404


# -- run requests -----------------------------------------------------------------------------

SEE = "  fix: GET /v1/openapi.json describes the bodies"
RUNS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "an unknown field": (
        {"selection": "*", "partitoins": []},
        400,
        "UNKNOWN_FIELD",
        "unknown field 'partitoins'; did you mean 'partitions'?\n  fix: known fields: selection, "
        "partitions, partitionRange, allPartitions, missingOnly, runKey, tags, timeoutMs, trigger",
    ),
    "no selection": (
        {},
        400,
        "MALFORMED_BODY",
        f"the body can not be read: Object missing required field `selection`\n{SEE}",
    ),
    "a wrong type": (
        {"selection": "t.days", "partitions": "2026-01-01"},
        400,
        "MALFORMED_BODY",
        f"the body can not be read: Expected `array`, got `str`\n  at $.partitions\n{SEE}",
    ),
    "an unknown asset": (
        {"selection": "t.dayz"},
        400,
        "UNKNOWN_ASSET",
        "no asset 't.dayz' in the graph; did you mean 't.days'?\n"
        "  fix: name one that exists: arco-flow assets",
    ),
    "a selection that ends too early": (
        {"selection": "t.a and (t.b"},
        400,
        "BAD_SELECTION",
        "selection can not be read: expected ')', 'and' or 'or', found the end\n"
        "  t.a and (t.b\n              ^\n  at column 13\n"
        "  fix: put 'and' or 'or' between two selections",
    ),
    "an attribute that is none": (
        {"selection": "t.a and tga:x"},
        400,
        "BAD_SELECTION",
        "selection can not be read: 'tga:' is no attribute; did you mean 'tag'?\n"
        "  t.a and tga:x\n          ^\n  at column 9\n"
        "  fix: known are key:, group:, tag:, kind:, owner:, is:, partitions:",
    ),
    "a range that runs backwards": (
        {"selection": "t.days", "partitionRange": {"start": "2026-01-05", "end": "2026-01-02"}},
        400,
        "BAD_RANGE",
        "the range from '2026-01-05' to '2026-01-02' runs backwards\n"
        "  fix: turn it round: from '2026-01-02' to '2026-01-05'",
    ),
    "a range by name that runs backwards": (
        {"selection": "t.many", "partitionRange": {"start": "k00005", "end": "k00001"}},
        400,
        "BAD_RANGE",
        "the range from 'k00005' to 'k00001' runs backwards\n"
        "  fix: turn it round: from 'k00001' to 'k00005'",
    ),
    "half a range": (
        {"selection": "t.days", "partitionRange": {"start": "2026-01-05"}},
        400,
        "MALFORMED_BODY",
        "the body can not be read: Object missing required field `end`\n"
        f"  at $.partitionRange\n{SEE}",
    ),
    "partitions in two ways": (
        {"selection": "t.days", "partitions": ["2026-01-01"], "allPartitions": True},
        400,
        "PARTITIONS_AMBIGUOUS",
        "partitions are named in more than one way\n  fix: name a list, a range, or all of them",
    ),
    "partitions where there are none": (
        {"selection": "t.a", "partitions": ["x"]},
        400,
        "PARTITIONS_UNUSED",
        "partitions were named, but no selected asset is partitioned\n"
        "  fix: leave them out, or select a partitioned asset",
    ),
    "too many tasks": (
        {"selection": "t.many", "allPartitions": True},
        413,
        "TOO_MANY_TASKS",
        "the run would have 12000 tasks; at most 10000 fit into one\n"
        "  fix: name fewer partitions or assets, and start several runs",
    ),
    "a run key that is too long": (
        {"selection": "t.a", "runKey": "x" * 257},
        400,
        "INVALID_ARGUMENT",
        f"run key '{'x' * 80}…' has 257 characters; at most 256\n"
        "  fix: for example 'daily:2025-06-01'",
    ),
    "an upstream that was never made": (
        {"selection": "t.b"},
        400,
        "UPSTREAM_NOT_MATERIALIZED",
        "'t.b' reads 't.c', which was never materialized and is not part of this run\n"
        "  fix: add it to the selection: 't.c or …', or put + before the asset",
    ),
    "a time-out beyond all times": (
        {"selection": "t.a", "timeoutMs": 2**63 - 1},
        400,
        "BAD_TIMEOUT",
        f"timeoutMs is {2**63 - 1}; it must be 0 (no limit) to 315360000000\n  at $.timeoutMs\n"
        "  fix: give milliseconds, for example 1800000 for half an hour",
    ),
    "a trigger as long as a book": (
        {"selection": "t.a", "trigger": "x" * 100_000},
        400,
        "INVALID_ARGUMENT",
        f"trigger '{'x' * 80}…' has 100000 characters; at most 256\n  fix: for example 'manual'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", RUNS)
def test_a_wrong_run_request_is_refused_with_the_way_out(plane: PlaneUnderTest, what: str) -> None:
    body, status, reason, message = RUNS[what]
    with plane.kept.unchanged():
        refused(ask(plane, "POST", "/runs", body), status, reason, message)
        dry = ask(plane, "POST", "/runs?validateOnly=true", body)
        if "runKey" not in body:
            assert (dry.status, dry.message) == (status, message), "a dry run tells the same"


@pytest.mark.parametrize("partition", [["2026-01-99"], ["2026-01-01", "2026-01-99"]])
def test_an_unknown_partition_is_told_with_the_nearest_one_and_the_way_to_all(
    plane: PlaneUnderTest, partition: list[str]
) -> None:
    with plane.kept.unchanged():
        answer = ask(plane, "POST", "/runs", {"selection": "t.days", "partitions": partition})
    assert (answer.status, answer.reason) == (400, "UNKNOWN_PARTITION")
    told = "no partition '2026-01-99' (there are 31, '2026-01-01' to '2026-01-31'); did you mean"
    assert told in answer.message
    assert "\n  fix: name one that exists; arco-flow partitions list" in answer.message


def test_partitions_that_are_needed_are_asked_for_with_the_three_ways(
    plane: PlaneUnderTest,
) -> None:
    with plane.kept.unchanged():
        answer = ask(plane, "POST", "/runs", {"selection": "t.days"})
    assert (answer.status, answer.reason) == (400, "PARTITIONS_REQUIRED")
    what, fix = answer.message.splitlines()
    assert what == "asset 't.days' is partitioned: say which partitions to run"
    assert fix.startswith("  fix: -p ")
    assert fix.endswith(", --range START..END, or --all-partitions")


def test_a_run_before_the_first_deployment(empty: PlaneUnderTest) -> None:
    with empty.kept.unchanged():
        refused(
            ask(empty, "POST", "/runs", {"selection": "*"}),
            404,
            "NOTHING_DEPLOYED",
            f"nothing is deployed in workspace '{empty.scope.workspace}'\n"
            "  fix: arco-flow deploy TARGET",
        )


def test_a_run_key_that_stands_for_another_request_is_a_recorded_conflict(
    plane: PlaneUnderTest,
) -> None:
    """The one refusal that leaves a trace, on purpose: in the run's ledger and nowhere else."""
    first = ask(plane, "POST", "/runs", {"selection": "t.a", "runKey": "first"}).document
    before = plane.kept.digests()
    answer = ask(plane, "POST", "/runs", {"selection": "t.c", "runKey": "first"})
    plane.kept.settle()
    run, told = first["runId"], answer.metadata
    accepted, other = told["acceptedFingerprint"], told["refusedFingerprint"]
    assert accepted != other
    refused(
        answer,
        409,
        "RUN_KEY_CONFLICT",
        f"run key 'first' stands for another request\n  at run {run}: it has {accepted}, this is "
        f"{other}\n  fix: use a fresh run key, or repeat the request as it was",
    )
    changed = differences(before, plane.kept.digests())
    assert all(run in place for place in changed), changed
    conflicts = [e for e in plane.events(run) if e["type"] == "RunKeyConflicted"]
    assert len(conflicts) == 1
    assert conflicts[0]["data"]["refusedFingerprint"] == other
    assert plane.run(run).state == "SUCCEEDED"


# -- HTTP -------------------------------------------------------------------------------------

A_RUN = b'{"selection":"t.a"}'
SHOW = "  fix: GET /v1/openapi.json lists the paths"
PAGE = "  fix: start again without pageToken, or repeat the arguments of the first page"
REQUESTS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "broken JSON": (
        {"body": b'{"selection":'},
        400,
        "MALFORMED_BODY",
        f"the body can not be read: Input data was truncated\n{SEE}",
    ),
    "a name twice": (
        {"body": b'{"selection":"t.a","selection":"*"}'},
        400,
        "MALFORMED_BODY",
        "'selection' occurs twice in one object\n  fix: leave one of them out",
    ),
    "another media type": (
        {"body": A_RUN, "headers": {"content-type": "text/plain"}},
        415,
        "UNSUPPORTED_CONTENT",
        "content-type 'text/plain' is not read\n  fix: send application/json",
    ),
    "a compressed body": (
        {"body": A_RUN, "headers": {"content-encoding": "gzip"}},
        415,
        "UNSUPPORTED_CONTENT",
        "content-encoding 'gzip' is not read\n  fix: send the body uncompressed",
    ),
    "a body that is too long": (
        {"body": b" " * (256 * 1024) + A_RUN},
        413,
        "BODY_TOO_LARGE",
        "the body is longer than 262144 bytes\n  fix: send less at a time: fewer assets in one "
        "workspace, fewer partitions in one request",
    ),
    "a huge header": (
        {"body": A_RUN, "headers": {"x-huge": "x" * 9000}},
        431,
        "HEADERS_TOO_LARGE",
        "a header is longer than 8192 characters\n  fix: send fewer and shorter headers",
    ),
    "too many headers": (
        {"body": A_RUN, "headers": {f"x-{i}": "x" for i in range(70)}},
        431,
        "HEADERS_TOO_LARGE",
        "more than 64 headers\n  fix: send fewer and shorter headers",
    ),
    "a long URL": (
        {"path": "/runs?requestId=" + "x" * 9000, "body": A_RUN},
        414,
        "PATH_TOO_LONG",
        "the URL is longer than 8192 characters\n"
        "  fix: shorten the arguments; POST takes a long selection",
    ),
    "a method": (
        {"method": "DELETE"},
        405,
        "METHOD_NOT_ALLOWED",
        "DELETE is not possible here\n  fix: use GET, POST",
    ),
    "a path": (
        {"path": "/rnus", "body": A_RUN},
        404,
        "NOT_FOUND",
        f"there is nothing at this path\n{SHOW}",
    ),
    "a path that climbs": (
        {"method": "GET", "path": "/runs/..%2F..%2Fx"},
        404,
        "RUN_NOT_FOUND",
        "no run '../../x'\n  fix: arco-flow runs",
    ),
    "a path with NUL": (
        {"method": "GET", "path": "/runs/x%00"},
        400,
        "MALFORMED_PATH",
        "a segment of the path is empty, dots, or not printable\n"
        "  fix: percent-encode names as UTF-8 (RFC 3986)",
    ),
    "a forged page token": (
        {"method": "GET", "path": "/runs?pageToken=AAAA"},
        400,
        "BAD_PAGE_TOKEN",
        f"pageToken belongs to another list or to other arguments\n{PAGE}",
    ),
    "no page token": (
        {"method": "GET", "path": "/runs?pageToken=!"},
        400,
        "BAD_PAGE_TOKEN",
        f"pageToken is malformed\n{PAGE}",
    ),
    "a page size": (
        {"method": "GET", "path": "/runs?pageSize=ten"},
        400,
        "BAD_PAGE_SIZE",
        "pageSize 'ten' is no number\n  fix: give 1 to 1000, or leave it out",
    ),
    "an argument": (
        {"method": "GET", "path": "/runs?pagesize=1"},
        400,
        "UNKNOWN_ARGUMENT",
        "unknown argument 'pagesize'; did you mean 'pageSize'?\n"
        "  fix: known arguments: filter, pageSize, pageToken",
    ),
    "a state": (
        {"method": "GET", "path": "/runs?filter=state%20%3D%20FAILD"},
        400,
        "BAD_FILTER",
        "no state 'FAILD'; did you mean 'FAILED'?\n  at filter\n  fix: states: QUEUED, RUNNING, "
        "CANCELLING, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT",
    ),
    "a workspace of somebody else": (
        {"base": "/v1/workspaces/other", "body": A_RUN},
        404,
        "WORKSPACE_NOT_FOUND",
        "there is no such workspace\n  fix: name the workspace that the credential is of",
    ),
    "a cancelled run that is none": (
        {"path": "/runs/run_x:cancel", "body": b"{}"},
        404,
        "RUN_NOT_FOUND",
        "no run 'run_x'\n  fix: arco-flow runs",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REQUESTS)
def test_a_wrong_request_is_refused_with_the_right_status(plane: PlaneUnderTest, what: str) -> None:
    request, status, reason, message = REQUESTS[what]
    with plane.kept.unchanged():
        answer = ask(plane, **{"method": "POST", "path": "/runs", **request})
        refused(answer, status, reason, message)


@pytest.mark.parametrize("credential", [None, "Bearer ", "Bearer x", "Basic eDp5", "Bearer a b"])
def test_without_a_good_token_nothing_is_told_but_that_one_is_needed(
    plane: PlaneUnderTest, credential: str | None
) -> None:
    with plane.kept.unchanged():
        answer = ask(plane, "POST", "/runs", A_RUN, headers={"authorization": credential})
    assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")
    assert answer.message == "a valid credential is needed"
    assert answer.headers["www-authenticate"] == 'Bearer realm="arco-flow"'


@pytest.mark.parametrize("data", [bytes(range(256)) * 8, b"GET /\r\n\r\n", b"\x16\x03\x01" * 99])
def test_garbage_on_the_socket_hurts_nobody(plane: PlaneUnderTest, data: bytes) -> None:
    with plane.kept.unchanged():
        assert send_raw(plane, data).status in (0, 400)
        assert ask(plane, "GET", "/health/live", base="").status == 200


# -- reports about what is over ---------------------------------------------------------------


def _ended(plane: PlaneUnderTest, asset: str) -> str:
    """The run of an asset that is over: its key stands for it."""
    return plane.request(asset, run_key=ENDED[asset]).run_id


def test_a_late_report_of_an_earlier_attempt_changes_nothing(plane: PlaneUnderTest) -> None:
    stale = plane.attempt(_ended(plane, "t.second_time"), "t.second_time")
    with plane.kept.unchanged():
        for verb, body in (("completed", {"outcome": "SUCCEEDED"}), ("heartbeat", {})):
            answer = callback(plane, stale, verb, body)
            assert (answer.status, answer.reason) == (409, "attempt_mismatch")
            assert answer.message == "attempt 1 is not current"
            assert answer.document["expectedAttempt"] == 2
            assert answer.document["receivedAttempt"] == 1


def test_a_second_completion_with_another_outcome_changes_nothing(plane: PlaneUnderTest) -> None:
    done = plane.attempt(_ended(plane, "t.a"), "t.a")
    failure = {"outcome": "FAILED", "error": {"category": "USER_CODE", "message": "x"}}
    with plane.kept.unchanged():
        answer = callback(plane, done, "completed", failure)
        assert (answer.status, answer.reason) == (409, "task_already_terminal")
        assert (answer.message, answer.document["state"]) == ("the task is SUCCEEDED", "SUCCEEDED")
        answer = callback(plane, done, "heartbeat")
        assert (answer.status, answer.reason) == (410, "task_expired")


def test_after_all_that_the_plane_works_as_before(plane: PlaneUnderTest) -> None:
    accepted = ask(
        plane, "POST", "/runs", {"selection": "t.b or t.c"}, headers={"host": netloc(plane)}
    )
    assert accepted.status == 200, accepted.body
    assert plane.wait(accepted.document["runId"]).state == "SUCCEEDED"
