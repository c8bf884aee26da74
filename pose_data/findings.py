"""A finding: one thing that is wrong, or worth knowing, about a store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["LISTED_IDS", "Finding", "finding_of_rows"]

LISTED_IDS = 20
"""So many annotation ids are named in a finding; the detail says how many there are."""

# The store is whole all the same: something beside it, or its source, is not as it was.
_NOTES = frozenset(["foreign-file", "picture-changed", "source-missing"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found, and where.

    ``code`` is one of :data:`pose_data.errors.FINDINGS`. ``rows`` are the first and the last row of the split that
    it concerns; ``annotation_ids`` those of the first :data:`LISTED_IDS` of them, as far as the table can be read.
    ``path`` is relative to the store.
    """

    code: str
    split: str = ""
    array: str = ""
    shard: int | None = None
    rows: tuple[int, int] | None = None
    annotation_ids: tuple[int, ...] = ()
    path: str = ""
    detail: str = ""

    @property
    def damaged(self) -> bool:
        """Return whether the store itself is not what it should be."""
        return self.code not in _NOTES

    def as_dict(self) -> dict[str, Any]:
        """Return the finding as JSON-ready values."""
        return {
            "code": self.code,
            "damaged": self.damaged,
            "split": self.split,
            "array": self.array,
            "shard": self.shard,
            "rows": None if self.rows is None else list(self.rows),
            "annotation_ids": list(self.annotation_ids),
            "path": self.path,
            "detail": self.detail,
        }

    def describe(self) -> str:
        """Return one line: code, place, rows, annotation ids, detail."""
        place = [f"split {self.split}"] if self.split else []
        place += [f"array {self.array}"] if self.array else []
        place += [f"shard {self.shard}"] if self.shard is not None else []
        place += [f"rows {self.rows[0]}-{self.rows[1]}"] if self.rows else []
        named = ", ".join(str(number) for number in self.annotation_ids)
        place += [f"annotations {named}"] if named else []
        parts = [f"{self.code}: {self.path}" if self.path else self.code, ", ".join(place), self.detail]
        return " — ".join(part for part in parts if part)


def finding_of_rows(
    code: str, rows: Iterable[int], annotation_ids: Iterable[int | None], *, detail: str, **place: Any
) -> Finding:
    """Return a finding about rows of the split, given with their annotation ids in the same order.

    ``place``: split, array, shard, path.
    """
    numbers = list(rows)
    named = tuple(number for number in annotation_ids if number is not None)
    if len(named) > LISTED_IDS:
        detail = f"{detail}; {len(named)} annotations, the first {LISTED_IDS} are named"
    return Finding(
        code=code,
        rows=(min(numbers), max(numbers)) if numbers else None,
        annotation_ids=named[:LISTED_IDS],
        detail=detail,
        **place,
    )
