"""A table in compressed blocks: rows by the hundred thousand in a fifth of the memory, any of them at hand.

What the annotations of a large data set take in memory while they are read and planned would else decide how much
memory a preparation takes: a table row has some 620 bytes, two thirds of them keypoints whose digits are mostly zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["PackedTable"]

_BLOCK_ROWS = 4096
_CODEC = "lz4"

Indices = npt.NDArray[np.int64]


class PackedTable:
    """A table whose rows lie compressed in blocks; columns that are replaced lie beside it as they are.

    Blocks are Arrow IPC streams of one record batch each, so that one column of a block can be read alone.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.num_rows = 0
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0
        self._blocks: list[pa.Buffer] = []
        self._starts = [0]
        self._beside: dict[str, pa.ChunkedArray] = {}

    @classmethod
    def pack(cls, table: pa.Table) -> "PackedTable":
        """Return a packed copy of ``table``."""
        packed = cls(table.schema)
        packed.append(table)
        packed.finish()
        return packed

    def append(self, table: pa.Table) -> None:
        """Append rows, of the same schema. :meth:`finish` has not been called yet."""
        self._waiting.append(table)
        self._waiting_rows += table.num_rows
        if self._waiting_rows >= _BLOCK_ROWS:
            self.finish()

    def finish(self) -> None:
        """Pack the rows that were appended last. To be called before anything is read."""
        for batch in (
            pa.concat_tables([self.schema.empty_table(), *self._waiting])
            .combine_chunks()
            .to_batches(max_chunksize=2 * _BLOCK_ROWS)
        ):
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression=_CODEC, use_threads=False)
            with pa.ipc.new_stream(sink, self.schema, options=options) as writer:
                writer.write_batch(batch)
            self._blocks.append(sink.getvalue())
            self.num_rows += batch.num_rows
            self._starts.append(self.num_rows)
        self._waiting, self._waiting_rows = [], 0

    @property
    def nbytes(self) -> int:
        """Return the bytes in memory."""
        beside = sum(int(column.nbytes) for column in self._beside.values())
        return beside + sum(int(block.size) for block in self._blocks)

    def replaced(self, columns: Mapping[str, pa.ChunkedArray]) -> "PackedTable":
        """Return the same table with other values, one for each row, in these columns; the blocks are shared."""
        other = PackedTable(self.schema)
        other.num_rows, other._blocks, other._starts = self.num_rows, self._blocks, self._starts
        other._beside = {**self._beside, **columns}
        return other

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Yield the table in pieces, in order; of all columns or of those named."""
        names = self.schema.names if columns is None else list(columns)
        for number in range(len(self._blocks)):
            yield self._block(number, names)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the whole table, unpacked; of all columns or of those named."""
        names = self.schema.names if columns is None else list(columns)
        empty = pa.schema([self.schema.field(name) for name in names]).empty_table()
        return pa.concat_tables([empty, *self.blocks(names)])

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        """Return one column, as a table does."""
        return self.column(name)

    def column(self, name: str) -> pa.ChunkedArray:
        """Return one column."""
        return self._beside[name] if name in self._beside else self.table([name])[name]

    def take(self, indices: Indices) -> pa.Table:
        """Return the rows at ``indices`` (n,), in that order. Every block that holds one of them is unpacked once."""
        order = np.argsort(indices, kind="stable")
        borders = np.searchsorted(indices[order], self._starts)
        pieces = [self.schema.empty_table()]
        for number, (first, end) in enumerate(zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True)):
            if first < end:
                rows = indices[order[first:end]] - self._starts[number]
                pieces.append(self._block(number, self.schema.names).take(pa.array(rows)))
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        together = pa.concat_tables(pieces).combine_chunks()
        del pieces
        return together.take(pa.array(back))

    def _block(self, number: int, names: Sequence[str]) -> pa.Table:
        first, end = self._starts[number], self._starts[number + 1]
        packed = [name for name in names if name not in self._beside]
        columns: dict[str, Any] = {name: self._beside[name].slice(first, end - first)
                                   for name in names if name in self._beside}  # fmt: skip
        if packed:
            # Indices of fields, in the schema's order.
            fields = [position for position, name in enumerate(self.schema.names) if name in packed]
            options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
            with pa.ipc.open_stream(self._blocks[number], options=options) as reader:
                table = reader.read_all()
            columns |= {name: table[name] for name in packed}
        return pa.table([columns[name] for name in names], schema=pa.schema([self.schema.field(n) for n in names]))
