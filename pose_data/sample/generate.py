"""Writes the generated data set: pictures and annotation files in COCO's layout."""

import json
import multiprocessing
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pose_data.errors import StorageError, UsageError
from pose_data.sample.annotation import annotation_document, person_record
from pose_data.sample.plan import SPLITS, PicturePlan, plan_pictures
from pose_data.sample.rendering import encode_jpeg, use_one_thread
from pose_data.sample.scene import draw_scene

__all__ = ["SampleSummary", "generate_sample"]

Record = dict[str, object]

_JPEG_QUALITY = 92


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary:
    """What was written: ``persons`` counts all records (crowds too), ``labelled_persons`` those with keypoints.

    With ``dry_run`` nothing was: both are then the most that can come, since figures may hide each other.
    """

    out: Path
    pictures: int
    persons: int
    labelled_persons: int
    splits: tuple[str, ...]
    seed: int
    dry_run: bool = False


def _draw_picture(plan: PicturePlan, *, folder: Path, seed: int) -> list[Record]:
    """Draw one picture into its split's folder and return its records. Runs in worker processes."""
    scene = draw_scene(plan, seed)
    (folder / plan.split / plan.file_name).write_bytes(encode_jpeg(scene.pixels, _JPEG_QUALITY))
    found = (person_record(person, plan.image_id) for person in scene.people)
    return [record for record in found if record is not None]


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[list[Record]]]]:
    """Give a map over pictures, in order: in this process for one worker, else in spawned ones."""
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=use_one_thread
    ) as pool:
        try:
            yield partial(pool.map, chunksize=4)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _refuse_existing(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(
            "output-exists",
            "the sample's folder exists and is not empty; nothing was written",
            where=str(out),
            hint="choose another folder, or remove this one yourself",
        )


def _write_annotations(folder: Path, plans: Sequence[PicturePlan], records: dict[int, list[Record]], seed: int) -> None:
    (folder / "annotations").mkdir()
    first_id = 1
    for split in SPLITS:
        members = [plan for plan in plans if plan.split == split]
        document = annotation_document(members, records, first_id=first_id, seed=seed)
        first_id += sum(not record["iscrowd"] for plan in members for record in records[plan.image_id])
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
        (folder / "annotations" / f"person_keypoints_{split}.json").write_text(text, encoding="utf-8")


def _draw_all(folder: Path, plans: Sequence[PicturePlan], seed: int, workers: int,
              progress: Callable[[int, int], None] | None) -> dict[int, list[Record]]:  # fmt: skip
    for split in SPLITS:
        (folder / split).mkdir()
    records: dict[int, list[Record]] = {}
    with _mapper(min(workers, len(plans))) as draw:
        drawn = draw(partial(_draw_picture, folder=folder, seed=seed), plans)
        for plan, found in zip(plans, drawn, strict=True):
            records[plan.image_id] = found
            if progress is not None:
                progress(len(records), len(plans))
    return records


def generate_sample(
    out: Path,
    *,
    pictures: int = 200,
    seed: int = 0,
    val_share: float = 0.25,
    workers: int = 2,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> SampleSummary:
    """Write a data set of drawn persons in COCO's layout and return what it holds.

    Makes ``out/annotations/person_keypoints_{train,val}.json`` and the pictures ``out/{train,val}/*.jpg``. The bytes
    depend on ``pictures``, ``seed`` and ``val_share`` alone. The folder appears when all is done: it is made beside
    ``out`` and renamed. ``progress`` is called with (done, all) pictures. Each worker is a spawned process, so a
    script that asks for more than one needs the usual ``if __name__ == "__main__"``. ``dry_run``: plan and check, but
    draw and write nothing.

    Raises UsageError ``output-exists`` for an ``out`` that is not an empty folder, ``sample-pictures``,
    ``sample-val-share``, ``sample-seed`` or ``sample-workers`` for numbers out of range, and StorageError
    ``sample-write`` where the files cannot be written.
    """
    if workers < 1:
        raise UsageError("sample-workers", f"a sample needs at least 1 worker, not {workers}")
    plans = plan_pictures(pictures, seed, val_share)
    _refuse_existing(out)
    if dry_run:
        figures, crowds = sum(plan.persons for plan in plans), sum(plan.crowd for plan in plans)
        return SampleSummary(
            out=out, pictures=pictures, persons=figures + crowds, labelled_persons=figures, splits=SPLITS, seed=seed,
            dry_run=True,
        )  # fmt: skip
    target = Path(os.path.abspath(out))  # noqa: PTH100 - resolve() would follow a link that the user named
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            folder.chmod(0o755)
            records = _draw_all(folder, plans, seed, workers, progress)
            _write_annotations(folder, plans, records, seed)
            if target.exists():
                target.rmdir()
            folder.replace(target)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError("sample-write", f"the sample could not be written: {error}", where=str(out)) from error
    found = [record for plan in plans for record in records[plan.image_id]]
    return SampleSummary(
        out=out,
        pictures=pictures,
        persons=len(found),
        labelled_persons=sum(bool(record["num_keypoints"]) for record in found),
        splits=SPLITS,
        seed=seed,
    )
