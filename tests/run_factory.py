"""Runs for tests: a network with chosen weights in a folder, as training would have left it, without training."""

from pathlib import Path

import torch

from pose_data.recipes import build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_models.checkpoint import Checkpoint, save_checkpoint
from pose_models.conventions import conventions_of
from pose_models.networks.catalogue import find_network
from pose_models.train_config import default_config


def make_run(folder: Path, *, name: str = "small-128x96", recipe: str = "coco-256x192-udp", seed: int = 0) -> Path:
    """Write a run whose network has random weights that give maps of 0 to about 1."""
    network = find_network(name)
    changes = {} if network.output == "simcc" else {"map_width": network.map_width, "map_height": network.map_height}
    sizes = {"crop_width_px": network.input_width_px, "crop_height_px": network.input_height_px, **changes}
    conventions = conventions_of(network, default_config(name), build_recipe(recipe, **sizes), COCO_PERSON)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = network.build(COCO_PERSON.keypoint_count).eval()
        for module_name, parameter in module.named_parameters():
            if module_name.endswith("head.weight"):
                torch.nn.init.normal_(parameter, std=0.6)
    checkpoint = Checkpoint(step=1, network=name, conventions=conventions, model=module.state_dict())
    save_checkpoint(folder, checkpoint)
    return folder
