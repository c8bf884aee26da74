"""Prediction on a video against its own network: frames/s, latency, and memory over the frames.

    python benchmarks/predict.py PICTURES [--network NAME]... [--frames 300]

PICTURES is a folder of pictures; a clip of 640 x 480 is made of them, each shown for ten frames while it moves. The
networks have random weights. Each round runs, one after another: the network alone on as many crops as the clip has
frames (decoding included, crops in memory), prediction that writes JSON, and prediction that also draws the video.
The processor's time of each is told, too: it holds on a computer that others use, where frames/s do not.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import torch
from machine import describe_machine

from pose_data.events import Event
from pose_data.imaging import decode_picture, read_picture
from pose_data.video import VideoWriter
from pose_models.bench import fresh_network
from pose_models.checkpoint import Checkpoint, save_checkpoint
from pose_models.estimator import Estimator, open_estimator
from pose_models.export import export
from pose_models.parity import generated_crops
from pose_models.predict import predict

_BATCH = 32
_MB = 1e6


def make_clip(folder: Path, path: Path, frames: int) -> None:
    """Write a clip of moving pictures."""
    files = sorted(folder.glob("*.jpg"))
    canvas = np.zeros((480, 640, 3), np.uint8)
    with VideoWriter(path, fps=25.0) as writer:
        for number in range(frames):
            if number % 10 == 0:
                file = files[number // 10 % len(files)]
                picture = decode_picture(read_picture(file), file_name=file.name, expected_wh=None, exif="ignore")
                canvas[:] = 0
                part = picture.pixels[:480, :640]
                canvas[: part.shape[0], : part.shape[1]] = part
            writer.write(np.roll(canvas, 4 * (number % 10), axis=1))


def make_run(folder: Path, name: str) -> Path:
    """Write a run with random weights."""
    module, conventions = fresh_network(name)
    save_checkpoint(folder, Checkpoint(step=1, network=name, conventions=conventions, model=module.state_dict()))
    return folder


def network_alone(estimator: Estimator, frames: int) -> tuple[float, float]:
    """Return crops a second of the network and its decoding, and the processor's milliseconds for each."""
    crops = generated_crops(estimator.conventions, count=_BATCH)
    began_s, cpu_s = time.perf_counter(), time.process_time()
    done = 0
    while done < frames:
        part = crops[: min(_BATCH, frames - done)]
        estimator.keypoints(part)
        done += len(part)
    return frames / (time.perf_counter() - began_s), 1000 * (time.process_time() - cpu_s) / frames


def measured(run: Path, clip: Path, out: Path, save: tuple[str, ...]) -> tuple[float, float, list[float]]:
    """Return frames a second, the processor's milliseconds a frame, and the memory in MB at every progress event."""
    process, memory, cpu_s = psutil.Process(), [], []

    def listen(event: Event) -> None:
        memory.append(process.memory_info().rss / _MB)
        cpu_s.append(time.process_time())

    report = predict(
        run, [clip], out=out, save=save, device="cpu", batch_size=_BATCH, overwrite=True,
        on_event=listen,
    )  # fmt: skip
    # The first event comes when the network has been loaded.
    return report.frames_per_s, 1000 * (time.process_time() - cpu_s[0]) / report.frames, memory


def main() -> None:
    """Print a table for every network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--network", action="append")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", choices=["onnxruntime", "pytorch"], action="append")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clip(options.pictures, folder / "clip.mp4", options.frames)
        for network in options.network or ["small-128x96", "simplebaseline-r50-256x192"]:
            run = make_run(folder / network, network)
            export(run, format="onnx", out=folder / f"{network}.onnx")
            subjects = {"onnxruntime": folder / f"{network}.onnx", "pytorch": run}
            for backend in options.backend or subjects:
                _compare(network, backend, subjects[backend], folder, options.frames, options.rounds)


def _compare(network: str, backend: str, subject: Path, folder: Path, frames: int, rounds: int) -> None:
    estimator = open_estimator(subject, checkpoint="best", device=torch.device("cpu"), flip_test=False)
    network_alone(estimator, _BATCH)
    rates: dict[str, list[tuple[float, float]]] = {"network alone": [], "predict": [], "predict and draw": []}
    memory: list[float] = []
    for _ in range(rounds):
        rates["network alone"].append(network_alone(estimator, frames))
        for name, save in (("predict", ("json",)), ("predict and draw", ("json", "drawn"))):
            per_s, cpu_ms, memory = measured(subject, folder / "clip.mp4", folder / "out", save)
            rates[name].append((per_s, cpu_ms))
    whole = median(per_s for per_s, _ in rates["network alone"])
    print(f"{network}, {backend}, {frames} frames")
    for name, pairs in rates.items():
        per_s, cpu_ms = (median(values) for values in zip(*pairs, strict=True))
        print(f"  {name:18} {per_s:6.1f} frames/s ({per_s / whole:4.0%}), {cpu_ms:6.2f} ms of the processor a frame")
    third = len(memory) // 3
    if third:
        growth = max(memory[2 * third :]) - max(memory[third : 2 * third])
        print(f"  memory {max(memory):.0f} MB at most, {growth:+.1f} MB in the last third of the frames")


if __name__ == "__main__":
    main()
