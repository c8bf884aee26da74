"""Take a lock away that a dead or lost process left on a store."""

from pathlib import Path

from pose_data.lock import Holder, break_lock, read_holder
from pose_data.manifest import records_folder
from pose_data.problems import chosen_splits

__all__ = ["unlock"]


def unlock(store: str | Path, *, force: bool = False, dry_run: bool = False) -> Holder | None:
    """Remove the lock of a store; return whose it was, None when it had none. ``dry_run`` leaves it.

    A lock is removed when its holder is dead on this host, with ``force`` also when it was of another host. Raises
    StoreError when there is no store, BusyError, naming the holder, when the lock must stay.
    """
    root = Path(store)
    chosen_splits(root, None)
    records = records_folder(root)
    return read_holder(records) if dry_run else break_lock(records, force=force)
