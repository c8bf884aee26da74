"""Candidates of ``reading.py`` that read Zarr stores or plain arrays: ours, three Zarr readers, ``np.memmap``.

A candidate is a function (folder, cores, maps) → (epoch → iterator of :data:`Delivery`). The Zarr readers get whole
runs of 64 rows as batches, an easier order than ours, whose rows are also shuffled over a window of 16 runs.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pose_data.aligned import aligned_array
from pose_data.order import EpochOrder
from pose_data.reader import BatchReader
from pose_data.store import open_store

__all__ = ["BATCH", "MAPS", "STORE_CANDIDATES", "Candidate", "Delivery", "Epochs", "float_maps", "plain_arrays"]

BATCH = 64
MAPS = (17, 64, 48)
_SCALE = np.float32(1 / 255)
_Array = npt.NDArray[Any]

Delivery = tuple[_Array, torch.Tensor, torch.Tensor, torch.Tensor]
"""Rows (B,), images (B, 256, 192, 3) uint8, maps (B, 17, 64, 48) float32 or uint8, keypoints (B, 17, 3) float32."""
Epochs = Callable[[int], Iterator[Delivery]]
Candidate = Callable[[Path, int, str], Epochs]


def float_maps(maps: torch.Tensor, kind: str) -> torch.Tensor:
    """Return uint8 maps as they are to be delivered."""
    return maps.to(torch.float32).mul_(float(_SCALE)) if kind == "float32" else maps


def plain_arrays(folder: Path, name: str) -> _Array:
    """Return an array of the folder ``plain``, mapped."""
    return np.load(folder / "plain" / f"{name}.npy", mmap_mode="r")


def _ours(store: str, shuffle: Any) -> Candidate:
    def open_candidate(folder: Path, cores: int, maps: str) -> Epochs:
        reader = BatchReader(
            open_store(folder / store)["all"], batch_size=BATCH, arrays=["images", "heatmaps", "keypoints"],
            maps="float32" if maps == "float32" else "stored", reuse_memory=True, threads=cores,
            order=EpochOrder(seed=1, shuffle=shuffle),
        )  # fmt: skip

        def epochs(epoch: int) -> Iterator[Delivery]:
            for batch in reader.epoch(epoch):
                count = int(batch.valid.sum())
                images, heatmaps, keypoints = (
                    torch.from_numpy(batch.arrays[name][:count]) for name in ("images", "heatmaps", "keypoints")
                )
                yield batch.rows[:count], images, heatmaps, keypoints

        return epochs

    return open_candidate


def _ahead(pool: ThreadPoolExecutor, count: int, load: Callable[[int, int], Delivery], most: int) -> Iterator[Delivery]:
    """Yield ``load(batch, buffer)`` for each batch, some ahead; a buffer is free again after the next batch but one."""
    waiting: deque[Future[Delivery]] = deque()
    for number in range(count + most):
        if number < count:
            waiting.append(pool.submit(load, number, number % (most + 2)))
        if number >= most:
            yield waiting.popleft().result()


def _runs(rows: int, epoch: int) -> list[slice]:
    starts = np.random.default_rng(epoch).permutation(np.arange(0, rows, BATCH))
    return [slice(int(first), min(int(first) + BATCH, rows)) for first in starts]


def _converted(maps: _Array, kind: str, out: _Array) -> _Array:
    return np.multiply(maps, _SCALE, out=out[: len(maps)]) if kind == "float32" else maps


def _buffers(cores: int, empty: Callable[..., _Array] = np.empty) -> list[_Array]:
    return [empty((BATCH, *MAPS), np.float32) for _ in range(2 * cores + 2)]


def _of_zarr(store: str, pipeline: str | None) -> Candidate:
    def open_candidate(folder: Path, cores: int, maps: str) -> Epochs:
        import zarr

        settings = {"threading.max_workers": cores}
        if pipeline is not None:
            settings["codec_pipeline.path"] = pipeline
        zarr.config.set(settings)
        images, heatmaps = (zarr.open_array(folder / store / "all" / name, mode="r") for name in ("images", "heatmaps"))
        keypoints = open_store(folder / store)["all"]["keypoints"][:]
        floats, pool = _buffers(cores), ThreadPoolExecutor(cores)

        def epochs(epoch: int) -> Iterator[Delivery]:
            runs = _runs(len(keypoints), epoch)

            def load(number: int, buffer: int) -> Delivery:
                run = runs[number]
                values = _converted(np.asarray(heatmaps[run]), maps, floats[buffer])
                pixels = torch.from_numpy(np.asarray(images[run]))
                return (
                    np.arange(run.start, run.stop),
                    pixels,
                    torch.from_numpy(values),
                    torch.from_numpy(keypoints[run]),
                )

            yield from _ahead(pool, len(runs), load, 2 * cores)

        return epochs

    return open_candidate


def _tensorstore(folder: Path, cores: int, maps: str) -> Epochs:
    import tensorstore

    context = tensorstore.Context({"data_copy_concurrency": {"limit": cores}, "file_io_concurrency": {"limit": cores}})

    def opened(name: str) -> Any:
        path = str(folder / "lossless.zarr" / "all" / name)
        spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": path}}
        return tensorstore.open(spec, context=context, read=True).result()

    images, heatmaps = opened("images"), opened("heatmaps")
    keypoints = open_store(folder / "lossless.zarr")["all"]["keypoints"][:]
    out = np.empty((BATCH, *MAPS), np.float32)

    def epochs(epoch: int) -> Iterator[Delivery]:
        runs = _runs(len(keypoints), epoch)
        waiting: deque[tuple[slice, Any, Any]] = deque()
        for number in range(len(runs) + 4):
            if number < len(runs):
                run = runs[number]
                waiting.append((run, images[run].read(), heatmaps[run].read()))
            if number >= 4:
                run, pixels, values = waiting.popleft()
                done = torch.from_numpy(_converted(values.result(), maps, out))
                rows = np.arange(run.start, run.stop)
                yield rows, torch.from_numpy(pixels.result()), done, torch.from_numpy(keypoints[run])

    return epochs


def _memmap(name: str, empty: Callable[..., _Array] = np.empty) -> Candidate:
    """Rows of mapped ``.npy`` files in full random order, taken by threads into memory that is used again.

    ``empty`` makes that memory; with ``aligned_array`` it begins where ours does, which a user would have to know of.
    """

    def open_candidate(folder: Path, cores: int, maps: str) -> Epochs:
        images, heatmaps, keypoints = (plain_arrays(folder, array) for array in ("images", name, "keypoints"))
        pool, floats = ThreadPoolExecutor(cores), _buffers(cores, empty)
        pixels = [empty((BATCH, *images.shape[1:]), np.uint8) for _ in floats]
        taken = [empty((BATCH, *MAPS), heatmaps.dtype) for _ in floats]

        def epochs(epoch: int) -> Iterator[Delivery]:
            order = np.random.default_rng(epoch).permutation(len(images))

            def load(number: int, buffer: int) -> Delivery:
                rows = order[number * BATCH : (number + 1) * BATCH]
                image, values = pixels[buffer][: len(rows)], taken[buffer][: len(rows)]
                np.take(images, rows, axis=0, out=image, mode="clip")
                np.take(heatmaps, rows, axis=0, out=values, mode="clip")
                done = values if name == "maps_float32" else _converted(values, maps, floats[buffer])
                return rows, torch.from_numpy(image), torch.from_numpy(done), torch.from_numpy(keypoints[rows])

            yield from _ahead(pool, -(-len(order) // BATCH), load, 2 * cores)

        return epochs

    return open_candidate


_ZARRS = "zarrs.ZarrsCodecPipeline"

STORE_CANDIDATES: dict[str, Candidate] = {
    "ours lossless": _ours("lossless.zarr", "window"),
    "ours raw": _ours("raw.zarr", "window"),
    "ours lossless full shuffle": _ours("lossless.zarr", "full"),
    "ours raw full shuffle": _ours("raw.zarr", "full"),
    "zarr-python lossless": _of_zarr("lossless.zarr", None),
    "zarrs lossless": _of_zarr("lossless.zarr", _ZARRS),
    "TensorStore lossless": _tensorstore,
    "memmap float32": _memmap("maps_float32"),
    "memmap uint8": _memmap("maps_uint8"),
    "memmap float32, aligned": _memmap("maps_float32", aligned_array),
    "memmap uint8, aligned": _memmap("maps_uint8", aligned_array),
}
