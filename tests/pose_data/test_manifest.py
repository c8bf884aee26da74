"""Records: canonical text with its own digest; any flipped bit is found."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_data.atomic import Written
from pose_data.errors import DamageError
from pose_data.manifest import (
    Reject,
    ShardRecord,
    SplitFolder,
    canonical_json,
    read_record,
    read_shard_record,
    records_folder,
    write_record,
    write_shard_record,
)

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PAYLOADS = st.dictionaries(st.text().filter(lambda key: key != "record_sha256"), VALUES, max_size=4)
RECORD = ShardRecord(
    shard=3,
    first_row=24,
    rows=7,
    files={"images/c.3.0.0.0": Written(1234, "ab" * 32), "kept/c.3": Written(12, "cd" * 32)},
    pictures={"é 1.jpg": "ef" * 32, "b.jpg": "01" * 32},
    rejects=(Reject(25, "img-truncated", "ends early"), Reject(30, "mask-missing", "")),
    bad_pictures=("b.jpg",),
    notes=((24, "img-converted"), (24, "img-exif-ignored")),
)


@given(VALUES)
def test_canonical_json_is_one_text_for_equal_values(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert text.endswith(b"\n")
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == text


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_canonical_json_has_no_numbers_that_json_has_not(value):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"x": value})


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=PAYLOADS)
def test_a_record_is_read_as_it_was_written(tmp_path, payload):
    write_record(tmp_path / "r.json", payload)
    assert read_record(tmp_path / "r.json") == payload


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_of_a_record_is_found(tmp_path, data):
    path = tmp_path / "r.json"
    write_record(path, {"rows": 12, "name": "val2017", "files": {"a": [1, "00ff"]}, "share": 0.25})
    raw = bytearray(path.read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(raw)
    with pytest.raises(DamageError, match="record"):
        read_record(path)


@pytest.mark.parametrize("content", [b"", b"null\n", b"[]\n", b"{}\n", b'{"record_sha256":1}\n', b"\xff", b'{"a":1}\n'])
def test_other_texts_are_no_records(tmp_path, content):
    (tmp_path / "r.json").write_bytes(content)
    with pytest.raises(DamageError) as caught:
        read_record(tmp_path / "r.json")
    assert caught.value.code == "record"
    assert caught.value.where == str(tmp_path / "r.json")


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_a_cut_record_is_found(tmp_path, cut):
    write_record(tmp_path / "r.json", {"rows": 12})
    (tmp_path / "r.json").write_bytes((tmp_path / "r.json").read_bytes()[:-cut])
    with pytest.raises(DamageError):
        read_record(tmp_path / "r.json")


def test_a_missing_record_has_a_code_of_its_own(tmp_path):
    with pytest.raises(DamageError) as caught:
        read_record(tmp_path / "r.json")
    assert caught.value.code == "missing-file"
    (tmp_path / "folder").mkdir()
    with pytest.raises(DamageError, match="cannot be read"):
        read_record(tmp_path / "folder")


def test_a_shard_record_is_read_as_it_was_written(tmp_path):
    folder = SplitFolder(tmp_path / "val2017")
    folder.shard_record(3).parent.mkdir(parents=True)
    write_shard_record(folder, RECORD)
    assert read_shard_record(folder.shard_record(3)) == RECORD
    assert RECORD.size_bytes == 1246


@pytest.mark.parametrize("change", [{"files": 3}, {"files": {"a": [1]}}, {"rejects": [[1]]}, {"notes": [1]}])
def test_a_shard_record_of_other_fields_is_damage(tmp_path, change):
    folder = SplitFolder(tmp_path / "val2017")
    folder.shard_record(3).parent.mkdir(parents=True)
    write_shard_record(folder, RECORD)
    payload = read_record(folder.shard_record(3))
    write_record(folder.shard_record(3), {**payload, **change})
    with pytest.raises(DamageError, match="fields"):
        read_shard_record(folder.shard_record(3))
    write_record(folder.shard_record(3), {key: value for key, value in payload.items() if key != "rows"})
    with pytest.raises(DamageError, match="fields"):
        read_shard_record(folder.shard_record(3))


def test_places(tmp_path):
    folder = SplitFolder(tmp_path / "val2017")
    assert folder.name == "val2017"
    places = [folder.manifest, folder.table, folder.plan, folder.shard_record(7)]
    assert [path.relative_to(folder.path).as_posix() for path in places] == [
        ".posedata/manifest.json", ".posedata/table.parquet", ".posedata/work/plan.parquet",
        ".posedata/shards/000007.json",
    ]  # fmt: skip
    assert folder.shard_file("images", 3, 12).relative_to(folder.path).as_posix() == "images/c.12.0.0.0"
    assert folder.shard_file("kept", 0, 12).relative_to(folder.path).as_posix() == "kept/c.12"
    assert records_folder(tmp_path) == tmp_path / ".posedata"
