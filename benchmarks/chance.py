"""What is the AP of a split worth? That of guesses: one pose for everybody, and a network that has learned nothing.

    python benchmarks/chance.py --data build/demo/crops.zarr --network small-128x96

The one pose is the mean place of each keypoint in the crops of the train split, put back into the pictures of the val
split by each crop's own geometry: all that a box alone says. Annotated boxes, as in ``posetrain run``.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.geometry import apply_affines
from pose_data.store import Split, choose_split, open_store
from pose_models.conventions import conventions_of
from pose_models.devices import Place
from pose_models.inference import predict_split
from pose_models.networks.catalogue import find_network
from pose_models.train_config import default_config


def mean_pose(train: Split, val: Split) -> Mapping[str, float]:
    """Return the ten numbers of the mean pose of one split's crops for every sample of another."""
    keypoints, kept = train["keypoints"][:].astype(np.float64), train["kept"][:]
    labelled = (keypoints[..., 2] > 0) & kept[:, None]
    pose = np.array([keypoints[labelled[:, joint], joint, :2].mean(axis=0) for joint in range(keypoints.shape[1])])
    rows = np.flatnonzero(val["kept"][:])
    xy_image = apply_affines(val["transforms"][:][rows], np.broadcast_to(pose, (len(rows), *pose.shape)))
    points = np.concatenate([xy_image, np.ones_like(xy_image[..., :1])], axis=2)
    found = Detections(image_id=val["image_id"][:][rows], keypoints=points, score=np.ones(len(rows)))
    return evaluate(ground_truth_from_split(val), found).numbers


def untrained(name: str, val: Split, seed: int) -> Mapping[str, float]:
    """Return the ten numbers of a network with its first weights."""
    config = default_config(name)
    facts = find_network(name)
    torch.manual_seed(seed)
    network = facts.build(val.skeleton.keypoint_count)
    conventions = conventions_of(facts, config, val.recipe, val.skeleton)
    place = Place(torch.device("cpu"))
    predictions = predict_split(network, val, conventions, place, batch_size=32, flip_test=config.flip_test)
    detections = predictions.as_detections(np.asarray(val["image_id"][:]))
    return evaluate(ground_truth_from_split(val), detections).numbers


def main() -> None:
    """Print both, the network's for several seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a store with a train and a val split")
    parser.add_argument("--network", default="small-128x96")
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    store = open_store(options.data)
    train, val = choose_split(store, "", "train"), choose_split(store, "", "val")
    numbers = mean_pose(train, val)
    print(f"mean pose: AP {numbers['AP']:.4f}, AP50 {numbers['AP50']:.4f}, AR {numbers['AR']:.4f}")
    for seed in range(options.seeds):
        numbers = untrained(options.network, val, seed)
        print(f"{options.network}, untrained, seed {seed}: AP {numbers['AP']:.4f}, AP50 {numbers['AP50']:.4f}")


if __name__ == "__main__":
    main()
