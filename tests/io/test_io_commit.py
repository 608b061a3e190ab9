import json

import pytest
from version_store import PREFIX, commit, damage

from arco_flow.adapters.local.objects import LocalObjects
from arco_flow.adapters.memory.objects import MemoryObjects
from arco_flow.domain.errors import Conflict, InvalidInput, NotFound, OutcomeUnknown
from arco_flow.io.base import InputSource, OutputInfo, OutputTarget, VersionDamaged
from arco_flow.io.commit import COMMIT_NAME, marker_of, read_commit, write_commit
from arco_flow.io.registry import io_by_name, load_value, register_io, save_value


def _marker(attempt_id: str, output: OutputInfo | None = None):
    return marker_of(
        output or OutputInfo(),
        io="json",
        attempt_id=attempt_id,
        attempt=1,
        run_id="run_1",
        task="a.b",
        checks=[{"name": "c", "passed": True}],
        metadata={"mean": 0.5},
        code_version_id="cv",
        created_at="2026-01-01T00:00:00Z",
    )


def test_a_version_without_marker_does_not_exist():
    objects = MemoryObjects()
    save_value([1], OutputTarget(objects, PREFIX, "a.b"))
    assert objects.list(PREFIX)
    with pytest.raises(NotFound, match="no commit marker"):
        load_value(objects, PREFIX, list, asset="a.b")


def test_the_marker_holds_what_readers_need():
    objects = MemoryObjects()
    _, output = save_value([1], OutputTarget(objects, PREFIX, "a.b"))
    write_commit(objects, PREFIX, _marker("att_1", output))
    document = json.loads(objects.get(PREFIX + COMMIT_NAME).data)
    assert document["version"] == 1
    assert document["files"] == [
        {"name": "data.json", "size": 3, "sha256": document["files"][0]["sha256"]}
    ]
    assert document["checks"] == [{"name": "c", "passed": True}]
    assert document["metadata"] == {"mean": 0.5}
    assert list(document) == sorted(document)


def test_committing_again_is_success_for_the_same_attempt_and_keeps_the_first():
    objects = MemoryObjects()
    first = write_commit(objects, PREFIX, _marker("att_1"))
    again = marker_of(OutputInfo(), io="json", attempt_id="att_1", attempt=1, run_id="", task="")
    assert write_commit(objects, PREFIX, again) == first


def test_committing_a_folder_of_another_attempt_is_refused():
    objects = MemoryObjects()
    write_commit(objects, PREFIX, _marker("att_1"))
    with pytest.raises(Conflict, match="att_1"):
        write_commit(objects, PREFIX, _marker("att_2"))


class _LandsButFails(MemoryObjects):
    """Every create is applied and then answered with an error, once per key."""

    def put_if_absent(self, key: str, data: bytes) -> int | None:
        created = super().put_if_absent(key, data)
        if created is not None:
            raise OutcomeUnknown("connection lost after the request")
        return created


class _Fails(MemoryObjects):
    def put_if_absent(self, key: str, data: bytes) -> int | None:
        raise OutcomeUnknown("connection lost before the request")


def test_an_unknown_outcome_is_decided_by_what_is_stored():
    objects = _LandsButFails()
    assert commit(objects, [1, 2]).row_count == 2
    assert load_value(objects, PREFIX, list) == [1, 2]


def test_an_unknown_outcome_that_did_not_land_stays_unknown():
    with pytest.raises(OutcomeUnknown):
        commit(_Fails(), [1])
    with pytest.raises(OutcomeUnknown):
        write_commit(_Fails(), PREFIX, _marker("att_1"))


@pytest.mark.parametrize("local", [False, True])
def test_a_damaged_file_is_noticed(local, tmp_path):
    objects = LocalObjects(tmp_path) if local else MemoryObjects()
    commit(objects, [1, 2])
    source = InputSource(objects, PREFIX, read_commit(objects, PREFIX), "a.b")
    for content, message in ((b"[1,3]", "SHA-256"), (b"[1]", "bytes")):
        damage(objects, "data.json", content)
        with pytest.raises(VersionDamaged, match=message):
            source.open(source.file())
    objects.delete(PREFIX + "data.json")
    with pytest.raises(VersionDamaged, match="is missing"):
        source.open(source.file())


def test_an_unreadable_marker_is_damage():
    objects = MemoryObjects()
    objects.put_if_absent(PREFIX + COMMIT_NAME, b"{")
    with pytest.raises(VersionDamaged, match="unreadable"):
        read_commit(objects, PREFIX)


class _Pair:
    def __init__(self, left: int, right: int) -> None:
        self.left, self.right = left, right


class PairIO:
    """A user's IO that writes two files."""

    name = "pair"

    def save(self, value: object, target: OutputTarget) -> OutputInfo:
        assert isinstance(value, _Pair)
        return OutputInfo.of_files(
            target.put("left.txt", str(value.left).encode()),
            target.put("right.txt", str(value.right).encode()),
            metadata={"sum": value.left + value.right},
        )

    def load(self, source: InputSource, type_: object) -> object:
        assert type_ is _Pair
        return _Pair(*(int(source.read(info)) for info in source.commit.file_infos()))


def test_a_users_io_is_chosen_by_class_and_by_name():
    register_io(PairIO(), _Pair)
    objects = MemoryObjects()
    marker = commit(objects, _Pair(1, 2), annotation=_Pair)
    assert (marker.io, marker.metadata) == ("pair", {"sum": 3})
    assert marker.content_hash.startswith("sha256:")
    loaded = load_value(objects, PREFIX, _Pair)
    assert isinstance(loaded, _Pair)
    assert (loaded.left, loaded.right) == (1, 2)
    assert commit(MemoryObjects(), _Pair(1, 2), io="pair").io == "pair"


def test_the_names_of_built_in_ios_are_taken():
    class Mine(PairIO):
        name = "json"

    with pytest.raises(Conflict, match="taken"):
        register_io(Mine())
    with pytest.raises(InvalidInput, match="did you mean 'parquet'"):
        io_by_name("parqet")
    with pytest.raises(InvalidInput, match="no save"):
        register_io(type("Empty", (), {"name": "empty"})())


def test_data_files_can_not_take_the_name_of_a_marker():
    with pytest.raises(InvalidInput, match="kept for markers"):
        OutputTarget(MemoryObjects(), PREFIX, "a.b").put(COMMIT_NAME, b"")
