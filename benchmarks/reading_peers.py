"""Candidates of ``reading.py`` with formats of their own: how each is written, and how it is read.

Images and maps are stored raw (uint8) by all of them, so that they decode nothing; loaders with workers get one for
each core, or none on one core.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from reading_stores import BATCH, MAPS, Candidate, Delivery, Epochs, float_maps, plain_arrays
from torch.utils.data import DataLoader, Dataset, default_collate

from pose_data.geometry import invert_affines
from pose_data.store import open_store

__all__ = ["PEER_CANDIDATES", "WRITERS", "write_once"]

IMAGE = (256, 192, 3)
_IMAGE_BYTES, _MAP_BYTES = int(np.prod(IMAGE)), int(np.prod(MAPS))
Sample = tuple[int, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]


def samples(folder: Path) -> Iterator[Sample]:
    """Yield row, image, uint8 maps and keypoints of every sample."""
    arrays = [plain_arrays(folder, name) for name in ("images", "maps_uint8", "keypoints")]
    for row, values in enumerate(zip(*arrays, strict=True)):
        yield row, *map(np.ascontiguousarray, values)


def _joined(sample: Sample) -> bytes:
    return b"".join([sample[1].tobytes(), sample[2].tobytes(), sample[3].tobytes()])


def _split_bytes(row: int, data: bytes) -> Sample:
    values = np.frombuffer(bytearray(data), np.uint8)
    image, rest = values[:_IMAGE_BYTES], values[_IMAGE_BYTES:]
    keypoints = rest[_MAP_BYTES:].view(np.float32).reshape(17, 3)
    return row, image.reshape(IMAGE), rest[:_MAP_BYTES].reshape(MAPS), keypoints


def _delivered(loader: Any, maps: str) -> Epochs:
    """Return the epochs of a loader whose batches are [rows, images, maps, keypoints]."""

    def epochs(epoch: int) -> Iterator[Delivery]:
        for rows, images, heatmaps, keypoints in loader:
            yield rows.numpy().reshape(-1), images, float_maps(heatmaps, maps), keypoints

    return epochs


def _workers(cores: int) -> dict[str, Any]:
    return {"num_workers": cores, "persistent_workers": True} if cores > 1 else {"num_workers": 0}


# ----------------------------------------------------------------------------------- a COCO folder


class CocoFolder(Dataset[Any]):
    """Decode, warp, draw the maps: what the reference repositories do for each sample."""

    def __init__(self, folder: Path) -> None:
        split = open_store(folder / "lossless.zarr")["all"]
        names = json.loads((folder / "coco/annotations/person_keypoints_all.json").read_text(encoding="utf-8"))
        files = {image["id"]: folder / "coco/all" / image["file_name"] for image in names["images"]}
        self._files = [str(files[key]) for key in split["image_id"][:].tolist()]
        self._transforms = invert_affines(split["transforms"][:])
        self._keypoints = split["keypoints"][:]
        y, x = np.mgrid[-6:7, -6:7].astype(np.float32)
        self._patch = np.exp(-(x * x + y * y) / (2 * 2.0**2))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, row: int) -> Sample:
        import cv2
        import simplejpeg

        cv2.setNumThreads(1)
        picture = simplejpeg.decode_jpeg(Path(self._files[row]).read_bytes(), "RGB")
        crop = cv2.warpAffine(picture, self._transforms[row], (192, 256), flags=cv2.INTER_LINEAR)
        return row, crop, self._maps(self._keypoints[row]), self._keypoints[row]

    def _maps(self, keypoints: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        maps = np.zeros(MAPS, np.float32)
        for joint, (x, y, flag) in enumerate(keypoints.tolist()):
            at_x, at_y = int(x / 4 + 0.5) - 6, int(y / 4 + 0.5) - 6
            left, top, right, bottom = max(0, at_x), max(0, at_y), min(48, at_x + 13), min(64, at_y + 13)
            if flag > 0 and left < right and top < bottom:
                patch = self._patch[top - at_y : bottom - at_y, left - at_x : right - at_x]
                maps[joint, top:bottom, left:right] = patch
        return maps


def _coco_folder(folder: Path, cores: int, maps: str) -> Epochs:
    loader = DataLoader(CocoFolder(folder), batch_size=BATCH, shuffle=True, **_workers(cores))
    return _delivered(loader, "as they are")


# ----------------------------------------------------------------------------------- record formats


def _write_webdataset(folder: Path, out: Path) -> None:
    import webdataset

    with webdataset.ShardWriter(str(out / "%04d.tar"), maxcount=220, verbose=0) as sink:
        for sample in samples(folder):
            sink.write({"__key__": f"{sample[0]:08d}", "raw": _joined(sample)})


def _keyed(sample: dict[str, Any]) -> Sample:
    return _split_bytes(int(sample["__key__"]), sample["raw"])


def _webdataset(folder: Path, cores: int, maps: str) -> Epochs:
    import webdataset

    urls = sorted(str(path) for path in (folder / "webdataset").glob("*.tar"))
    source = webdataset.WebDataset(urls, shardshuffle=len(urls), seed=1, empty_check=False)
    source = source.shuffle(1000).map(_keyed).batched(BATCH, collation_fn=default_collate)
    return _delivered(webdataset.WebLoader(source, batch_size=None, **_workers(cores)), maps)


_FIELDS = ("row", "images", "maps", "keypoints")


def _write_mosaic(folder: Path, out: Path) -> None:
    from streaming import MDSWriter

    kinds = ("int", "ndarray:uint8:256,192,3", "ndarray:uint8:17,64,48", "ndarray:float32:17,3")
    with MDSWriter(out=str(out), columns=dict(zip(_FIELDS, kinds, strict=True))) as sink:
        for sample in samples(folder):
            sink.write(dict(zip(_FIELDS, sample, strict=True)))


def _fields(batch: list[dict[str, Any]]) -> Any:
    return default_collate([[sample[name] for name in _FIELDS] for sample in batch])


def _mosaic(folder: Path, cores: int, maps: str) -> Epochs:
    from streaming import StreamingDataset
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()
    source = StreamingDataset(local=str(folder / "mosaic"), shuffle=True, batch_size=BATCH, shuffle_seed=1)
    return _delivered(DataLoader(source, batch_size=BATCH, collate_fn=_fields, **_workers(cores)), maps)


def _write_litdata(folder: Path, out: Path) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(out), chunk_bytes="64MB")
    row = -1
    for row, *values in samples(folder):
        writer.add_item(row, dict(zip(_FIELDS, (row, *values), strict=True)))
    writer.done()
    writer.merge()


def _litdata(folder: Path, cores: int, maps: str) -> Epochs:
    from litdata import StreamingDataLoader, StreamingDataset

    source = StreamingDataset(str(folder / "litdata"), shuffle=True, seed=1)
    return _delivered(StreamingDataLoader(source, batch_size=BATCH, collate_fn=_fields, **_workers(cores)), maps)


# ----------------------------------------------------------------------------------- LMDB and Arrow


def _write_lmdb(folder: Path, out: Path) -> None:
    import lmdb

    with lmdb.open(str(out), map_size=1 << 36) as base, base.begin(write=True) as transaction:
        for sample in samples(folder):
            transaction.put(b"%08d" % sample[0], _joined(sample))


class LmdbRows(Dataset[Any]):
    """Rows of an LMDB base, opened in the process that reads."""

    def __init__(self, path: Path) -> None:
        import lmdb

        self._path, self._base = str(path), None
        with lmdb.open(self._path, readonly=True, lock=False) as base:
            self._count = base.stat()["entries"]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, row: int) -> Sample:
        import lmdb

        if self._base is None:
            self._base = lmdb.open(self._path, readonly=True, lock=False, readahead=False)
        with self._base.begin(buffers=True) as transaction:
            return _split_bytes(row, transaction.get(b"%08d" % row))


def _lmdb(folder: Path, cores: int, maps: str) -> Epochs:
    return _delivered(DataLoader(LmdbRows(folder / "lmdb"), batch_size=BATCH, shuffle=True, **_workers(cores)), maps)


def _write_arrow(folder: Path, out: Path) -> None:
    import pyarrow as pa

    columns = {}
    for name, array in (("images", "images"), ("maps", "maps_uint8"), ("keypoints", "keypoints")):
        values = np.ascontiguousarray(plain_arrays(folder, array)).reshape(-1).view(np.uint8)
        count = len(plain_arrays(folder, array))
        kind = pa.binary(len(values) // count)
        columns[name] = pa.FixedSizeBinaryArray.from_buffers(kind, count, [None, pa.py_buffer(values)])
    table = pa.table(columns)
    with pa.OSFile(str(out / "samples.arrow"), "wb") as file, pa.ipc.new_file(file, table.schema) as sink:
        sink.write_table(table)


def _arrow(folder: Path, cores: int, maps: str) -> Epochs:
    import pyarrow as pa

    batch = pa.ipc.open_file(pa.memory_map(str(folder / "arrow/samples.arrow"))).get_batch(0)
    columns = [np.frombuffer(batch.column(name).buffers()[1], np.uint8) for name in ("images", "maps", "keypoints")]
    images, heatmaps, keypoints = (column.reshape(batch.num_rows, -1) for column in columns)

    def epochs(epoch: int) -> Iterator[Delivery]:
        order = np.random.default_rng(epoch).permutation(batch.num_rows)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            values = torch.from_numpy(heatmaps[rows].reshape(-1, *MAPS))
            points = torch.from_numpy(keypoints[rows].view(np.float32).reshape(-1, 17, 3))
            yield rows, torch.from_numpy(images[rows].reshape(-1, *IMAGE)), float_maps(values, maps), points

    return epochs


# ----------------------------------------------------------------------------------- FFCV


class _Rows:
    def __init__(self, folder: Path) -> None:
        self._arrays = [plain_arrays(folder, name) for name in ("images", "maps_uint8", "keypoints")]

    def __len__(self) -> int:
        return len(self._arrays[0])

    def __getitem__(self, row: int) -> Sample:
        image, maps, keypoints = (np.ascontiguousarray(array[row]) for array in self._arrays)
        return row, image, maps, keypoints


def _write_ffcv(folder: Path, out: Path) -> None:
    from ffcv.fields import IntField, NDArrayField
    from ffcv.writer import DatasetWriter

    fields = {
        "row": IntField(),
        "images": NDArrayField(np.dtype(np.uint8), IMAGE),
        "maps": NDArrayField(np.dtype(np.uint8), MAPS),
        "keypoints": NDArrayField(np.dtype(np.float32), (17, 3)),
    }
    DatasetWriter(str(out / "samples.beton"), fields, num_workers=1).from_indexed_dataset(_Rows(folder))


def _ffcv(folder: Path, cores: int, maps: str) -> Epochs:
    from ffcv.fields.decoders import IntDecoder, NDArrayDecoder
    from ffcv.loader import Loader, OrderOption
    from ffcv.transforms import ToTensor

    pipelines = {name: [NDArrayDecoder(), ToTensor()] for name in _FIELDS[1:]}
    pipelines["row"] = [IntDecoder(), ToTensor()]
    loader = Loader(
        str(folder / "ffcv/samples.beton"), batch_size=BATCH, num_workers=cores, order=OrderOption.RANDOM,
        os_cache=True, drop_last=False, pipelines=pipelines,
    )  # fmt: skip
    return _delivered(loader, maps)


def write_once(folder: Path, name: str, write: Callable[[Path, Path], None]) -> None:
    """Write a peer's copy of the samples unless it is there."""
    out = folder / name
    if not (out / "done").exists():
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        write(folder, out)
        (out / "done").touch()


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    "webdataset": _write_webdataset,
    "mosaic": _write_mosaic,
    "litdata": _write_litdata,
    "lmdb": _write_lmdb,
    "arrow": _write_arrow,
    "ffcv": _write_ffcv,
}

PEER_CANDIDATES: dict[str, Candidate] = {
    "COCO folder, DataLoader": _coco_folder,
    "WebDataset": _webdataset,
    "MosaicML streaming": _mosaic,
    "LitData": _litdata,
    "LMDB": _lmdb,
    "Arrow IPC": _arrow,
    "FFCV raw": _ffcv,
}
