"""A packed table gives back what was put in: whole, by column, by block, and any rows in any order."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data import packed_table
from pose_data.packed_table import PackedTable

SCHEMA = pa.schema([
    pa.field("number", pa.int64()),
    pa.field("keypoints", pa.list_(pa.float64())),
    pa.field("name", pa.string()),
    pa.field("kept", pa.bool_(), nullable=False),
])  # fmt: skip


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(packed_table, "_BLOCK_ROWS", 8)


def make_table(count):
    generator = np.random.default_rng(count)
    return pa.table(
        {
            "number": [None if i % 5 == 3 else 2**60 + i for i in range(count)],
            "keypoints": [None if i % 7 == 2 else generator.normal(size=i % 4).tolist() for i in range(count)],
            "name": [None if i % 3 == 1 else f"picture {i}" for i in range(count)],
            "kept": [i % 2 == 0 for i in range(count)],
        },
        schema=SCHEMA,
    )


def pack(table, piece_rows):
    packed = PackedTable(SCHEMA)
    for first in range(0, table.num_rows, piece_rows):
        packed.append(table.slice(first, piece_rows))
    packed.finish()
    return packed


@given(count=st.integers(0, 70), piece_rows=st.integers(1, 40))
def test_what_was_packed_comes_back(count, piece_rows):
    table = make_table(count)
    packed = pack(table, piece_rows)
    assert packed.num_rows == count
    assert packed.table().equals(table)
    assert packed.table().schema.equals(SCHEMA)
    assert packed["number"].to_pylist() == table["number"].to_pylist()
    assert packed.table(["kept", "name"]).equals(table.select(["kept", "name"]))
    assert sum(block.num_rows for block in packed.blocks(["number"])) == count
    assert PackedTable.pack(table).table().equals(table)


@given(count=st.integers(1, 70), data=st.data())
def test_any_rows_are_taken_in_any_order(count, data):
    table = make_table(count)
    indices = np.array(data.draw(st.lists(st.integers(0, count - 1), max_size=90)), np.int64)
    assert pack(table, 5).take(indices).equals(table.take(pa.array(indices)))


def test_replaced_columns_lie_over_the_packed_ones():
    table = make_table(30)
    packed = pack(table, 5)
    names = pa.chunked_array([[f"other {i}" for i in range(10)], [f"other {i}" for i in range(10, 30)]])
    other = packed.replaced({"name": names})
    expected = table.set_column(2, SCHEMA.field("name"), names)
    assert other.table().equals(expected)
    assert other["name"].to_pylist() == names.to_pylist()
    indices = np.array([29, 0, 17, 17])
    assert other.take(indices).equals(expected.take(pa.array(indices)))
    assert [block.num_rows for block in other.blocks(["name"])] == [block.num_rows for block in other.blocks()]
    assert packed.table().equals(table)


def test_keypoints_take_a_fraction_of_their_size():
    count = 4000
    values = [[float(number % 640), float(number % 480), 2.0] * 17 for number in range(count)]
    table = pa.table(
        {"number": range(count), "keypoints": values, "name": ["a.jpg"] * count, "kept": [True] * count}, schema=SCHEMA
    )
    assert PackedTable.pack(table).nbytes < table.nbytes / 3
